"""Verifiable history of all that real guests do on a real node: exported, checked, run again, also from the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from asking import metric, path, post, types, until
from conftest import Components, wasm

from golemp2p.drivers.histories.verification import verify_file
from golemp2p.model.history import HistoryReport, Standing
from golemp2p.model.ids import NodeId
from golemp2p.ports import GuestLimits
from golemp2p.runtime.guests import open_guests
from golemp2p.testing.mesh_process import MeshProcess
from golemp2p.testing.node_process import COMMAND, NodeProcess, Refused

pytestmark = pytest.mark.guests


def verified(node: NodeProcess, component: str, worker: str, tmp_path: Path) -> HistoryReport:
    """What is found when the worker's history is judged with the code that its node compiled."""
    file = tmp_path / "history"
    file.write_bytes(node.request("GET", f"/v1/mesh/history/{component}/{worker}"))
    work = tmp_path / "work"
    work.mkdir()

    async def judge() -> HistoryReport:
        async with open_guests(node.data_dir / "cache") as guests:
            return await verify_file(file, guests, work_dir=work, limits=GuestLimits())

    return trio.run(judge)


def problems(report: HistoryReport) -> list[str]:
    return [str(problem) for problem in (*report.wrong.listed, *report.unshown.listed)]


def test_all_that_a_guest_can_ask(node: NodeProcess, components: Components, worker: str, tmp_path: Path) -> None:
    probe = components["probe"]

    def call(function: str, *params: Any) -> Any:
        return node.invoke(probe, worker, function, *params)

    call("print", "one\ntwo ü")
    call("print-error", "three")
    call("log", "warn", "context", "four")
    call("now-ns")
    call("monotonic-ns")
    call("random-bytes", 33)
    call("environment")
    call("self-metadata")
    call("oplog-index")
    call("oplog-commit", 1)
    call("idempotency-key")
    call("get-retry-policy")
    call("sleep-ms", 20)
    call("sleep-in-steps", 30)
    call("make-directory", "/d")
    call("write-file", "/d/a", [1, 2, 3])
    call("append-file", "/d/a", [4])
    call("stat", "/d/a")
    call("stat", "/d/nowhere")
    call("list-directory", "/d")
    call("read-file", "/d/a")
    call("add", 5)
    promise = call("create-promise")
    post(node, path(probe, worker, "/complete"), {"oplogIdx": promise["oplog-idx"], "data": [7, 8]})
    assert call("await-promise", promise) == [7, 8]
    call("allocate", 20_000_000)
    call("random-bytes", 100_000)  # a result that is a blob
    post(node, path(probe, worker, "/interrupt", **{"recovery-immediately": "true"}))
    assert call("get") == 5
    report = verified(node, probe, worker, tmp_path)
    assert problems(report) == []
    assert report.verdict == "verified"
    assert report.run is not None
    assert (report.run.end, report.run.invocations) == ("idle", report.invocations)
    assert report.invocations == 27
    assert report.run.host_calls > 50
    assert report.run.lines > 4
    assert report.blobs > 1


@pytest.mark.parametrize("language", ["c", "zig", "javascript"])
def test_languages(node: NodeProcess, components: Components, worker: str, tmp_path: Path, language: str) -> None:
    cart = components[f"cart-{language}"]
    for number in range(3):
        assert node.invoke(cart, worker, "add-item", f"item {number}", 1) == {"ok": 1}
    assert len(node.invoke(cart, worker, "contents")) == 3
    report = verified(node, cart, worker, tmp_path)
    assert problems(report) == []
    assert report.run is not None
    assert report.run.invocations == 4


def test_an_invocation_under_way(node: NodeProcess, components: Components, worker: str, tmp_path: Path) -> None:
    probe = components["probe"]
    node.invoke(probe, worker, "add", 1)
    node.enqueue(probe, worker, "promise-and-wait")
    until(lambda: node.worker(probe, worker)["status"] == "Suspended", "it waits")
    report = verified(node, probe, worker, tmp_path)
    assert problems(report) == []
    assert report.run is not None
    assert (report.run.end, report.run.invocations) == ("unfinished", 1)


@pytest.mark.parametrize(
    ("function", "params", "end"),
    [
        ("crash", ["because"], "failed"),
        ("crash-after-host-call", [], "failed"),
        ("exit", [3], "exited"),
        ("read-stdin", [], "failed"),
    ],
)
def test_ends(
    node: NodeProcess, components: Components, worker: str, tmp_path: Path, function: str, params: list[Any], end: str
) -> None:
    probe = components["probe"]
    node.invoke(probe, worker, "add", 1)
    with pytest.raises(Refused):
        node.invoke(probe, worker, function, *params)
    report = verified(node, probe, worker, tmp_path)
    assert problems(report) == []
    assert report.run is not None
    assert (report.run.end, report.run.failures) == (end, 1)


