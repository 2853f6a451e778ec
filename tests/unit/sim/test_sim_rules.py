"""The judges of S0-S10 see replicas that keep each rule, and one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sim_helpers import Court

from golemp2p.core.effects import Send
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_state import Role
from golemp2p.model.messages_shard import RequestVote, ShardMessage
from golemp2p.model.messages_shard import Voted as VoteBody
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import MAIN_BRANCH, Base, Configuration, Election, Entry, Member, NoOp
from golemp2p_sim.checkers.logs import Logs
from golemp2p_sim.checkers.memory import Memory
from golemp2p_sim.checkers.quorums import Quorums, do_meet
from golemp2p_sim.checkers.votes import Votes
from golemp2p_sim.node import Ballot
from golemp2p_sim.shard_node import member_of
from golemp2p_sim.shard_seen import Acknowledged, Born, Change, Cut, Doubted, Forgot, Kept, Serving, Settled, Voted
from golemp2p_sim.shard_witness import Witness

A, B, C, D, E, F = (member_of(node) for node in range(6))
THREE = Configuration((A, B, C))


def base(configuration: Configuration = THREE) -> Base:
    return Base(0, 0, bytes(32), b"", configuration, 0)


def entry(position: int, term: int = 1, *, content: Any = None, name: bytes = b"", before: bytes = b"") -> Entry:
    return Entry(position, term, before, A.public_key, content or NoOp(), b"", name or b"%d/%d" % (term, position))


def disk(last: int, *, term: int = 1, high_water: tuple[int, int] = (0, 0)) -> ReplicaDurable:
    record = ReplicaRecord(term, None, 0, high_water)
    return ReplicaDurable(record, base(), entries=[entry(position) for position in range(1, last + 1)])


def record(term: int, high_water: tuple[int, int], voted_for: Member | None = None) -> ReplicaRecord:
    return ReplicaRecord(term, voted_for, 0, high_water)


def kept(*entries: Entry, written_in: int | None = None, changes: tuple[Change, ...] = ()) -> Kept:
    return Kept(0, A, entries[0].previous_hash if entries else None, entries, written_in, changes)


def court() -> Court:
    votes = Votes()
    return Court(votes, Logs(votes), Quorums(), Memory())


# -- votes --------------------------------------------------------------------------------------------------------------------


def ballot(voter: Member, candidate: Member, *, term: int = 2, durable: bool = True) -> Ballot:
    return Ballot(0, voter, term, candidate.public_key, lambda: durable)


def voted(**changes: Any) -> Voted:
    return replace(Voted(0, B, 2, (1, 3), (1, 3), None, hand_over=False, durable=disk(3, high_water=(1, 3))), **changes)


def test_votes_that_keep_the_rules() -> None:
    bench = court()
    bench.see(1, ballot(B, A), ballot(B, A), ballot(B, C, term=3), voted(), voted(asked_last=(2, 1)))
    bench.see(1, voted(loyal_to=C.public_key, hand_over=True))
    bench.see(2, ballot(member_of(1, store=1), C))  # another store is another voter
    assert bench.verdict() == []


@pytest.mark.parametrize(
    ("judge", "seen"),
    [
        ("one-vote-per-term", ballot(B, C)),
        ("vote-is-durable", ballot(C, A, durable=False)),
        ("vote-for-up-to-date", voted(asked_last=(1, 2))),
        ("vote-for-up-to-date", voted(own_last=(2, 1))),
        ("vote-against-primary", voted(loyal_to=C.public_key)),
        ("vote-of-the-damaged", voted(durable=disk(2, high_water=(1, 3)))),
    ],
)
def test_a_vote_that_breaks_a_rule(judge: str, seen: Any) -> None:
    bench = court()
    bench.see(1, ballot(B, A))
    bench.see(1, seen)
    assert bench.verdict() == [judge]


def told(witness: Witness, candidate: Member, last: tuple[int, int], *, trial: bool = False) -> None:
    request = RequestVote(trial, False, last[1], last[0], THREE, 0)
    witness.hears(b_at((1, 3)), candidate.public_key, ShardMessage(0, MAIN_BRANCH, 2, candidate.store_id, request))


def b_at(last: tuple[int, int]) -> Any:
    """B's replica with a log up to ``last``, which follows nobody."""
    replica = SimpleNamespace(log=SimpleNamespace(last=last), is_serving=False, primary=None, role=Role.FOLLOWER)
    return SimpleNamespace(shard=0, replica=replica, applied=0)


