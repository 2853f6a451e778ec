"""A gateway on a free loopback port, over the fake client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from gateway_harness import WASM, Gateway

from golemp2p.testing.client import FakeClient
from golemp2p.testing.mesh_admin import FakeMeshAdmin
from golemp2p_gateway import GatewaySettings, serve


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(binds=("127.0.0.1:0",), body_bytes_max=64 * 1024, component_bytes_max=2 << 20, drain_timeout_s=2.0)


@pytest.fixture
async def gateway(settings: GatewaySettings, nursery: trio.Nursery) -> AsyncIterator[Gateway]:
    fake = FakeClient()
    info = await fake.add_component("adder", WASM, env={"A": "1"})
    shutdown = trio.Event()
    admin = FakeMeshAdmin()
    addresses = await nursery.start(
        lambda task_status: serve(fake, settings, admin=admin, shutdown=shutdown, task_status=task_status)
    )
    url = httpx.URL(addresses[0])
    async with httpx.AsyncClient(base_url=url, timeout=5) as http:
        yield Gateway(fake, http, (url.host, url.port), settings, shutdown, info.component, admin)
    nursery.cancel_scope.cancel()
