"""Short stories of one shard that a person can follow. A, B, C are nodes; ``settle`` delivers and syncs until nothing is left."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from replica_world import LOGS, OPERATOR, FakeNotary, World, branch_signature, founded, key_of

from golemp2p.core.effects import Notice, Persist
from golemp2p.core.replica import Role
from golemp2p.core.replica_rules import Limits
from golemp2p.errors import InvalidState
from golemp2p.model.messages_shard import Append, Appended, Offer, RequestVote, ShardMessage, TakeOver, Voted
from golemp2p.model.replication import Branch, Configuration, Election


def kinds(world: World) -> list[str]:
    return [type(message.body).__name__ for _, _, message in world.bag]


def fail_over(world: World, dead: str, to: str) -> None:
    world.crash(dead)
    for name, node in world.nodes.items():
        if node.replica is not None and name != dead:
            world.suspect(name, dead)
    world.call(to, "campaign")
    world.settle()


def test_the_founder_alone_elects_itself_appends_and_commits() -> None:
    world = World("A")
    assert world["A"].role is Role.FOLLOWER
    world.call("A", "campaign")
    assert world["A"].role is Role.CANDIDATE  # its own vote is not durable yet
    world.sync("A")
    assert world["A"].role is Role.PRIMARY
    assert not world["A"].is_serving  # its election is not committed yet
    world.sync("A")
    assert world["A"].is_serving
    world.propose("A", count=3)
    assert world["A"].head(LOGS[0]).tail == 4
    assert world["A"].applied_head(LOGS[0]) is None
    world.sync("A")
    assert world["A"].applied_head(LOGS[0]).tail == 4
    assert world["A"].is_idle


def test_one_voter_grows_to_three_through_learners() -> None:
    world = World("ABC")
    world.call("A", "campaign")
    world.settle()
    world.propose("A")
    with pytest.raises(InvalidState, match="caught up"):
        world.call("A", "change_members", world.members("ABC"), ())
    world.settle()
    world.call("A", "change_members", world.members("A"), world.members("BC"))
    assert kinds(world) == ["Offer", "Offer"]  # who is new needs configuration zero first
    world.settle()
    assert all(world["A"].is_caught_up(member) for member in world.members("BC"))
    world.call("A", "change_members", world.members("ABC"), ())
    assert world["A"].configuration.is_joint
    world.settle()
    for name in "ABC":
        assert world[name].configuration == Configuration(tuple(world.members("ABC")))
        assert world[name].log.last == world["A"].log.last
        assert world[name].is_idle


def test_followers_learn_the_commit_position_with_the_next_message() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    committed = world["A"].commit_position
    assert world["A"].log.last_position == committed
    assert world["B"].commit_position == committed - 1
    world.propose("A")
    world.settle()
    assert world["B"].commit_position == committed


def test_a_primary_that_falls_idle_tells_once_what_is_committed() -> None:
    world = founded()
    world.rest()
    world.propose("A")
    world.settle()
    committed = world["A"].commit_position
    told = world["A"].next_due_ns()
    assert told == world.now_ns + world.limits.tell_ns
    world.now_ns = told
    world.tick("A")
    assert [(message.body.entries, message.body.commit) for _, _, message in world.bag] == 2 * [((), committed)]
    world.settle(lost=lambda message: isinstance(message.body, Append))
    world.rest()  # lost: said again until it is known
    assert [world[name].commit_position for name in "ABC"] == 3 * [committed]
    assert [world[name].is_idle for name in "ABC"] == 3 * [True]


def test_a_removed_replica_hears_of_it_forgets_the_data_and_keeps_its_record() -> None:
    world = founded(others="D")
    world.propose("A")
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    world.call("A", "change_members", world.members("ABD"), ())
    world.rest()
    assert [world[name].is_removed for name in "ABCD"] == [False, False, True, False]
    record = world.nodes["C"].durable.record
    world.carry_out(world.nodes["C"], world["C"].forget())
    world.sync("C")
    durable = world.nodes["C"].durable
    assert (durable.entries, durable.history) == ([], {})
    assert durable.record.high_water == record.high_water > (0, 0)
    world.crash("C")
    world.start("C")
    assert world["C"].is_damaged
    world.call("A", "change_members", world.members("ABD"), world.members("C"))
    world.rest()
    assert not world["C"].is_damaged
    assert world["C"].log.last == world["A"].log.last


def test_failover_keeps_what_was_acknowledged() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    fail_over(world, "A", "B")
    assert world.serving() == "B"
    assert world["B"].applied_head(LOGS[0]).tail == 2
    election = world["B"].election
    assert isinstance(election.content, Election)
    assert len(election.content.votes) == 2
    world.start("A")
    for name in "BC":
        world.trust(name, "A")
    world.settle()
    assert world["A"].role is Role.FOLLOWER
    assert world["A"].log.last_hash == world["B"].log.last_hash


def test_a_suffix_that_was_not_committed_gives_way() -> None:
    world = founded()
    world.cut |= {(key_of("A"), key_of(to)) for to in "BC"}
    world.propose("A", LOGS[0])
    world.propose("A", LOGS[1])
    world.settle()
    assert world["A"].head(LOGS[1]).tail == 2
    world.suspect("B", "A")
    world.suspect("C", "A")
    world.call("B", "campaign")
    world.settle(lost=lambda message: isinstance(message.body, RequestVote | Append) and message.term == 1)
    world.propose("B", LOGS[0], count=5)
    world.settle()
    world.cut.clear()
    world.trust("B", "A")
    world.settle()
    assert world["A"].role is Role.FOLLOWER
    assert world["A"].log.last_hash == world["B"].log.last_hash
    assert world["A"].head(LOGS[0]).tail == 6
    assert world["A"].head(LOGS[1]) is None


def test_a_voter_sticks_to_a_primary_that_it_holds_alive() -> None:
    world = founded()
    world.suspect("C", "A")
    world.call("C", "campaign")  # a trial: nobody's term moves
    world.settle()
    assert world.serving() == "A"
    assert [world[name].term for name in "ABC"] == [1, 1, 1]


def test_a_primary_without_majority_stops_and_goes_on_when_it_is_back() -> None:
    world = founded()
    world.suspect("A", "B")
    assert world["A"].is_serving
    world.suspect("A", "C")
    assert not world["A"].is_serving
    with pytest.raises(InvalidState):
        world.propose("A")
    world.trust("A", "C")
    assert not world["A"].is_serving  # somebody else may have been elected meanwhile
    world.settle()
    assert world["A"].is_serving


def test_hand_over_between_invocations() -> None:
    world = founded()
    world.propose("A")
    world.call("A", "hand_over", key_of("C"))
    with pytest.raises(InvalidState):
        world.propose("A")
    world.settle()
    assert world.serving() == "C"
    assert world["A"].role is Role.FOLLOWER
    assert world["C"].applied_head(LOGS[0]).tail == 2


def test_a_hand_over_that_nobody_takes_up_is_called_off() -> None:
    world = founded()
    world.call("A", "hand_over", key_of("C"))
    world.settle(lost=lambda message: isinstance(message.body, TakeOver))
    assert world.serving() is None
    world.now_ns = world["A"].next_due_ns()
    world.tick("A")
    assert world.serving() == "A"
    assert world["A"].is_idle


def test_after_a_restart_a_primary_must_be_elected_anew_in_a_higher_term() -> None:
    world = founded("A")
    world.propose("A")
    world.settle()
    world.crash("A")
    world.start("A")
    assert world["A"].role is Role.FOLLOWER
    world.call("A", "campaign")
    world.settle()
    assert world["A"].term == 2
    assert world["A"].applied_head(LOGS[0]).tail == 2


def test_figure_8_of_the_raft_paper() -> None:
    """An entry of an old term on a majority is not committed by its count; the next primary may still remove it."""
    world = founded("ABCDE", limits=Limits(append_entries_max=1, appends_in_flight_max=1))
    world.cut |= {(key_of("A"), key_of(to)) for to in "CDE"}
    world.propose("A", LOGS[0])  # (a): on A and B only
    world.settle()
    old = world["A"].log.last
    assert world["B"].log.last == old
    world.crash("A")
    world.bag.clear()
    world.cut.clear()
    for name in "BCDE":
        world.suspect(name, "A")
    world.call("E", "campaign")  # (b): E wins term 2 with C and D, and appends for itself alone
    world.settle(lost=lambda message: isinstance(message.body, Append))
    assert (world["E"].role, world["E"].term) == (Role.PRIMARY, 2)
    world.crash("E")
    world.start("A")
    for name in "ABCD":
        world.suspect(name, "E")
        world.trust(name, "A")
    world.call("A", "campaign")  # the first try only learns of term 2
    world.settle()
    world.call("A", "campaign")  # (c): A wins term 3; C takes the old entry, but not yet the election
    world.settle(lost=lambda message: isinstance(message.body, Append))
    assert (world["A"].role, world["A"].term) == (Role.PRIMARY, 3)
    position = world["A"].log.last_position - 1
    assert world["A"].log.term_at(position) == old[0]
    world.cut |= {(key_of("A"), key_of(to)) for to in "BD"}

    def is_election_for_c(message: ShardMessage) -> bool:
        has_election = isinstance(message.body, Append) and any(entry.term == 3 for entry in message.body.entries)
        return has_election and world["C"].log.last_position >= position

    for _ in range(3):
        world.now_ns = world["A"].next_due_ns()
        world.tick("A")
        world.settle(lost=is_election_for_c)
    assert world["C"].log.last == old
    assert world["A"].commit_position < position
    world.crash("A")
    world.cut.clear()  # (d): E comes back and overwrites it everywhere, which is allowed
    world.start("E")
    for name in "BCDE":
        world.suspect(name, "A")
        world.trust(name, "E")
    for _ in range(2):
        world.call("E", "campaign")
        world.settle()
    assert world.serving() == "E"
    assert world["C"].log.hash_at(old[1]) == world["E"].log.hash_at(old[1])
    assert world["C"].log.term_at(old[1]) == 2


def test_a_lost_disk_makes_another_member() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    world.crash("B")
    world.lose_disk("B")
    world.start("B")
    world.suspect("A", "C")  # A counts on B, who must not be counted
    world.trust("A", "B")
    committed = world["A"].commit_position
    world.propose("A")
    world.settle()
    assert world["A"].commit_position == committed
    world.trust("A", "C")
    world.rest()
    assert world["A"].commit_position == committed + 1
    voters = world["A"].configuration.voters
    assert world["A"].is_idle  # nothing is sent to a store that is gone
    world.call("A", "change_members", voters, world.members("B"))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), ())
    world.settle()
    assert world["B"].configuration == Configuration(tuple(world.members("ABC")))
    assert world["B"].applied_head(LOGS[0]) == world["A"].applied_head(LOGS[0])
    assert world["A"].is_idle


def test_a_damaged_replica_neither_votes_nor_counts_until_repaired() -> None:
    world = founded()
    for _ in range(3):
        world.propose("A")
    world.settle()
    world.crash("B")
    world.damage("B", keep=2)
    world.start("B")
    assert world["B"].is_damaged
    fail = world["A"].log.last_position
    world.suspect("B", "A")
    world.suspect("C", "A")
    world.call("C", "campaign")
    world.settle()
    assert world.serving() == "A"  # B does not vote, so C has no majority
    world.trust("B", "A")  # a new connection: B says how it is
    world.settle()
    assert not world["B"].is_damaged
    assert world["B"].log.last_position == fail
    assert world.noticed("replica-repaired") == ["B"]


def test_a_learner_catches_up_by_manifest_when_the_log_is_compacted() -> None:
    world = World("AB")
    world.call("A", "campaign")
    world.settle()
    for number in range(9):
        world.propose("A", LOGS[number % 3])
    world.settle()
    world.nodes["A"].replica.delete(LOGS[2])
    world.call("A", "flush")
    world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.propose("A", LOGS[0])
    world.settle()
    world.call("A", "change_members", world.members("A"), world.members("B"))
    world.settle()
    assert world["B"].log.last_hash == world["A"].log.last_hash
    assert world["B"].log.base == world["A"].log.base
    for log in LOGS:
        assert world["B"].head(log) == world["A"].head(log)
        assert world.nodes["B"].durable.read(log) == world.nodes["A"].durable.read(log)
    assert world["B"].head(LOGS[2]) is None


def test_catching_up_resumes_after_a_crash() -> None:
    world = World("AB")
    world.call("A", "campaign")
    world.settle()
    for _ in range(8):
        world.propose("A", LOGS[0])
    world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.settle()
    world.call("A", "change_members", world.members("A"), world.members("B"))
    while not world.nodes["B"].durable.staged:
        world.sync("B") if world.nodes["B"].queue else world.deliver() if world.bag else world.sync("A")
    world.crash("B")
    world.bag.clear()
    world.start("B")
    world.trust("A", "B")
    asked: list[int] = []
    world.settle(lost=lambda message: bool(asked.append(getattr(message.body, "first", 99))))
    assert 1 not in asked  # what was fetched before the crash is not fetched again
    assert world["B"].head(LOGS[0]) == world["A"].head(LOGS[0])


def test_damaged_logs_are_fetched_again_from_a_peer() -> None:
    world = founded()
    for _ in range(5):
        world.propose("A", LOGS[1])
        world.settle()
    for name in "AB":
        world.carry_out(world.nodes[name], world[name].compact(world[name].commit_position))
    world.settle()
    assert world["B"].log.base.position > 0
    world.crash("B")
    durable = world.nodes["B"].durable
    whole = list(durable.history[LOGS[1]])
    world.damage_log("B", LOGS[1], 1)
    world.start("B")
    assert world["B"].is_damaged
    world.call("B", "repair", key_of("A"))
    world.settle()
    assert not world["B"].is_damaged
    assert durable.history[LOGS[1]] == whole
    assert durable.damaged_logs == ()


def test_a_store_that_went_back_in_time_abstains_until_repaired() -> None:
    world = founded()
    world.settle()
    world.crash("B")
    image = copy.deepcopy(world.nodes["B"].durable)
    world.start("B")
    world.trust("A", "B")
    world.propose("A")
    world.settle()
    proof = world.nodes["B"].durable.record
    world.crash("B")
    world.nodes["B"].durable = image
    world.checks.harmed(world.nodes["B"])
    world.start("B")
    world.carry_out(world.nodes["B"], world["B"].witnessed(proof.term, proof.high_water))
    assert world["B"].is_damaged
    world.suspect("B", "A")
    world.suspect("C", "A")
    world.call("C", "campaign")
    world.settle()
    assert world["C"].role is Role.FOLLOWER
    world.trust("A", "B")
    world.trust("B", "A")
    world.settle()
    assert not world["B"].is_damaged
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_a_primary_that_resigned_unheard_does_not_block_elections() -> None:
    world = founded()
    world.crash("A")
    world.start("A")  # so quickly that nobody suspects it
    world.call("B", "campaign")
    world.settle()
    assert world.serving() == "B"  # A itself says yes
    world.crash("B")
    world.lose_disk("B")  # it comes back with nothing, and knows of no term
    world.start("B")
    for name in "AC":
        world.call(name, "campaign")
        world.settle()
    assert world.serving() is None
    world.now_ns = max(world[name].next_due_ns() or 0 for name in "AC")
    for name in "AC":
        world.tick(name)
        world.settle()
    assert world.serving() in "AC"


def test_a_configuration_known_only_to_a_crashed_primary_is_sent_again() -> None:
    world = World("ABC")
    world.call("A", "campaign")
    world.settle()
    world.call("A", "change_members", world.members("A"), world.members("BC"))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), ())
    world.sync("A")
    world.bag.clear()  # B and C never hear that they are voters
    world.crash("A")
    world.start("A")
    assert world["A"].configuration.is_joint
    world.call("A", "campaign")
    world.settle()
    assert world.serving() == "A"
    assert world["C"].configuration == Configuration(tuple(world.members("ABC")))


def test_a_removed_primary_hands_over_and_its_votes_are_not_asked() -> None:
    world = founded("ABCDE")
    world.call("A", "change_members", world.members("BCD"), ())
    world.settle()
    assert world["A"].role is Role.FOLLOWER
    assert world.serving() in "BCD"
    before = {name: world[name].term for name in "BCD"}
    for name in "ABCDE":
        world.suspect(name, world.serving())
    world.call("A", "campaign")
    world.call("E", "campaign")
    world.settle()
    assert {name: world[name].term for name in "BCD"} == before


def test_forced_recovery_goes_on_under_another_name() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    world.crash("A")
    world.crash("B")
    log = world["C"].log
    order = Branch(
        b"branch-1".ljust(16, b"."), world.nodes["C"].member, log.commit + 1, log.last_position, log.last_hash, OPERATOR, b""
    )
    with pytest.raises(InvalidState, match="signed"):
        world.call("C", "recover_by_force", order)
    signed = Branch(order.branch, order.survivor, order.uncertain_from, *order_end(order), OPERATOR, branch_signature(order))
    world.call("C", "recover_by_force", signed)
    world.settle()
    assert world.serving() == "C"
    assert world["C"].configuration.voters == (world.nodes["C"].member,)
    world.propose("C")
    world.settle()
    world.lose_disk("B")
    world.start("B")  # a newcomer joins the branch
    world.call("C", "change_members", world.members("C"), world.members("B"))
    world.settle()
    assert world["B"].log.branch == signed.branch
    assert world["B"].applied_head(LOGS[0]) == world["C"].applied_head(LOGS[0])
    world.start("A")
    world.call("A", "campaign")
    world.settle()
    assert world.serving() == "C"  # the old history is not listened to, and has no majority
    assert "other-branch" in [notice.name for _, notice in world.notices]


def order_end(order: Branch) -> tuple[int, bytes]:
    return order.last_position, order.last_hash


def test_an_idle_shard_has_no_timer_and_sends_nothing() -> None:
    world = founded()
    for name in "ABC":
        assert world[name].next_due_ns() is None
        world.call(name, "on_time")
    assert not world.bag


def test_pipelining_and_batching_share_messages() -> None:
    world = founded(limits=Limits(append_entries_max=4, appends_in_flight_max=2))
    for _ in range(20):
        world.propose("A")
    to_b = [message.body for _, receiver, message in world.bag if receiver == key_of("B")]
    assert [len(body.entries) for body in to_b] == [1, 1]
    lengths: list[int] = []
    world.settle(lost=lambda message: isinstance(message.body, Append) and bool(lengths.append(len(message.body.entries))))
    assert max(lengths) == 4
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_what_is_lost_is_sent_again_until_answered() -> None:
    world = founded()
    world.propose("A")
    world.settle(lost=lambda message: isinstance(message.body, Append | Appended))
    first = world["A"].next_due_ns()
    world.now_ns = first
    world.tick("A")
    assert kinds(world) == ["Append", "Append"]
    assert world["A"].next_due_ns() - first == 2 * world.limits.retry_ns
    world.rest()
    assert world["A"].is_idle
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_votes_and_offers_that_are_lost_are_asked_again() -> None:
    world = founded()
    fail_over(world, "A", "B")
    world.call("B", "hand_over", key_of("C"))
    world.settle(lost=lambda message: isinstance(message.body, Voted))
    assert world["C"].role is Role.CANDIDATE
    world.now_ns = world["C"].next_due_ns()
    world.tick("C")
    world.settle()
    assert world.serving() == "C"
    assert Offer not in [type(message.body) for _, _, message in world.bag]


def test_what_is_queued_is_not_durable() -> None:
    world = founded("A")
    for _ in range(4):
        world.propose("A")
    world.settle()
    world.queue("A")
    last = world["A"].log.last_position
    world.carry_out(world.nodes["A"], world["A"].compact(2))  # a write, but not of the entry that is queued
    world.settle()
    assert (world["A"].commit_position, world["A"].is_idle) == (last - 1, False)
    world.crash("A")
    world.start("A")
    assert not world["A"].is_damaged
    world.call("A", "campaign")
    world.settle()
    assert world.serving() == "A"


def test_what_a_primary_queued_and_did_not_flush_is_dropped_when_it_steps_down() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    world.queue("A")
    for one, other in ("BA", "CA", "AB", "AC"):
        world.suspect(one, other)
    world.call("C", "campaign")
    world.settle(lost=lambda message: isinstance(message.body, Append))
    assert (world["A"].role, world["C"].role) == (Role.FOLLOWER, Role.PRIMARY)
    assert world["A"].log.last == world["B"].log.last
    world.crash("C")
    for one, other in ("AB", "BA"):
        world.trust(one, other)
    world.call("A", "campaign")
    world.settle()
    world.now_ns += 10**9
    world.tick("A")
    world.settle()
    assert world.serving() == "A"
    stored = [entry.position for entry in world.nodes["A"].durable.entries]
    assert stored == list(range(1, len(stored) + 1))


def test_a_configuration_that_no_honest_primary_would_append_is_refused() -> None:
    world = founded()
    world.cut.add((key_of("A"), key_of("C")))
    world.propose("A")
    (append,) = [message for _, receiver, message in world.bag if receiver == key_of("B")]
    entry = append.body.entries[-1]
    usurped = Configuration(tuple(world.members("A")))
    notary = FakeNotary(entry.author)
    entry_hash = notary.entry_hash(entry.position, entry.term, entry.previous_hash, entry.author, usurped)
    forged = replace(entry, content=usurped, signature=notary.sign_entry(entry_hash), hash=entry_hash)
    world.hand(key_of("A"), key_of("B"), replace(append, body=replace(append.body, entries=(forged,))))
    assert world["B"].configuration == Configuration(tuple(world.members("ABC")))
    assert [dict(notice.fields)["reason"] for _, notice in world.notices if notice.name == "protocol-violation"] == [
        "configuration"
    ]


def test_a_replica_that_lost_the_configuration_that_names_it_does_not_take_itself_for_removed() -> None:
    world = founded()
    world.propose("A")
    world.rest()
    world.crash("C")
    world.damage("C", 0)  # down to the founder's configuration
    world.start("C")
    assert world["C"].configuration.voters == (world.nodes["A"].member,)
    assert world["C"].is_damaged
    assert not world["C"].is_removed


def test_who_was_removed_and_not_told_asks_and_hears_it() -> None:
    world = founded(others="D")
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    world.cut.add((key_of("A"), key_of("C")))
    world.call("A", "change_members", world.members("ABD"), ())
    world.settle()
    world.cut.clear()
    world["A"]._state.leading.progress.pop(world.nodes["C"].member)  # as after a restart, or among too many others
    assert world["C"].primary == key_of("A")
    world.carry_out(world.nodes["C"], world["C"].ask_primary())
    world.rest()
    assert world["C"].is_removed
    assert world["A"].is_idle
    world.carry_out(world.nodes["B"], world["B"].ask_primary())
    world.settle()
    assert world["A"].is_idle  # a member needs no answer


def test_a_primary_that_asks_for_votes_leads_no_more() -> None:
    world = founded()
    world.propose("A")
    world.rest()
    world.crash("A")
    world.start("A")
    assert world["B"].primary == key_of("A")  # nobody told it of the crash
    world.call("A", "campaign")
    world.deliver()  # to B or C: a trial, for a term above the one it led
    asked = [name for name in "BC" if world[name].primary is None]
    assert len(asked) == 1


def test_a_replica_of_the_old_history_gives_way_when_it_is_shown_the_order() -> None:
    world = founded()
    world.propose("A")
    world.settle()
    world.crash("A")
    log = world["C"].log
    order = Branch(
        b"branch-1".ljust(16, b"."), world.nodes["C"].member, log.commit + 1, log.last_position, log.last_hash, OPERATOR, b""
    )
    signed = replace(order, signature=branch_signature(order))
    with pytest.raises(InvalidState, match="signed"):
        world["B"].give_way(order)
    with pytest.raises(InvalidState, match="not about this replica"):
        world["C"].give_way(signed)
    world.call("C", "recover_by_force", signed)
    world.settle()
    with pytest.raises(InvalidState, match="not about this replica"):
        world["C"].give_way(signed)
    forgotten = world["B"].record
    effects = world["B"].give_way(signed)
    (write,) = [effect.write for effect in effects if isinstance(effect, Persist)]
    assert write.is_forgotten
    assert (write.record.term, write.record.voted_for, write.record.high_water) == (
        forgotten.term,
        forgotten.voted_for,
        forgotten.high_water,
    ), "it stays: whatever it promised it still keeps"
    assert "overruled" in [effect.name for effect in effects if isinstance(effect, Notice)]
