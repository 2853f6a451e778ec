"""Workers from creation to deletion, and components from upload to the next version, over HTTP on one real node."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asking import JSON, Call, logged, names, path, post, refused, types, until
from conftest import wasm

from golemp2p.testing.node_process import Refused

NAP_MS = 1000


def upload(node, name: str, guest: str, **fields: Any) -> str:
    """A component with more than a name; returns its id."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    files = {"component": ("guest.wasm", wasm(guest).read_bytes(), "application/wasm")}
    answer = httpx.post(f"{node.url}/v1/components", data={"name": name, **texts}, files=files, timeout=120)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["versionedComponentId"]["componentId"])


def time_of(item: Any) -> datetime:
    return datetime.fromisoformat(item["entry"]["timestamp"])


def only(entries: list[Any], kind: str) -> list[Any]:
    return [item for item in entries if item["entry"]["type"] == kind]


# -- creation -----------------------------------------------------------------------------------------------------------


def test_environment_and_arguments_in_golems_order(node):
    component = upload(node, "probe-with-env", "probe", env={"keyValues": {"SHARED": "component", "OF_COMPONENT": "c"}})
    created = post(
        node, path(component), {"name": "w", "args": ["one", "", "two words"], "env": {"OWN": "w", "SHARED": "mine"}}
    )
    assert created == {"workerId": {"componentId": component, "workerName": "w"}, "componentVersion": 0}
    assert node.invoke(component, "w", "environment") == [
        ["OWN", "w"],
        ["SHARED", "mine"],
        ["OF_COMPONENT", "c"],
        ["GOLEM_WORKER_NAME", "w"],
        ["GOLEM_COMPONENT_ID", component],
        ["GOLEM_COMPONENT_VERSION", "0"],
    ]
    assert node.invoke(component, "w", "arguments") == ["one", "", "two words"]
    # a worker that nobody created explicitly has the component's only
    assert node.invoke(component, "implicit", "environment")[:2] == [["SHARED", "component"], ["OF_COMPONENT", "c"]]
    assert node.invoke(component, "implicit", "arguments") == []


def test_a_name_is_taken_once_and_free_again_after_deletion(node, components, worker):
    counter = components["counter"]
    post(node, path(counter), {"name": worker, "args": [], "env": {}})
    with refused(409, "worker-already-exists"):
        post(node, path(counter), {"name": worker, "args": [], "env": {}})
    node.invoke(counter, worker, "add", 7, key="k")
    with refused(409, "worker-already-exists"):
        post(node, path(counter), {"name": worker, "args": [], "env": {}})
    assert node.request("DELETE", path(counter, worker)) == {}
    with refused(404, "worker-not-found"):
        node.worker(counter, worker)
    with refused(404, "worker-not-found"):
        node.request("DELETE", path(counter, worker))
    assert node.invoke(counter, worker, "add", 1, key="k") == 1  # nothing of the former is left, not even its keys
    assert types(node.oplog(counter, worker))[0] == "Create"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a\n", "x" * 513])
def test_names_outside_the_grammar_are_refused(node, components, name):
    with refused(400, "invalid-name"):
        post(node, path(components["counter"]), {"name": name, "args": [], "env": {}})


def test_what_is_not_there_is_404(node, components, worker):
    nowhere = "00000000-0000-4000-8000-000000000000"
    with refused(404, "component-not-found"):
        node.invoke(nowhere, "w", "get")
    with refused(404, "component-not-found"):
        node.worker(nowhere, "w")
    with refused(404, "function-not-found"):
        node.invoke(components["counter"], worker, "multiply", 2)
    with refused(404, "worker-not-found"):  # the refused call did not create it
        node.worker(components["counter"], worker)
    with refused(404, "worker-not-found"):
        node.oplog(components["counter"], worker)


def test_metadata_has_golems_shape(node, components, worker):
    counter = components["counter"]
    before = datetime.now(UTC)
    post(node, path(counter), {"name": worker, "args": ["a"], "env": {"K": "v"}})
    metadata = node.worker(counter, worker)
    created = datetime.fromisoformat(metadata.pop("createdAt"))
    assert before - timedelta(seconds=1) < created < datetime.now(UTC) + timedelta(seconds=1)
    assert metadata.pop("totalLinearMemorySize") >= 0
    assert metadata == {
        "workerId": {"componentId": counter, "workerName": worker},
        "args": ["a"],
        "env": {"K": "v"},
        "status": "Idle",
        "componentVersion": 0,
        "retryCount": 0,
        "pendingInvocationCount": 0,
        "updates": [],
        "componentSize": wasm("counter").stat().st_size,
        "ownedResources": {},
        "activePlugins": [],
    }


