"""Everything of a node except its process and its edge: the real storage, runtime and service, in this process."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.node import wasm
from golemp2p.drivers.opening import World, open_service
from golemp2p.drivers.service import LocalClient
from golemp2p.drivers.settings import MeshSettings, ServiceSettings
from golemp2p.mesh.streams import TcpStreams
from golemp2p.model.ids import ComponentId
from golemp2p.runtime.guests import WasmtimeGuests, open_guests
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.wire.identity import SigningKey


class SystemClock:
    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class Service:
    """``component`` is the ``bench`` guest."""

    def __init__(self, client: LocalClient, guests: WasmtimeGuests, storage: SqliteStorage, component: ComponentId) -> None:
        self.client, self.guests, self.storage, self.component = client, guests, storage, component

    async def invoke(self, worker: str, function: str, *params: int) -> int:
        result = await self.client.invoke(self.component, worker, f"test:bench/api@1.0.0.{{{function}}}", list(params))
        value: int = result.value
        return value


@asynccontextmanager
async def open_bench_service(folder: Path) -> AsyncIterator[Service]:
    """On the data in ``folder``, which may be of an earlier one."""
    storage = await SqliteStorage.open(folder)
    try:
        async with (
            open_guests(folder / "cache") as guests,
            open_service(
                World(
                    storage=storage,
                    guests=guests,
                    streams=TcpStreams(),
                    clock=SystemClock(),
                    random_bytes=secrets.token_bytes,
                    files_dir=folder / "files",
                    scratch_dir=folder / "cache",
                ),
                SigningKey(b"k" * 32),
                b"s" * 16,
                settings=ServiceSettings(),
                mesh_settings=MeshSettings(),
                version="benchmark",
            ) as service,
        ):
            client = service.client
            known = await client.components("bench")
            info = known[0] if known else await client.add_component("bench", wasm("bench").read_bytes())
            yield Service(client, guests, storage, info.component)
    finally:
        await storage.aclose()
