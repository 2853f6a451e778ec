"""Who won a term must be shown: strangers cannot lead, replace a history or get votes; who was away is shown how others came."""

from __future__ import annotations

from typing import Any

import pytest
from replica_world import LOGS, FakeNotary, Node, World, founded, key_of

from golemp2p.core.replica import Role
from golemp2p.core.replica_rules import Rules
from golemp2p.model.messages_shard import (
    Append,
    Appended,
    FetchManifest,
    ManifestPage,
    Offer,
    Refusal,
    RequestVote,
    ShardMessage,
    TakeOver,
    Voted,
)
from golemp2p.model.replication import EMPTY_LOG, MAIN_BRANCH, Base, Configuration, Election, Entry, Head


def say(world: World, sender: Node, receiver: str, term: int, body: Any) -> None:
    world.hand(sender.key, key_of(receiver), ShardMessage(7, MAIN_BRANCH, term, sender.member.store_id, body))


def own_election(node: Node, position: int, term: int, configuration: Configuration) -> Entry:
    """What a node can sign alone."""
    notary = FakeNotary(node.key)
    content = Election(node.member, configuration, ((node.member, notary.cast_vote(term, node.key)),))
    entry_hash = notary.entry_hash(position, term, bytes(32), node.key, content)
    return Entry(position, term, bytes(32), node.key, content, b"", entry_hash)


def stranger() -> tuple[World, Node]:
    world = founded(others="E")
    for _ in range(3):
        world.propose("A")
        world.settle()
    return world, world.nodes["E"]