def test_an_ephemeral_worker(node: NodeProcess, worker: str, tmp_path: Path) -> None:
    """Every invocation is an execution of its own, whichever way it ends."""
    probe = node.add_component("probe-ephemeral", wasm("probe"), ephemeral=True)
    assert [node.invoke(probe, worker, "add", number) for number in (1, 2)] == [1, 2]
    node.invoke(probe, worker, "print", "one")
    for function, params in (("crash", ["because"]), ("exit", [3]), ("crash-after-host-call", [])):
        with pytest.raises(Refused):
            node.invoke(probe, worker, function, *params)
    node.invoke(probe, worker, "now-ns")
    until(
        lambda: types(node.oplog(probe, worker))[-1] == "ExportedFunctionCompleted", "all of it is in the log"
    )  # it answers before
    report = verified(node, probe, worker, tmp_path)
    assert problems(report) == []
    assert report.run is not None
    assert (report.run.end, report.run.invocations, report.run.failures) == ("idle", 4, 3)


def test_a_worker_whose_node_was_killed_again_and_again(make_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    node = make_node()
    node.start()
    cart = node.add_component("cart", wasm("cart-c"))
    for number in range(4):
        node.invoke(cart, "w", "add-item", f"item {number}", 1)
        node.enqueue(cart, "w", "add-item", f"late {number}", 1)
        node.kill()
        node.start()
    assert len(node.invoke(cart, "w", "contents")) == 8
    report = verified(node, cart, "w", tmp_path)
    assert problems(report) == []
    assert len(report.logs[0].runs) > 1
    assert {run.standing for run in report.logs[0].runs} == {Standing.ELECTED}


def test_a_worker_of_three_nodes_that_was_taken_over(tmp_path: Path) -> None:
    """From every node that is left, over real connections: who ran it, in which term, and who elected them."""
    mesh = MeshProcess(tmp_path)
    try:
        mesh.start()
        cart = mesh[1].add_component("cart", wasm("cart-c"))
        assert mesh[2].invoke(cart, "w", "add-item", "apple", 3) == {"ok": 3}
        first = mesh.leader(cart, "w")
        first.kill()
        others = [node for node in mesh if node is not first]
        assert others[0].invoke(cart, "w", "add-item", "apple", 1) == {"ok": 4}
        second = mesh.leader(cart, "w", asked=others[0])
        for number, node in enumerate(others):
            (tmp_path / str(number)).mkdir()
            report = verified(node, cart, "w", tmp_path / str(number))
            assert problems(report) == []
            runs = report.logs[0].runs
            assert [str(NodeId.of(run.author)) for run in runs] == [mesh.id_of(first), mesh.id_of(second)]
            assert {run.standing for run in runs} == {Standing.ELECTED}
    finally:
        mesh.kill()


def test_the_command_line(node: NodeProcess, components: Components, worker: str, tmp_path: Path) -> None:
    cart = components["cart-c"]
    node.invoke(cart, worker, "add-item", "apple", 3)
    file = tmp_path / "worker.history"
    environment = {**os.environ, "GOLEMP2P_URL": node.url, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def command(*arguments: str, code: int = 0) -> Any:
        ran = subprocess.run([COMMAND, "--format", "json", *arguments], env=environment, capture_output=True, check=False)
        assert ran.returncode == code, ran.stderr.decode()
        return json.loads(ran.stdout)

    before = metric(node, "histories_exported_total")
    told = command("worker", "verify", f"{cart}/{worker}")
    assert metric(node, "histories_exported_total") == before + 1
    assert (told["verdict"], told["run"]["results"]) == ("verified", 1)
    assert command("worker", "export", f"{cart}/{worker}", "-o", str(file))["bytes"] == file.stat().st_size
    assert command("worker", "verify", str(file), "--mesh", told["mesh"])["verdict"] == "verified"
    assert command("worker", "verify", str(file), "--mesh", "mesh:" + "00" * 32, code=1)["verdict"] == "wrong"
    assert command("worker", "verify", str(file), "--no-run", code=5)["verdict"] == "incomplete"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert command("worker", "verify", str(file), code=1)["verdict"] == "wrong"
