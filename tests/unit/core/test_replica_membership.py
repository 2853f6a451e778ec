"""Stories of replicas that come, go and come back."""

from __future__ import annotations

import pytest
from replica_world import World, founded

from golemp2p.errors import InvalidState
from golemp2p.model.messages_shard import Append, Appended, ShardMessage, TakeOver
from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import MILESTONES_MAX, Configuration


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


def test_a_hand_over_to_one_that_lost_the_election_is_no_conversation() -> None:
    world = founded()
    world.call("A", "hand_over", world.nodes["B"].key)
    world.settle()
    world.propose("B")
    world.settle()
    world.crash("C")
    world.damage("C", keep=sum(entry.term == 1 for entry in world.nodes["C"].durable.entries))
    world.start("C")
    world.call("B", "hand_over", world.nodes["C"].key)  # B has not noticed
    world.settle()
    assert world.noticed("unproven-primary") == ["C"]
    world.rest()
    assert world.serving() == "B"
    assert not world["C"].is_damaged
    world.call("B", "hand_over", world.nodes["C"].key)
    world.settle()
    assert world.serving() == "C"


def catching_up() -> World:
    """D joins; A's base is older than the configuration that has a place for D."""
    world = founded(others="D")
    for _ in range(3):
        world.propose("A")
        world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    return world


def test_a_newcomer_that_knows_older_members_only_was_not_removed() -> None:
    world = catching_up()
    world.settle(lost=lambda message: isinstance(message.body, Append))
    assert world["D"].configuration == Configuration(tuple(world.members("ABC")))
    assert not world["D"].is_removed
    world.rest()
    assert world["D"].configuration.learners == tuple(world.members("D"))


def test_who_was_a_member_knows_that_it_was_removed_also_from_a_base_and_after_a_restart() -> None:
    world = catching_up()
    world.rest()
    world.cut |= {(world.nodes["A"].key, world.nodes["D"].key)}
    world.call("A", "change_members", world.members("ABC"), ())
    world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.cut.clear()
    world.trust("A", "D")
    world.settle()
    assert world["D"].log.base == world["A"].log.base
    assert world["D"].is_removed
    world.crash("D")
    world.start("D")
    assert world["D"].is_removed
    world.carry_out(world.nodes["D"], world["D"].forget())
    world.sync("D")
    assert not world.nodes["D"].durable.record.belonged  # should it come again, it is a newcomer


def test_the_last_one_that_is_up_to_date_may_campaign_though_it_is_leaving() -> None:
    world = founded("ABCDE")
    world.propose("A")
    world.call("A", "change_members", world.members("CDE"), ())

    def is_final(message: ShardMessage) -> bool:
        return any(isinstance(entry.content, Configuration) and not entry.content.is_joint for entry in message.body.entries)

    world.settle(lost=lambda message: isinstance(message.body, Append) and is_final(message))
    world.cut |= {(world.nodes["A"].key, world.nodes[name].key) for name in "CDE"}
    world.now_ns = world["A"].next_due_ns()
    world.tick("A")
    world.settle()
    world.crash("A")
    assert world.nodes["B"].member not in world["B"].configuration.electors
    assert world["B"].may_campaign
    for name in "BCDE":
        world.suspect(name, "A")
    world.call("B", "campaign")
    world.settle()
    assert world.serving() in "CDE"  # it led until its leaving was committed
    assert world["B"].is_removed
    assert not world["B"].may_campaign


def test_who_comes_back_after_its_removal_has_not_caught_up() -> None:
    world = founded(others="D")
    world.propose("A")
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    world.call("A", "change_members", world.members("ABD"), ())
    c = world.nodes["C"].member
    while world.bag or any(node.queue for node in world.nodes.values()):
        busy = [name for name, node in world.nodes.items() if node.queue]
        if world["C"].is_removed:
            world.bag = [item for item in world.bag if item[0] != c.public_key]
        if busy:
            world.sync(busy[0])
        elif world.bag:
            world.deliver()
    assert world["C"].is_removed  # and A does not know that C knows
    world.carry_out(world.nodes["C"], world["C"].forget())
    world.sync("C")
    world.crash("C")
    world.start("C")
    world.cut |= {(world.nodes["A"].key, c.public_key)}
    world.call("A", "change_members", world.members("ABD"), [c])
    world.settle()
    assert not world["A"].is_caught_up(c)
    world.cut.clear()
    world.trust("A", "C")
    world.rest()
    assert world["A"].is_caught_up(c)


