"""Stories of replicas that come, go and come back."""

from __future__ import annotations

from replica_world import founded

from golemp2p.core.replica_effects import ReplicaRecord
from golemp2p.model.messages_shard import TakeOver


def test_a_newcomer_that_knows_a_higher_term_is_led_after_a_new_election() -> None:
    world = founded(others="D")
    world.propose("A")
    world.crash("D")
    world.nodes["D"].durable.record = ReplicaRecord(
        9, None, 0, (0, 0)
    )  # of an earlier time, when it was a member and campaigned
    world.start("D")
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    assert (world.serving(), world["A"].term) == (None, 9)  # what D says of its term, A believes a member
    world.call("A", "campaign")
    world.settle()
    assert (world.serving(), world["D"].term) == ("A", 10)
    assert world["D"].log.last_hash == world["A"].log.last_hash


def test_a_hand_over_from_an_old_term_is_refused_aloud() -> None:
    world = founded()
    world.call("A", "hand_over", world.nodes["C"].key)
    held = [item for item in world.bag if isinstance(item[2].body, TakeOver)]
    world.settle(lost=lambda message: isinstance(message.body, TakeOver))
    world.carry_out(world.nodes["C"], world["C"].witnessed(5, (0, 0)))
    for item in held:
        world.hand(*item)
    world.settle()
    assert world["A"].term == 5
    world.call("A", "campaign")
    world.settle()
    assert (world.serving(), world["A"].term) == ("A", 6)