# -- listing ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(node):
    """A component with seven workers in two teams and one that has exited."""
    component = upload(node, "crowd", "probe")
    for number in range(7):
        post(node, path(component), {"name": f"m-{number}", "args": [], "env": {"TEAM": "red" if number % 2 else "blue"}})
    with pytest.raises(Refused):
        node.invoke(component, "gone", "exit", 3)
    return component


TEXT_FILTERS = [
    ([], 8),
    (["name like m-"], 7),
    (["name = m-3"], 1),
    (["name != m-3"], 7),
    (["name notlike m-"], 1),
    (["env.TEAM == red"], 3),
    (["env.TEAM eq blue", "name ne m-0"], 3),
    (["status = Exited"], 1),
    (["status ne Exited"], 7),
    (["version >= 1"], 0),
    (["version < 1"], 8),
    (["createdAt > 2020-01-01T00:00:00Z"], 8),
    (["createdAt > 2999-01-01T00:00:00Z"], 0),
]


@pytest.mark.parametrize(("filters", "count"), TEXT_FILTERS, ids=[" and ".join(f) or "none" for f, _ in TEXT_FILTERS])
def test_listing_with_text_filters(node, crowd, filters, count):
    assert len(names(node.request("GET", path(crowd, filter=filters)))) == count


@pytest.mark.parametrize("text", ["name", "name ~ x", "color = red", "version = x", "status = Tired", "createdAt > soon"])
def test_a_filter_that_makes_no_sense_is_refused(node, crowd, text):
    with refused(400, "malformed-request"):
        node.request("GET", path(crowd, filter=text))


def name_is(comparator: str, value: str) -> dict[str, str]:
    return {"type": "Name", "comparator": comparator, "value": value}


