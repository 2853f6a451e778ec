"""Who campaigns when: ranks, jitter that a dead node's shards share, patience that grows and ends."""

from random import Random

from golemp2p.core.membership_profile import MS
from golemp2p.core.succession import Succession, SuccessionProfile

PROFILE = SuccessionProfile(jitter_ns=1)


def succession() -> Succession:
    return Succession(Random(1), PROFILE)


def test_the_next_in_rank_waits_for_the_first():
    core = succession()
    core.unled(1, 0, 0)
    core.unled(2, 2, 0)
    assert core.due(0) == [1]
    assert core.due(499 * MS) == [1]
    assert core.due(500 * MS) == [1, 2]
    core.led(1)
    assert core.due(500 * MS) == [2]


def test_who_has_just_started_waits_to_hear_of_a_primary():
    core = succession()
    core.unled(1, 0, 0, is_new=True)
    assert core.next_due_ns() == 1_000 * MS
    core.led(1)
    assert core.next_due_ns() is None


def test_shards_of_one_dead_node_are_due_together():
    core = Succession(Random(1))
    for shard in range(100):
        core.unled(shard, 0, 7 * MS)
    assert len(core.due(core.next_due_ns())) == 100


def test_patience_doubles_until_things_change():
    core = succession()
    core.unled(1, 0, 0)
    waits, now_ns = [], 0
    for _ in range(6):
        core.put_off(1, 0, now_ns)
        waits.append(core.next_due_ns() - now_ns)
        now_ns = core.next_due_ns()
    assert [wait // MS for wait in waits] == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]
    core.put_off(1, 0, now_ns)
    core.hurry(now_ns)
    assert core.next_due_ns() == now_ns + 1_000 * MS


def test_repeating_that_nobody_leads_changes_nothing():
    core = succession()
    core.unled(1, 3, 0)
    due_ns = core.next_due_ns()
    core.unled(1, 0, 100 * MS)
    assert core.next_due_ns() == due_ns
