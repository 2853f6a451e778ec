"""The node as a process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from node_fakes import Run
from wasmtime import wat2wasm

from golemp2p.storage.datadir import DataDirectory

ROOT = Path(__file__).resolve().parents[3]
PYTHONPATH = ":".join(str(ROOT / part) for part in ("", "node", "gateway"))
PATIENCE_S = 30.0  # a loaded machine starts Python slowly


class Process:
    """``golemp2p node run`` on free ports."""

    def __init__(self, data: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLEMP2P_")}
        environment["PYTHONPATH"] = PYTHONPATH
        addresses = ["--http", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]
        line = ["node", "run", "--data-dir", str(data), *addresses, "--format", "json", *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from golemp2p_node.cli import main; main()", *line],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.timer = threading.Timer(PATIENCE_S, self.process.kill)  # no test waits for ever
        self.timer.start()

    def listening(self, name: str = "http") -> dict[str, Any]:
        """What it says when it listens there."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.communicate(timeout=PATIENCE_S)[1]
            told: dict[str, Any] = json.loads(line)
            if told["listener"] == name:
                return told

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        for number in signals:
            self.process.send_signal(number)
        _, log = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, log


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Process] = []

    def go(*arguments: str) -> Process:
        started.append(Process(tmp_path / "data", *arguments))
        return started[-1]

    yield go
    for process in started:
        process.timer.cancel()
        process.process.kill()
        process.process.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return json.load(response)