def granted(candidate: Member) -> Send:
    return Send(candidate.public_key, ShardMessage(0, MAIN_BRANCH, 2, B.store_id, VoteBody(2, False, None, b"")))


def test_a_vote_is_told_with_the_request_that_it_answers() -> None:
    witness = Witness(B, lambda _shard: disk(3))
    told(witness, A, (1, 4))
    (_, seen) = witness.promises(b_at((1, 3)), granted(A))
    assert (seen.asked_last, seen.own_last) == ((1, 4), (1, 3))


@pytest.mark.parametrize(("candidate", "trial"), [(C, False), (A, True)])
def test_a_vote_that_answers_nothing_that_was_heard_is_an_alarm_of_its_own(candidate: Member, trial: bool) -> None:
    witness = Witness(B, lambda _shard: disk(3))
    told(witness, candidate, (1, 2), trial=trial)
    with pytest.raises(AssertionError):
        witness.promises(b_at((1, 3)), granted(A))


# -- logs ---------------------------------------------------------------------------------------------------------------------


def test_a_write_is_told_as_it_was_although_the_next_one_of_the_same_event_has_replaced_it() -> None:
    """A primary that regains its majority writes, and hears in the same message that another leads: what it wrote is cut again."""
    witness = Witness(A, lambda _shard: disk(3))
    log = SimpleNamespace(
        configuration_at=lambda _at: THREE, holds=lambda _at: True, hash_at=lambda _at: b"of the next primary"
    )
    copy: Any = SimpleNamespace(shard=0, replica=SimpleNamespace(log=log), applied=0)
    record = ReplicaRecord(1, None, 0, (1, 2))
    first, second = entry(1, 1), entry(2, 1)
    witness.written(copy, ReplicaWrite(0, record, entries=(first,)))
    (seen,) = witness.written(copy, ReplicaWrite(0, record, entries=(second,)))
    assert seen.previous_hash == first.hash
    cut, again = witness.written(copy, ReplicaWrite(0, record, truncate_from=1, entries=(entry(1, 2),)))
    assert (cut.first, again.previous_hash) == (1, b"of the next primary")


def election(*votes: Member, primary: Member = A) -> Entry:
    return entry(1, 2, content=Election(primary, THREE, tuple((voter, b"") for voter in votes)))


def test_logs_that_keep_the_rules() -> None:
    bench = court()
    bench.see(0, Born(0, A, base()), ballot(B, A), kept(election(A, B), entry(2, 2, before=b"2/1"), written_in=2))
    bench.see(1, Born(0, B, base()), kept(election(A, B)), kept(entry(2, 2, before=b"2/1")), kept(entry(3, 1)))
    bench.see(2, Born(0, D, base(Configuration(()))), Born(1, C, base(Configuration((C,)))))
    bench.see(2, Cut(0, C, first=4, committed=3))
    assert bench.verdict() == []


def test_a_birth_with_other_voters() -> None:
    bench = court()
    bench.see(0, Born(0, A, base()))
    bench.see(1, Born(0, B, base(Configuration((A,)))))
    assert bench.verdict() == ["one-birth"]


