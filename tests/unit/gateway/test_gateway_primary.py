"""What answers tell of the node that runs a worker, and what becomes of a request whose client has left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
from gateway_harness import Gateway, open_gateway
from httpx_ws import aconnect_ws

from golemp2p.errors import GuestTrapped
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.testing.client import FakeClient
from golemp2p_gateway import GatewaySettings, server
from golemp2p_gateway.edge import PRIMARY
from golemp2p_gateway.routes import ROUTES

HEADER = PRIMARY.decode()


def primary_of(worker: WorkerId) -> str | None:
    return None if worker.name == "lost" else f"http://10.0.0.{len(worker.name)}:9881"


@pytest.fixture
async def routed(settings: GatewaySettings, nursery: trio.Nursery) -> AsyncIterator[Gateway]:
    """A gateway of a node that knows who runs what."""
    async with open_gateway(settings, nursery, primary=primary_of) as gateway:
        yield gateway


async def test_an_invocation_tells_where_it_was_done(routed: Gateway) -> None:
    invoke = f"{routed.path}/workers/abc/invoke-and-await?function=add"
    assert (await routed.http.post(invoke, json={"params": [1, 2]})).headers[HEADER] == "http://10.0.0.3:9881"
    refused = await routed.http.post(invoke, json={"params": [1]})
    assert (refused.status_code, refused.headers[HEADER]) == (400, "http://10.0.0.3:9881")
    later = await routed.http.post(f"{routed.path}/workers/abc/invoke?function=add", json={"params": [1, 2]})
    assert later.headers[HEADER] == "http://10.0.0.3:9881"


async def test_a_trap_tells_it_as_well(routed: Gateway) -> None:
    def trap(*_: object) -> None:
        raise GuestTrapped("unreachable")

    routed.fake.functions["trap"] = (0, None, trap)
    answer = await routed.http.post(f"{routed.path}/workers/abc/invoke-and-await?function=trap", json={"params": []})
    assert (answer.status_code, answer.headers[HEADER]) == (500, "http://10.0.0.3:9881")


@pytest.mark.parametrize("call", ["invoke", "invoke-and-await"])
async def test_a_fresh_worker_is_known_when_it_is_done(routed: Gateway, call: str) -> None:
    answer = await routed.http.post(f"{routed.path}/{call}?function=add", json={"params": [1, 2]})
    name = routed.fake.calls[-1][0].name
    assert answer.headers[HEADER] == f"http://10.0.0.{len(name)}:9881"


async def test_everything_about_a_worker_tells_it(routed: Gateway) -> None:
    workers = f"{routed.path}/workers"
    created = await routed.http.post(workers, json={"name": "abcd"})
    answers = [
        created,
        await routed.http.get(f"{workers}/abcd"),
        await routed.http.get(f"{workers}/abcd/oplog?count=1"),
        await routed.http.post(f"{workers}/abcd/interrupt"),
        await routed.http.delete(f"{workers}/abcd"),
        await routed.http.get(f"{workers}/abcd"),
    ]
    assert {answer.headers.get(HEADER) for answer in answers} == {"http://10.0.0.4:9881"}
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 404]


async def test_events_tell_it_when_they_begin(routed: Gateway) -> None:
    await routed.fake.create_worker(routed.worker("abc"))
    async with aconnect_ws(f"{routed.path}/workers/abc/connect", routed.http) as socket:
        assert socket.response is not None
        assert socket.response.headers[HEADER] == "http://10.0.0.3:9881"


async def test_what_is_not_known_is_not_told(routed: Gateway, gateway: Gateway) -> None:
    for edge, name in ((routed, "lost"), (gateway, "abc")):
        answer = await edge.http.post(f"{edge.path}/workers/{name}/invoke-and-await?function=add", json={"params": [1, 2]})
        assert HEADER not in answer.headers
    for path in ("/version", f"{routed.path}", f"{routed.path}/workers"):
        assert HEADER not in (await routed.http.get(path)).headers
    assert HEADER not in (await routed.http.get(f"/v1/components/{ComponentId.of(bytes(32), 'x')}/workers/a%2Fb")).headers


async def test_the_description_says_where_it_is_told(routed: Gateway) -> None:
    """Of every route: what is answered about a worker, refusals too, has the header, and nothing else has."""
    document = (await routed.http.get("/openapi.json")).json()
    values = {"component_id": str(routed.component), "worker_name": "abc", "version": "0", "sha256": "00" * 32}
    bodies = {"create-worker": {"name": "abc"}, "complete-promise": {"oplogIdx": 1, "data": []}}
    for route in ROUTES:
        path = "/".join(values.get(part[1:-1], "x") if part.startswith("{") else part for part in route.template.split("/"))
        body = {"params": [1, 2]} if route.tag == "invocations" else bodies.get(route.operation)
        answer = await routed.http.request(route.method, f"{path}?function=add&count=1", json=body)
        described = document["paths"][route.template][route.method.lower()]["responses"]
        is_told = any(HEADER in response.get("headers", ()) for response in described.values())
        assert is_told is (HEADER in answer.headers or route.websocket), (route.operation, answer.status_code, answer.text)


# -- clients that leave


class Slow:
    """A function that never ends; ``cancelled`` counts those who gave it up."""

    def __init__(self, fake: FakeClient) -> None:
        self.started = trio.Event()
        self.cancelled = trio.Event()
        fake.functions["slow"] = (0, None, self)

    async def __call__(self) -> None:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


def request_of(gateway: Gateway) -> bytes:
    body = json.dumps({"params": []}).encode()
    target = f"{gateway.path}/workers/w/invoke-and-await?function=slow"
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are looked after all the time; asked for before the gateway."""
    monkeypatch.setattr(server, "LEFT_CHECK_S", 0.01)


@pytest.mark.parametrize("cut", [0, 1], ids=["at once", "in pieces"])
async def test_a_client_that_leaves_is_not_waited_for(often: None, gateway: Gateway, cut: int) -> None:
    slow = Slow(gateway.fake)
    data = request_of(gateway)
    async with await trio.open_tcp_stream(*gateway.address) as stream:
        await stream.send_all(data[: len(data) - cut])
        if cut:
            await trio.sleep(0.05)
            await stream.send_all(data[-cut:])
        with trio.fail_after(5):
            await slow.started.wait()
    with trio.fail_after(5):
        await slow.cancelled.wait()
    assert 'status="499"' in (await gateway.http.get("/metrics")).text


async def test_a_client_that_waits_is_answered_however_long_it_takes(often: None, gateway: Gateway) -> None:
    async def patient() -> None:
        await trio.sleep(0.2)

    gateway.fake.functions["patient"] = (0, None, patient)
    path = f"{gateway.path}/workers/w/invoke-and-await?function=patient"
    for _ in range(2):
        assert (await gateway.http.post(path, json={"params": []})).status_code == 200
