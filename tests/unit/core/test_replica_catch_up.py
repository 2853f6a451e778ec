"""Stories of replicas that fetch what they lack: bases that are overtaken, disks that are damaged, sources that are slow."""

from __future__ import annotations

from collections.abc import Callable

from replica_world import LOGS, World, founded, key_of

from golemp2p.core.replica import Role
from golemp2p.core.replica_rules import Limits
from golemp2p.model.messages_shard import Append, Appended, FetchedSegments, FetchManifest, Offer, Refusal, ShardMessage

Item = tuple[bytes, bytes, ShardMessage]


def never(item: Item) -> bool:
    return False


def run(world: World, *, keep: Callable[[Item], bool] = never, drop: Callable[[Item], bool] = never) -> list[Item]:
    """Settle; what ``keep`` chooses is on a slow way, and returned."""
    kept: list[Item] = []
    for _ in range(3000):
        busy = [name for name, node in world.nodes.items() if node.queue]
        if busy:
            world.sync(busy[0])
            continue
        if not world.bag:
            return kept
        item = world.bag.pop(0)
        if keep(item):
            kept.append(item)
        elif not drop(item):
            world.hand(*item)
    raise AssertionError("messages never end")


def has_entries(item: Item) -> bool:
    return isinstance(item[2].body, Append) and bool(item[2].body.entries)


def overtaken_base() -> tuple[World, list[Item]]:
    """C has acknowledged up to 12, by appends that were slow; the last answer about the base at 10 is still on its way to C."""
    world = founded(limits=Limits())
    a, b, c = (key_of(name) for name in "ABC")
    for _ in range(8):
        world.propose("A")

    def beyond(item: Item) -> bool:
        body = item[2].body
        return item[1] == b and isinstance(body, Append) and bool(body.entries) and body.previous_position >= 10

    late = run(world, keep=lambda item: item[1] == c and has_entries(item), drop=beyond)
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.cut |= {(a, b), (b, a)}
    world.now_ns += 10**9
    world.tick("A")  # nobody answered: C is offered the base
    end = world["A"].log.heads.base[LOGS[0]].hash
    fetched = run(
        world,
        keep=lambda item: isinstance(item[2].body, FetchedSegments) and item[2].body.segments[-1].hash == end,
    )
    for item in late:
        world.hand(*item)
    run(world, keep=lambda item: item[1] == c)
    assert (world["A"].log.base.position, world["A"].commit_position, world["C"].log.last_position) == (10, 12, 12)
    return world, fetched


def test_a_base_is_not_installed_over_what_was_acknowledged_after_it() -> None:
    world, fetched = overtaken_base()
    for item in fetched:
        world.hand(*item)
    run(world, drop=lambda item: item[0] == key_of("A"))
    assert (world["C"].log.last_position, world["C"].commit_position) == (12, 10)
    world.crash("A")
    world.cut.clear()
    for name in "BC":
        world.suspect(name, "A")
    for name in "BC":  # B lacks what is committed, and C knows it
        world.call(name, "campaign")
        run(world)
    assert world.serving() == "C"
    assert world["B"].log.last_hash == world["C"].log.last_hash


def test_a_base_of_an_earlier_term_is_not_installed() -> None:
    world, fetched = overtaken_base()
    assert world["C"].next_due_ns() is not None
    world.crash("A")
    for name in "BC":
        world.suspect(name, "A")
    world.call("C", "campaign")
    run(world)
    assert world.serving() == "C"
    for item in fetched:
        world.hand(*item)
    run(world)
    assert "base-installed" not in [notice.name for name, notice in world.notices if dict(notice.fields).get("position")]
    world.rest()
    assert world["B"].log.last_hash == world["C"].log.last_hash


def with_rotten_log() -> World:
    """B, whose base and log are as A's, finds its segments of a log damaged."""
    world = founded()
    for _ in range(4):
        world.propose("A", LOGS[0])
        world.settle()
    for name in "ABC":
        world.carry_out(world.nodes[name], world[name].compact(world[name].commit_position - 1))
    world.settle()
    world.crash("B")
    world.damage_log("B", LOGS[0], 0)
    world.start("B")
    return world


