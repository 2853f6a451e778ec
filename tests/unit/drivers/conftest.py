"""A node in memory: scripted guests, memory storage, a clock that is trio's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from golemp2p.drivers.opening import World, open_service
from golemp2p.drivers.service import LocalClient
from golemp2p.drivers.settings import MeshSettings, ServiceSettings
from model_storage import MemoryStorage
from golemp2p.testing.guests import ScriptedGuests
from golemp2p.testing.streams import MemoryStreams
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Invite


class TrioClock:
    """Wall and monotonic time are trio's, so a virtual clock governs both."""

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + round(trio.current_time() * 1e9)

    def monotonic_ns(self) -> int:
        return round(trio.current_time() * 1e9)


class Machine:
    """A machine that can lose power: ``node()`` runs a node on what its disk holds, ``crash()`` cuts it off."""

    def __init__(self, guests: ScriptedGuests, path: Path, settings: ServiceSettings) -> None:
        self.guests = guests
        self._storage: MemoryStorage | None = None
        self.settings = settings
        self.streams = MemoryStreams()
        self.key = SigningKey(b"k" * 32)
        self.mesh_settings = MeshSettings()
        self.join: Invite | None = None
        self._path = path
        self._counter = 0

    @property
    def storage(self) -> MemoryStorage:
        """What this machine's disk holds; made on first use, since it belongs to a trio run."""
        if self._storage is None:
            self._storage = MemoryStorage()
        return self._storage

    @asynccontextmanager
    async def node(self) -> AsyncIterator[LocalClient]:
        world = World(
            storage=self.storage,
            guests=self.guests,
            streams=self.streams,
            clock=TrioClock(),
            random_bytes=self._random,
            files_dir=self._path / "files",
            scratch_dir=self._path,
        )
        async with open_service(
            world, self.key, b"s" * 16, settings=self.settings, mesh_settings=self.mesh_settings, version="test", join=self.join
        ) as client:
            yield client

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
