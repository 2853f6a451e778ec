"""Invocations over real sockets, and all that can be wrong with a request."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import trio
import trio.testing
from gateway_harness import Gateway

from golemp2p import errors
from golemp2p.model.wit import Handle, ListOf, Primitive

STR = Primitive("string")


async def test_awaits_a_result_with_its_type(gateway: Gateway) -> None:
    answer = await gateway.http.post(
        f"{gateway.path}/workers/w1/invoke-and-await",
        params={"function": "demo:adder/api@1.0.0.{add}"},
        headers={"Idempotency-Key": "k-1"},
        json={"params": [{"value": 2}, {"value": 3}]},
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == {"result": {"typ": {"type": "Tuple", "items": [{"type": "U64"}]}, "value": [5]}}
    (call,) = gateway.fake.calls
    assert call == (gateway.worker("w1"), "demo:adder/api@1.0.0.{add}", [{"value": 2}, {"value": 3}], "k-1")


async def test_a_function_without_result_answers_an_empty_tuple(gateway: Gateway) -> None:
    gateway.fake.functions["nothing"] = (0, None, lambda: None)
    answer = await gateway.http.post(f"{gateway.path}/invoke-and-await", params={"function": "nothing"}, json={"params": []})
    assert answer.json() == {"result": {"typ": {"type": "Tuple", "items": []}, "value": []}}


async def test_handles_name_the_worker_that_holds_them(gateway: Gateway) -> None:
    gateway.fake.functions["make"] = (0, Handle("demo:x/y#r", owned=True), lambda: 7)
    named = await gateway.http.post(f"{gateway.path}/workers/w%3A1/invoke-and-await?function=make", json={"params": []})
    assert named.json()["result"]["value"] == [f"urn:worker:{gateway.component}/w:1/7"]
    fresh = await gateway.http.post(f"{gateway.path}/invoke-and-await?function=make", json={"params": []})
    assert fresh.json()["result"]["value"] == [f"urn:worker:{gateway.component}/fresh-1/7"]


async def test_enqueue_answers_an_empty_object(gateway: Gateway) -> None:
    answer = await gateway.http.post(f"{gateway.path}/workers/w/invoke?function=add", json={"params": [1, 2]})
    assert (answer.status_code, answer.json()) == (200, {})
    assert gateway.fake.calls[0][3] is None


@pytest.mark.parametrize("name", ["ü-€-🦀", "a%b", "a+b?c#d", "50%25", "-not-first"[1:], "."])
async def test_worker_names_are_percent_decoded_once(gateway: Gateway, name: str) -> None:
    target = f"{gateway.path}/workers/{quote(name, safe='')}/invoke-and-await?function=add"
    body = b'{"params":[1,2]}'
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    answer = await gateway.raw(head + body)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert gateway.fake.calls[0][0].name == name


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("{c}/workers/a%2Fb/invoke-and-await?function=add", 400, "invalid-name"),
        ("{c}/workers/%FF/invoke-and-await?function=add", 400, "malformed-request"),
        ("{c}/workers/-a/invoke-and-await?function=add", 400, "invalid-name"),
        ("{c}/workers/a%20b/invoke-and-await?function=add", 400, "invalid-name"),
        ("{c}/workers/w/invoke-and-await", 400, "malformed-request"),
        ("{c}/workers/w/invoke-and-await?function=add&function=add", 400, "malformed-request"),
        ("{c}/workers/w/invoke-and-await?function=%FF", 400, "malformed-request"),
        ("{c}/workers/w/invoke-and-await?function=nope", 404, "function-not-found"),
        ("/v1/components/no-uuid/workers/w/invoke-and-await?function=add", 400, "invalid-name"),
        (
            "/v1/components/00000000-0000-0000-0000-000000000000/workers/w/invoke-and-await?function=add",
            404,
            "component-not-found",
        ),
    ],
)
async def test_refuses_what_the_path_gets_wrong(gateway: Gateway, path: str, status: int, code: str) -> None:
    body = b'{"params":[1,2]}'
    target = path.replace("{c}", gateway.path)
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    answer = await gateway.raw(head + body)
    assert int(answer[9:12]) == status, answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code
    assert not gateway.fake.calls


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed-request"),
        (b"{", 400, "malformed-request"),
        (b"\xff\xfe", 400, "malformed-request"),
        (b'{"params":[NaN,1]}', 400, "malformed-request"),
        (b'{"params":[1,2],"params":[3,4]}', 400, "malformed-request"),
        (b'{"params":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "malformed-request"),
        (b'{"params":' + b"[" * 30000, 400, "malformed-request"),
        (b'{"params":[' + b"9" * 5000 + b"]}", 400, "malformed-request"),
        (b"[1,2]", 400, "malformed-request"),
        (b'{"params":{}}', 400, "malformed-request"),
        (b"{}", 400, "malformed-request"),
        (b'{"params":[1]}', 400, "wrong-arity"),
        (b'{"params":["' + b"x" * 70_000 + b'"]}', 413, "payload-too-large"),
    ],
)
async def test_refuses_what_the_body_gets_wrong(gateway: Gateway, body: bytes, status: int, code: str) -> None:
    answer = await gateway.http.post(
        f"{gateway.path}/workers/w/invoke-and-await?function=add",
        content=body,
        headers={"content-type": "application/json"},
    )
    refused = answer.json()
    assert (answer.status_code, refused["code"]) == (status, code)
    assert refused["message"]
    assert ("errors" in refused) == (status == 400)
    assert not gateway.fake.calls
    again = await gateway.http.post(f"{gateway.path}/workers/w/invoke-and-await?function=add", json={"params": [1, 2]})
    assert again.status_code == 200


async def test_wrong_content_type_is_415(gateway: Gateway) -> None:
    answer = await gateway.http.post(
        f"{gateway.path}/invoke-and-await?function=add", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("error", "status", "golem"),
    [
        (errors.ValueMismatch("params[0].x", "f32", '"a"'), 400, None),
        (errors.GuestTrapped("unreachable", "frame 0"), 500, {"type": "RuntimeError", "details": "unreachable"}),
        (errors.LimitExceeded("memory_bytes_max", "too much"), 500, {"type": "RuntimeError", "details": "too much"}),
        (errors.PreviousInvocationExited("x"), 500, {"type": "PreviousInvocationExited"}),
        (errors.WorkerInterrupted("stop"), 500, {"type": "Interrupted", "recoverImmediately": False}),
        (errors.Divergence(3, "now", "rand"), 500, {"type": "UnexpectedOplogEntry", "expected": "now", "got": "rand"}),
        (errors.InvocationCanceled("canceled"), 409, None),
        (errors.Overloaded("full", 0.2), 503, None),
        (errors.Draining("bye"), 503, None),
        (errors.StorageFull("disk"), 507, None),
        (errors.DataDamaged("worker x", "hash"), 500, {"type": "Unknown", "details": "worker x: hash"}),
    ],
)
async def test_errors_of_the_client_become_answers(
    gateway: Gateway, error: errors.Golemp2pError, status: int, golem: dict[str, object] | None
) -> None:
    async def fail() -> None:
        raise error

    gateway.fake.functions["fail"] = (0, None, fail)
    answer = await gateway.http.post(f"{gateway.path}/invoke-and-await?function=fail", json={"params": []})
    body = answer.json()
    assert (answer.status_code, body["code"], body["message"]) == (status, error.code, str(error))
    assert body.get("golemError") == golem
    if isinstance(error, errors.ValueMismatch):
        assert (body["path"], body["expected"], body["got"]) == ("params[0].x", "f32", '"a"')
        assert body["errors"] == [str(error)]
    assert ("retry-after" in answer.headers) == isinstance(error, errors.WorldError)
    if isinstance(error, errors.Overloaded):
        assert (answer.headers["retry-after"], body["retryAfterSeconds"]) == ("1", 0.2)


async def test_our_own_mistakes_are_logged_and_not_told(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.fake.functions["bug"] = (0, None, lambda: {}["secret"])
    gateway.fake.functions["lie"] = (0, ListOf(STR), lambda: 5)
    for function in ("bug", "lie"):
        answer = await gateway.http.post(f"{gateway.path}/invoke-and-await?function={function}", json={"params": []})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret" not in answer.text
    assert [record.message for record in caplog.records].count("request_failed") == 2


async def test_invocations_of_one_connection_may_be_pipelined(gateway: Gateway) -> None:
    target = f"{gateway.path}/workers/w/invoke-and-await?function=add"
    request = b""
    for i in range(5):
        body = b'{"params":[%d,1]}' % i
        request += f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    answer = await gateway.raw(request)
    assert answer.count(b"HTTP/1.1 200") == 5
    values = [json.loads(part.partition(b"HTTP/1.1")[0])["result"]["value"] for part in answer.split(b"\r\n\r\n")[1:]]
    assert values == [[1], [2], [3], [4], [5]]


async def test_a_body_in_pieces_is_read_as_one(gateway: Gateway) -> None:
    target = f"{gateway.path}/workers/w/invoke-and-await?function=add"
    async with await trio.open_tcp_stream(*gateway.address) as stream:
        await stream.send_all(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for piece in (b'{"par', b'ams":[', b"4,5]}"):
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
        await stream.send_all(b"0\r\n\r\n")
        with trio.fail_after(5):
            answer = await stream.receive_some()
    assert answer.endswith(b'"value":[9]}}')


async def test_distinct_connections_run_at_the_same_time(gateway: Gateway) -> None:
    arrived = 0
    both = trio.Event()

    async def meet() -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            both.set()
        await both.wait()

    gateway.fake.functions["meet"] = (0, None, meet)

    async def call() -> None:
        answer = await gateway.http.post(f"{gateway.path}/invoke-and-await?function=meet", json={"params": []})
        assert answer.status_code == 200

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(call)
