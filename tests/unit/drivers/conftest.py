"""A node in memory: scripted guests, memory storage, a clock that is trio's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from golemp2p.core.peer_effects import PeerProfile
from golemp2p.drivers.opening import Service, World, open_service
from golemp2p.drivers.peers.mesh_state import GENESIS
from golemp2p.drivers.routing.mesh_client import MeshClient
from golemp2p.drivers.service import LocalClient
from golemp2p.drivers.settings import MeshSettings, ServiceSettings
from golemp2p.storage.memory import MemoryStorage
from golemp2p.testing.guests import ScriptedGuests
from golemp2p.testing.streams import MemoryStreams
from golemp2p.wire.certificate import load_genesis
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact, Invite


class TrioClock:
    """Wall and monotonic time are trio's, so a virtual clock governs both."""

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + round(trio.current_time() * 1e9)

    def monotonic_ns(self) -> int:
        return round(trio.current_time() * 1e9)


class Machine:
    """A machine that can lose power: ``node()`` runs a node on what its disk holds, ``crash()`` cuts it off."""

    def __init__(self, guests: ScriptedGuests, path: Path, settings: ServiceSettings, number: int = 0) -> None:
        """``number``: of the machines of one mesh."""
        self.guests = guests
        self._storage: MemoryStorage | None = None
        self.settings = settings
        self.streams = MemoryStreams()
        self.number = number
        self.key = SigningKey(bytes([ord("k") + number]) * 32)
        self.mesh_settings = MeshSettings()
        self.profile = PeerProfile()
        self._path = path
        self._counter = number << 56

    @property
    def storage(self) -> MemoryStorage:
        """What this machine's disk holds; made on first use, since it belongs to a trio run."""
        if self._storage is None:
            self._storage = MemoryStorage()
        return self._storage

    @asynccontextmanager
    async def node(self) -> AsyncIterator[LocalClient]:
        """What this node leads, which is everything if it is alone."""
        async with self.service() as service:
            yield service.local

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        world = World(
            storage=self.storage,
            guests=self.guests,
            streams=self.streams,
            clock=TrioClock(),
            random_bytes=self._random,
            files_dir=self._path / "files",
            scratch_dir=self._path,
            profile=self.profile,
        )
        async with open_service(
            world, self.key, b"s" * 16, settings=self.settings, mesh_settings=self.mesh_settings, version="test"
        ) as service:
            yield service

    @asynccontextmanager
    async def node_that_crashes(self) -> AsyncIterator[LocalClient]:
        """On leaving, the power is cut: nothing is flushed, and only what was durable is left."""
        async with trio.open_nursery() as nursery:
            started = trio.Event()
            clients: list[LocalClient] = []

            async def run() -> None:
                async with self.node() as client:
                    clients.append(client)
                    started.set()
                    await trio.sleep_forever()

            nursery.start_soon(run)
            await started.wait()
            yield clients[0]
            self.lose_power()
            nursery.cancel_scope.cancel()

    def lose_power(self) -> None:
        """The disk keeps what was durable, for the next node; the one that runs can neither read nor write any more."""
        self._storage = self.storage.crash()

    def _random(self, count: int) -> bytes:
        self._counter += 1
        return self._counter.to_bytes(count, "big") if count >= 8 else bytes(count)


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    def make(settings: ServiceSettings | None = None, **scripts: object) -> Machine:
        return Machine(ScriptedGuests(**scripts), tmp_path, settings or ServiceSettings(shards_count=16))

    return make


class Machines:
    """A mesh of machines over one network in memory: the first founds it, the others join. ``services``, ``clients``: of those that
    run; each client answers for the whole mesh."""

    def __init__(self, nursery: trio.Nursery, machines: list[Machine]) -> None:
        self._nursery = nursery
        self._machines = machines
        self._streams = MemoryStreams()
        self._scopes: dict[int, trio.CancelScope] = {}
        self._ended: dict[int, trio.Event] = {}
        self.services: dict[int, Service] = {}
        for machine in machines:
            machine.streams = self._streams
            machine.mesh_settings = MeshSettings(listen=(f"machine{machine.number}:1",))

    def __len__(self) -> int:
        return len(self._machines)

    def __getitem__(self, number: int) -> Machine:
        return self._machines[number]

    @property
    def clients(self) -> dict[int, MeshClient]:
        return {number: service.client for number, service in self.services.items()}

    async def start(self, number: int) -> MeshClient:
        machine = self._machines[number]
        if number and machine.mesh_settings.join is None:
            genesis = load_genesis(await self._machines[0].storage.get_meta(GENESIS) or b"")
            invite = Invite(genesis, (Contact(self._machines[0].key.public_key, ("machine0:1",)),))
            machine.mesh_settings = replace(machine.mesh_settings, join=invite)
        started, self._ended[number] = trio.Event(), trio.Event()
        self._scopes[number] = trio.CancelScope()
        self._nursery.start_soon(self._run, number, started)
        await started.wait()
        return self.clients[number]

    async def _run(self, number: int, started: trio.Event) -> None:
        try:
            with self._scopes[number]:
                async with self._machines[number].service() as service:
                    self.services[number] = service
                    started.set()
                    await trio.sleep_forever()
        finally:
            self.services.pop(number, None)
            self._ended[number].set()

    async def start_all(self) -> None:
        """Returns when every shard has as many voters as the mesh can give it, and every node leads some."""
        for number in range(len(self)):
            await self.start(number)
        await self.until(self.is_grown)

    def is_grown(self) -> bool:
        peers = [service.peers for service in self.services.values()]
        shards = range(peers[0].shards_count)
        voters = all(len(peers[0].peer.shards.voters(shard)) == min(3, len(peers)) for shard in shards)
        return voters and all(each.ready_shards() for each in peers)

    async def until(self, condition: Callable[[], bool], patience_s: float = 60.0) -> None:
        with trio.fail_after(patience_s):
            while not condition():  # noqa: ASYNC110  # no one event tells
                await trio.sleep(0.05)

    async def crash(self, number: int) -> None:
        """The power of one machine is cut."""
        self._machines[number].lose_power()
        await self.stop(number)

    async def stop(self, number: int) -> None:
        """The process of one machine ends; its disk goes on with what it was given."""
        self._scopes[number].cancel()
        await self._ended[number].wait()

    def leader(self, shard: int) -> int | None:
        """The machine that serves ``shard``."""
        leading = [number for number, service in self.services.items() if service.peers.is_ready(shard)]
        return leading[0] if len(leading) == 1 else None


@pytest.fixture
def machines(nursery: trio.Nursery, tmp_path: Path) -> Callable[..., Machines]:
    def make(count: int = 3, settings: ServiceSettings | None = None, **scripts: object) -> Machines:
        settings = settings or ServiceSettings(shards_count=16)
        folders = [tmp_path / str(number) for number in range(count)]
        for folder in folders:
            folder.mkdir()
        guests = ScriptedGuests(**scripts)
        return Machines(nursery, [Machine(guests, folder, settings, number) for number, folder in enumerate(folders)])

    return make