@pytest.mark.parametrize(
    "seen",
    [
        kept(entry(2, name=b"another")),
        Kept(0, B, b"another", (entry(2, before=b"1/1"),), None, ()),
        kept(entry(1), entry(2, before=b"another")),
    ],
)
def test_a_log_that_does_not_match(seen: Kept) -> None:
    bench = court()
    bench.see(0, kept(entry(1), entry(2, before=b"1/1"), written_in=1))
    bench.see(1, seen)
    assert bench.verdict() == ["log-matching"]


def test_a_committed_entry_is_given_up() -> None:
    bench = court()
    bench.see(2, Cut(0, C, first=3, committed=3))
    assert bench.verdict() == ["committed-is-kept"]


def test_a_term_in_two_lives() -> None:
    bench = court()
    bench.see(0, kept(entry(1), written_in=1))
    bench.world.hosts[0].crash("test")
    bench.world.hosts[0].start()
    bench.see(0, kept(entry(2, before=b"1/1")))
    assert bench.verdict() == []
    bench.see(0, kept(entry(2, before=b"1/1"), written_in=1))
    assert bench.verdict() == ["one-life-per-term"]


@pytest.mark.parametrize("votes", [(A,), (A, C), (A, member_of(1, store=1)), (A, D)])
def test_an_election_without_a_quorum_of_votes(votes: tuple[Member, ...]) -> None:
    bench = court()
    bench.see(1, ballot(B, A), ballot(D, A), ballot(C, B))
    bench.see(0, kept(election(*votes), written_in=2))
    assert bench.verdict() == ["certificate"]


def test_a_base_that_does_not_match() -> None:
    bench = court()
    bench.see(0, kept(entry(1), entry(2, before=b"1/1")))
    for last_hash in (b"1/2", b"another"):
        assert bench.verdict() == []
        bench.see(1, Born(0, B, Base(2, 1, last_hash, A.public_key, THREE, 0), None))
    assert bench.verdict() == ["log-matching"]


# -- memory -------------------------------------------------------------------------------------------------------------------


def taken_in(now: ReplicaRecord, *, member: Member = B) -> Born:
    return Born(0, member, base(Configuration(())), now)


def test_a_record_that_outlives_removal() -> None:
    bench = court()
    before = record(3, (2, 9), C)
    bench.see(
        1, Forgot(0, B, before, before), taken_in(record(5, (2, 9))), taken_in(record(5, (2, 7)))
    )  # the second: it has cut
    bench.see(1, Forgot(0, B, before, record(4, (2, 9))), taken_in(record(0, (0, 0)), member=member_of(1, store=1)))
    assert bench.verdict() == []


@pytest.mark.parametrize("now", [record(2, (2, 9), C), record(3, (2, 8), C), record(3, (2, 9)), record(3, (2, 9), A)])
def test_a_record_that_goes_with_the_data(now: ReplicaRecord) -> None:
    before = record(3, (2, 9), C)
    bench = court()
    bench.see(1, Forgot(0, B, before, now))
    assert bench.verdict() == ["record-outlives-removal"]
    bench = court()
    bench.see(1, Forgot(0, B, before, before), taken_in(now))
    assert bench.verdict() == ["record-outlives-removal"]


# -- quorums ------------------------------------------------------------------------------------------------------------------


def acknowledged(member: Member, position: int, *, on_disk: int | None = None, term: int = 1) -> Acknowledged:
    durable = disk(position if on_disk is None else on_disk, term=term)
    return Acknowledged(0, member, 1, position, durable, A.public_key)


WON = kept(entry(1, content=Election(A, Configuration((A,)), ((A, b""),))), written_in=1)
"""A is primary of term 1."""


def settled(position: int, *, term: int = 1, configuration: Configuration = THREE, newest: Any = None) -> Settled:
    return Settled(0, A, 1, position, term, (configuration, newest or configuration), disk(9))


def serving(*dead: Member, configuration: Configuration = THREE, term: int = 1) -> Serving:
    return Serving(0, A, term, configuration, tuple(member.public_key for member in dead))


