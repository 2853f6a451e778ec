"""Nodes in one process that keep components: real ``Components`` and ``LogWriter`` over the nodes of ``blob_nodes`` and fake shards.

Where the shards are not like real ones: a segment that is appended is on the disks of all voters that can be reached, and committed,
one turn later; a term is whoever led since the last change. ``failing``: the next appends fail with these. While ``is_held``, nothing
is committed; ``stalled``: what the disk refuses for now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio
from blob_nodes import Disk, Node, Nodes

from golemp2p.drivers.components import Components
from golemp2p.drivers.oplog import LogWriter, Payload
from golemp2p.errors import Moved
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead, StoredSegment
from golemp2p.testing.guests import ScriptedGuests
from golemp2p.wire.component_info import is_question
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import seal

MESH_KEY = b"m" * 32


class StillClock:
    def wall_ns(self) -> int:
        return 1

    def monotonic_ns(self) -> int:
        return 1


class FakeShards:
    """``drivers.oplog.Appending`` of one node."""

    def __init__(self, node: Node) -> None:
        self.shards_count = node.shards_count
        self.failing: list[Exception] = []
        self.is_held = False
        self.stalled: Exception | None = None
        self.appended: list[Key] = []
        self.term = 0
        self._news = trio.Event()
        self._node = node
        self._held: list[Callable[[], None]] = []
        self._signer = SigningKey(node.own)
        self._token = trio.lowlevel.current_trio_token()

    def append(
        self,
        log: Key,
        payloads: Sequence[Payload],
        previous_hash: bytes,
        head: LogHead,
        done: Callable[[Exception | None], None],
    ) -> bytes:
        if not self._node.is_ready(head.shard):
            raise Moved("not here")
        self.appended.append(log)
        self._news.set()
        segments = []
        for first, count, payload in payloads:
            data, previous_hash = seal(
                self._signer, key=log, term=self.term, first=first, count=count, previous_hash=previous_hash, payload=payload
            )
            segments.append(StoredSegment(log, first, count, self.term, 1, data))
        head = head._replace(head_hash=previous_hash)

        def commit() -> None:
            if self.failing:
                done(self.failing.pop(0))
            elif not self._node.is_ready(head.shard):
                done(Moved("not here any more"))
            else:
                for disk in self._disks(head.shard):
                    disk.segments.setdefault(log, []).extend(segments)
                    disk.log_heads[log] = head
                done(None)

        if self.is_held:
            self._held.append(commit)
        else:
            self._token.run_sync_soon(commit)
        return previous_hash

    async def level(self, shard: int) -> None:
        await trio.lowlevel.checkpoint()
        if not self._node.is_ready(shard):
            raise Moved("not here")
        if self.stalled is not None:
            raise self.stalled

    async def level_all(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.stalled is not None:
            raise self.stalled

    async def wait_appended(self, count: int) -> None:
        while len(self.appended) < count:
            self._news = trio.Event()
            await self._news.wait()

    def release(self) -> None:
        self.is_held = False
        for commit in self._held:
            commit()
        self._held.clear()

    def _disks(self, shard: int) -> list[Disk]:
        nodes = self._node.nodes
        return [nodes.nodes[voter].disk for voter in nodes.voters[shard] if voter not in nodes.down]


class Mesh:
    """Nodes with components; every shard has the same group."""

    def __init__(self, nursery: trio.Nursery, path: Path, **scripts: Any) -> None:
        self.nodes = Nodes(nursery)
        self.guests = ScriptedGuests(**scripts)
        self.components: dict[bytes, Components] = {}
        self.shards: dict[bytes, FakeShards] = {}
        self._path = path
        self._term = 0

    def add(self, name: str, **options: Any) -> tuple[Node, Components]:
        node = self.nodes.add(name)
        shards = self.shards[node.own] = FakeShards(node)
        components = Components(
            mesh_key=MESH_KEY,
            mesh=node,  # type: ignore[arg-type]
            storage=node.disk,  # type: ignore[arg-type]
            shards=shards,
            blobs=node.blobs,
            guests=self.guests,
            clock=StillClock(),
            spawn=self.nodes.spawn,
            scratch_dir=self._path,
            **{"bytes_max": 1 << 20, **options},
        )

        async def serve(shard: int, key: str, payload: bytes) -> bytes:
            assert is_question(payload)
            return await components.answer(shard, payload)

        node.serve_forward = serve
        self.components[node.own] = components
        return node, components

    def lead(self, leader: Node, *others: Node) -> None:
        """All shards: ``leader`` and ``others`` are voters. Who led before loses them."""
        self._term += 1
        self.shards[leader.own].term = self._term
        for shard in range(leader.shards_count):
            before = self.nodes.primaries.get(shard)
            self.nodes.group(shard, leader, *others)
            if before is not None and before != leader.own:
                self.components[before].shard_lost(shard)
            self.components[leader.own].shard_ready(shard)

    def writer(self, node: Node, name: str, summary: bytes = b"") -> LogWriter:
        """Of a log of some kind that nobody reads by itself."""
        key = Key.of("test", name)
        shard = key.shard(node.shards_count)

        def describe(tail: int) -> LogHead:
            return LogHead(key, "test", name, shard, tail, b"", False, None, summary)

        return LogWriter(key, self.shards[node.own], node.blobs, self.nodes.spawn, describe)
