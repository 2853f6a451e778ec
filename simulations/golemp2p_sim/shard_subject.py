"""The replica core as something to simulate: which shards there are, where they live, what they promise, how they can be broken."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from random import Random
from typing import Any

from golemp2p.core.replica_rules import Limits, Rules
from golemp2p_sim.faults import KINDS
from golemp2p_sim.node import SimulatedNode, Surroundings
from golemp2p_sim.shard_forger import posed, rewritten, usurped
from golemp2p_sim.shard_image import ShardImage
from golemp2p_sim.shard_lies import lie
from golemp2p_sim.shard_node import ShardNode, member_of
from golemp2p_sim.shard_wire import describe, message_bytes
from golemp2p_sim.units import duration_ns


class Shards:
    """The subject. Shard s lives on nodes s, s+1, ...; ``replicas`` of them, 3 or 5; ``shards`` 0: one per node, at most 64.

    ``shuffle``: a duration; every so often primaries swap their voters for others of all nodes, each of which then has a replica of
    each shard, and loses no data. ``batch``: entries that go in one append."""

    name = "shard"
    survives = frozenset(KINDS) - {"sync-dropped", "store-restored", "destroyed", "leave"}
    steps: tuple[str, ...] = ("became-primary", "call-goes-out", "campaigns", "voted", "learner-added", "voters-change")

    def __init__(
        self, nodes: int, *, replicas: int = 3, shards: int = 0, shuffle: str = "", batch: int = 256, rules: Rules | None = None
    ) -> None:
        self._made_of = (nodes, replicas, shards, shuffle, batch)
        self.rules, self.limits = rules or Rules(), Limits(append_entries_max=batch)
        self._nodes = nodes
        self._indexes: dict[bytes, int] = {}
        self.shuffle_ns = duration_ns(shuffle) if shuffle else 0
        size = min(replicas, nodes)
        size -= 1 - size % 2  # an even group survives no more than the odd one below it
        count = shards or min(nodes, 64)
        self._groups = [tuple((shard * max(1, nodes // count) + i) % nodes for i in range(size)) for shard in range(count)]
        self._birth = {shard: tuple(member_of(node) for node in group) for shard, group in enumerate(self._groups)}
        if self.shuffle_ns:
            self._groups = [tuple(range(nodes))] * count
            self.survives = Shards.survives - {"store-lost", "bit-rot"}

    @staticmethod
    def rule_names() -> tuple[str, ...]:
        return tuple(field.name for field in fields(Rules))

    def without(self, rule: str) -> Shards:
        """The same with one rule off."""
        nodes, replicas, shards, shuffle, batch = self._made_of
        rules = replace(self.rules, **{rule: False})
        return Shards(nodes, replicas=replicas, shards=shards, shuffle=shuffle, batch=batch, rules=rules)

    def index_of(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        """The index of each node by key: one table for all of them."""
        if len(self._indexes) != len(keys):
            self._indexes = {key: index for index, key in enumerate(keys)}
        return self._indexes

    def node(self, surroundings: Surroundings) -> ShardNode:
        return ShardNode(self, surroundings)

    def image(self) -> ShardImage:
        return ShardImage(self._birth)

    def groups(self) -> Sequence[tuple[int, ...]]:
        return self._groups

    def shard_of(self, worker: str) -> int:
        return zlib.crc32(worker.encode()) % len(self._groups)

    message_bytes = staticmethod(message_bytes)

    def describe(self, message: Any) -> str:
        return describe(message)

    def lie(self, message: Any, dice: Random, behaviour: str) -> Any | None:
        return lie(message, dice, behaviour, self._nodes)

    def forged(self, message: Any, behaviour: str, *, liar: SimulatedNode, victim: SimulatedNode, disk: Any) -> Any | None:
        assert isinstance(liar, ShardNode), "a node of this subject"
        assert isinstance(victim, ShardNode), "a node of this subject"
        lies, believes = (node.copy_of(message) for node in (liar, victim))
        if lies is None or believes is None:
            return None
        if behaviour == "usurp":
            return usurped(message, liar.member, lies.replica.log)
        if behaviour == "pose":
            return posed(message, believes.replica.log)
        return rewritten(message, lies.replica.election, believes.replica.log, disk.shards[lies.shard])
