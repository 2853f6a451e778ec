"""kill -9 and what is there afterwards: real guests, a real node, a real disk."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from conftest import Components, wasm
from kill_under_load import run as run_kill_under_load

from golemp2p.model.ids import Key
from golemp2p.testing.node_process import Refused


def logged(node, component: str, worker: str) -> list[str]:
    return [e["entry"]["message"] for e in node.oplog(component, worker) if e["entry"]["type"] == "Log"]


def in_background(call) -> tuple[threading.Thread, list[object]]:
    """Run ``call`` in a thread; the list gets its result, or the error."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except (OSError, Refused) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_short_torture(make_node):
    report = run_kill_under_load(make_node(), wasm("counter"), kills=6, clients=6, seed=20, pause_s=(0.1, 0.6))
    assert report["acknowledged"] > 50


def test_replay_reproduces_everything_a_guest_saw(make_node):
    node = make_node()
    node.start()
    probe = Components(node)["probe"]

    def ask(function, *params):
        return node.invoke(probe, "w", function, *params)

    seen = {
        "now-ns": ask("now-ns"),
        "random-bytes": ask("random-bytes", 16),
        "random-float": ask("random-float"),
        "idempotency-key": ask("idempotency-key"),
    }
    ask("print", "hello")
    ask("add", 5)
    assert ask("make-directory", "a") == {"ok": None}
    assert ask("write-file", "a/one", [1, 2, 3]) == {"ok": None}
    assert ask("rename", "a/one", "a/two") == {"ok": None}
    assert ask("make-symlink", "two", "a/link") == {"ok": None}
    stat = ask("stat", "a/two")
    before = node.oplog(probe, "w")
    node.kill()
    node.start()
    assert ask("get") == 5
    assert ask("stat", "a/two") == stat
    assert ask("list-directory", "a") == {"ok": ["link", "two"]}
    assert ask("read-file", "a/link") == {"ok": [1, 2, 3]}
    assert ask("monotonic-ns") > 0
    after = node.oplog(probe, "w")
    assert after[: len(before)] == before
    assert logged(node, probe, "w") == ["hello", "\n"]
    assert seen["random-bytes"] != ask("random-bytes", 16)


def test_a_killed_invocation_goes_on_where_it_stood(make_node):
    node = make_node()
    node.start()
    probe = Components(node)["probe"]
    thread, results = in_background(lambda: node.invoke(probe, "w", "sleep-in-steps", 1500, key="k"))
    deadline = time.monotonic() + 30
    while _lines(node, probe) != ["before"]:
        assert time.monotonic() < deadline, _lines(node, probe)
        time.sleep(0.02)
    node.kill()
    thread.join()
    assert isinstance(results[0], OSError)
    node.start()
    value = node.invoke(probe, "w", "sleep-in-steps", 1500, key="k")
    assert _lines(node, probe) == ["before", "between", "after"]  # each once, over both lives
    assert node.invoke(probe, "w", "sleep-in-steps", 1500, key="k") == value
    assert sum(e["entry"]["type"] == "ExportedFunctionInvoked" for e in node.oplog(probe, "w")) == 1


def _lines(node, component) -> list[str]:
    """What the worker printed so far: Python writes each line and its end apart."""
    try:
        return [line for line in logged(node, component, "w") if line != "\n"]
    except Refused:
        return []


def test_resources_come_back(make_node):
    node = make_node()
    node.start()
    kitchen = Components(node)["kitchen"]
    one = node.invoke(kitchen, "w", "[constructor]tally", 1)
    two = node.invoke(kitchen, "w", "[constructor]tally", 2)
    node.invoke(kitchen, "w", "[drop]tally", one)
    node.invoke(kitchen, "w", "tally(9).add", 1)
    node.kill()
    node.start()
    assert node.invoke(kitchen, "w", "[method]tally.value", two) == 2
    assert node.invoke(kitchen, "w", "tally(9).value") == 10
    with pytest.raises(Refused):
        node.invoke(kitchen, "w", "[method]tally.value", one)


def test_host_calls_while_instantiating_are_journalled(make_node):
    node = make_node()
    node.start()
    born = Components(node)["born"]
    first = node.invoke(born, "w", "born")
    node.kill()
    node.start()
    assert node.invoke(born, "w", "born") == first
    assert node.invoke(born, "other", "born") != first


def test_an_approval_may_take_a_restart(make_node):
    node = make_node()
    node.start()
    orders = Components(node)["orders"]
    order = {"customer": "ada", "lines": [{"sku": "x", "quantity": 2, "unit-cents": 150}]}
    ticket = node.invoke(orders, "order-1", "place", order)["ok"]
    assert ticket["total-cents"] == 300
    node.enqueue(orders, "order-1", "finish", key="finish")
    node.wait_for(orders, "order-1", "Suspended")
    node.kill()
    node.start()
    data = list(b'{"approved-by": "grace"}')
    path = f"/v1/components/{orders}/workers/order-1/complete"
    body = f'{{"oplogIdx": {ticket["approval"]["oplog-idx"]}, "data": {data}}}'.encode()
    assert node.request("POST", path, body, {"Content-Type": "application/json"}) is True
    assert node.request("POST", path, body, {"Content-Type": "application/json"}) is False
    receipt = node.invoke(orders, "order-1", "finish", key="finish")["ok"]
    assert receipt["approved-by"] == "grace"


def test_timers_fire_late_rather_than_never(make_node):
    node = make_node(workers_suspend_after_s="0.5")
    node.start()
    bench = Components(node)["bench"]
    node.enqueue(bench, "w", "sleep", 2000, key="nap")
    node.wait_for(bench, "w", "Suspended")
    node.kill()
    time.sleep(2.5)  # the time passes while nobody is there to see it: this is the case under test
    node.start()
    node.wait_for(bench, "w", "Idle")


def test_a_damaged_worker_says_so_and_others_go_on(make_node):
    node = make_node()
    node.start()
    counter = Components(node)["counter"]
    for worker in ("good", "bad"):
        node.invoke(counter, worker, "add", 1)
    node.terminate()
    _flip_a_byte(node.data_dir / "storage.sqlite", f"{counter}/bad")
    node.start()
    assert node.invoke(counter, "good", "add", 1) == 2
    with pytest.raises(Refused) as caught:
        node.invoke(counter, "bad", "add", 1)
    assert caught.value.body["code"] == "data-damaged"
    assert node.invoke(counter, "good", "get") == 2


def _flip_a_byte(database: Path, identity: str) -> None:
    """In the payload of the newest segment of one worker."""
    import apsw

    connection = apsw.Connection(str(database))
    newest = "SELECT id, data FROM payloads JOIN segments USING (id) WHERE log = ? ORDER BY first DESC LIMIT 1"
    ((row, data),) = connection.execute(newest, (Key.of("worker", identity).digest,)).fetchall()
    damaged = bytearray(data)
    damaged[-1] ^= 1
    connection.execute("UPDATE payloads SET data = ? WHERE id = ?", (bytes(damaged), row))
    connection.close()
