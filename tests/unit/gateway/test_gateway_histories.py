"""Histories over HTTP: streamed as they come, refused before the first byte, cut where they break."""

from __future__ import annotations

import httpx
import pytest
import trio
from gateway_harness import Gateway

from golemp2p.errors import Unreachable
from golemp2p.testing.client import FakeClient
from golemp2p_gateway import GatewaySettings, serve


async def test_a_history_is_streamed(gateway: Gateway) -> None:
    await gateway.fake.create_worker(gateway.worker("a"))
    answer = await gateway.http.get(f"/v1/mesh/history/{gateway.component}/a")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.golemp2p.history"
    assert answer.content == b"a" + str(gateway.component).encode()


async def test_the_component_may_be_left_out(gateway: Gateway) -> None:
    await gateway.fake.create_worker(gateway.worker("a"))
    path = f"/v1/mesh/history/{gateway.component}/a"
    assert (await gateway.http.get(path + "?without-component=true")).content == b"a"
    assert (await gateway.http.get(path + "?without-component=perhaps")).status_code == 400


async def test_unknown_workers_are_refused(gateway: Gateway) -> None:
    answer = await gateway.http.get(f"/v1/mesh/history/{gateway.component}/nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "worker-not-found")
    assert (await gateway.http.get("/v1/mesh/history/no-uuid/a")).status_code == 400


async def test_a_history_that_breaks_is_no_whole_answer(gateway: Gateway) -> None:
    await gateway.fake.create_worker(gateway.worker("a"))
    gateway.fake.export_failure = Unreachable("the holder is gone")
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.http.get(f"/v1/mesh/history/{gateway.component}/a")
    gateway.fake.export_failure = None
    assert (await gateway.http.get(f"/v1/mesh/history/{gateway.component}/a")).status_code == 200


async def test_a_server_without_a_mesh_says_so(nursery: trio.Nursery) -> None:
    fake = FakeClient()
    addresses = await nursery.start(lambda task_status: serve(fake, GatewaySettings(), task_status=task_status))
    async with httpx.AsyncClient(base_url=addresses[0]) as http:
        answer = await http.get("/v1/mesh/history/00000000-0000-0000-0000-000000000000/a")
    assert answer.status_code == 501
    nursery.cancel_scope.cancel()