def test_who_is_taken_in_again_reads_of_its_removal_and_does_not_go() -> None:
    """It gets the history in parts; one of them ends between its removal and its return."""
    world = founded(others="D")
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), ())
    world.settle()
    world.carry_out(world.nodes["D"], world["D"].forget())
    world.sync("D")
    world.crash("D")
    world.start("D")
    for _ in range(3 * world.limits.append_entries_max):
        world.propose("A")
    world.settle()
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    while world.bag or any(node.queue for node in world.nodes.values()):
        assert not world["D"].is_removed
        busy = [name for name, node in world.nodes.items() if node.queue]
        world.sync(busy[0]) if busy else world.deliver()
    assert world["A"].is_caught_up(world.nodes["D"].member)
    world.call("A", "change_members", world.members("ABC"), ())
    world.settle()
    assert world["D"].is_removed


@pytest.mark.parametrize("parts", [0, 1])
def test_a_newcomer_to_whom_nobody_can_prove_who_leads_begins_anew(parts: int) -> None:
    """The primary changes when it has had ``parts`` of a history with more elections than can be shown, by members it does not know."""
    world = founded(others="DE")
    world.call("A", "change_members", world.members("ABC"), world.members("E"))
    world.settle()
    world.call("A", "change_members", world.members("ABE"), ())
    world.settle()
    for _ in range(MILESTONES_MAX):
        world.call(world.serving(), "hand_over", world.nodes["B" if world.serving() == "A" else "A"].key)
        world.settle()
    world.call("A", "change_members", world.members("ABE"), world.members("D"))
    d, seen = world.nodes["D"].key, 0
    while world.bag or any(node.queue for node in world.nodes.values()):
        busy = [name for name, node in world.nodes.items() if node.queue]
        if busy:
            world.sync(busy[0])
            continue
        sender, receiver, message = world.bag.pop(0)
        if receiver == d and isinstance(message.body, Append):
            seen += 1
        if d not in (sender, receiver) or seen <= parts:
            world.hand(sender, receiver, message)
    assert world["D"].log.last_position == parts * world.limits.append_entries_max
    world.call("A", "hand_over", world.nodes["B"].key)
    world.cut |= {(d, world.nodes[name].key) for name in "ABE"}
    world.settle()
    world.cut.clear()
    assert world.serving() == "B"
    for _ in range(10):
        world.now_ns = max(world.now_ns, world["B"].next_due_ns() or 0)
        world.tick("B")
        world.settle(lost=lambda _message: world["D"].is_removed)
    assert world["D"].is_removed
    world.carry_out(world.nodes["D"], world["D"].forget())
    world.sync("D")
    world.crash("D")
    world.start("D")
    world.trust("B", "D")
    world.rest()
    assert world["B"].is_caught_up(world.nodes["D"].member)


def test_a_late_message_of_a_lost_store_does_not_keep_the_new_one_out() -> None:
    world = founded()
    world.propose("A")
    late = []
    while not late:
        busy = [name for name, node in world.nodes.items() if node.queue]
        world.sync(busy[0]) if busy else world.deliver()
        late = [item for item in world.bag if item[0] == world.nodes["B"].key and isinstance(item[2].body, Appended)]
    world.settle()
    world.crash("B")
    world.lose_disk("B")
    world.start("B")
    world.trust("A", "B")
    world.settle()
    world.call("A", "change_members", world["A"].configuration.voters, world.members("B"))
    world.settle()
    world.call("A", "change_members", world.members("ABC"), ())
    world.rest()
    world.hand(*late[0])
    world.propose("A")
    world.rest()
    assert world["B"].log.last_position < world["A"].log.last_position  # held for gone
    world.trust("A", "B")
    world.rest()
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_nobody_speaks_to_a_store_that_it_lost_itself() -> None:
    """C, whose lost store is a voter until the joint configuration has been left, campaigns and leads meanwhile."""
    world = founded()
    world.propose("A")
    world.rest()
    world.crash("C")
    lost = world.nodes["C"].member
    world.lose_disk("C")
    world.start("C")
    world.trust("A", "C")
    world.call("A", "change_members", world["A"].configuration.voters, world.members("C"))
    world.rest()
    world.call("A", "change_members", world.members("ABC"), ())
    world.settle(lost=lambda message: isinstance(message.body, Appended))  # so the joint configuration is not left
    world.crash("A")
    world.start("A")
    assert {lost, world.nodes["C"].member} < set(world["C"].configuration.electors)
    world.call("C", "campaign")
    world.rest()  # the world's checks would mind
    assert world.serving() == "C"
    assert lost not in world["C"].configuration.electors


def test_the_vote_is_not_given_to_a_majority_that_is_held_dead() -> None:
    world = founded(others="D")
    world.suspect("A", "C")
    with pytest.raises(InvalidState, match="alive"):
        world.call("A", "change_members", world.members("C"), ())
    assert world["A"].configuration == Configuration(tuple(world.members("ABC")))
    world.call("A", "change_members", world.members("ABC"), world.members("D"))
    world.settle()
    world.call("A", "change_members", world.members("ABD"), ())  # C is outvoted while it votes
    world.settle()
    assert world["D"].configuration == Configuration(tuple(world.members("ABD")))
