"""What a worker, a request, a queue and a node may use: passing a limit costs the one who passes it, and nobody else."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from asking import JSON, Call, logged, metric, path, post, refused
from conftest import Components

from golemp2p.testing.node_process import NodeProcess

PAGE_BYTES = 64 * 1024
MEMORY_BYTES_MAX = 32 << 20  # a Python guest starts with less than that
PAYLOAD_BYTES_MAX = 64 << 10
QUEUE_MAX = 3
FILES_BYTES_MAX = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A node where everything is scarce."""
    node = NodeProcess(
        tmp_path_factory.mktemp("small") / "data",
        limits_wall_time_s="1",
        limits_memory_bytes_max=str(MEMORY_BYTES_MAX),
        limits_files_bytes_max=str(FILES_BYTES_MAX),
        limits_resources_max="60",
        requests_payload_bytes_max=str(PAYLOAD_BYTES_MAX),
        requests_component_bytes_max=str(32 << 20),
        workers_queue_length_max=str(QUEUE_MAX),
    )
    node.start()
    yield node
    assert node.terminate() == 0, node.log_path.read_text()[-4000:]


@pytest.fixture(scope="module")
def guests(small) -> Components:
    return Components(small)


def failures(node, code: str) -> float:
    return metric(node, f"executions_failed_{code.replace('-', '_')}_total")


def test_a_guest_that_never_calls_its_host_is_stopped_while_others_go_on(small, guests, worker):
    bench, before = guests["bench"], failures(small, "limit-exceeded")
    others = {name: small.invoke(bench, name, "add", 1) for name in ("one", "two")}
    spinning = Call(lambda: small.invoke(bench, worker, "spin-forever"))
    small.wait_for(bench, worker, "Running")
    worst_s, answers = 0.0, 0
    while spinning.is_alive():
        began = time.monotonic()
        for name, count in others.items():
            others[name] = small.invoke(bench, name, "add", 1)
            assert others[name] == count + 1
            answers += 1
        worst_s = max(worst_s, (time.monotonic() - began) / 2)
    with refused(500, "limit-exceeded") as caught:
        spinning.outcome()
    assert "wall_time" in caught.value.body["limit"]
    assert failures(small, "limit-exceeded") == before + 1  # trying again could not help
    assert small.worker(bench, worker)["status"] == "Failed"
    print(f"{answers} invocations of other workers meanwhile, the slowest {worst_s * 1000:.1f} ms")
    assert answers > 10  # in the second of wall time; one at a time, each with its own fsync: some hundreds when all is quiet


def test_computing_longer_than_a_slice_is_no_offence(small, guests, worker):
    assert small.invoke(guests["bench"], worker, "spin", 200_000_000) is not None


def test_memory_is_refused_to_the_guest_that_asks_for_too_much(small, guests, worker):
    bench = guests["bench"]
    assert small.invoke(bench, worker, "allocate", 16) > 16
    pages = MEMORY_BYTES_MAX // PAGE_BYTES
    assert small.invoke(bench, worker, "allocate", pages) == 0  # memory.grow says no: this guest can live with it
    held = small.worker(bench, worker)["totalLinearMemorySize"]
    assert 16 * PAGE_BYTES < held <= MEMORY_BYTES_MAX
    assert small.invoke(bench, worker, "add", 1) == 1


def test_a_guest_that_cannot_live_without_memory_fails_in_its_own_way(small, guests, worker):
    """Python raises MemoryError, nobody catches it, and it traps."""
    probe = guests["probe"]
    assert small.invoke(probe, worker, "allocate", 1 << 20) == 1 << 20
    with refused(500, "guest-trapped"):
        small.invoke(probe, worker, "allocate", 2 * MEMORY_BYTES_MAX)
    assert "MemoryError" in "".join(logged(small, probe, worker))
    assert small.worker(probe, worker)["totalLinearMemorySize"] <= MEMORY_BYTES_MAX
    assert small.invoke(probe, f"{worker}-other", "get") == 0


def test_recursion_without_end_is_a_stack_overflow(small, guests, worker):
    bench, before = guests["bench"], failures(small, "stack-overflow")
    assert small.invoke(bench, worker, "recurse", 100) is not None
    with refused(500, "stack-overflow"):
        small.invoke(bench, worker, "recurse", 1 << 40)
    assert failures(small, "stack-overflow") == before + 1
    assert small.invoke(bench, f"{worker}-other", "recurse", 100) is not None


