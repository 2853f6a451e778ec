"""The README's tour, played as it is printed: one node, its death, three nodes, and the death of one in the middle of a call."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wasm

from golemp2p.testing.node_process import COMMAND

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PORTS = ("9881", "9882", "9891", "9892", "9901", "9902")  # HTTP and mesh of the three nodes
FIRST = ".venv/bin/golemp2p node run"  # what `make run` does
PATIENCE_S = 150.0


def blocks() -> list[list[str]]:
    """Command lines of the tour, block by block."""
    tour = README[README.index("## Five minutes") : README.index("## Running a mesh")]
    return [block.replace("\\\n", " ").strip().splitlines() for block in tour.split("```")[1::2]]


class Reader:
    """Types the lines as they stand, at home in a directory of its own, on other ports. ``nodes``: by the HTTP ports that the README
    gives them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.component = ""
        self._free = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLEMP2P_")}
        self._environment |= {"HOME": str(home), "GOLEMP2P_URL": self.own("http://127.0.0.1:9881")}
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def own(self, text: str) -> str:
        """What the README says, as it is here."""
        for port, free in self._free.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
        return text.replace(".venv/bin/golemp2p", str(COMMAND)).replace("COMPONENT", self.component)

    def told(self, text: str) -> str:
        """The other way round."""
        for port, free in self._free.items():
            text = text.replace(f"127.0.0.1:{free}", f"127.0.0.1:{port}")
        return text

    def run(self, line: str) -> str:
        done = self.start(line)
        out, error = done.communicate(timeout=PATIENCE_S)
        assert done.returncode == 0, (line, out, error)
        assert not (line.startswith("curl") and '"code"' in out), out  # curl exits 0 on a refusal
        return self.told(out)

    def start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.own(line), shell=True, cwd=ROOT, env=self._environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def run_node(self, line: str) -> None:
        """In a terminal of its own. Returns when it answers."""
        port = (re.findall(r"--http 127\.0\.0\.1:(\d+)", line) or ["9881"])[0]
        if line == FIRST:
            line += " --http 127.0.0.1:9881 --mesh 127.0.0.1:9882"  # as by default, but for the ports
        with (self.home / f"{port}.log").open("ab") as log:
            command = f"exec {self.own(line)}"
            self.nodes[port] = subprocess.Popen(
                command, shell=True, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.until(lambda: self.get(port, "/healthcheck") == {}, f"the node at {port} answers")

    def kill_node(self, port: str) -> None:
        """kill -9."""
        self.nodes[port].kill()
        self.nodes[port].wait(10)

    def get(self, port: str, path: str) -> Any:
        """``None`` while nobody answers."""
        try:
            with urllib.request.urlopen(self.own(f"http://127.0.0.1:{port}{path}"), timeout=30) as response:
                return json.load(response)
        except OSError:
            return None

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.home.glob("*.log"))

    # -- what it looks at beside

    def is_shared(self) -> bool:
        """Every shard has three voters, and every node leads some."""
        ring = self.get("9881", "/v1/mesh/ring") or {"nodes": ()}
        nodes = [node for node in ring["nodes"] if node["voting"] == ring["shardsCount"] and node["leading"]]
        return len(nodes) == 3 and not ring["unled"]

    def log_lines(self, port: str) -> int:
        """Of alice's own log."""
        page = self.get(port, f"/v1/components/{self.component}/workers/alice/oplog?count=1000&from=1")
        return sum(item["entry"]["type"] == "Log" for item in (page or {"entries": ()})["entries"])

    def end(self) -> None:
        for process in self.nodes.values():
            process.terminate()
        for process in self.nodes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def free_ports(count: int) -> list[str]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    wasm("cart-python")
    reader = Reader(tmp_path)
    yield reader
    reader.end()


def test_five_minutes(reader: Reader) -> None:
    first, calls, over_http, joins, anywhere, checkout, look = blocks()
    assert first == ["make run"]
    reader.run_node(FIRST)

    add, types, *invoke = calls
    added = reader.run(add)
    reader.component = re.findall(r"^id +(\S+)$", added, re.MULTILINE)[0]
    assert "add-item: func(" in reader.run(types)
    assert "apple" in [reader.run(line) for line in invoke][-1]
    if shutil.which("curl"):
        for _ in range(2):  # with one key: once
            reader.run(over_http[0])
        assert '"pear", "quantity": 2' in reader.run(invoke[-1])
    before = reader.run(invoke[-1])
    reader.kill_node("9881")
    reader.run_node(FIRST)
    assert reader.run(invoke[-1]) == before

    invite, *join = joins
    reader.run(invite)
    assert (reader.home / "invite.txt").stat().st_mode & 0o077 == 0
    for line in join:
        reader.run_node(line)
    reader.until(reader.is_shared, "the nodes share their shards")
    ring, contents, get = [reader.run(line) for line in anywhere]
    assert "1024 of 1024 shards have a primary" in ring
    assert contents == before

    (owner,) = re.findall(r"^runs at +http://127\.0\.0\.1:(\d+)$", get, re.MULTILINE)
    others = [port for port in reader.nodes if port != owner]
    ask = checkout[0].replace("127.0.0.1:9891", f"127.0.0.1:{others[0]}")  # one that does not run her
    waiting = reader.start(ask)
    reader.until(lambda: reader.log_lines(others[1]) >= 2, "the checkout is in its second step")
    assert waiting.poll() is None
    reader.kill_node(owner)
    receipt, error = waiting.communicate(timeout=PATIENCE_S)
    assert (waiting.returncode, error) == (0, ""), error
    assert '{"ok": {"number": 1,' in receipt
    assert reader.run(ask.replace(f":{others[0]}", f":{others[1]}")) == receipt
    assert reader.log_lines(others[0]) == 3

    line = next((line for line in join if f"127.0.0.1:{owner} " in line), FIRST)
    reader.run_node(line)
    reader.until(reader.is_shared, "the nodes share their shards again")
    peers, oplog, worker, verified = [reader.run(line) for line in look]
    assert len(re.findall(r"^node:.* alive ", peers, re.MULTILINE)) == 3
    assert "checkout" in oplog
    assert "Idle" in worker
    assert "all sound" in verified
