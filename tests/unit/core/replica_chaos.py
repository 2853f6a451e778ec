"""Seeded random runs of one shard: anything may happen to messages, disks and nodes, within what the protocol promises to survive;
then everything heals, and the shard must make progress and agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from replica_checks import Violation, demand
from replica_world import LOGS, FakeNotary, World, founded, key_of, make_segment

from golemp2p.core.configuration import is_quorum
from golemp2p.core.replica import Role
from golemp2p.core.replica_rules import Rules
from golemp2p.errors import InvalidState
from golemp2p.model.messages_shard import Append, Offer, RequestVote, ShardMessage, TakeOver
from golemp2p.model.replication import Base, Configuration, Election, Entry, LogSegment, NoOp

WEIGHTS = {
    "deliver": 100,
    "sync": 45,
    "propose": 16,
    "queue": 4,
    "tick": 12,
    "drop": 4,
    "duplicate": 3,
    "delay": 0,
    "lag": 0,
    "release": 0,
    "campaign": 4,
    "crash": 2,
    "restart": 5,
    "suspect": 4,
    "trust": 7,
    "cut": 1,
    "join": 2,
    "compact": 1,
    "change": 3,
    "hand_over": 1,
    "delete": 1,
    "forget": 2,
    "lose_disk": 0.4,
    "damage": 0.4,
    "rot": 0.4,
    "repair": 3,
    "tamper": 0,
    "usurp": 0,
}


class Chaos:
    def __init__(self, seed: int, rules: Rules | None = None, names: str = "ABCDE", voters: int = 3, **weights: float) -> None:
        self.random = random.Random(seed)
        self.names = names
        self.world: World = founded(names[:voters], rules, others=names[voters:])
        chosen = {**WEIGHTS, **weights}
        self.actions = [getattr(self, name) for name in chosen]
        self.weights = list(chosen.values())
        self.campaigns = 0
        self.late: list[Any] = []  # messages on a slow way
        self.broken: str | None = None  # the one node whose disk was lost or damaged and that is not whole again

    def run(self, steps: int) -> None:
        for action in self.random.choices(self.actions, self.weights, k=steps):
            action()
        self.heal()

    # -- choices

    def running(self) -> list[str]:
        return [name for name, node in self.world.nodes.items() if node.replica is not None]

    def crashed(self) -> list[str]:
        return [name for name, node in self.world.nodes.items() if node.replica is None]

    def any(self, names: list[str], act: Callable[[str], Any]) -> None:
        if names:
            act(self.random.choice(names))

    def with_primary(self, act: Callable[[str], Any]) -> None:
        serving = [name for name in self.running() if self.world[name].is_serving]
        with suppress(InvalidState):  # not now: a change or a hand-over is under way, a learner is behind, ...
            self.any(serving, act)

    # -- network

    def deliver(self) -> None:
        if self.world.bag:
            # mostly old messages first, sometimes any
            place = 0 if self.random.random() < 0.6 else self.random.randrange(len(self.world.bag))
            self.world.deliver(place)

    def drop(self) -> None:
        if self.world.bag:
            self.world.bag.pop(self.random.randrange(len(self.world.bag)))

    def duplicate(self) -> None:
        if self.world.bag:
            self.world.bag.append(self.random.choice(self.world.bag))

    def delay(self) -> None:
        """All of one kind (appends, or everything else) that is under way from one node to another takes a slow way."""

        def way_of(item: Any) -> Any:
            return *item[:2], isinstance(item[2].body, Append)

        if self.world.bag:
            way = way_of(self.random.choice(self.world.bag))
            self.late += [item for item in self.world.bag if way_of(item) == way]
            self.world.bag = [item for item in self.world.bag if way_of(item) != way]

    def lag(self) -> None:
        """The same, aimed: the appends to a follower are slow, so its primary compacts what it lacks and offers the base."""

        def act(name: str) -> None:
            world = self.world
            follower = key_of(self.random.choice(self.names))
            slow = [i for i in world.bag if i[:2] == (key_of(name), follower) and isinstance(i[2].body, Append)]
            world.bag = [item for item in world.bag if item not in slow]
            self.late += slow
            world.carry_out(world.nodes[name], world[name].compact(world[name].commit_position))
            world.now_ns += 2_000_000_000
            world.tick(name)

        self.with_primary(act)

    def release(self) -> None:
        """What one node sent to another arrives at last, in its order, before all else."""
        if self.late:
            way = self.random.choice(self.late)[:2]
            self.world.bag[:0] = [item for item in self.late if item[:2] == way]
            self.late = [item for item in self.late if item[:2] != way]

    def cut(self) -> None:
        side = self.random.sample(self.names, self.random.randrange(1, len(self.names)))
        for one in side:
            for other in self.names:
                if other not in side:
                    self.world.cut.add((key_of(one), key_of(other)))
                    if self.random.random() < 0.8:
                        self.world.cut.add((key_of(other), key_of(one)))

    def join(self) -> None:
        self.world.cut.clear()

    # -- nodes

    def sync(self) -> None:
        self.any([name for name, node in self.world.nodes.items() if node.queue], self.world.sync)

    def tick(self) -> None:
        self.world.now_ns += self.random.randrange(400_000_000)
        self.any(self.running(), self.world.tick)

    def campaign(self) -> None:
        self.any(self.running(), lambda name: self.world.call(name, "campaign"))

    def crash(self) -> None:
        self.any(self.running(), self.world.crash)

    def restart(self) -> None:
        self.any(self.crashed(), self.world.start)

    def suspect(self) -> None:
        one, other = self.random.sample(self.names, 2)
        self.world.suspect(one, other)

    def trust(self) -> None:
        one, other = self.random.sample(self.names, 2)
        self.world.trust(one, other)

    def whole(self) -> bool:
        """Whether a disk may break: none is broken, and the shard survives one."""
        world = self.world
        if self.broken is not None:
            node = world.nodes[self.broken]
            electors = [member for configuration in self.configurations() for member in configuration.electors]
            is_member = any(node.key == member.public_key and member != node.member for member in electors)
            if node.replica is None or node.must_reach > (0, 0) or node.is_damaged or is_member:
                return False
            self.broken = None
        return all(len(c.voters) >= 3 and not c.is_joint for c in self.configurations() if c.voters)

    def configurations(self) -> list[Configuration]:
        """The newest of every node, in memory and on disk, and those on their way."""
        found = [self.world[name].configuration for name in self.running()]
        for _, _, message in self.world.bag:
            if isinstance(message.body, Append):
                found += [entry.content for entry in message.body.entries if isinstance(entry.content, Configuration)]
        for node in self.world.nodes.values():
            held = [entry.content for entry in node.durable.entries if isinstance(entry.content, Configuration)]
            found.append((held or [node.durable.base.configuration])[-1])
        return found

    def lose_disk(self) -> None:
        self.break_disk(self.world.lose_disk)

    def damage(self) -> None:
        self.break_disk(lambda name: self.world.damage(name, self.random.randrange(3)))

    def rot(self) -> None:
        def act(name: str) -> None:
            history = self.world.nodes[name].durable.history
            logs = [log for log in LOGS if history.get(log)]
            if logs:
                log = self.random.choice(logs)
                self.world.damage_log(name, log, self.random.randrange(len(history[log])))

        self.break_disk(act)

    def repair(self) -> None:
        """What a node does for its damaged logs, though it may ask the wrong one."""

        def act(name: str) -> None:
            other = self.random.choice([other for other in self.names if other != name])
            self.world.call(name, "repair", key_of(other))

        self.any([name for name in self.running() if self.world[name].wants_repair], act)

    def break_disk(self, act: Callable[[str], None]) -> None:
        """Aimed half of the time: then the node is back at once, the primary dies, and somebody wants to succeed it."""
        if not self.whole():
            return
        self.broken = self.random.choice(self.names)
        if self.broken in self.running():
            self.world.crash(self.broken)
        primary = self.world.serving()
        act(self.broken)
        if primary is not None and self.random.random() < 0.5:
            self.world.start(self.broken)
            self.world.crash(primary)
            for name in self.running():
                self.world.suspect(name, primary)
            self.campaign()

    # -- the primary

    def propose(self) -> None:
        self.with_primary(lambda name: self.world.propose(name, self.random.choice(LOGS), self.random.randrange(1, 4)))

    def queue(self) -> None:
        """What is appended and not flushed yet is nowhere but in the primary's memory."""
        self.with_primary(lambda name: self.world.queue(name, self.random.choice(LOGS)))

    def delete(self) -> None:
        def act(name: str) -> None:
            self.world[name].delete(self.random.choice(LOGS))
            self.world.call(name, "flush")

        self.with_primary(act)

    def compact(self) -> None:
        def act(name: str) -> None:
            position = self.random.randrange(self.world[name].commit_position + 1)
            self.world.carry_out(self.world.nodes[name], self.world[name].compact(position))

        self.any(self.running(), act)

    def forget(self) -> None:
        """Whom its group has removed drops its data; at once it is a newcomer that has only its record."""

        def act(name: str) -> None:
            world = self.world
            world.carry_out(world.nodes[name], world[name].forget())
            while world.nodes[name].queue:
                world.sync(name)
            world.crash(name)
            world.start(name)

        self.any([name for name in self.running() if self.world[name].is_removed], act)

    def hand_over(self) -> None:
        self.with_primary(lambda name: self.world.call(name, "hand_over", key_of(self.random.choice(self.names))))

    def change(self) -> None:
        """Add a learner, or vote with caught-up ones; a broken disk's member is replaced first."""

        def act(name: str) -> None:
            world = self.world
            configuration = world[name].configuration
            current = {world.nodes[n].member for n in self.names}
            learners = [m for m in configuration.learners if m in current]
            voters = list(configuration.voters)
            outside = [world.nodes[n].member for n in self.names if world.nodes[n].member not in configuration.members]
            if outside and self.random.random() < 0.5:
                world.call(name, "change_members", voters, [*learners, self.random.choice(outside)])
                return
            pool = [m for m in [*voters, *learners] if m in current]
            size = min(self.random.choice((1, 3, 3, 3, 5)), len(pool) - 1 + len(pool) % 2)
            self.whole()
            if self.broken is not None and size < 3:
                return  # the one left might be the broken one
            chosen = self.random.sample(pool, size)
            world.call(name, "change_members", chosen, [m for m in learners if m not in chosen])

        self.with_primary(act)

    # -- a liar, one that has everybody's keys

    def tamper(self) -> None:
        """An append of the bag arrives in another form as well."""
        appends = [item for item in self.world.bag if isinstance(item[2].body, Append) and item[2].body.entries]
        if appends:
            sender, receiver, message = self.random.choice(appends)
            forge = self.random.choice((self.forged_segment, self.broken_chain, self.rewritten_history, self.usurped_group))
            body = forge(message.body, receiver)
            if body is not None:
                self.world.hand(sender, receiver, replace(message, body=body))

    def usurp(self) -> None:
        """Somebody who won nothing speaks as primary of a higher term, or asks for votes with a group of its own making."""
        world = self.world
        name, victim = self.random.sample(self.names, 2)
        node, receiver = world.nodes[name], world.nodes[victim]
        if receiver.replica is None or receiver.replica.log.is_blank:
            return  # a blank one believes who speaks first
        term = receiver.replica.term + self.random.randrange(1, 3)
        log = receiver.replica.log
        if any(is_quorum(known, [node.member]) for known in log.configurations()):
            return  # it decides alone
        own = Configuration((node.member,))
        votes = ((node.member, FakeNotary(node.key).cast_vote(term, node.key)),)
        shell = Entry(log.last_position + 1, term, log.last_hash, node.key, NoOp(), b"", b"")
        won = self.signed(
            shell, Election(node.member, self.random.choice((own, log.configuration)), votes), shell.previous_hash
        )
        joined = Configuration((node.member, receiver.member))
        base = Base(won.position, term, won.hash, node.key, own, won.position, log.branch, (won,))
        body: Any = self.random.choice(
            (
                Append(log.commit, log.term_at(log.commit), log.hash_at(log.commit), (), log.last_position),
                Append(log.last_position, log.last_term, log.last_hash, (won,), log.last_position),
                Append(log.commit, log.term_at(log.commit), log.hash_at(log.commit), (), log.commit, (won,)),
                Offer(base, (won,)),
                TakeOver(),
            )
        )
        if node.member not in log.configuration.members and self.random.random() < 0.5:
            body = RequestVote(False, True, log.last_position, log.last_term, joined, log.configuration_position + 1, (won,))
        world.hand(node.key, receiver.key, ShardMessage(7, log.branch, term, node.member.store_id, body))
        demand(receiver.replica.term < term or not isinstance(body, RequestVote), "voted for a stranger")

    def forged_segment(self, body: Append, receiver: bytes) -> Append | None:
        entry = body.entries[-1]
        segment = entry.content
        if not isinstance(segment, LogSegment):
            return None
        other = make_segment(
            b"thief", segment.log, segment.term, segment.first, segment.count, segment.previous_hash, b"stolen"
        )
        forged = self.signed(entry, replace(other, author=entry.author), entry.previous_hash)
        return replace(body, entries=(*body.entries[:-1], forged))

    def broken_chain(self, body: Append, receiver: bytes) -> Append:
        entry = body.entries[-1]
        return replace(body, entries=(*body.entries[:-1], self.signed(entry, NoOp(), bytes(32))))

    def usurped_group(self, body: Append, receiver: bytes) -> Append:
        """The group is to be of the author and one other from now on."""
        entry = body.entries[-1]
        others = [node.member for node in self.world.nodes.values() if node.key in (entry.author, receiver)]
        return replace(
            body, entries=(*body.entries[:-1], self.signed(entry, Configuration(tuple(others)), entry.previous_hash))
        )

    def rewritten_history(self, body: Append, receiver: bytes) -> Append | None:
        """A later primary's election, properly voted for, in the place of something committed."""
        node = self.world.by_key[receiver]
        if node.replica is None or node.replica.commit_position <= node.replica.log.base.position:
            return None
        log = node.replica.log
        position = log.commit
        before = position - 1
        configuration = log.configuration_at(before)
        primary = next((m for m in configuration.electors if m.public_key == body.entries[-1].author), None)
        term = log.last_term + 1
        if primary is None:
            return None
        votes = tuple((m, FakeNotary(m.public_key).cast_vote(term, primary.public_key)) for m in sorted(configuration.electors))
        shell = Entry(position, term, log.hash_at(before), primary.public_key, NoOp(), b"", b"")
        election = self.signed(shell, Election(primary, configuration, votes), shell.previous_hash)
        return Append(before, log.term_at(before), log.hash_at(before), (election,), 0)

    def signed(self, entry: Entry, content: Any, previous_hash: bytes) -> Entry:
        notary = FakeNotary(entry.author)
        entry_hash = notary.entry_hash(entry.position, entry.term, previous_hash, entry.author, content)
        signs_itself = isinstance(content, LogSegment | Election)
        signature = b"" if signs_itself else notary.sign_entry(entry_hash)
        return Entry(entry.position, entry.term, previous_hash, entry.author, content, signature, entry_hash)

    # -- healing

    def heal(self) -> None:
        world = self.world
        world.cut.clear()
        for name in self.running():
            world.call(name, "flush")
        world.bag += self.late
        self.late.clear()
        for name in self.crashed():
            world.start(name)
        for one in self.names:
            for other in self.names:
                if one != other:
                    world.trust(one, other)
        for _ in range(400):
            world.settle()
            self.repair()
            if not self.is_agreed():
                self.push()
            elif all(world[name].is_idle for name in self.members()):
                break
            world.settle()
            self.later()
        else:
            raise Violation("no progress after healing")
        self.same()

    def push(self) -> None:
        """What a node level would do: have the best voter campaign, and commit something when there is a primary."""
        world = self.world
        primary = world.serving()
        if primary is not None:
            if world[primary].log.commit == world[primary].log.last_position:
                world.propose(primary)
        elif all(world[name].role is Role.FOLLOWER and world[name]._state.campaign is None for name in self.names):
            ranked = sorted(self.names, key=lambda name: world[name].log.last, reverse=True)
            world.call(ranked[self.campaigns % len(ranked)], "campaign")
            self.campaigns += 1

    def later(self) -> None:
        world = self.world
        dues = [due for name in self.names if (due := world[name].next_due_ns()) is not None]
        if dues:
            world.now_ns = max(world.now_ns, min(dues))
            for name in self.names:
                world.tick(name)

    def members(self) -> list[str]:
        """Names of the nodes whose stores are members now."""
        primary = self.world.serving()
        if primary is None:
            return []
        members = self.world[primary].configuration.members
        return [name for name in self.names if self.world.nodes[name].member in members]

    def is_agreed(self) -> bool:
        world = self.world
        primary = world.serving()
        if primary is None or world[primary].configuration.is_joint:
            return False
        ends = {world[name].log.last_hash for name in self.members()}
        return len(ends) == 1 and world[primary].log.commit == world[primary].log.last_position > 0

    def same(self) -> None:
        """All members have the same logs, byte for byte, in memory and on disk."""
        world = self.world
        names = self.members()
        for log in LOGS:
            heads = {world[name].head(log) for name in names}
            stored = {tuple(world.nodes[name].durable.read(log)) for name in names}
            if len(heads) != 1 or len(stored) != 1:
                raise Violation("replicas differ after healing")
