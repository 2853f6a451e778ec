"""The server beneath: hostile bytes, limits of size and time, keep-alive, drain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from gateway_harness import Gateway

from golemp2p.testing.client import FakeClient
from golemp2p_gateway import GatewaySettings, serve, serve_app


@pytest.mark.parametrize(
    "data",
    [b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"],
)
async def test_bytes_that_are_not_http_get_a_json_400(gateway: Gateway, data: bytes) -> None:
    answer = await gateway.raw(data)
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed-request"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
    ],
)
async def test_ambiguous_framing_is_refused_and_closed(gateway: Gateway, head: bytes) -> None:
    answer = await gateway.raw(head + b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n", end=False)
    assert answer[9:12] in {b"400", b"501"}, answer
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_request_of_two_lengths_is_the_last(gateway: Gateway) -> None:
    """RFC 9112, 6.1: what a proxy took for its body may be a request to us."""
    head = b"GET /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = await gateway.raw(head + b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n", end=False)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer


async def test_huge_headers_are_431(gateway: Gateway) -> None:
    answer = await gateway.raw(b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000, end=False)
    assert answer.startswith(b"HTTP/1.1 431"), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "head-too-large"


async def test_a_truncated_body_calls_nothing(gateway: Gateway) -> None:
    target = f"{gateway.path}/workers/w/invoke-and-await?function=add"
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n".encode()
    answer = await gateway.raw(head + b'{"params":[1,2]}')
    assert b"200 " not in answer[:15]
    assert not gateway.fake.calls


async def test_an_oversized_body_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    target = f"{gateway.path}/workers/w/invoke-and-await?function=add"
    answer = await gateway.raw(
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n".encode(), end=False
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


async def test_an_oversized_body_of_unknown_length_is_refused_on_the_way(gateway: Gateway) -> None:
    target = f"{gateway.path}/workers/w/invoke-and-await?function=add"
    async with await trio.open_tcp_stream(*gateway.address) as stream:
        await stream.send_all(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        answer = b""
        with trio.fail_after(5):
            try:
                while sent < 1 << 20:
                    await stream.send_all(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                    sent += 0x4000
                    with trio.move_on_after(0):
                        answer += await stream.receive_some()
                        break
            except trio.BrokenResourceError:
                pass
            while not answer:
                answer += await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 413"), answer


async def test_unknown_paths_and_methods_are_json(gateway: Gateway) -> None:
    unknown = await gateway.http.get("/nope")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-route")
    slash = await gateway.http.get("/healthcheck/")
    assert (slash.status_code, slash.json()["code"]) == (404, "unknown-route")
    method = await gateway.http.put(f"{gateway.path}/workers/w")
    assert (method.status_code, method.json()["code"]) == (405, "method-not-allowed")
    assert {"GET", "DELETE"} <= set(method.headers["allow"].split(", "))
    hot = await gateway.http.get(f"{gateway.path}/workers/w/invoke-and-await")
    assert (hot.status_code, hot.headers["allow"]) == (405, "POST")
    options = await gateway.raw(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert options.startswith(b"HTTP/1.1 404")


async def test_head_is_get_without_a_body(gateway: Gateway) -> None:
    answer = await gateway.http.head("/version")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(b'{"version":"0.1.0"}'))


async def test_one_connection_serves_both_ways_in_turn(gateway: Gateway) -> None:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=str(gateway.http.base_url), limits=limits) as http:
        for _ in range(3):
            assert (await http.get("/healthcheck")).json() == {}
            invoked = await http.post(f"{gateway.path}/workers/w/invoke-and-await?function=add", json={"params": [1, 2]})
            assert invoked.status_code == 200


async def test_http_2_with_prior_knowledge_is_served(gateway: Gateway) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\0" + bytes(4)
    async with await trio.open_tcp_stream(*gateway.address) as stream:
        await stream.send_all(preface)
        with trio.fail_after(5):
            answer = await stream.receive_some()
    assert answer[3] == 4  # a SETTINGS frame


async def serving(settings: GatewaySettings, nursery: trio.Nursery, fake: FakeClient) -> tuple[str, int]:
    shutdown = trio.Event()
    addresses = await nursery.start(lambda task_status: serve(fake, settings, shutdown=shutdown, task_status=task_status))
    url = httpx.URL(addresses[0])
    return url.host, url.port


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("header_timeout_s", b""),
        ("header_timeout_s", b"GET / HT"),
        ("keep_alive_timeout_s", b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("read_timeout_s", b"POST /v1/components/x/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n12"),
    ],
)
async def test_the_silent_are_closed(settings: GatewaySettings, nursery: trio.Nursery, name: str, sent: bytes) -> None:
    quick = replace(settings, **{name: 0.05})
    address = await serving(quick, nursery, FakeClient())
    async with await trio.open_tcp_stream(*address) as stream:
        if sent:
            await stream.send_all(sent)
        with trio.fail_after(5):
            while await stream.receive_some():
                pass
    nursery.cancel_scope.cancel()


async def test_a_long_invocation_is_not_timed_out(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    quick = replace(settings, header_timeout_s=0.05, keep_alive_timeout_s=0.05, read_timeout_s=0.05)
    fake = FakeClient()
    info = await fake.add_component("adder", b"\0asm")
    release = trio.Event()
    fake.functions["wait"] = (0, None, release.wait)
    host, port = await serving(quick, nursery, fake)
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http, trio.open_nursery() as calls:

        async def call() -> None:
            answer = await http.post(f"/v1/components/{info.component}/invoke-and-await?function=wait", json={"params": []})
            assert answer.status_code == 200

        calls.start_soon(call)
        # opened later than the call, and yet closed before it ends
        async with await trio.open_tcp_stream(host, port) as silent:
            with trio.fail_after(5):
                assert await silent.receive_some() == b""
        release.set()
    nursery.cancel_scope.cancel()


async def test_shutdown_lets_requests_finish_and_closes_the_idle(gateway: Gateway) -> None:
    release, started = trio.Event(), trio.Event()

    async def slow() -> None:
        started.set()
        await release.wait()

    gateway.fake.functions["slow"] = (0, None, slow)
    idle = await trio.open_tcp_stream(*gateway.address)
    await idle.send_all(b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await idle.receive_some()
    answers: list[httpx.Response] = []

    async def call() -> None:
        target = f"{gateway.path}/invoke-and-await?function=slow"
        answers.append(await gateway.http.post(target, json={"params": []}))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await started.wait()
            gateway.shutdown.set()
            assert await idle.receive_some() == b""  # at once, not after the drain
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(*gateway.address)
            release.set()
    assert answers[0].status_code == 200
    assert answers[0].headers["connection"] == "close"
    await idle.aclose()


async def test_what_does_not_finish_in_time_is_cut(settings: GatewaySettings) -> None:
    fake = FakeClient()
    info = await fake.add_component("adder", b"\0asm")
    started, shutdown = trio.Event(), trio.Event()

    async def stuck() -> None:
        started.set()
        await trio.sleep_forever()

    fake.functions["stuck"] = (0, None, stuck)
    quick = replace(settings, drain_timeout_s=0.05)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(lambda task_status: serve(fake, quick, shutdown=shutdown, task_status=task_status))
            async with httpx.AsyncClient(base_url=addresses[0]) as http, trio.open_nursery() as calls:

                async def call() -> None:
                    target = f"/v1/components/{info.component}/invoke-and-await?function=stuck"
                    with pytest.raises(httpx.RemoteProtocolError):
                        await http.post(target, json={"params": []})

                calls.start_soon(call)
                await started.wait()
                shutdown.set()


async def test_an_address_in_use_is_an_os_error(gateway: Gateway) -> None:
    taken = replace(gateway.settings, binds=("127.0.0.1:0", f"127.0.0.1:{gateway.address[1]}"))
    with pytest.raises(OSError, match="in use"):
        await serve(FakeClient(), taken)


async def test_connections_beyond_the_limit_wait(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    address = await serving(replace(settings, connections_max=1), nursery, FakeClient())
    first = await trio.open_tcp_stream(*address)
    await first.send_all(b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await first.receive_some()
    second = await trio.open_tcp_stream(*address)
    await second.send_all(b"GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with trio.move_on_after(0.05) as waited:
        await second.receive_some()
    assert waited.cancelled_caught
    await first.aclose()
    with trio.fail_after(5):
        assert (await second.receive_some()).startswith(b"HTTP/1.1 200")
    await second.aclose()
    nursery.cancel_scope.cancel()


async def test_a_reader_that_takes_nothing_is_cut(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    told = trio.Event()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        async with trio.open_nursery() as sending:

            async def listen() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                told.set()
                sending.cancel_scope.cancel()

            sending.start_soon(listen)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})

    quick = replace(settings, write_timeout_s=0.05)
    addresses = await nursery.start(lambda task_status: serve_app(flood, quick, task_status=task_status))
    url = httpx.URL(addresses[0])
    async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with trio.fail_after(5):
            await told.wait()
    nursery.cancel_scope.cancel()


async def test_answers_that_the_socket_takes_in_part_arrive_whole(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    body = bytes(range(250)) * 1000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    addresses = await nursery.start(lambda task_status: serve_app(app, settings, task_status=task_status))
    url = httpx.URL(addresses[0])
    count, received = 40, bytearray()  # ten million bytes: more than the buffers of both sockets hold
    async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * count)
        await trio.testing.wait_all_tasks_blocked(0.05)  # the server cannot go on: we have read nothing
        with trio.fail_after(20):
            while received.count(b"HTTP/1.1 200") < count or len(received.rpartition(b"\r\n\r\n")[2]) < len(body):
                received += await stream.receive_some()
    answers = bytes(received).split(b"HTTP/1.1 200")[1:]
    assert [answer.partition(b"\r\n\r\n")[2] == body for answer in answers] == [True] * count
    nursery.cancel_scope.cancel()


async def test_a_head_without_length_is_sent_before_its_body(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    more = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await more.wait()
        await send({"type": "http.response.body", "body": b"late", "more_body": False})

    addresses = await nursery.start(lambda task_status: serve_app(app, settings, task_status=task_status))
    async with httpx.AsyncClient() as http, http.stream("GET", addresses[0]) as answer:
        assert answer.status_code == 200
        more.set()
        assert await answer.aread() == b"late"
    nursery.cancel_scope.cancel()


async def test_an_app_that_fails_ends_only_its_request(
    settings: GatewaySettings, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    addresses = await nursery.start(lambda task_status: serve_app(app, settings, task_status=task_status))
    async with httpx.AsyncClient() as http:
        for _ in range(2):
            assert (await http.get(addresses[0])).status_code == 500
    assert [record.message for record in caplog.records].count("Error in ASGI Framework") == 2
    nursery.cancel_scope.cancel()
