"""Components, workers, oplogs and the node over real sockets, in Golem's shapes."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest
import trio
import trio.testing
from gateway_harness import WASM, Gateway
from httpx_ws import WebSocketDisconnect, WebSocketUpgradeError, aconnect_ws

from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p.ports import CompilationState
from golemp2p.testing.client import NOW_NS, FakeClient
from golemp2p.values.cbor import dumps
from golemp2p_gateway import GatewaySettings, serve
from golemp2p_gateway.routes import ROUTES

ADD = "demo:adder/api@1.0.0.{add}"


async def test_a_component_is_uploaded_listed_and_downloaded(gateway: Gateway) -> None:
    http = gateway.http
    made = await http.post(
        "/v1/components",
        data={"name": "cart", "componentType": "Ephemeral", "env": json.dumps({"keyValues": {"X": "1"}})},
        files={"component": ("cart.wasm", WASM * 10_000, "application/wasm")},
    )
    assert made.status_code == 200, made.text
    component = made.json()
    identity = component["versionedComponentId"]["componentId"]
    assert component["componentType"] == "Ephemeral"
    assert component["env"] == {"X": "1"}
    assert component["createdAt"] == "2023-11-14T22:13:20.123456Z"
    assert component["metadata"]["exports"] == [
        {
            "type": "Instance",
            "name": "demo:adder/api@1.0.0",
            "functions": [
                {
                    "name": "add",
                    "parameters": [{"name": "a", "typ": {"type": "U64"}}, {"name": "b", "typ": {"type": "U64"}}],
                    "results": [{"name": None, "typ": {"type": "U64"}}],
                }
            ],
        }
    ]
    again = await http.post("/v1/components", data={"name": "cart"}, files={"component": WASM})
    assert (again.status_code, again.json()["code"]) == (409, "component-already-exists")
    assert again.json()["error"] == again.json()["message"]
    updated = await http.post(f"/v1/components/{identity}/updates", files={"component": WASM})
    assert updated.json()["versionedComponentId"]["version"] == 1
    assert (updated.json()["componentType"], updated.json()["env"]) == ("Ephemeral", {"X": "1"})
    raw = await http.put(f"/v1/components/{identity}/upload?component_type=Durable", content=WASM + b"3")
    assert raw.json()["componentType"] == "Durable"
    assert (await http.get(f"/v1/components/{identity}/latest")).json()["versionedComponentId"]["version"] == 2
    assert len((await http.get(f"/v1/components/{identity}")).json()) == 3
    assert [c["componentName"] for c in (await http.get("/v1/components?component-name=cart")).json()] == ["cart"] * 3
    assert (await http.get(f"/v1/components/{identity}/versions/9")).status_code == 404
    assert (await http.get(f"/v1/components/{identity}/versions/x")).status_code == 400
    first = await http.get(f"/v1/components/{identity}/download?version=0")
    assert first.content == WASM * 10_000
    assert first.headers["content-type"] == "application/octet-stream"
    found = await http.post("/v1/components/search", json={"components": [{"name": "cart"}, {"name": "cart", "version": 0}]})
    assert [c["versionedComponentId"]["version"] for c in found.json()] == [2, 0]


@pytest.mark.parametrize(
    ("data", "files", "status"),
    [
        ({"name": "a"}, {"x": b""}, 400),
        ({"name": ""}, {"component": WASM}, 400),
        ({"name": "a\n"}, {"component": WASM}, 400),
        ({"name": "a b"}, {"component": WASM}, 400),
        ({"name": "a" * 257}, {"component": WASM}, 400),
        ({"name": "a", "componentType": "Both"}, {"component": WASM}, 400),
        ({"name": "a", "env": '{"keyValues":{"A=B":"x"}}'}, {"component": WASM}, 400),
        ({"name": "a", "env": '{"keyValues":{"A":1}}'}, {"component": WASM}, 400),
        ({"name": "a"}, {"component": b"not wasm"}, 400),
        ({"name": "a"}, {"component": WASM, "files": b"PK"}, 501),
        ({"name": "a", "filesPermissions": '{"values":[{"path":"/a"}]}'}, {"component": WASM}, 501),
        ({"name": "a"}, {"component": WASM + bytes(4 << 20)}, 413),
    ],
)
async def test_uploads_that_are_refused(gateway: Gateway, data: dict[str, str], files: dict[str, bytes], status: int) -> None:
    answer = await gateway.http.post("/v1/components", data=data, files=files)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"]
    assert len(gateway.fake.versions) == 1


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=name\r\n\r\nabc"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--"),
        ("multipart/form-data; boundary=" + "x" * 100, b""),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 50 + b"--x--"),
    ],
)
async def test_multipart_bodies_that_cannot_be_read(gateway: Gateway, content_type: str, body: bytes) -> None:
    answer = await gateway.http.post("/v1/components", content=body, headers={"content-type": content_type})
    assert answer.status_code in {400, 415}, answer.text
    assert len(gateway.fake.versions) == 1


async def test_the_life_of_a_worker(gateway: Gateway) -> None:
    http, path = gateway.http, f"{gateway.path}/workers"
    made = await http.post(path, json={"name": "w", "args": ["x"], "env": {"A": "b"}})
    identity = {"componentId": str(gateway.component), "workerName": "w"}
    assert made.json() == {"workerId": identity, "componentVersion": 0}
    again = await http.post(path, json={"name": "w", "args": [], "env": {}})
    assert (again.status_code, again.json()["code"]) == (409, "worker-already-exists")
    metadata = (await http.get(f"{path}/w")).json()
    assert (metadata["workerId"], metadata["args"], metadata["env"]) == (identity, ["x"], {"A": "b"})
    assert (metadata["status"], metadata["updates"], metadata["ownedResources"]) == ("Idle", [], {})
    assert (await http.post(f"{path}/w/interrupt?recovery-immediately=true")).json() == {}
    assert gateway.fake.calls[-1] == ("interrupt", gateway.worker("w"), True)
    assert (await http.post(f"{path}/w/interrupt?recovery-immediately=yes")).status_code == 400
    assert (await http.post(f"{path}/w/interrupt")).json() == {}
    assert (await http.get(f"{path}/w")).json()["status"] == "Interrupted"
    assert (await http.post(f"{path}/w/resume")).json() == {}
    gateway.fake.pending[gateway.worker("w"), "k/1"] = True
    assert (await http.delete(f"{path}/w/invocations/k%2F1")).json() == {"canceled": True}
    assert (await http.delete(f"{path}/w/invocations/other")).status_code == 400
    gateway.fake.promises[gateway.worker("w"), 3] = None
    complete = {"oplogIdx": 3, "data": [1, 255]}
    assert (await http.post(f"{path}/w/complete", json=complete)).json() is True
    assert (await http.post(f"{path}/w/complete", json=complete)).json() is False
    assert (await http.post(f"{path}/w/complete", json={"oplogIdx": 4, "data": []})).status_code == 404
    for wrong in ({"oplogIdx": -1, "data": []}, {"oplogIdx": 3, "data": [256]}, {"oplogIdx": 3, "data": [True]}, [], {}):
        assert (await http.post(f"{path}/w/complete", json=wrong)).status_code == 400
    assert (await http.delete(f"{path}/w")).json() == {}
    assert (await http.get(f"{path}/w")).json()["code"] == "worker-not-found"


async def test_workers_are_listed_page_by_page(gateway: Gateway) -> None:
    for i in range(5):
        await gateway.fake.create_worker(gateway.worker(f"w{i}"))
    path = f"{gateway.path}/workers"
    names, cursor = [], None
    while True:
        params = {"count": "2", "filter": "name like w"} | ({} if cursor is None else {"cursor": cursor})
        page = (await gateway.http.get(path, params=params)).json()
        names += [worker["workerId"]["workerName"] for worker in page["workers"]]
        if "cursor" not in page:
            break
        cursor = f"{page['cursor']['layer']}/{page['cursor']['cursor']}"
    assert names == ["w0", "w1", "w2", "w3", "w4"]
    tree = {
        "type": "Not",
        "filter": {
            "type": "Or",
            "filters": [{"type": "Name", "comparator": "Equal", "value": f"w{i}"} for i in (0, 3)],
        },
    }
    first = (await gateway.http.post(f"{path}/find", json={"filter": tree, "count": 2})).json()
    second = (await gateway.http.post(f"{path}/find", json={"filter": tree, "cursor": first["cursor"]})).json()
    found = [worker["workerId"]["workerName"] for page in (first, second) for worker in page["workers"]]
    assert found == ["w1", "w2", "w4"]
    for query in ("count=0", "count=x", "cursor=5", "filter=name", "filter=size+%3E+3", "filter=status+like+I", "precise=1"):
        assert (await gateway.http.get(f"{path}?{query}")).status_code == 400, query


async def test_an_oplog_is_shown_typed_and_searched(gateway: Gateway) -> None:
    http, worker = gateway.http, gateway.worker("w")
    await gateway.fake.create_worker(worker)
    gateway.fake.oplogs[worker] += [
        e.PendingInvocation(NOW_NS, ADD, "k", dumps([1, 2])),
        e.ExportedFunctionInvoked(NOW_NS, ADD, "k", dumps([1, 2])),
        e.ImportedFunctionInvoked(NOW_NS, "wasi:clocks/wall-clock::now", "read-local", bytes(16), dumps(77)),
        e.ImportedFunctionInvoked(NOW_NS, "ours::odd", "write-remote", bytes(16), dumps({"a": 1})),
        e.Log(NOW_NS, "stdout", "", "hello world"),
        e.ExportedFunctionCompleted(NOW_NS, dumps(3), 0),
        e.PromiseCompleted(NOW_NS, 4, b"\1\2"),
        e.Failed(NOW_NS, "guest-trapped", "boom", True),
        e.ChangeRetryPolicy(NOW_NS, e.RetryPolicy()),
        e.ExportedFunctionInvoked(NOW_NS, "gone.{f}", "k2", b"\xff"),
    ]
    path = f"{gateway.path}/workers/w/oplog"
    page = (await http.get(path, params={"count": 100})).json()
    assert (page["firstIndexInChunk"], page["lastIndex"], "next" in page) == (1, 11, False)
    shown = [item["entry"] for item in page["entries"]]
    assert [entry["type"] for entry in shown] == [
        "Create", "PendingWorkerInvocation", "ExportedFunctionInvoked", "ImportedFunctionInvoked",
        "ImportedFunctionInvoked", "Log", "ExportedFunctionCompleted", "PromiseCompleted", "Error", "ChangeRetryPolicy",
        "ExportedFunctionInvoked",
    ]  # fmt: skip
    u64 = {"type": "U64"}
    assert shown[2]["request"] == [{"typ": u64, "value": 1}, {"typ": u64, "value": 2}]
    assert shown[3]["response"] == {"typ": u64, "value": 77}
    assert shown[3]["request"] == {"hash": "00" * 16}
    assert shown[3]["wrappedFunctionType"] == {"type": "ReadLocal"}
    assert shown[4]["response"] == {"typ": {"type": "Str"}, "value": "{'a': 1}"}
    assert (shown[5]["level"], shown[5]["message"]) == ("Stdout", "hello world")
    assert shown[6]["response"] == {"typ": u64, "value": 3}
    assert (shown[7]["promiseIndex"], shown[7]["data"]) == (4, [1, 2])

    late = (await http.get(path, params={"count": 1, "from": 7})).json()
    assert late["entries"] == [page["entries"][6]]  # typed by an invocation before the page
    assert late["next"] == {"nextOplogIndex": 8, "currentComponentVersion": 0}
    following = (await http.get(path, params={"count": 1, "cursor": "8-0"})).json()
    assert following["entries"][0]["oplogIndex"] == 8

    async def search(query: str) -> list[int]:
        answer = await http.get(path, params={"count": 100, "query": query})
        assert answer.status_code == 200, answer.text
        return [item["oplogIndex"] for item in answer.json()["entries"]]

    assert await search("hello") == [6]
    assert await search('message:"HELLO world"') == [6]
    assert await search("type:Log OR type:Error") == [6, 9]
    assert await search("type:ImportedFunctionInvoked AND NOT functionName:ours") == [4]
    assert await search("(type:log type:error) && -boom") == [6]
    assert await search("jump:*") == []
    first = (await http.get(path, params={"count": 1, "query": "type:ImportedFunctionInvoked"})).json()
    assert (first["entries"][0]["oplogIndex"], first["next"]["nextOplogIndex"]) == (4, 5)
    queries = ("(a", "a)", "AND", "NOT", '"a', "(" * 40 + "a" + ")" * 40, "")
    for wrong in ("count=0", "", "count=5&from=1&query=x", *(f"count=5&query={query}" for query in queries)):
        assert (await http.get(f"{path}?{wrong}")).status_code == 400, wrong


async def test_events_come_as_text_frames(gateway: Gateway) -> None:
    worker = gateway.worker("w-ü")
    url = f"{gateway.path}/workers/w-%C3%BC/connect"
    async with aconnect_ws(f"ws://127.0.0.1:{gateway.address[1]}{url}", gateway.http) as socket:
        gateway.fake.emit(worker, WorkerEvent("stdout", NOW_NS, message="hé"))
        gateway.fake.emit(worker, WorkerEvent("log", NOW_NS, level="info", context="c", message="m"))
        gateway.fake.emit(worker, WorkerEvent("invocation-start", NOW_NS, function="f", idempotency_key="k"))
        gateway.fake.emit(worker, WorkerEvent("close", NOW_NS))
        with trio.fail_after(5):
            frames = [json.loads(await socket.receive_text()) for _ in range(4)]
            time = "2023-11-14T22:13:20.123456Z"
            assert frames == [
                {"StdOut": {"timestamp": time, "bytes": list("hé".encode())}},
                {"Log": {"timestamp": time, "level": "info", "context": "c", "message": "m"}},
                {"InvocationStart": {"timestamp": time, "function": "f", "idempotency_key": "k"}},
                "Close",
            ]
            gateway.fake.listeners[worker][0].close()
            with pytest.raises(WebSocketDisconnect) as closed:
                await socket.receive_text()
    assert closed.value.code == 1000


async def test_a_listener_that_lags_is_dropped_with_a_code(settings: GatewaySettings, nursery: trio.Nursery) -> None:
    fake = FakeClient()
    worker = WorkerId((await fake.add_component("adder", WASM)).component, "w")
    few = replace(settings, websocket_events_max=16)
    (address,) = await nursery.start(lambda task_status: serve(fake, few, task_status=task_status))
    async with httpx.AsyncClient() as http:
        url = f"{address.replace('http', 'ws')}/v1/components/{worker.component}/workers/w/connect"
        async with aconnect_ws(url, http) as socket:
            for _ in range(2000):
                fake.emit(worker, WorkerEvent("stdout", NOW_NS, message="x" * 100))
            code = 0
            with trio.fail_after(5):
                while not code:
                    try:
                        await socket.receive_text()
                    except WebSocketDisconnect as closed:
                        code = closed.code
    assert code == 1013
    assert not fake.listeners[worker]
    nursery.cancel_scope.cancel()


async def test_a_listener_that_leaves_is_forgotten(gateway: Gateway) -> None:
    worker = gateway.worker("w")
    async with aconnect_ws(f"ws://127.0.0.1:{gateway.address[1]}{gateway.path}/workers/w/connect", gateway.http) as socket:
        await socket.send_text("ignored")
        gateway.fake.emit(worker, WorkerEvent("close", NOW_NS))
        assert await socket.receive_text() == '"Close"'  # the first ping came before: no pong can cross our leaving
        assert len(gateway.fake.listeners[worker]) == 1
    with trio.fail_after(5):
        while gateway.fake.listeners[worker]:
            await trio.testing.wait_all_tasks_blocked()


async def test_a_closed_stream_frees_its_connection_before_the_next_ping(settings: GatewaySettings) -> None:
    fake = FakeClient()
    worker = WorkerId((await fake.add_component("adder", WASM)).component, "w")
    shutdown = trio.Event()
    with trio.fail_after(5):  # far less than websocket_ping_s and drain_timeout_s
        async with trio.open_nursery() as nursery:
            patient = replace(settings, websocket_ping_s=300.0, drain_timeout_s=300.0)
            (address,) = await nursery.start(
                lambda task_status: serve(fake, patient, shutdown=shutdown, task_status=task_status)
            )
            url = f"{address.replace('http', 'ws')}/v1/components/{worker.component}/workers/w/connect"
            async with httpx.AsyncClient() as http, aconnect_ws(url, http) as socket:
                fake.emit(worker, WorkerEvent("close", NOW_NS))
                assert await socket.receive_text() == '"Close"'
            shutdown.set()


async def test_what_cannot_be_connected_is_an_http_answer(gateway: Gateway) -> None:
    unknown = "/v1/components/00000000-0000-0000-0000-000000000000/workers/w/connect"
    with pytest.raises(WebSocketUpgradeError) as refused:
        async with aconnect_ws(f"ws://127.0.0.1:{gateway.address[1]}{unknown}", gateway.http):
            pass
    assert refused.value.response.status_code == 404
    plain = await gateway.http.get(f"{gateway.path}/workers/w/connect")
    assert (plain.status_code, plain.json()["code"]) == (400, "upgrade-required")


async def test_the_node_tells_about_itself(gateway: Gateway) -> None:
    http = gateway.http
    assert (await http.get("/healthcheck")).json() == {}
    assert (await http.get("/version")).json() == {"version": "0.1.0"}
    assert (await http.get("/v1/mesh/node")).json()["mesh"] == "mesh"
    digest = bytes(range(32))
    gateway.fake.compilations[digest] = CompilationState("compiling", 1.25, 10, None)
    assert (await http.get(f"/v1/mesh/compilations/{digest.hex()}")).json() == {
        "phase": "compiling", "elapsedSeconds": 1.25, "sizeBytes": 10, "error": None,
    }  # fmt: skip
    assert (await http.get(f"/v1/mesh/compilations/{'00' * 32}")).status_code == 404
    assert (await http.get("/v1/mesh/compilations/xyz")).status_code == 400
    await http.get("/stranger")
    metrics = (await http.get("/metrics")).text
    assert "golemp2p_invocations_total 0.0" in metrics
    assert "golemp2p_workers_loaded 0.0" in metrics
    assert 'golemp2p_http_request_seconds_count{method="GET",route="/healthcheck",status="200"} 1.0' in metrics
    assert "stranger" not in metrics


async def test_openapi_describes_every_route(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == {(route.template, route.method.lower()) for route in ROUTES}
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, item in document["paths"].items():
        for operation in item.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    schemas = document["components"]["schemas"]
    referred = json.dumps(document).split('"#/components/schemas/')[1:]
    assert {text.partition('"')[0] for text in referred} <= set(schemas)


async def test_every_route_is_served(gateway: Gateway) -> None:
    """No route of the table falls through to the 404 of unknown paths, and none answers with a bug."""
    values = {"component_id": str(gateway.component), "worker_name": "none", "version": "0", "sha256": "00" * 32}
    for route in ROUTES:
        path = "/".join(values.get(part[1:-1], "x") if part.startswith("{") else part for part in route.template.split("/"))
        answer: httpx.Response = await gateway.http.request(route.method, path)
        assert answer.status_code < 500, (route.operation, answer.text)
        if answer.status_code == 404:
            assert answer.json()["code"] != "unknown-route", route.operation
