"""A node to measure, in a process of its own, and what the kernel and the node itself say about it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from golemp2p.testing.node_process import NodeProcess

HERE = Path(__file__).parent
BUILD = HERE.parent / "examples" / "build"


def wasm(name: str) -> Path:
    path = BUILD / f"{name}.wasm"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make examples`")
    return path


@contextmanager
def running_node(**settings: str) -> Iterator[NodeProcess]:
    """A fresh one, on a data directory that is removed with it."""
    with tempfile.TemporaryDirectory(prefix="golemp2p-bench-") as folder:
        node = NodeProcess(Path(folder) / "data", **settings)
        node.start()
        try:
            yield node
        finally:
            node.kill()


_SAMPLE = re.compile(r"^golemp2p_(\w+) (\S+)$", re.MULTILINE)


def metrics(node: NodeProcess) -> dict[str, float]:
    """What ``/metrics`` says, without labelled series; names without ``golemp2p_``."""
    return {name: float(value) for name, value in _SAMPLE.findall(node.request("GET", "/metrics").decode())}


def written_bytes(pid: int) -> int:
    """Bytes the process has had written to disk, as the kernel counts pages; 0 on a file system in memory."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "write_bytes":
            return int(value)
    return 0


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def load(
    ports: int | Sequence[int],
    path: str,
    *,
    clients: int,
    seconds: float,
    pid: int | None = None,
    body: str | None = None,
    strict: bool = True,
) -> dict[str, Any]:
    """One run of ``loadgen``; a ``body`` is posted as JSON. Raises when an answer was not 2xx or a connection was lost, unless that is
    for the caller to look at (``strict`` is false)."""
    command = load_command(ports, path, clients=clients, seconds=seconds, body=body)
    if pid is not None:
        command += ["--pid", str(pid)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    result: dict[str, Any] = json.loads(output)
    if strict and (result["errors"] or result["connections_lost"]):
        raise SystemExit(f"the load was not served: {result}")
    return result


def load_command(ports: int | Sequence[int], path: str, *, clients: int, seconds: float, body: str | None = None) -> list[str]:
    """Client i asks the i-th of ``ports``, beginning again after the last."""
    command = [
        sys.executable, str(HERE / "loadgen.py"), "--path", path, "--clients", str(clients), "--seconds", str(seconds),
    ]  # fmt: skip
    for port in (ports,) if isinstance(ports, int) else ports:
        command += ["--port", str(port)]
    if body is not None:
        command += ["--method", "POST", "--header", "Content-Type: application/json", "--body", body]
    return command