def test_what_is_compacted_while_a_log_is_repaired_is_not_lost() -> None:
    world = with_rotten_log()
    world.call("B", "repair", key_of("A"))
    slow = world.bag.copy()
    world.bag.clear()
    for log in (LOGS[0], LOGS[0], LOGS[0], LOGS[1]):
        world.propose("A", log)
        world.settle()
    base = world["B"].log.base
    world.carry_out(world.nodes["B"], world["B"].compact(world["B"].commit_position))
    assert world["B"].log.base == base  # it stands still until the log is whole again
    world.bag += slow
    world.rest()
    assert not world["B"].is_damaged
    assert world.nodes["B"].durable.read(LOGS[0]) == world.nodes["A"].durable.read(LOGS[0])
    world.carry_out(world.nodes["B"], world["B"].compact(world["B"].commit_position))
    assert world["B"].log.base.position > base.position


def test_a_damaged_log_that_was_deleted_needs_no_repair() -> None:
    world = with_rotten_log()
    world["A"].delete(LOGS[0])
    world.call("A", "flush")
    world.rest()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.call("B", "repair", key_of("A"))  # which has nothing of it any more
    world.rest()
    assert not world["B"].is_damaged
    assert LOGS[0] not in world["B"].log.heads.base


def test_a_damaged_log_is_fetched_anew_with_the_base_that_a_replica_lacks() -> None:
    world = with_rotten_log()
    world.cut |= {(key_of("A"), key_of("B"))}
    for _ in range(3):
        world.propose("A", LOGS[0])
        world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.cut.clear()
    world.trust("A", "B")
    world.rest()
    assert not world["B"].is_damaged
    assert world.nodes["B"].durable.read(LOGS[0]) == world.nodes["A"].durable.read(LOGS[0])


def test_an_offer_that_is_repeated_asks_for_nothing_twice() -> None:
    world = World("AB")
    world.call("A", "campaign")
    world.settle()
    for number in range(6):
        world.propose("A", LOGS[number % 3])
    world.settle()
    world.carry_out(world.nodes["A"], world["A"].compact(world["A"].commit_position))
    world.settle()
    world.call("A", "change_members", world.members("A"), world.members("B"))
    world.settle(lost=lambda message: isinstance(message.body, FetchManifest))
    world.trust("A", "B")  # the base is offered anew
    assert [type(message.body) for _, _, message in world.bag] == [Offer]
    world.deliver()
    assert not world.bag
    world.now_ns = world["B"].next_due_ns()
    world.tick("B")
    assert [type(message.body) for _, _, message in world.bag] == [FetchManifest]
    world.rest()
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_a_follower_that_refuses_everything_as_a_violation_is_asked_seldom() -> None:
    world = founded()
    world.rest()
    world.propose("A")
    refused = 0
    for _ in range(50):  # 100 s
        while world.bag or any(node.queue for node in world.nodes.values()):
            for name, node in world.nodes.items():
                if node.queue:
                    world.sync(name)
            if world.bag:
                sender, receiver, message = world.bag.pop(0)
                if receiver == key_of("B") and isinstance(message.body, Append):
                    refused += 1
                    body = Appended(message.body.previous_position, Refusal.VIOLATION, 0, damaged=False, commit=0)
                    answer = ShardMessage(7, message.branch, message.term, world.nodes["B"].member.store_id, body)
                    world.hand(key_of("B"), key_of("A"), answer)
                else:
                    world.hand(sender, receiver, message)
        world.now_ns += 2 * 10**9
        world.tick("A")
    assert world.limits.violations_max < refused < 15
    assert len(world.noticed("follower-given-up")) == refused - world.limits.violations_max + 1
    world.trust("A", "B")
    world.rest()
    assert world["B"].log.last_hash == world["A"].log.last_hash


def test_a_primary_that_a_majority_refuses_resigns() -> None:
    world = founded()
    world.rest()
    world.propose("A")
    for _ in range(6):
        while world.bag or any(node.queue for node in world.nodes.values()):
            for name, node in world.nodes.items():
                if node.queue:
                    world.sync(name)
            for sender, receiver, message in [world.bag.pop(0) for _ in range(len(world.bag))]:
                if isinstance(message.body, Append):  # what arrives is never what was sent
                    body = Appended(message.body.previous_position, Refusal.VIOLATION, 0, damaged=False, commit=0)
                    store = world.by_key[receiver].member.store_id
                    world.hand(receiver, sender, ShardMessage(7, message.branch, message.term, store, body))
        world.now_ns += 2 * 10**9
        world.tick("A")
    assert world["A"].role is Role.FOLLOWER
    world.call("A", "campaign")
    world.rest()
    assert (world.serving(), world["A"].term) == ("A", 2)
    assert world["B"].log.last_hash == world["A"].log.last_hash
