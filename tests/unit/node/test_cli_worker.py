"""``golemp2p worker`` against a scripted node: requests, results, paging, errors with advice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from node_fakes import COMPONENT_ID, FakeNode, Run, Seen, worker

WORKERS = f"/v1/components/{COMPONENT_ID}/workers"
MINE = f"{WORKERS}/mine"


def result(value: Any) -> dict[str, Any]:
    return {"result": {"typ": {"type": "Tuple", "items": []}, "value": value}}


def test_invoke_sends_typed_free_params_and_a_key(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"{MINE}/invoke-and-await", result([12]))
    ran = golemp2p("worker", "invoke", "counter/mine", "api.{add}", "5", '"x"', "-7", '{"a": [null, 1.5]}')
    assert (ran.code, ran.out) == (0, "12\n")
    sent = node.last("POST")
    assert sent.query == {"function": ["api.{add}"]}
    assert sent.json == {"params": [{"value": 5}, {"value": "x"}, {"value": -7}, {"value": {"a": [None, 1.5]}}]}
    assert len(sent.headers["idempotency-key"]) == 36


def test_big_integers_survive_both_ways(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"{MINE}/invoke-and-await", result([2**64 - 1]))
    assert golemp2p("worker", "invoke", "counter/mine", "f", str(2**64 - 1)).out == f"{2**64 - 1}\n"
    assert node.last("POST").json == {"params": [{"value": 2**64 - 1}]}


def test_invoke_for_programs_is_the_nodes_answer(golemp2p: Run, node: FakeNode) -> None:
    answer = result(["ünïcode", {"some": 1}])
    node.on("POST", f"{MINE}/invoke-and-await", answer)
    assert json.loads(golemp2p("worker", "invoke", "counter/mine", "f", "--format", "json").out) == answer
    assert golemp2p("worker", "invoke", "counter/mine", "f").out == '"ünïcode"\n{"some": 1}\n'


def test_no_result_prints_nothing(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"{MINE}/invoke-and-await", result([]))
    assert golemp2p("worker", "invoke", "counter/mine", "f").out == ""


def test_trigger_and_key(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"{MINE}/invoke", {})
    ran = golemp2p("worker", "invoke", "counter/mine", "f", "--trigger", "--idempotency-key", "k1")
    assert ran.out == "accepted; idempotency key k1\n"
    assert node.last("POST").headers["idempotency-key"] == "k1"
    ran = golemp2p("worker", "invoke", "counter/mine", "f", "--trigger", "--idempotency-key", "k1", "--format", "json")
    assert json.loads(ran.out) == {"idempotencyKey": "k1"}


def test_an_empty_key_would_be_a_new_one_each_time(golemp2p: Run, node: FakeNode) -> None:
    ran = golemp2p("worker", "invoke", "counter/mine", "f", "--idempotency-key", "")
    assert ran.code == 2
    assert "--idempotency-key: is empty" in ran.err
    assert node.seen == []


def test_without_a_worker_the_call_goes_to_a_fresh_one(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"/v1/components/{COMPONENT_ID}/invoke-and-await", result([1]))
    assert golemp2p("worker", "invoke", "counter", "f").out == "1\n"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hello", """'"hello"'"""),
        ("it's", """'"it'"'"'s"'"""),
        ("NaN", """'"NaN"'"""),
        ("01", """'"01"'"""),
        ("{a}", """'"{a}"'"""),
    ],
)
def test_not_json_shows_the_right_quoting(golemp2p: Run, node: FakeNode, text: str, quoted: str) -> None:
    ran = golemp2p("worker", "invoke", "counter/mine", "f", text)
    assert ran.code == 2
    assert ran.err.splitlines()[0] == f"error: argument 1 is not JSON: {text}"
    assert ran.err.splitlines()[1].endswith(quoted)
    assert node.seen == []


def test_misspelt_option_is_not_an_argument(golemp2p: Run, node: FakeNode) -> None:
    ran = golemp2p("worker", "invoke", "counter/mine", "f", "--triger")
    assert ran.code == 2
    assert "No such option" in ran.err


def test_type_errors_point_at_the_types(golemp2p: Run, node: FakeNode) -> None:
    message = 'params[0].items[2].price: expected f32, got "a"'
    node.on("POST", f"{MINE}/invoke-and-await", {"code": "value-mismatch", "message": message, "errors": [message]}, 400)
    ran = golemp2p("worker", "invoke", "counter/mine", "f", '"a"')
    assert ran.code == 1
    assert ran.err == f"error: {message}\n  try: `golemp2p component get counter --wit` prints functions and types\n"


def test_guest_failures_point_at_the_oplog(golemp2p: Run, node: FakeNode) -> None:
    body = {"code": "guest-trapped", "message": "unreachable", "golemError": {"type": "RuntimeError"}}
    node.on("POST", f"{MINE}/invoke-and-await", body, 500)
    ran = golemp2p("worker", "invoke", "counter/mine", "f", "--format", "json")
    assert ran.code == 1
    assert json.loads(ran.err)["error"]["code"] == "guest-trapped"
    assert "worker oplog" in json.loads(ran.err)["error"]["hint"]


def test_names_are_escaped_in_paths(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", f"{WORKERS}/ä?#%2F", worker())
    assert golemp2p("worker", "get", f"{COMPONENT_ID}/ä?#%2F").code == 0
    assert node.last("GET").raw_path == f"{WORKERS}/%C3%A4%3F%23%252F"


@pytest.mark.parametrize("target", ["counter", "/mine", "counter/", ""])
def test_bad_targets(golemp2p: Run, target: str) -> None:
    assert golemp2p("worker", "get", target).code == 2


def test_new(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", WORKERS, {"workerId": {}, "componentVersion": 3})
    ran = golemp2p("worker", "new", "counter/mine", "a", "b", "--env", "K=V")
    assert ran.out == "created counter/mine (component version 3)\n"
    assert node.last("POST").json == {"name": "mine", "args": ["a", "b"], "env": {"K": "V"}}


def test_get(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", MINE, worker(status="Failed", lastError="it broke\nbadly"))
    out = golemp2p("worker", "get", "counter/mine").out
    assert "status             Failed" in out
    assert "it broke" in out
    assert "64.0 KiB" in out
    assert "runs at" not in out  # the node does not know
    node.headers["x-golemp2p-primary"] = "http://10.0.0.2:9881"
    assert "runs at            http://10.0.0.2:9881" in golemp2p("worker", "get", "counter/mine").out
    node.on("GET", MINE, {"code": "worker-not-found", "message": "no such worker", "error": "x"}, 404)
    ran = golemp2p("worker", "get", "counter/mine")
    assert (ran.code, ran.err.splitlines()[0]) == (4, "error: no such worker")


def pages(request: Seen) -> tuple[int, Any]:
    start = int(request.query.get("cursor", ["0/0"])[0].partition("/")[2])
    count = int(request.query["count"][0])
    names = [f"w{n}" for n in range(start, min(start + min(count, 2), 5))]
    body: dict[str, Any] = {"workers": [worker(name) for name in names]}
    if start + len(names) < 5:
        body["cursor"] = {"cursor": start + len(names), "layer": 0}
    return 200, body


@pytest.mark.parametrize(("options", "count"), [((), 5), (("--count", "3"), 3), (("--count", "9"), 5)])
def test_list_follows_cursors(golemp2p: Run, node: FakeNode, options: tuple[str, ...], count: int) -> None:
    node.on("GET", WORKERS, pages)
    ran = golemp2p("worker", "list", "counter", *options, "--format", "json")
    assert [w["workerId"]["workerName"] for w in json.loads(ran.out)["workers"]] == [f"w{n}" for n in range(count)]


def test_list_passes_filters(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", WORKERS, {"workers": []})
    ran = golemp2p("worker", "list", "counter", "--filter", "status = Failed", "--filter", "name like x")
    assert ran.out == "no worker fits\n"
    assert node.last("GET").query["filter"] == ["status = Failed", "name like x"]
    assert "worker invoke counter/NAME" in golemp2p("worker", "list", "counter").out


@pytest.mark.parametrize(
    ("name", "method", "path", "query", "says"),
    [
        ("delete", "DELETE", MINE, {}, "deleted counter/mine"),
        ("interrupt", "POST", f"{MINE}/interrupt", {}, "interrupted counter/mine"),
        ("resume", "POST", f"{MINE}/resume", {}, "resumed counter/mine"),
        ("simulate-crash", "POST", f"{MINE}/interrupt", {"recovery-immediately": ["true"]}, "crashed counter/mine"),
    ],
)
def test_lifecycle(
    golemp2p: Run, node: FakeNode, name: str, method: str, path: str, query: dict[str, list[str]], says: str
) -> None:
    node.on(method, path, {})
    ran = golemp2p("worker", name, "counter/mine")
    assert ran.code == 0
    assert says in ran.out
    assert node.last(method).query == query
    assert golemp2p("worker", name, "counter/mine", "--format", "json").out == "{}\n"


def test_cancel(golemp2p: Run, node: FakeNode) -> None:
    node.on("DELETE", f"{MINE}/invocations/a/b", {"canceled": True})
    assert golemp2p("worker", "cancel", "counter/mine", "a/b").out == "canceled\n"
    assert node.last("DELETE").raw_path.endswith("/a%2Fb")
    node.on("DELETE", f"{MINE}/invocations/k", {"canceled": False})
    assert golemp2p("worker", "cancel", "counter/mine", "k").out.startswith("not canceled")
    node.on("DELETE", f"{MINE}/invocations/none", {"code": "invocation-not-found", "message": "no such key"}, 400)
    assert golemp2p("worker", "cancel", "counter/mine", "none").code == 4


def test_complete_promise(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", f"{MINE}/complete", True)
    assert golemp2p("worker", "complete-promise", "counter/mine", "17", "ok").out == "completed\n"
    assert node.last("POST").json == {"oplogIdx": 17, "data": [111, 107]}
    assert golemp2p("worker", "complete-promise", "counter/mine", "17", "AAEC", "--base64").code == 0
    assert node.last("POST").json == {"oplogIdx": 17, "data": [0, 1, 2]}
    assert golemp2p("worker", "complete-promise", "counter/mine", "17", "A", "--base64").code == 2
    node.on("POST", f"{MINE}/complete", False)
    assert golemp2p("worker", "complete-promise", "counter/mine", "17", "ok").out.startswith("not completed")


def entry(index: int, kind: str = "NoOp", **more: Any) -> dict[str, Any]:
    return {"oplogIndex": index, "entry": {"type": kind, "timestamp": "2026-11-22T10:00:00.123456Z", **more}}


def oplog_pages(request: Seen) -> tuple[int, Any]:
    start = int(request.query.get("cursor", request.query.get("from", ["1"]))[0].partition("-")[0])
    stop = min(start + min(int(request.query["count"][0]), 3), 8)
    body: dict[str, Any] = {"entries": [entry(n) for n in range(start, stop)], "lastIndex": 7, "firstIndexInChunk": start}
    if stop < 8:
        body["next"] = {"nextOplogIndex": stop, "currentComponentVersion": 0}
    return 200, body


@pytest.mark.parametrize(
    ("options", "indexes"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7]),
        (("--from", "6"), [6, 7]),
        (("--from", "2", "--count", "4"), [2, 3, 4, 5]),
        (("--query", "x AND y"), [1, 2, 3, 4, 5, 6, 7]),
        (("--query", "x", "--count", "5"), [1, 2, 3, 4, 5]),
    ],
)
def test_oplog_follows_pages(golemp2p: Run, node: FakeNode, options: tuple[str, ...], indexes: list[int]) -> None:
    node.on("GET", f"{MINE}/oplog", oplog_pages)
    ran = golemp2p("worker", "oplog", "counter/mine", *options, "--format", "json")
    assert [item["oplogIndex"] for item in json.loads(ran.out)] == indexes
    for request in (seen for seen in node.seen if seen.path.endswith("/oplog")):
        assert ("query" in request.query) == ("--query" in options)
        assert not {"query", "from"} <= request.query.keys()


def test_oplog_lines(golemp2p: Run, node: FakeNode) -> None:
    typed = {"typ": {"type": "U64"}, "value": 5}
    pending = {"type": "ExportedFunction", "idempotencyKey": "k", "fullFunctionName": "api.{add}", "functionInput": [typed]}
    entries = [
        entry(1, "ExportedFunctionInvoked", functionName="api.{add}", request=[typed], idempotencyKey="k"),
        entry(2, "ImportedFunctionInvoked", functionName="wasi::now", request={"hash": "ab"}, response=typed),
        entry(3, "ExportedFunctionCompleted", response=typed, consumedFuel=0),
        entry(4, "Log", level="Stdout", context="", message="hi\x1b[31m\nthere " + "x" * 500),
        entry(5, "Error", error="it broke"),
        entry(6, "Jump", jump={"start": 1, "end": 2}),
        entry(7, "Create", componentVersion=3, args=[], env={"A": "B"}, componentSize=1),
        entry(8, "PendingWorkerInvocation", invocation=pending),
    ]
    node.on("GET", f"{MINE}/oplog", {"entries": entries, "lastIndex": 6, "firstIndexInChunk": 1})
    lines = golemp2p("worker", "oplog", "counter/mine").out.splitlines()
    assert len(lines) == 8
    assert lines[0].endswith("api.{add} [5]")
    assert lines[1].endswith("wasi::now -> 5")
    assert lines[2].endswith("-> 5")
    assert "\x1b" not in lines[3]
    assert lines[3].endswith("…")
    assert "2026-11-22 10:00:00.123" in lines[4]
    assert lines[5].endswith('{"jump":{"start":1,"end":2}}')
    assert lines[6].endswith('version 3 {"env":{"A":"B"}}')
    assert lines[7].endswith("api.{add} [5] (key k)")


def test_oplog_query_and_from_exclude_each_other(golemp2p: Run, node: FakeNode) -> None:
    assert golemp2p("worker", "oplog", "counter/mine", "--query", "x", "--from", "2").code == 2
