"""Random histories of a replica: every write that the cores make, in every order that they may, as far as storage can tell.

A history keeps what the replica's own log is (``ReplicaLog``), and what its writes mean (``ReplicaDurable``); dice say what is next.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import (
    Base,
    Branch,
    Configuration,
    Content,
    Deletion,
    Election,
    Entry,
    Head,
    LogSegment,
    Member,
    NoOp,
)
from golemp2p.testing.storage_kit import MEMBER, NODE, Group

OTHER = Member(b"k" * 32, b"s" * 16)
CONFIGURATIONS = (Configuration((MEMBER,)), Configuration((MEMBER,), (OTHER,)), Configuration((MEMBER,), (), (OTHER, MEMBER)))
VOTE = NODE.sign(b"vote")
BRANCH = Branch(b"b" * 16, MEMBER, 1, 2, b"h" * 32, b"o" * 32, VOTE)
NAMES = ("a", "b")


class History:
    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.durable = ReplicaDurable.at_birth(MEMBER)
        self.log = ReplicaLog(self.durable.base, {})
        self.term = 1
        self.birth = self._write(base=self.durable.base)

    def names(self) -> list[str]:
        return [f"{self.shard}/{name}" for name in NAMES]

    def logs(self) -> list[Key]:
        return [Key.of("worker", name) for name in self.names()]

    def step(self, kind: str, dice: Random) -> list[ReplicaWrite]:
        """The writes of one step; none where it cannot be taken."""
        writes: list[ReplicaWrite] = getattr(self, f"_{kind}")(dice)
        return writes

    # ----------------------------------------------------------------------------------------------------------- steps

    def _append(self, dice: Random) -> list[ReplicaWrite]:
        return [self._write(entries=self._entries(self._group(), dice, dice.randint(1, 4)))]

    def _truncate(self, dice: Random) -> list[ReplicaWrite]:
        first = dice.randint(self.log.commit + 1, self.log.last_position + 2)
        self.log.truncate(first)
        self.term += 1
        count = dice.choice((0, 0, 1, 3)) if first == self.log.last_position + 1 else 0
        return [self._write(truncate_from=first, entries=self._entries(self._group(), dice, count))]

    def _commit(self, dice: Random) -> list[ReplicaWrite]:
        self.log.commit = dice.randint(self.log.commit, self.log.last_position)
        return [self._write()]

    def _compact(self, dice: Random) -> list[ReplicaWrite]:
        if dice.random() < 0.6:
            self.log.commit = dice.randint(self.log.commit, self.log.last_position)
        if self.durable.damaged_logs or self.log.commit == self.log.base.position:
            return []
        base, heads = self.log.compact(dice.randint(self.log.base.position + 1, self.log.commit))
        return [self._write(base=base, heads=tuple(heads.items()))]

    def _fetch_in_vain(self, dice: Random) -> list[ReplicaWrite]:
        group = Group(self.shard, term=self.term)
        segments = [group.segment(dice.choice(self.names())) for _ in range(dice.randint(1, 3))]
        logs = tuple(dict.fromkeys(segment.log for segment in segments))
        return [self._write(refetch=logs, fetched=tuple(replace(segment, description=b"") for segment in segments))]

    def _install(self, dice: Random) -> list[ReplicaWrite]:
        """Another log goes on from what is committed here; all that is missing of it is fetched, then its base installed."""
        kept = self.log.commit
        here = {log: self.durable.read(log, at=kept) for log in self.logs()}
        there = {log: list(segments) for log, segments in here.items()}
        self.term += 1
        group = Group(self.shard, term=self.term)
        group.position, group.hash = kept, self.log.hash_at(kept)
        group.heads = {log: Head(s[-1].first + s[-1].count, s[-1].hash) for log, s in here.items() if s}
        entries = self._entries(group, dice, dice.randint(1, 6))
        for content in (entry.content for entry in entries):
            if isinstance(content, Deletion):
                there[content.log] = []
            elif isinstance(content, LogSegment):
                there[content.log].append(replace(content, description=b""))
        milestones = tuple(entry for entry in entries if isinstance(entry.content, Election | Configuration))
        known = self.log.milestones()[-3:]
        known = tuple(entry for entry in known if entry.position <= kept)
        base = Base(
            group.position, group.term, group.hash, NODE.public_key, CONFIGURATIONS[0], kept, milestones=known + milestones
        )  # fmt: skip
        writes: list[ReplicaWrite] = []
        for log, wanted in there.items():
            continues = wanted[: len(here[log])] == [replace(segment, description=b"") for segment in here[log]]
            fetched = wanted[len(here[log]) :] if continues and dice.random() < 0.6 else wanted
            if self.durable.staged.get(log) or fetched is wanted:
                writes.append(self._write(refetch=(log,)))
            at = dice.randint(0, len(fetched))
            writes += [self._write(fetched=tuple(part)) for part in (fetched[:at], fetched[at:])]
        heads = {log: Head(s[-1].first + s[-1].count, s[-1].hash) for log, s in there.items() if s}
        self.log.install(base, heads)
        writes.append(self._write(base=base, is_install=True, kept_position=kept, heads=tuple(heads.items())))
        return writes

    def damage(self, dice: Random) -> Key | None:
        """A log in which damage was found just now."""
        log = dice.choice(self.logs())
        if log not in self.durable.heads:
            return None
        if log not in self.durable.damaged_logs:
            self.durable.damaged_logs = tuple(sorted((*self.durable.damaged_logs, log)))
        return log

    def _repair(self, dice: Random) -> list[ReplicaWrite]:
        logs = self.durable.damaged_logs
        if not logs:
            return []
        segments = [replace(segment, description=b"") for log in logs for segment in self.durable.history[log]]
        at = dice.randint(0, len(segments))
        writes = [self._write(refetch=logs), self._write(fetched=tuple(segments[:at]))]
        return [*writes, self._write(fetched=tuple(segments[at:])), self._write(repaired=logs)]

    def _forget(self, dice: Random) -> list[ReplicaWrite]:
        if dice.random() < 0.7:
            return []
        write = self._write(is_forgotten=True)
        self.log = ReplicaLog(self.durable.base, {})
        return [write]

    # ---------------------------------------------------------------------------------------------------------- inside

    def _write(self, **parts: Any) -> ReplicaWrite:
        last = self.log.term_at(self.log.last_position), self.log.last_position
        voted_for = MEMBER if self.term % 2 else None
        write = ReplicaWrite(
            self.shard, ReplicaRecord(self.term, voted_for, self.log.commit, last, self.term % 3 == 0), **parts
        )
        self.durable.apply(write)
        return write

    def _group(self) -> Group:
        """To continue the replica's log."""
        group = Group(self.shard, term=self.term)
        group.position, group.hash = self.log.last_position, self.log.last_hash
        heads = {log: self.log.heads.head(log) for log in self.log.heads.logs()}
        group.heads = {log: head for log, head in heads.items() if head is not None}
        return group

    def _entries(self, group: Group, dice: Random, count: int) -> tuple[Entry, ...]:
        entries = tuple(group.entry(self._content(group, dice)) for _ in range(count))
        if group.position == self.log.last_position + count:
            for entry in entries:
                self.log.append(entry)
        return entries

    def _content(self, group: Group, dice: Random) -> Content:
        roll = dice.random()
        if roll < 0.6:
            described, wakes = dice.random() < 0.8, dice.choice((None, 1, 2, 3))
            return group.segment(
                dice.choice(self.names()), dice.randint(1, 3), padding=dice.randbytes(dice.choice((0, 5, 500))),
                described=described, open_work=dice.random() < 0.5, wake_ns=wakes, summary=dice.randbytes(3),
            )  # fmt: skip
        if roll < 0.85 and group.heads:
            return Deletion(dice.choice(sorted(group.heads)))
        choices: tuple[Content, ...] = (NoOp(), *CONFIGURATIONS, Election(MEMBER, CONFIGURATIONS[1], ((MEMBER, VOTE),)), BRANCH)
        return dice.choice(choices)
