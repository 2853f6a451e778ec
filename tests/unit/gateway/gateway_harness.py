"""What tests of the gateway are given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import trio

from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.testing.client import FakeClient
from golemp2p.testing.mesh_admin import FakeMeshAdmin
from golemp2p_gateway import GatewaySettings, serve
from golemp2p_gateway.edge import Primary, unknown_primary

WASM = b"\0asm\x0d\0\1\0" + b"component"


@dataclass
class Gateway:
    fake: FakeClient
    http: httpx.AsyncClient
    address: tuple[str, int]
    settings: GatewaySettings
    shutdown: trio.Event
    component: ComponentId
    admin: FakeMeshAdmin

    @property
    def path(self) -> str:
        return f"/v1/components/{self.component}"

    def worker(self, name: str) -> WorkerId:
        return WorkerId(self.component, name)

    async def raw(self, data: bytes, *, end: bool = True) -> bytes:
        """Everything the server says to these bytes until it closes (``end``: after we ended our side)."""
        stream = await trio.open_tcp_stream(*self.address)
        async with stream:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            received = b""
            with trio.fail_after(5):
                while chunk := await stream.receive_some():
                    received += chunk
        return received


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings, nursery: trio.Nursery, *, primary: Primary = unknown_primary
) -> AsyncIterator[Gateway]:
    """On leaving, everything in ``nursery`` is cancelled."""
    fake = FakeClient()
    info = await fake.add_component("adder", WASM, env={"A": "1"})
    shutdown = trio.Event()
    admin = FakeMeshAdmin()
    addresses = await nursery.start(
        lambda task_status: serve(
            fake, settings, admin=admin, primary=primary, histories=fake, shutdown=shutdown, task_status=task_status
        )
    )
    url = httpx.URL(addresses[0])
    async with httpx.AsyncClient(base_url=url, timeout=5) as http:
        yield Gateway(fake, http, (url.host, url.port), settings, shutdown, info.component, admin)
    nursery.cancel_scope.cancel()