def post(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method="POST"), timeout=PATIENCE_S) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_drains(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    node = start("--set", "log.format=json")
    told = node.listening()
    assert told["listener"] == "http"
    assert get(f"{told['url']}/healthcheck") == {}
    assert get(f"{told['url']}/v1/mesh/node")["node"] == told["node"]
    code, log = node.end(number)
    assert code == 0, log
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events[0] == "node_started"
    assert events[-1] == "node_stopped"
    assert "node_draining" in events
    assert (tmp_path / "data/node.key").stat().st_mode & 0o777 == 0o600


def test_a_second_signal_ends_at_once(start: Any) -> None:
    """While a request that never ends holds up the drain."""
    node = start("--set", "drain_timeout_s=600", "--set", "requests.header_timeout_s=600")
    port = int(node.listening()["url"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.sendall(b"POST /v1/components HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        assert get(f"http://127.0.0.1:{port}/healthcheck") == {}
        node.process.send_signal(signal.SIGINT)
        assert any("node_draining" in line for line in iter(node.process.stderr.readline, ""))
        assert node.end(signal.SIGINT)[0] == 130


def test_a_second_node_joins_by_invite_and_a_node_of_another_mesh_does_not(start: Any, tmp_path: Path) -> None:
    first = start()
    mesh, http = first.listening("mesh"), first.listening()
    invite = post(f"{http['url']}/v1/mesh/invite")
    assert invite["nodes"] == [{"node": http["node"], "addresses": [mesh["url"]]}]
    (tmp_path / "invite").write_text(invite["invite"], encoding="utf-8")
    second = start("--data-dir", str(tmp_path / "second"), "--join", f"@{tmp_path / 'invite'}", "--set", "log.level=debug")
    url = second.listening()["url"]
    status = wait_for(lambda: get(f"{url}/v1/mesh/status"), lambda told: told["members"]["alive"] == 2)
    assert (status["mesh"], status["state"], status["isFounder"]) == (
        get(f"{http['url']}/v1/mesh/status")["mesh"],
        "member",
        False,
    )
    assert not (tmp_path / "second/operator.key").exists()
    assert (tmp_path / "data/operator.key").stat().st_mode & 0o777 == 0o600
    post(f"{http['url']}/v1/mesh/forget", {"node": status["node"], "evenAlive": True})
    code, log = second.end()
    assert (code, json.loads(log.splitlines()[-1])["error"]["code"]) == (1, "invalid-state")
    assert "removed this node from its mesh" in log
    assert invite["invite"] not in log
    assert any("member_changed" in line and http["node"] in line for line in log.splitlines()), "by the name that people know"
    assert first.end(signal.SIGTERM)[0] == 0
    alone = start("--data-dir", str(tmp_path / "alone"))
    alone.listening()
    alone.end(signal.SIGTERM)
    code, log = start("--data-dir", str(tmp_path / "alone"), "--join", f"@{tmp_path / 'invite'}").end()
    assert (code, json.loads(log.splitlines()[-1])["error"]["code"]) == (1, "other-mesh")


def wait_for(look: Any, is_there: Any) -> Any:
    """What ``look`` sees once ``is_there`` says so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_there(seen := look()):
        assert time.monotonic() < deadline, seen
    return seen


def test_is_the_same_node_after_a_restart(start: Any) -> None:
    first = start()
    node = first.listening()["node"]
    first.process.kill()
    first.process.communicate()
    second = start()
    assert second.listening()["node"] == node
    assert second.end(signal.SIGTERM)[0] == 0


def test_two_nodes_cannot_share_a_directory(start: Any, tmp_path: Path) -> None:
    first = start()
    first.listening()
    code, log = start().end()
    assert code == 1
    error = json.loads(log.splitlines()[-1])["error"]
    assert f"is in use by process {first.process.pid}" in error["message"]


def test_the_command_line_end_to_end(start: Any, golemp2p: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer for real: upload, types, invocation, history, events, a kill, and the state intact."""
    wasm = tmp_path / "counter.wasm"
    wasm.write_bytes(wat2wasm((ROOT / "examples/counter/counter.wat").read_text()))
    node = start()
    monkeypatch.setenv("GOLEMP2P_URL", node.listening()["url"])
    assert "version 0 is ready" in golemp2p("component", "add", "counter", str(wasm)).out
    assert "add: func(n: u64) -> u64;" in golemp2p("component", "get", "counter", "--wit").out
    assert golemp2p("worker", "invoke", "counter/mine", "add", "5", "--idempotency-key", "k").out == "5\n"
    node.process.kill()
    node.process.communicate()

    node = start()
    monkeypatch.setenv("GOLEMP2P_URL", node.listening()["url"])
    assert golemp2p("worker", "invoke", "counter/mine", "add", "5", "--idempotency-key", "k").out == "5\n"
    assert golemp2p("worker", "invoke", "counter/mine", "add", "2").out == "7\n"
    assert golemp2p("worker", "invoke", "counter/mine", "add", '"2"').err.startswith("error: params[0]: expected u64")
    assert golemp2p("worker", "invoke", "counter/mine", "nope").code == 4
    assert "demo:counter/api@1.0.0.{add} [5]" in golemp2p("worker", "oplog", "counter/mine").out
    assert len(json.loads(golemp2p("worker", "list", "counter", "--format", "json").out)["workers"]) == 1
    assert "status             Idle" in golemp2p("worker", "get", "counter/mine").out
    golemp2p("component", "download", "counter", "-o", str(tmp_path / "copy.wasm"))
    assert (tmp_path / "copy.wasm").read_bytes() == wasm.read_bytes()
    assert golemp2p("storage", "verify", "--data-dir", str(tmp_path / "data")).code == 0
    assert golemp2p("worker", "delete", "counter/mine").code == 0
    assert golemp2p("worker", "get", "counter/mine").code == 4
    assert golemp2p("worker", "connect", "nobody/mine").code == 4


def test_connect_shows_events_until_interrupted(
    start: Any, golemp2p: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wasm = tmp_path / "counter.wasm"
    wasm.write_bytes(wat2wasm((ROOT / "examples/counter/counter.wat").read_text()))
    node = start()
    url = node.listening()["url"]
    monkeypatch.setenv("GOLEMP2P_URL", url)
    golemp2p("component", "add", "counter", str(wasm))
    nobody = golemp2p("worker", "connect", "counter/mine")
    assert (nobody.code, "no worker 'mine'" in nobody.err) == (4, True)
    golemp2p("worker", "new", "counter/mine")
    code = "from golemp2p_node.cli import main; main()"
    line = [sys.executable, "-c", code, "worker", "connect", "counter/mine"]
    environment = {**os.environ, "GOLEMP2P_URL": url, "PYTHONPATH": PYTHONPATH}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, text=True, env=environment, **pipes) as watching, patience(watching):
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert watching.stderr.readline() == "connected to counter/mine; Ctrl-C ends\n"
        golemp2p("worker", "invoke", "counter/mine", "add", "5", "--idempotency-key", "k")
        assert watching.stdout.readline().endswith("begin demo:counter/api@1.0.0.{add} (k)\n")
        assert watching.stdout.readline().endswith("end   demo:counter/api@1.0.0.{add} (k)\n")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE_S) == 0


@contextmanager
def patience(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whoever reads from ``process`` meanwhile meets its end rather than waiting for ever."""
    timer = threading.Timer(PATIENCE_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def lines(ran_err: str) -> list[str]:
    return ran_err.splitlines()


def test_port_in_use(golemp2p: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = golemp2p("node", "run", "--data-dir", str(tmp_path / "data"), "--http", f"127.0.0.1:{port}")
    assert ran.code == 1
    assert lines(ran.err)[0] == f"error: cannot listen on 127.0.0.1:{port}: the port is in use"
    assert len(lines(ran.err)) == 2
    assert not (tmp_path / "data").exists(), "refused before anything was touched"


def test_port_of_the_mesh_in_use(golemp2p: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = ("node", "run", "--data-dir", str(tmp_path / "data"), "--http", "127.0.0.1:0", "--mesh", f"127.0.0.1:{port}")
        ran = golemp2p(*line)
    assert ran.code == 1
    assert lines(ran.err)[-2:] == [
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  try: choose an address of this machine with --mesh HOST:PORT; port 0 takes a free one",
    ]


def test_a_node_whose_invite_leads_nowhere_says_so(start: Any, tmp_path: Path) -> None:
    first = start()
    (tmp_path / "invite").write_text(post(f"{first.listening()['url']}/v1/mesh/invite")["invite"], encoding="utf-8")
    assert first.end(signal.SIGTERM)[0] == 0
    second = start("--data-dir", str(tmp_path / "second"), "--join", f"@{tmp_path / 'invite'}")
    second.listening()
    told = next(line for line in iter(second.process.stderr.readline, "") if "nobody_answers" in line)
    assert re.search(r"node:[0-9a-f]{40}: 127\.0\.0\.1:\d+: ", told), told


def test_foreign_address(golemp2p: Run, tmp_path: Path) -> None:
    line = ("node", "run", "--data-dir", str(tmp_path / "data"), "--http", "203.0.113.1:9881", "--insecure-listen")
    ran = golemp2p(*line)
    assert ran.code == 1
    assert lines(ran.err)[0] == "error: cannot listen on 203.0.113.1:9881: Cannot assign requested address"


def test_unusable_directory(golemp2p: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    ran = golemp2p("node", "run", "--data-dir", str(tmp_path / "file/data"), "--http", "127.0.0.1:0")
    assert ran.code == 1
    assert lines(ran.err)[0].endswith("cannot be made: there is a file where a directory should be")
    assert "--data-dir" in lines(ran.err)[1]


def test_open_to_the_world_is_refused(golemp2p: Run, tmp_path: Path) -> None:
    ran = golemp2p("node", "run", "--data-dir", str(tmp_path / "data"), "--http", "0.0.0.0:0")
    assert ran.code == 2
    assert "no authority configured" in lines(ran.err)[0]
    assert "--insecure-listen" in lines(ran.err)[0]


def test_damaged_key_points_at_verify(golemp2p: Run, tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        (directory.path / "node.key").write_text("garbage\n")
        (directory.path / "node.key").chmod(0o600)
    ran = golemp2p("node", "run", "--data-dir", str(tmp_path / "data"), "--http", "127.0.0.1:0")
    assert ran.code == 1
    assert "node.key" in lines(ran.err)[0]
    assert "storage verify" in lines(ran.err)[1]