def test_files_take_no_more_than_their_share(small, guests, worker):
    probe = guests["probe"]
    piece = list(b"x" * 8192)
    written = 0
    while (answer := small.invoke(probe, worker, "append-file", "f", piece)) == {"ok": None}:
        written += len(piece)
        assert written <= FILES_BYTES_MAX
    assert answer in ({"err": "EIO"}, {"err": "ENOSPC"})  # the libc of this guest does not ask which error it was
    assert written > FILES_BYTES_MAX // 2
    assert small.invoke(probe, worker, "remove-file", "f") == {"ok": None}  # the worker lives, and can help itself
    assert small.invoke(probe, worker, "write-file", "g", piece) == {"ok": None}


def test_a_body_too_large_is_refused_before_anything_happens(small, guests, worker):
    kitchen = guests["kitchen"]
    assert len(small.invoke(kitchen, worker, "echo-string", "x" * (PAYLOAD_BYTES_MAX // 2))) == PAYLOAD_BYTES_MAX // 2
    with refused(413, "payload-too-large"):
        small.invoke(kitchen, worker, "echo-string", "x" * PAYLOAD_BYTES_MAX)
    with refused(413, "payload-too-large"):
        post(small, path(kitchen), {"name": "big", "args": ["x" * PAYLOAD_BYTES_MAX], "env": {}})
    with refused(404, "worker-not-found"):
        small.worker(kitchen, "big")
    files = {"component": ("big.wasm", b"\0" * (33 << 20), "application/wasm")}
    answer = httpx.post(f"{small.url}/v1/components", data={"name": "big"}, files=files)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")


def test_a_full_queue_asks_to_come_back(small, guests, worker):
    bench, before = guests["bench"], metric(small, "invocations_refused_overloaded_total")
    small.enqueue(bench, worker, "sleep", 700)
    small.wait_for(bench, worker, "Running")
    for number in range(QUEUE_MAX):
        small.enqueue(bench, worker, "add", 1, key=f"k{number}")
    url = f"{small.url}{path(bench, worker, '/invoke', function='add')}"
    answer = httpx.post(url, json={"params": [1]})
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    again = httpx.post(url, json={"params": [1]}, headers={"Idempotency-Key": "k0"})
    assert again.status_code == 200  # it has its place already
    assert metric(small, "invocations_refused_overloaded_total") == before + 1
    small.wait_for(bench, worker, "Idle")
    assert small.invoke(bench, worker, "add", 1) == QUEUE_MAX + 1


def test_no_more_workers_than_there_is_room_for_and_idle_ones_make_room(make_node):
    node = make_node(workers_active_max="4", workers_suspend_after_pressed_s="10")  # who naps stays in memory
    node.start()
    bench = Components(node)["bench"]
    for number in range(12):  # idle ones leave
        assert node.invoke(bench, f"idle-{number}", "add", number) == number
    assert metric(node, "workers_loaded") <= 4
    assert node.invoke(bench, "idle-3", "get") == 3
    naps = [f"nap-{number}" for number in range(4)]
    for name in naps:
        node.enqueue(bench, name, "sleep", 2500)
    answer = httpx.post(
        f"{node.url}{path(bench, 'one-too-many', '/invoke-and-await', function='add')}",
        content=json.dumps({"params": [1]}),
        headers=JSON,
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "retry-after" in answer.headers
    assert metric(node, "invocations_refused_workers_active_total") == 1
    for name in naps:
        node.wait_for(bench, name, "Idle")
    assert node.invoke(bench, "one-too-many", "add", 1) == 1


def test_metrics_tell_requests_and_workers(small, guests, worker):
    small.invoke(guests["bench"], worker, "add", 1)
    text: str = small.request("GET", "/metrics").decode()
    route = 'route="/v1/components/{component_id}/workers/{worker_name}/invoke-and-await"'
    wanted: list[Any] = ["golemp2p_invocations_completed_total ", "golemp2p_workers_loaded ", f'_count{{method="POST",{route},']
    for part in wanted:
        assert part in text, part
