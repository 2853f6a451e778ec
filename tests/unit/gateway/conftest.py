"""A gateway on a free loopback port, over the fake client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from gateway_harness import Gateway, open_gateway

from golemp2p_gateway import GatewaySettings


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(binds=("127.0.0.1:0",), body_bytes_max=64 * 1024, component_bytes_max=2 << 20, drain_timeout_s=2.0)


@pytest.fixture
async def gateway(settings: GatewaySettings, nursery: trio.Nursery) -> AsyncIterator[Gateway]:
    async with open_gateway(settings, nursery) as gateway:
        yield gateway
