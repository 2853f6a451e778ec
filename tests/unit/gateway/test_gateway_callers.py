"""Whom the edge answers: hosts it is known by, and no web page but its own."""

from __future__ import annotations

import httpx
import pytest
import trio
from gateway_harness import WASM, Gateway
from httpx_ws import WebSocketUpgradeError, aconnect_ws

from golemp2p.testing.client import FakeClient
from golemp2p_gateway import GatewaySettings, serve
from golemp2p_gateway.callers import Callers, ForeignOrigin, MisdirectedRequest

SETTINGS = GatewaySettings(binds=("127.0.0.1:9881", "[::1]:9881"), hosts=("Node.Example",))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9881", "127.0.0.1", "localhost:9881", "LOCALHOST", "localhost.", "app.localhost:9881", "[::1]:9881", "[::1]",
        "192.168.1.7:9881", "node.example", "NODE.EXAMPLE:443",
    ],
)  # fmt: skip
def test_our_own_names_pass(host: str) -> None:
    Callers(SETTINGS).check([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:9881",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "",
        "[",
        "a@127.0.0.1",
    ],
)
def test_names_of_others_are_refused(host: str) -> None:
    callers = Callers(SETTINGS)
    for _ in range(2):  # a refusal is never remembered as known
        with pytest.raises(MisdirectedRequest):
            callers.check([(b"host", host.encode())])


def test_memory_of_names_is_bounded() -> None:
    callers = Callers(SETTINGS)
    for port in range(1000):
        callers.check([(b"host", b"localhost:%d" % port)])
    assert len(callers._known) <= 64


def test_no_browser_no_host() -> None:
    Callers(SETTINGS).check([])


def test_a_socket_file_has_no_name() -> None:
    Callers(GatewaySettings(binds=("unix:/run/edge",))).check([(b"host", b"whatever")])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9881", "https://127.0.0.1:9881"])
def test_our_own_pages_may_call(origin: str) -> None:
    Callers(SETTINGS).check([(b"host", b"127.0.0.1:9881"), (b"origin", origin.encode())])


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:3000", "http://localhost:9881", "127.0.0.1:9881"]
)
def test_pages_of_others_may_not(origin: str) -> None:
    with pytest.raises(ForeignOrigin):
        Callers(SETTINGS).check([(b"host", b"127.0.0.1:9881"), (b"origin", origin.encode())])


@pytest.mark.parametrize("path", ["/healthcheck", "/v1/components", "/nowhere"])
async def test_rebound_names_get_421(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path, headers={"Host": "evil.example:9881"})
    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected-request")
    assert "http_hosts" in answer.json()["message"]


async def test_a_page_of_others_changes_nothing(gateway: Gateway) -> None:
    """Neither as a form, which browsers send unasked, nor on the path of invocations."""
    foreign = {"Origin": "http://evil.example"}
    upload = await gateway.http.post("/v1/components", data={"name": "evil"}, files={"component": WASM}, headers=foreign)
    invoked = await gateway.http.post(
        f"{gateway.path}/workers/w/invoke-and-await?function=add", json={"params": [1, 2]}, headers=foreign
    )
    for answer in (upload, invoked):
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin")
    assert (await gateway.http.get("/v1/components?component-name=evil")).json() == []
    assert (await gateway.http.get(f"{gateway.path}/workers/w")).status_code == 404


@pytest.mark.parametrize(("headers", "status"), [({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 421)])
async def test_a_page_of_others_hears_no_events(gateway: Gateway, headers: dict[str, str], status: int) -> None:
    url = f"ws://127.0.0.1:{gateway.address[1]}{gateway.path}/workers/w/connect"
    with trio.fail_after(5), pytest.raises((WebSocketUpgradeError, BaseExceptionGroup)) as caught:
        async with aconnect_ws(url, gateway.http, headers=headers):
            pass
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, WebSocketUpgradeError)
    assert error.response.status_code == status


async def test_http2_is_checked_as_well(gateway: Gateway) -> None:
    async with httpx.AsyncClient(http1=False, http2=True, base_url=str(gateway.http.base_url), timeout=5) as http:
        assert (await http.get("/healthcheck")).status_code == 200
        assert (await http.get("/healthcheck", headers={"Host": "evil.example"})).status_code == 421


async def test_settings_name_further_hosts(nursery: trio.Nursery) -> None:
    settings = GatewaySettings(binds=("127.0.0.1:0",), hosts=("node.example",))
    (url,) = await nursery.start(lambda task_status: serve(FakeClient(), settings, task_status=task_status))
    async with httpx.AsyncClient(base_url=url, timeout=5) as http:
        assert (await http.get("/healthcheck", headers={"Host": "node.example"})).status_code == 200
    nursery.cancel_scope.cancel()