TREES = [
    (None, {"gone", *(f"m-{n}" for n in range(7))}),
    (name_is("Equal", "m-1"), {"m-1"}),
    ({"type": "Or", "filters": [name_is("Equal", "m-1"), name_is("Equal", "gone")]}, {"m-1", "gone"}),
    ({"type": "Not", "filter": {"type": "Env", "name": "TEAM", "comparator": "Equal", "value": "blue"}},
     {"m-1", "m-3", "m-5", "gone"}),
    ({"type": "And", "filters": [{"type": "Status", "comparator": "Equal", "value": "Idle"}, name_is("Like", "5")]}, {"m-5"}),
    ({"type": "And", "filters": [{"type": "Version", "comparator": "GreaterEqual", "value": 0},
                                 {"type": "Not", "filter": name_is("Like", "m-")}]}, {"gone"}),
    ({"type": "CreatedAt", "comparator": "Less", "value": "2020-01-01T00:00:00Z"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "expected"), TREES, ids=range(len(TREES)))
def test_listing_with_a_tree_of_filters(node, crowd, tree, expected):
    assert set(names(post(node, path(crowd, suffix="/find"), {"filter": tree, "count": 100}))) == expected


@pytest.mark.parametrize("how", ["query", "body"])
def test_cursors_lead_through_all_pages_once(node, crowd, how):
    found: list[str] = []
    pages, cursor = 0, None
    while pages == 0 or cursor is not None:
        if how == "body":
            page = post(node, path(crowd, suffix="/find"), {"count": 3, **({"cursor": cursor} if cursor else {})})
        else:
            asked = {"cursor": f"{cursor['layer']}/{cursor['cursor']}"} if cursor else {}
            page = node.request("GET", path(crowd, count=3, **asked))
        assert len(page["workers"]) <= 3
        found += names(page)
        cursor = page.get("cursor")
        pages += 1
    assert pages >= 3
    assert sorted(found) == ["gone", *(f"m-{n}" for n in range(7))]


def test_a_filter_does_not_end_a_listing_early(node, crowd):
    """The one that fits stands behind pages of others that do not."""
    found, cursor = [], "start"
    query: dict[str, Any] = {"filter": "name = m-6", "count": 2}
    while cursor is not None:
        page = node.request("GET", path(crowd, **query))
        found += names(page)
        cursor = page.get("cursor")
        if cursor is not None:
            query["cursor"] = f"{cursor['layer']}/{cursor['cursor']}"
    assert found == ["m-6"]


# -- running ------------------------------------------------------------------------------------------------------------


def test_status_tells_what_a_worker_does(node, components, worker):
    bench = components["bench"]
    post(node, path(bench), {"name": worker, "args": [], "env": {}})
    assert node.worker(bench, worker)["status"] == "Idle"
    node.enqueue(bench, worker, "sleep", 60_000)  # longer than workers.suspend_after_s
    node.enqueue(bench, worker, "add", 1)
    node.wait_for(bench, worker, "Suspended")
    assert node.worker(bench, worker)["pendingInvocationCount"] == 1
    assert names(node.request("GET", path(bench, filter=["status = Suspended", f"name = {worker}"]))) == [worker]
    post(node, path(bench, worker, "/interrupt"))
    assert node.worker(bench, worker)["status"] == "Interrupted"
    node.request("DELETE", path(bench, worker))

    node.enqueue(bench, worker, "sleep", 300)
    node.wait_for(bench, worker, "Running")
    node.wait_for(bench, worker, "Idle")


def test_interrupt_and_resume(node, components, worker):
    bench = components["bench"]
    waiting = Call(lambda: node.invoke(bench, worker, "sleep", NAP_MS, key="nap"))
    until(lambda: exists(node, bench, worker) and node.worker(bench, worker)["status"] == "Running", "it runs")
    assert post(node, path(bench, worker, "/interrupt")) == {}
    with refused(500, "worker-interrupted") as caught:
        waiting.outcome()
    assert "Interrupted via the Golem API" in caught.value.body["message"]
    assert caught.value.body["golemError"] == {"type": "Interrupted", "recoverImmediately": False}
    assert node.worker(bench, worker)["status"] == "Interrupted"
    assert post(node, path(bench, worker, "/resume")) == {}
    node.wait_for(bench, worker, "Idle")
    assert node.invoke(bench, worker, "sleep", NAP_MS, key="nap") is None  # recorded; no second nap
    entries = node.oplog(bench, worker)
    assert types(entries).count("Interrupted") == 1
    assert len(only(entries, "ExportedFunctionCompleted")) == 1
    with refused(404, "worker-not-found"):
        post(node, path(bench, "nobody", "/resume"))


def exists(node, component: str, worker: str) -> bool:
    try:
        node.worker(component, worker)
    except Refused:
        return False
    return True


def test_interrupting_an_idle_worker_changes_nothing(node, components, worker):
    counter = components["counter"]
    node.invoke(counter, worker, "add", 1)
    before = node.oplog(counter, worker)
    assert post(node, path(counter, worker, "/interrupt")) == {}
    assert node.worker(counter, worker)["status"] == "Idle"
    assert node.oplog(counter, worker) == before


def test_an_invocation_wakes_an_interrupted_worker(node, components, worker):
    bench = components["bench"]
    node.enqueue(bench, worker, "sleep", 300, key="nap")
    node.wait_for(bench, worker, "Running")
    post(node, path(bench, worker, "/interrupt"))
    assert node.invoke(bench, worker, "add", 2) == 2
    assert len(only(node.oplog(bench, worker), "ExportedFunctionCompleted")) == 2  # the nap was finished first


def test_a_simulated_crash_is_invisible_to_those_who_wait(node, components, worker):
    probe = components["probe"]
    assert node.invoke(probe, worker, "add", 5) == 5
    waiting = Call(lambda: node.invoke(probe, worker, "sleep-in-steps", 400))
    until(lambda: "before" in logged(node, probe, worker), "it has begun")
    assert post(node, path(probe, worker, "/interrupt", **{"recovery-immediately": "true"})) == {}
    assert len(waiting.outcome()) > 0
    assert logged(node, probe, worker) == ["before", "between", "after"]
    assert "Restart" in types(node.oplog(probe, worker))
    assert node.invoke(probe, worker, "get") == 5


def test_a_simulated_crash_of_an_idle_worker_drops_its_memory_only(node, components, worker):
    probe = components["probe"]
    node.invoke(probe, worker, "add", 5)
    post(node, path(probe, worker, "/interrupt", **{"recovery-immediately": "true"}))
    assert node.worker(probe, worker)["status"] == "Idle"
    assert node.invoke(probe, worker, "get") == 5


def test_invocations_of_one_worker_run_in_the_order_of_their_acceptance(node, components, worker):
    probe = components["probe"]
    node.enqueue(probe, worker, "sleep-ms", 300)
    for number in range(6):
        node.enqueue(probe, worker, "print", f"{number}", key=f"k{number}")
    assert node.worker(probe, worker)["pendingInvocationCount"] > 0
    node.invoke(probe, worker, "get")
    assert logged(node, probe, worker) == [str(number) for number in range(6)]
    invoked = only(node.oplog(probe, worker), "ExportedFunctionInvoked")
    assert [item["entry"]["idempotencyKey"] for item in invoked][1:7] == [f"k{number}" for number in range(6)]


def test_one_worker_does_one_thing_at_a_time(node, components, worker):
    bench = components["bench"]
    calls = [Call(lambda: node.invoke(bench, worker, "sleep", 200)) for _ in range(3)]
    for call in calls:
        call.outcome()
    steps = [kind for kind in types(node.oplog(bench, worker)) if kind.startswith("ExportedFunction")]
    assert steps == ["ExportedFunctionInvoked", "ExportedFunctionCompleted"] * 3


def test_different_workers_run_at_the_same_time(node, components, worker):
    bench = components["bench"]
    pair = [f"{worker}-a", f"{worker}-b"]
    calls = [Call(lambda name=name: node.invoke(bench, name, "sleep", NAP_MS)) for name in pair]
    for call in calls:
        call.outcome()
    spans = []
    for name in pair:
        entries = node.oplog(bench, name)
        begin = time_of(only(entries, "ExportedFunctionInvoked")[0])
        spans.append((begin, time_of(only(entries, "ExportedFunctionCompleted")[0])))
    assert max(begin for begin, _ in spans) < min(end for _, end in spans), "one waited for the other"
    assert all(end - begin >= timedelta(milliseconds=NAP_MS) for begin, end in spans)


def test_canceling_what_is_pending(node, components, worker):
    bench = components["bench"]
    node.enqueue(bench, worker, "sleep", NAP_MS, key="nap")
    waiting = Call(lambda: node.invoke(bench, worker, "add", 1, key="one"))
    until(lambda: node.worker(bench, worker)["pendingInvocationCount"] == 1, "it is pending")
    assert node.request("DELETE", path(bench, worker, "/invocations/one")) == {"canceled": True}
    with refused(409, "invocation-canceled"):
        waiting.outcome()
    with refused(409, "invocation-canceled"):  # the key is used up
        node.invoke(bench, worker, "add", 1, key="one")
    assert node.request("DELETE", path(bench, worker, "/invocations/nap")) == {"canceled": False}
    assert node.invoke(bench, worker, "get") == 0
    assert node.request("DELETE", path(bench, worker, "/invocations/nap")) == {"canceled": False}
    with refused(400, "invocation-not-found"):
        node.request("DELETE", path(bench, worker, "/invocations/never"))
    assert types(node.oplog(bench, worker)).count("CancelInvocation") == 1


# -- without a name, without a memory ------------------------------------------------------------------------------------


def test_without_a_name_every_call_gets_a_fresh_worker(node):
    component = upload(node, "unnamed", "bench")

    def call(suffix: str, key: str) -> Any:
        body = json.dumps({"params": [3]}).encode()
        return node.request("POST", f"/v1/components/{component}/{suffix}?function=add", body, {**JSON, "Idempotency-Key": key})

    assert call("invoke-and-await", "a")["result"]["value"] == [3]
    assert call("invoke-and-await", "a")["result"]["value"] == [3]
    assert call("invoke", "a") == {}
    found = names(node.request("GET", path(component)))
    assert len(found) == len(set(found)) == 3
    for name in found:
        node.wait_for(component, name, "Idle")
        assert node.invoke(component, name, "get") == 3


def test_ephemeral_workers_forget(node):
    component = upload(node, "forgetful", "bench", componentType="Ephemeral")
    latest = node.request("GET", f"/v1/components/{component}/latest")
    assert latest["componentType"] == "Ephemeral"
    for _ in range(3):
        assert node.invoke(component, "named", "add", 2) == 2
    assert node.invoke(component, "named", "get") == 0
    body = json.dumps({"params": [4]}).encode()
    answer = node.request("POST", f"/v1/components/{component}/invoke-and-await?function=add", body, JSON)
    assert answer["result"]["value"] == [4]
    with refused(500, "guest-trapped"):
        node.invoke(component, "named", "crash")
    assert node.invoke(component, "named", "add", 2) == 2  # a trap is forgotten as well


# -- components ---------------------------------------------------------------------------------------------------------


def test_old_workers_keep_their_version_and_new_ones_get_the_latest(node):
    component = upload(node, "growing", "counter")
    assert node.invoke(component, "old", "add", 1) == 1
    base = f"/v1/components/{component}"
    second = node.request("PUT", f"{base}/upload", wasm("bench").read_bytes(), {"Content-Type": "application/octet-stream"})
    assert second["versionedComponentId"] == {"componentId": component, "version": 1}
    assert node.invoke(component, "old", "add", 1) == 2
    with refused(404, "function-not-found"):
        node.invoke(component, "old", "clock-reads", 1)
    assert node.invoke(component, "new", "clock-reads", 1) > 0
    assert [node.worker(component, name)["componentVersion"] for name in ("old", "new")] == [0, 1]
    assert names(node.request("GET", path(component, filter="version = 1"))) == ["new"]

    versions = node.request("GET", base)
    assert [v["versionedComponentId"]["version"] for v in versions] == [0, 1]
    assert node.request("GET", f"{base}/latest") == versions[1]
    assert [node.request("GET", f"{base}/versions/{n}") for n in (0, 1)] == versions
    with refused(404, "component-not-found"):
        node.request("GET", f"{base}/versions/2")
    assert node.request("GET", f"{base}/download?version=0") == wasm("counter").read_bytes()
    assert node.request("GET", f"{base}/download") == wasm("bench").read_bytes()
    assert node.request("GET", "/v1/components?component-name=growing") == versions
    assert all(v in node.request("GET", "/v1/components") for v in versions)
    wanted = {"components": [{"name": "growing"}, {"name": "growing", "version": 0}, {"name": "nothing-called-so"}]}
    assert post(node, "/v1/components/search", wanted) == [versions[1], versions[0]]


def test_an_update_may_change_the_environment_of_new_workers(node):
    component = upload(node, "dressed", "probe", env={"keyValues": {"A": "0"}})
    node.invoke(component, "old", "get")
    files = {"component": ("probe.wasm", wasm("probe").read_bytes(), "application/wasm")}
    fields = {"env": json.dumps({"keyValues": {"A": "1"}})}
    answer = httpx.post(f"{node.url}/v1/components/{component}/updates", data=fields, files=files, timeout=120)
    assert answer.json()["env"] == {"A": "1"}
    assert ["A", "0"] in node.invoke(component, "old", "environment")
    assert ["A", "1"] in node.invoke(component, "new", "environment")


def test_component_names_are_unique_and_bytes_must_be_a_component(node):
    upload(node, "unique", "counter")
    files = {"component": ("c.wasm", wasm("counter").read_bytes(), "application/wasm")}
    again = httpx.post(f"{node.url}/v1/components", data={"name": "unique"}, files=files)
    assert (again.status_code, again.json()["code"]) == (409, "component-already-exists")
    for rubbish in (b"", b"not wasm", b"\0asm\x01\0\0\0", wasm("counter").read_bytes()[:-20]):
        answer = httpx.post(f"{node.url}/v1/components", data={"name": "rubbish"}, files={"component": ("c.wasm", rubbish)})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-component"), answer.text
    assert node.request("GET", "/v1/components?component-name=rubbish") == []


# -- promises, failures, ends -------------------------------------------------------------------------------------------


def test_a_promise_is_completed_once_from_outside(node, components, worker):
    probe = components["probe"]
    waiting = Call(lambda: node.invoke(probe, worker, "promise-and-wait"))
    index = int(until(lambda: logged(node, probe, worker), "it has printed the promise's index")[0])
    node.wait_for(probe, worker, "Suspended")
    with refused(404, "promise-not-found"):
        post(node, path(probe, worker, "/complete"), {"oplogIdx": index + 1000, "data": []})
    with refused(400, "malformed-request"):
        post(node, path(probe, worker, "/complete"), {"oplogIdx": index, "data": [256]})
    assert post(node, path(probe, worker, "/complete"), {"oplogIdx": index, "data": [0, 1, 255]}) is True
    assert waiting.outcome() == [0, 1, 255]
    assert post(node, path(probe, worker, "/complete"), {"oplogIdx": index, "data": [9]}) is False


def test_a_trap_is_retried_then_fails_the_worker_for_good(node, components, worker):
    probe = components["probe"]
    with refused(500, "guest-trapped") as first:
        node.invoke(probe, worker, "crash", "so be it", key="k")
    metadata = node.worker(probe, worker)
    assert metadata["status"] == "Failed"
    assert metadata["lastError"]
    assert types(node.oplog(probe, worker)).count("Error") == 4  # the attempt and three retries
    with refused(500, "previous-invocation-failed") as caught:
        node.invoke(probe, worker, "get")
    assert caught.value.body["message"].startswith("Previous invocation failed")
    assert caught.value.body["golemError"]["type"] == "PreviousInvocationFailed"
    with refused(500, "guest-trapped") as again:  # the same key: the recorded failure, and no new attempt
        node.invoke(probe, worker, "crash", "so be it", key="k")
    assert again.value.body["message"] == first.value.body["message"]
    assert types(node.oplog(probe, worker)).count("Error") == 4
    with refused(409, "invalid-state"):
        post(node, path(probe, worker, "/resume"))


def test_a_failure_fails_what_is_pending_too(node, components, worker):
    probe = components["probe"]
    node.enqueue(probe, worker, "sleep-ms", 500)
    node.enqueue(probe, worker, "crash", "x", key="crash")
    pending = Call(lambda: node.invoke(probe, worker, "add", 1, key="behind"))
    until(lambda: node.worker(probe, worker)["pendingInvocationCount"] == 2, "both wait")
    with refused(500, "guest-trapped") as one:
        pending.outcome()
    with refused(500, "guest-trapped") as other:
        node.invoke(probe, worker, "crash", "x", key="crash")
    assert one.value.body["message"] == other.value.body["message"]


def test_a_worker_that_exits_is_finished(node, components, worker):
    probe = components["probe"]
    node.invoke(probe, worker, "add", 1)
    with refused(500, "guest-exited") as caught:
        node.invoke(probe, worker, "exit", 3, key="k")
    assert caught.value.body["exitStatus"] == 1  # all that wasi:cli tells: not zero
    assert node.worker(probe, worker)["status"] == "Exited"
    with refused(500, "previous-invocation-exited") as later:
        node.invoke(probe, worker, "get")
    assert later.value.body["golemError"] == {"type": "PreviousInvocationExited"}
    with refused(500, "guest-exited"):
        node.invoke(probe, worker, "exit", 3, key="k")
    node.request("DELETE", path(probe, worker))
    assert node.invoke(probe, worker, "get") == 0


def test_an_unknown_import_fails_the_call_that_needs_it(node, components, worker):
    stranger = components["stranger"]
    assert node.invoke(stranger, worker, "walk") == 1
    with refused(500, "unknown-import") as caught:
        node.invoke(stranger, worker, "teleport", 9)
    for part in ("acme:teleport/beam@2.0.0", "engage"):
        assert part in caught.value.body["message"]
    assert types(node.oplog(stranger, worker)).count("Error") == 1  # trying again could not help
    assert node.worker(stranger, worker)["status"] == "Failed"
    with refused(500, "previous-invocation-failed") as later:
        node.invoke(stranger, worker, "walk")
    assert "acme:teleport/beam@2.0.0" in later.value.body["message"]
    assert node.invoke(stranger, f"{worker}-other", "walk") == 1


def test_a_wrong_argument_leaves_the_worker_usable_and_its_key_unused(node, components, worker):
    counter = components["counter"]
    with refused(400, "wrong-arity"):
        node.invoke(counter, worker, "add", key="k")
    with refused(400, "value-mismatch"):
        node.invoke(counter, worker, "add", "1", key="k")
    assert node.invoke(counter, worker, "add", 1, key="k") == 1
    assert node.invoke(counter, worker, "add", 1, key="k") == 1