def claims(world: World, node: Node) -> list[Any]:
    log = world["B"].log
    alone = Configuration((node.member,))
    shown = tuple(own_election(node, log.last_position + 1, 999, group) for group in (alone, log.configuration))
    base = Base(1000, 999, b"\1" * 32, node.key, alone, 1, MAIN_BRANCH, shown)
    at = log.last_position
    return [
        Append(at, log.last_term, log.last_hash, (), at),
        Append(at, log.last_term, log.last_hash, (), at, shown),
        Append(at, log.last_term, log.last_hash, shown[:1], at),
        Offer(base, shown),
        TakeOver(),
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_stranger_is_no_primary(number: int) -> None:
    world, node = stranger()
    before = world["B"].log.last, world["B"].term, world["B"].primary
    say(world, node, "B", 999, claims(world, node)[number])
    (answer,) = [message.body for sender, _, message in world.bag if sender == key_of("B")]
    assert isinstance(answer, Appended)
    assert answer.refusal is Refusal.UNPROVEN
    assert (world["B"].log.last, world["B"].term, world["B"].primary) == before
    assert world.noticed("unproven-primary") == ["B"]
    world.bag.clear()
    world.propose("A")
    world.rest()
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_a_claim_does_not_keep_a_candidate_out() -> None:
    world, node = stranger()
    world.crash("A")
    for name in "BC":
        world.suspect(name, "A")
        say(world, node, name, 1, claims(world, node)[0])  # in their own term: "I live"
    world.bag.clear()
    world.call("B", "campaign")
    world.settle()
    assert world.serving() == "B"


def test_a_stranger_gets_no_votes_for_a_group_of_its_own_making() -> None:
    world, node = stranger()
    log = world["B"].log
    shown = tuple(own_election(node, log.last_position + 1, 9, Configuration((node.member,))) for _ in range(1))
    group = Configuration((node.member, *world.members("BC")))
    say(world, node, "B", 9, RequestVote(False, True, 99, 9, group, 99, shown))
    (answer,) = [message.body for sender, _, message in world.bag if sender == key_of("B")]
    assert isinstance(answer, Voted)
    assert answer.refusal is Refusal.NOT_A_MEMBER
    assert world["B"].term == 1


def test_a_blank_replica_votes_for_nobody() -> None:
    world, node = stranger()
    say(world, world.nodes["A"], "E", 9, RequestVote(False, True, 99, 9, Configuration((*world.members("A"), node.member)), 99))
    (answer,) = [message.body for sender, _, message in world.bag if sender == node.key]
    assert isinstance(answer, Voted)
    assert answer.refusal is Refusal.NOT_A_VOTER


def moved_on(*, compacted: bool) -> World:
    """B was away while its group moved from {A, B, C} to {B, D, E}."""
    world = founded(others="DE")
    world.crash("B")
    for name in "ACDE":
        world.suspect(name, "B")
    world.call("A", "change_members", world.members("ABC"), world.members("DE"))
    world.settle()
    world.propose("A")
    world.call("A", "change_members", world.members("BDE"), ())
    world.settle()
    assert world.serving() in "DE"
    world.propose(world.serving())
    world.settle()
    if compacted:
        for name in "DE":
            world.carry_out(world.nodes[name], world[name].compact(world[name].commit_position))
        world.settle()
    return world


@pytest.mark.parametrize("compacted", [False, True])
def test_who_was_away_for_many_changes_is_shown_who_leads(compacted: bool) -> None:
    world = moved_on(compacted=compacted)
    primary = world.serving()
    world.start("B")
    for name in "DE":
        world.trust(name, "B")
    sent: list[Any] = []
    world.settle(lost=lambda message: bool(sent.append(message.body)))
    assert any(isinstance(body, Append | Offer) and body.milestones for body in sent) or compacted
    world.rest()
    assert world["B"].primary == key_of(primary)
    assert world["B"].configuration == Configuration(tuple(world.members("BDE")))
    assert world["B"].log.last_hash == world[primary].log.last_hash


def test_a_voter_that_was_away_is_shown_how_the_candidate_became_one() -> None:
    world = moved_on(compacted=False)
    dead = world.serving()
    left = "E" if dead == "D" else "D"
    world.crash(dead)
    world.start("B")
    for name in left + "B":
        world.suspect(name, dead)
        for other in "AC":
            world.suspect(name, other)
    world.trust(left, "B")
    world.call(left, "campaign")
    shown: list[bool] = []
    world.settle(
        lost=lambda message: isinstance(message.body, RequestVote) and bool(shown.append(bool(message.body.milestones)))
    )
    assert True in shown
    assert world.serving() == left
    world.rest()
    assert world["B"].log.last_hash == world[left].log.last_hash


def test_the_newest_election_outlives_compaction_and_a_restart() -> None:
    world = founded()
    world.call("A", "hand_over", key_of("B"))
    world.settle()
    world.propose("B")
    world.settle()
    election = world["B"].election
    assert election is not None
    assert (election.term, election.author) == (2, key_of("B"))
    world.carry_out(world.nodes["B"], world["B"].compact(world["B"].commit_position))
    world.settle()
    assert world["B"].log.entries == []
    assert world["B"].election == election
    world.crash("B")
    world.start("B")
    assert world["B"].election == election


def test_milestones_are_bounded_and_keep_the_newest_election() -> None:
    world = founded(others="D")
    for turn in range(40):
        world.call("A", "change_members", world.members("ABC"), world.members("D") if turn % 2 == 0 else ())
        world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    kept = world["A"].log.base.milestones
    assert len(kept) == 32
    assert isinstance(kept[0].content, Election)
    assert [entry.position for entry in kept] == sorted(entry.position for entry in kept)


def test_a_manifest_of_logs_without_entries_is_refused() -> None:
    world, _ = stranger()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), world.members("E"))
    world.settle(lost=lambda message: isinstance(message.body, FetchManifest))
    page = ManifestPage(world["A"].log.base.position, None, ((LOGS[0], EMPTY_LOG), (LOGS[1], Head(2, b"h" * 32))), True)
    say(world, world.nodes["A"], "E", world["A"].term, page)
    assert world.noticed("protocol-violation") == ["E"]
    world.rest()
    assert world["E"].log.last_hash == world["A"].log.last_hash


def test_without_the_rule_anybody_leads() -> None:
    world = founded(rules=Rules(verify_election=False), others="E")
    with pytest.raises(Exception, match="not elected"):
        say(world, world.nodes["E"], "B", 999, Append(0, 0, bytes(32), (), 0))
    assert world["B"].role is Role.FOLLOWER
