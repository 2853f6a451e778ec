"""A node whose disk, directory or power fails: nothing acknowledged is lost, and it says what is wrong."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Call, path, post, refused, types, unless, until
from conftest import Components, wasm

from golemp2p.testing.node_process import COMMAND, NodeProcess, Refused

DISK_BYTES = 24 << 20
DATABASE = "storage.sqlite"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, nearly without room."""
    if os.geteuid() != 0:
        pytest.skip("a disk that can be filled is a tmpfs of our own, and only root may mount one")
    target = Path(tempfile.mkdtemp(prefix="golemp2p-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(target)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        target.rmdir()
        pytest.skip(f"this machine does not let us mount a tmpfs: {mounted.stderr.strip()}")
    yield target
    subprocess.run(["umount", "--lazy", str(target)], check=True)
    target.rmdir()


def fill(file: Path, leave_bytes: int = 0) -> None:
    """Until the disk has no more than that to give."""
    with file.open("wb", buffering=0) as out:
        for size in (1 << 20, 64 << 10, 4096, 1):
            while shutil.disk_usage(file.parent).free > leave_bytes + size:
                try:
                    out.write(b"\1" * size)
                except OSError:
                    break


def test_a_full_disk_refuses_and_loses_nothing(small_disk):
    node = NodeProcess(small_disk / "data")
    ballast = small_disk / "ballast"
    try:
        node.start()
        counter = Components(node)["counter"]
        acknowledged = {f"w{n}": node.invoke(counter, f"w{n}", "add", 1) for n in range(3)}
        fill(ballast)
        refused_keys: dict[str, str] = {}
        while len(refused_keys) < 3:  # the database has some room inside its files; then there is none
            for worker, value in acknowledged.items():
                if worker not in refused_keys:
                    key = f"{worker}-{value}"
                    answer = unless(
                        ("storage-full",), lambda worker=worker, key=key: node.invoke(counter, worker, "add", 1, key=key)
                    )
                    if answer is None:
                        refused_keys[worker] = key
                    acknowledged[worker] = answer or value
        assert node.request("GET", "/healthcheck") == {}
        with refused(507, "storage-full"):  # nothing is told of a worker whose newest entries wait for the disk
            node.worker(counter, "w0")
        with refused(507, "storage-full"):
            post(node, path(counter), {"name": "new", "args": [], "env": {}})
        ballast.unlink()
        for worker, before in acknowledged.items():
            key = refused_keys[worker]  # what was refused was not lost: it is written when there is room, once
            acknowledged[worker] = until(
                lambda worker=worker, key=key: unless(
                    ("storage-full",), lambda: node.invoke(counter, worker, "add", 1, key=key)
                ),
                "it goes on once there is room",
            )
            assert acknowledged[worker] == before + 1
        node.kill()
        node.start()
        for worker, value in acknowledged.items():
            assert node.invoke(counter, worker, "get") == value
        assert node.terminate() == 0
        assert verify(node.data_dir)["damages_count"] == 0
    finally:
        node.kill()


def verify(directory: Path) -> dict:
    done = subprocess.run(
        [COMMAND, "storage", "verify", "--data-dir", directory, "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["damages_count"] else 0)
    return report


def test_a_component_that_does_not_fit_on_the_disk_leaves_nothing_behind(small_disk):
    node = NodeProcess(small_disk / "data")
    try:
        node.start()
        node.add_component("small", wasm("counter"))
        fill(small_disk / "ballast", leave_bytes=8 << 20)
        with refused(507, "storage-full"):
            node.add_component("large", wasm("cart-python"))
        assert node.request("GET", "/v1/components?component-name=large") == []
        (small_disk / "ballast").unlink()
        assert node.invoke(Components(node)["counter"], "w", "add", 1) == 1
        free = shutil.disk_usage(small_disk).free
        assert free > DISK_BYTES - (12 << 20), "the part that fitted is still there"
    finally:
        node.kill()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_a_truncated_database_is_noticed_and_said(make_node, keep):
    node = make_node()
    node.start()
    counter = Components(node)["counter"]
    for number in range(20):
        node.invoke(counter, f"w{number}", "add", 1)
    assert node.terminate() == 0
    database = node.data_dir / DATABASE
    os.truncate(database, int(database.stat().st_size * keep))
    report = subprocess.run(
        [COMMAND, "storage", "verify", "--data-dir", node.data_dir], capture_output=True, text=True, check=False
    )
    assert report.returncode == 1
    assert "Traceback" not in report.stderr + report.stdout
    try:
        node.start()
    except AssertionError as ended:  # it may refuse to start, in a line that says why
        text = str(ended)
        assert "Traceback" not in text
        assert "error: " in text
        return
    for number in range(20):  # or run, and then it must not make things up
        value = unless(("data-damaged", "component-not-found"), lambda number=number: node.invoke(counter, f"w{number}", "get"))
        assert value in (1, None)


def refusal_of(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A node that must not start."""
    done = subprocess.run(
        [str(COMMAND), "node", "run", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("error: "), done.stderr
    assert len(lines) <= 2, done.stderr
    return done


def test_a_port_in_use_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = refusal_of("--data-dir", tmp_path / "d", "--http", f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = refusal_of("--data-dir", tmp_path / "file" / "d", "--http", "127.0.0.1:0")
    assert str(tmp_path / "file") in done.stderr
    sealed = Path("/proc/golemp2p")  # refuses root too
    if sealed.parent.exists():
        assert str(sealed) in refusal_of("--data-dir", sealed, "--http", "127.0.0.1:0").stderr


def test_a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on(make_node):
    node = make_node()
    node.start()
    counter = Components(node)["counter"]
    assert node.invoke(counter, "w", "add", 1) == 1
    done = refusal_of("--data-dir", node.data_dir, "--http", "127.0.0.1:0", "--mesh", "127.0.0.1:0")
    assert str(node.data_dir) in done.stderr
    assert node.invoke(counter, "w", "add", 1) == 2
    node.kill()
    node.start()  # the lock dies with its owner
    assert node.invoke(counter, "w", "add", 1) == 3


def test_sigterm_lets_what_is_under_way_finish_and_takes_nothing_new(make_node):
    node = make_node()
    node.start()
    bench = Components(node)["bench"]
    assert node.invoke(bench, "other", "add", 1) == 1
    waiting = Call(lambda: node.invoke(bench, "w", "sleep-lateness", 1000))
    until(lambda: is_running(node, bench, "w"), "it runs")
    keep = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    keep.connect()
    assert node.terminate() == 0
    assert waiting.outcome() > 0
    with pytest.raises(OSError):
        node.invoke(bench, "other", "add", 1)
    keep.close()
    node.start()
    assert node.invoke(bench, "other", "get") == 1


def is_running(node: NodeProcess, component: str, worker: str) -> bool:
    try:
        return bool(node.worker(component, worker)["status"] == "Running")
    except Refused:
        return False


def test_sigterm_waits_no_longer_than_its_deadline_and_the_work_goes_on_after_the_start(make_node):
    node = make_node(drain_timeout_s="0.5", workers_suspend_after_s="60")
    node.start()
    bench = Components(node)["bench"]
    waiting = Call(lambda: node.invoke(bench, "w", "sleep", 30_000, key="k"))
    until(lambda: is_running(node, bench, "w"), "it runs")
    began = time.monotonic()
    assert node.terminate() == 0
    assert time.monotonic() - began < 15
    with pytest.raises((OSError, Refused)):
        waiting.outcome()
    node.start()
    node.wait_for(bench, "w", "Running")  # by itself
    assert types(node.oplog(bench, "w")).count("ExportedFunctionInvoked") == 1
    assert "ExportedFunctionCompleted" not in types(node.oplog(bench, "w"))


@pytest.mark.parametrize("sent", [0.02, 0.7, 1.0])
def test_sigkill_during_an_upload_leaves_no_half_component(make_node, sent):
    """Killed while bytes arrive, and (all sent) while it compiles or stores."""
    node = make_node()
    node.start()
    data = wasm("cart-python").read_bytes()
    head = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nhalf\r\n'
    head += b'--b\r\nContent-Disposition: form-data; name="component"; filename="c"\r\n\r\n'
    body = head + data + b"\r\n--b--\r\n"
    connection = socket.create_connection(("127.0.0.1", node.port))
    request = f"POST /v1/components HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(request.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    sender = threading.Thread(target=lambda: connection.sendall(body[: int(len(body) * sent)]))
    sender.start()
    sender.join(30)
    node.kill()
    connection.close()
    node.start()
    assert node.request("GET", "/v1/components") == []
    assert verify(node.data_dir)["damages_count"] == 0
    leftovers = [file for file in node.data_dir.rglob("*") if file.is_file() and file.stat().st_size > len(data) // 2]
    assert leftovers == []
    assert node.invoke(Components(node)["counter"], "w", "add", 1) == 1