JOINT = Configuration((A, B, C), (), (D, E, F))


def test_quorums_that_keep_the_rules() -> None:
    bench = court()
    bench.see(0, WON)
    bench.see(1, acknowledged(B, 5), acknowledged(B, 4), acknowledged(B, 5, on_disk=3, term=2))  # cut since, for term 2
    bench.see(3, acknowledged(D, 4))
    bench.see(4, acknowledged(E, 4))
    bench.see(0, settled(5), serving(), serving(C), settled(4, configuration=JOINT), settled(4, newest=JOINT))
    bench.see(0, serving(C, D, configuration=JOINT), Doubted(0, A, 1, last=4), settled(5), serving(C))
    learners = Configuration((A, B, C), (D, E))
    changes = (Change(THREE, 0, learners, 4), Change(learners, 3, Configuration((A, B, C), (), (A, D, E)), 4))
    bench.see(0, kept(entry(6, before=b"1/5"), written_in=1, changes=changes))
    bench.see(1, kept(entry(6, before=b"1/5"), changes=(Change(THREE, 5, learners, 0),)))  # it does not know what is committed
    assert bench.verdict() == []


def change(before: Configuration, now: Configuration, *, before_at: int = 0, commit: int = 4) -> Kept:
    return kept(entry(6, before=b"1/5"), written_in=1, changes=(Change(before, before_at, now, commit),))


@pytest.mark.parametrize(
    ("judge", "seen"),
    [
        ("acknowledged-is-durable", acknowledged(C, 7, on_disk=6)),
        ("commit-in-own-term", settled(5, term=0)),
        ("commit-by-quorum", settled(6)),
        ("commit-by-quorum", settled(5, configuration=JOINT)),
        ("serves-after-own-commit", serving(term=2)),
        ("commit-by-quorum", settled(4, configuration=Configuration((A, E)))),
        ("regained-is-confirmed", serving()),
        ("followed-is-elected", replace(acknowledged(C, 5), primary=B.public_key)),
        ("followed-is-elected", replace(acknowledged(C, 5), term=2)),
        ("quorums-meet", kept(entry(6, before=b"1/5"), changes=(Change(THREE, 0, Configuration((A,)), 0),))),
        ("serves-with-majority", serving(B, C)),
        ("serves-with-majority", serving(D, E, configuration=JOINT)),
        ("quorums-meet", change(THREE, Configuration((A, B, D)))),
        ("one-change-at-a-time", change(THREE, Configuration((A, B, C), (D,)), before_at=5)),
        ("one-change-at-a-time", change(THREE, Configuration((A, B, C, D)))),
        ("voters-have-caught-up", change(THREE, Configuration((A, B, C), (), (A, B, D)), commit=5)),
    ],
)
def test_a_quorum_that_breaks_a_rule(judge: str, seen: Any) -> None:
    bench = court()
    bench.see(0, WON)
    bench.see(1, acknowledged(B, 5), acknowledged(D, 4), acknowledged(E, 4), Forgot(0, E, record(1, (1, 4)), record(1, (1, 4))))
    bench.see(0, settled(5))
    if judge == "regained-is-confirmed":
        bench.see(0, Doubted(0, A, 1, last=5), settled(5))
    bench.see(2, seen) if isinstance(seen, Acknowledged) else bench.see(0, seen)
    assert bench.verdict() == [judge]


def test_which_quorums_meet() -> None:
    one, three, five = Configuration((A,)), THREE, Configuration((A, B, C, D, E))
    assert do_meet(three, Configuration((C, B, A)))
    assert do_meet(three, JOINT)
    assert do_meet(JOINT, Configuration((D, E, F)))
    assert do_meet(three, Configuration((A, B, C, D)))  # thesis 4.1: one more at a time would be safe, and is an even number
    assert not any(do_meet(a, b) for a, b in ((one, three), (three, five), (three, Configuration((D, E, F)))))
