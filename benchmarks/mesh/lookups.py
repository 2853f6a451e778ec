"""Walks through the DHT of thirty real nodes: how many per second, and how long one takes.

    closest       the nodes that are closest to a random key: ends when the k closest that live have answered
    certificate   who leads a shard: ends at the first node that holds the shard's certificate

The walker is one more member, in this process, with the cores and the transport of a node but neither storage nor workers; it is
draining, so that it is given no replicas. The control is a question to one node and its answer. CPU is the walker's own.
"""

from __future__ import annotations

import os
import secrets
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import trio

from benchmarks.in_process import SystemClock
from benchmarks.mesh.nodes import running_mesh
from benchmarks.report import Report, percentile
from golemp2p.core.dht import NodesFound, RecordsFound
from golemp2p.core.peer import Peer
from golemp2p.drivers.peers.authority import MeshAuthority
from golemp2p.drivers.peers.mesh_state import MeshState, find_or_found_mesh
from golemp2p.drivers.peers.peer import PeerDriver
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import Golemp2pError
from golemp2p.mesh.network import Network
from golemp2p.mesh.opening import Identity
from golemp2p.mesh.streams import TcpStreams
from golemp2p.model.dht import shard_hint_key
from golemp2p.model.ids import KEY_BYTES
from golemp2p.model.membership import NodeRecord
from golemp2p.model.node_status import StatusAsked, Wanted
from golemp2p.storage.memory import MemoryStorage
from golemp2p.wire import call_kinds
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import decode_invite
from golemp2p.wire.node_status import encode_status_asked
from golemp2p.wire.notary import ShardNotary

SHARDS = 32
SECONDS = 3.0
AT_ONCE = (1, 8, 32)
MET_S_MAX = 60.0
PUBLISHED_S = 3.0
"""Primaries put their certificates into the DHT when the mesh has grown; that takes a moment."""
ASK_S = 10.0

Walk = Callable[[], Awaitable[tuple[int, int]]]
"""One lookup: nodes or records found, questions asked."""


class Walker(PeerDriver):
    """A member that only looks things up."""

    def __init__(self, peer: Peer, storage: MemoryStorage, *, spawn: Callable[..., None], shards_count: int) -> None:
        super().__init__(peer, storage, spawn=spawn, shards_count=shards_count)
        self._walks: dict[int, Waiter] = {}

    def _handle(self, effect: Any) -> None:
        if isinstance(effect, NodesFound | RecordsFound):
            waiter = self._walks.pop(effect.number, None)
            if waiter is not None:
                waiter.settle(effect, None)
        else:
            super()._handle(effect)

    async def closest(self) -> tuple[int, int]:
        found = await self._found(self.peer.dht.find_node(secrets.token_bytes(KEY_BYTES), self.now_ns()))
        return len(found.nodes), found.rpcs

    async def certificate(self) -> tuple[int, int]:
        key = shard_hint_key(secrets.randbelow(self.shards_count))
        found = await self._found(self.peer.dht.find_records(key, self.now_ns(), enough=1))
        return len(found.records), found.rpcs

    async def ask_one(self) -> tuple[int, int]:
        peer = secrets.choice(list(self.peer.membership.members.others()))
        await self.request(peer, call_kinds.STATUS, encode_status_asked(StatusAsked(Wanted.NOTHING)), deadline_s=ASK_S)
        return 1, 1

    async def _found(self, search: tuple[int, Sequence[Any]]) -> Any:
        number, effects = search
        waiter = self._walks[number] = Waiter()
        self.carry_out(effects)
        return await waiter.wait()


class NoTenants:
    """Nothing lives in the shards of a walker: it has none."""

    def started(self, shard: int, term: int) -> None: ...
    def stopped(self, shard: int, reason: str) -> None: ...
    def committed(self, shard: int, entries: Sequence[Any]) -> None: ...
    def stalled(self, shard: int, error: Golemp2pError) -> None: ...
    def installed(self, shard: int) -> None: ...
    def forgotten(self, shard: int) -> None: ...


@asynccontextmanager
async def open_walker(invite: str) -> AsyncIterator[Walker]:
    storage, signer = MemoryStorage(), SigningKey(secrets.token_bytes(32))
    mesh: MeshState = await find_or_found_mesh(
        storage, signer, secrets.token_bytes(16), shards_count=SHARDS, clock=SystemClock(), random_bytes=secrets.token_bytes,
        join=decode_invite(invite),
    )  # fmt: skip
    authority = MeshAuthority(signer, mesh.genesis)
    record = NodeRecord(signer.public_key, mesh.store_id, (), 0, "", incarnation=time.time_ns() // 1_000_000)
    peer = Peer(
        record, {}, shards_count=mesh.shards_count, authority=authority, proofs=authority, dice=Random(1),
        notary=lambda shard: ShardNotary(signer, mesh_id=mesh.genesis.mesh_id, shard=shard),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        walker = Walker(peer, storage, spawn=nursery.start_soon, shards_count=mesh.shards_count)
        identity = Identity(signer, mesh.mesh_key, secrets.token_bytes, secrets.token_bytes(16))
        network = Network(identity, walker, streams=TcpStreams(), dice=Random(2))
        walker.attach(network, NoTenants(), {})
        bound = await nursery.start(network.run, ("127.0.0.1:0",))
        peer.membership.update(walker.now_ns(), addresses=tuple(bound), weight=0, domain="")
        await nursery.start(walker.run, mesh.contacts)
        yield walker
        nursery.cancel_scope.cancel()


async def measure(walk: Walk, at_once: int, seconds: float) -> list[Any]:
    """``at_once`` tasks walk one lookup after another."""
    until = trio.current_time() + seconds
    times: list[float] = []
    found = asked = 0

    async def walk_on() -> None:
        nonlocal found, asked
        while trio.current_time() < until:
            begin = trio.current_time()
            results, questions = await walk()
            times.append(trio.current_time() - begin)
            found, asked = found + results, asked + questions

    cpu, begin = time.process_time(), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(walk_on)
    elapsed, cpu = trio.current_time() - begin, time.process_time() - cpu
    times.sort()
    count = max(1, len(times))
    return [
        len(times) / elapsed, percentile(times, 0.5) * 1e3, percentile(times, 0.99) * 1e3, found / count, asked / count,
        cpu / count * 1e6,
    ]  # fmt: skip


async def walk_around(invite: str, nodes: int, seconds: float) -> list[list[Any]]:
    rows: list[list[Any]] = []
    async with open_walker(invite) as walker:
        with trio.fail_after(MET_S_MAX):
            while walker.peer.membership.members.present_count <= nodes:  # noqa: ASYNC110  # nobody says which is the last
                await trio.sleep(0.1)
        await trio.sleep(PUBLISHED_S)
        walks = {"control: one question": walker.ask_one, "closest": walker.closest, "certificate": walker.certificate}
        for name, walk in walks.items():
            rows += [[f"{name}, {at_once} at once", *await measure(walk, at_once, seconds)] for at_once in AT_ONCE]
    return rows


def run(report: Report, args: Namespace) -> None:
    with running_mesh(args.nodes, shards=SHARDS, log_level="warning") as mesh:
        report.note(f"{args.nodes} nodes run; load average {os.getloadavg()[0]:.1f}")
        rows = trio.run(partial(walk_around, mesh.invite(mesh[0]), args.nodes, 0.5 if args.quick else SECONDS))
    report.table(
        f"Lookups in a mesh of {args.nodes} nodes and {SHARDS} shards",
        ("", "per s", "p50 ms", "p99 ms", "found", "questions", "walker's CPU us"),
        rows,
    )
