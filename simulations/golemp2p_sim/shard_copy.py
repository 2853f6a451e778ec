"""One replica on a simulated node: the real core, and the workers that its committed entries lead to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from golemp2p.core.replica import Replica
from golemp2p.model.ids import Key
from golemp2p.model.replication import Configuration, LogSegment
from golemp2p_sim.node import Committed, Executed, ReplicaView
from golemp2p_sim.shard_wire import chain_of, propose, read_segment
from golemp2p_sim.toy_state import Entry, ShardState

Applied = Callable[["ShardCopy", Entry, int, tuple[int, Any], str], None]
"""Told (copy, entry, time, its position and result, derived key)."""


@dataclass(slots=True)
class ShardCopy:
    """``applied``: the entries up to here are in ``state``; at least the core's commit position. ``campaign_ns``: when this node
    wants to take over, ``None`` while the shard is led. ``served_term``: the newest in which it served. ``whole``: a configuration
    whose voters have the stores that it names, as far as their nodes said. ``is_primary``: as of the core's last event.
    ``is_outside``: a primary says that this node has no vote any more."""

    shard: int
    replica: Replica
    key: bytes
    state: ShardState = field(default_factory=ShardState)
    applied: int = 0
    campaign_ns: int | None = None
    served_term: int = 0
    is_outside: bool = False
    is_primary: bool = False
    whole: Configuration | None = None

    @property
    def is_voter(self) -> bool:
        return self.key in [voter.public_key for voter in self.replica.configuration.voters] and not self.replica.log.is_blank

    def electors(self) -> list[bytes]:
        """Keys of the nodes that may become primary: also those that leave by a change which is not committed here. Nobody else may
        have a log that is far enough (Ongaro's thesis, 4.2.2)."""
        log = self.replica.log
        members = log.configuration.electors
        if log.configuration_position > log.commit:
            members += log.configuration_before.electors
        return list(dict.fromkeys(member.public_key for member in members))

    def apply_to(self, position: int, out: list[Any], applied: Applied, now_ns: int) -> None:
        """Everything up to ``position`` is committed: run it. ``applied`` is told of each entry, its result and derived key."""
        log = self.replica.log
        first = max(self.applied, log.base.position) + 1
        if position < first:
            return
        self.applied = position
        entries = log.between(first, position + 1)
        out.append(Committed(self.shard, first, tuple([chain_of(entry.hash) for entry in entries])))
        for entry in entries:
            content = entry.content
            if content.__class__ is not LogSegment:
                continue
            invocation = read_segment(content.term, content.data)
            executed, result, derived = self.state.apply(entry.position, invocation)
            if executed:
                out.append(Executed(self.shard, entry.position, invocation.worker, invocation.key, result))
            applied(self, invocation, now_ns, (entry.position, result), derived)

    def propose(self, log: Key, entry: Entry) -> None:
        """Queue ``entry`` at the end of ``log``; the replica must be serving."""
        propose(self.replica, self.key, log, entry)

    def chain_at(self, position: int) -> int | None:
        log = self.replica.log
        return chain_of(log.hash_at(position)) if log.base.position <= position <= self.applied else None

    def view(self, is_member: bool) -> ReplicaView:
        replica = self.replica
        sound = is_member and not replica.is_damaged
        chain = self.chain_at(self.applied)
        assert chain is not None, "what is applied is held"
        return ReplicaView(self.shard, replica.term, replica.is_serving, sound, self.applied, chain, self.state.digest)
