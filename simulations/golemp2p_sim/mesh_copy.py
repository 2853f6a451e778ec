"""One replica of a whole node, and the workers that its committed entries lead to; rebuilt from the disk after a catch-up.

Committed ──> state        Installed ──> stale ──write durable──> rebuilt from what the disk holds ──> Committed goes on
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.model.ids import Key
from golemp2p.model.replication import Entry as LogEntry
from golemp2p.model.replication import LogSegment
from golemp2p_sim.node import Committed, Executed, ReplicaView
from golemp2p_sim.shard_wire import chain_of, propose, read_segment
from golemp2p_sim.toy_state import Entry, ShardState

Applied = Callable[[int, Entry, Any, str], None]
"""Told (position, invocation, result, derived key of a call that goes out or ``""``)."""


@dataclass(slots=True)
class MeshCopy:
    """``chains``: of the shard, by position, as anybody committed them: equal chains mean equal logs up to there. ``stale``: the
    replica has started over, and the disk does not hold all of it yet: not before the write ``installing``."""

    shard: int
    replica: Replica
    key: bytes
    chains: dict[int, int]
    state: ShardState = field(default_factory=ShardState)
    applied: int = 0
    stale: bool = False
    installing: int = 0
    served_term: int = 0

    def apply(self, entries: Sequence[LogEntry], out: list[Any], applied: Applied) -> None:
        """These are committed: run those that are not yet."""
        fresh = [entry for entry in entries if entry.position > self.applied]
        if self.stale or not fresh:
            return
        assert fresh[0].position == self.applied + 1, "no entry is skipped"
        self.applied = fresh[-1].position
        chains = tuple(chain_of(entry.hash) for entry in fresh)
        self.chains.update(zip(range(fresh[0].position, self.applied + 1), chains, strict=True))
        out.append(Committed(self.shard, fresh[0].position, chains))
        for entry in fresh:
            self._run(entry, out, applied)

    def _run(self, entry: LogEntry, out: list[Any], applied: Applied) -> None:
        content = entry.content
        if content.__class__ is not LogSegment:
            return
        invocation = read_segment(content.term, content.data)
        executed, result, derived = self.state.apply(entry.position, invocation)
        if executed:
            out.append(Executed(self.shard, entry.position, invocation.worker, invocation.key, result))
        applied(entry.position, invocation, result, derived)

    def rebuild(self, durable: ReplicaDurable, out: list[Any], applied: Applied) -> None:
        """From the logs as of the base on disk, and the entries after it that are committed."""
        self.state, self.stale = ShardState(), False
        self.applied = durable.base.position
        calls = calls_log(self.shard)
        for key in sorted(durable.history, key=lambda key: (key == calls, key)):  # calls end after they were made
            for segment in durable.history[key]:
                self.state.apply(self.applied, read_segment(segment.term, segment.data))
        self.apply([entry for entry in durable.entries if entry.position <= self.replica.commit_position], out, applied)
        log = self.replica.log
        first = max(self.applied, log.base.position) + 1
        self.apply([log.entry(position) for position in range(first, log.commit + 1)], out, applied)

    def propose(self, log: Key, entry: Entry) -> None:
        """Queue ``entry`` at the end of ``log``; the replica must be serving."""
        propose(self.replica, self.key, log, entry)

    def chain_at(self, position: int) -> int | None:
        """Compacted away, it is what anybody committed there, if this replica's base is."""
        log = self.replica.log
        if position > self.applied or self.stale:
            return None
        base = log.base
        if position >= base.position:
            return chain_of(log.hash_at(position))
        return self.chains.get(position) if self.chains.get(base.position) == chain_of(base.hash) else None

    def view(self, *, is_member: bool) -> ReplicaView:
        replica = self.replica
        sound = is_member and not replica.is_damaged and not self.stale
        chain = self.chain_at(self.applied) or 0
        return ReplicaView(self.shard, replica.term, replica.is_serving, sound, self.applied, chain, self.state.digest)


def calls_log(shard: int) -> Key:
    """Where the ends of calls between workers are written."""
    return Key.of("calls", str(shard))
