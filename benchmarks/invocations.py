"""Invocations over HTTP, each with one durable commit, against a stock Hypercorn that only says hello.

    python -m benchmarks.invocations [--seconds 2] [--rounds 3] [--clients 1 8 32 64] [--quick] [--json FILE]

A real node process; the counter component; N clients in a closed loop, each with a worker of its own, or all with the same.
The control, bare ASGI on ``hypercorn.trio.serve``, runs in the same rounds under the same load generator. Shown is the round
with the most requests per second of each. CPU is that of the node's process with all its threads, the writer's included.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.node import HERE, load, metrics, running_node, wasm, written_bytes
from benchmarks.report import Report, parser_of
from golemp2p.testing.node_process import NodeProcess

ADD = "demo:counter/api@1.0.0.%7Badd%7D"
BODY = '{"params":[1]}'

COLUMNS = (
    "clients on workers", "requests/s", "of control", "p50 ms", "p99 ms", "CPU us/request", "requests/fsync", "bytes/request",
)  # fmt: skip


@contextmanager
def control_server() -> Iterator[tuple[int, int]]:
    """(port, pid) of a stock hello."""
    command = [sys.executable, str(HERE / "http_edge.py"), "--serve", "stock-hello"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(json.loads(server.stdout.readline())["port"]), server.pid
    finally:
        server.kill()
        server.wait()


def invoke_path(component: str, worker: str) -> str:
    return f"/v1/components/{component}/workers/{worker}/invoke-and-await?function={ADD}"


def measure(node: NodeProcess, component: str, worker: str, clients: int, seconds: float) -> dict[str, Any]:
    path = invoke_path(component, worker)
    load(node.port, path, clients=clients, seconds=0.3, body=BODY)  # workers exist, code is loaded
    before, written = metrics(node), written_bytes(node.pid)
    result = load(node.port, path, clients=clients, seconds=seconds, pid=node.pid, body=BODY)
    after = metrics(node)
    done = after["invocations_completed_total"] - before["invocations_completed_total"]
    result["per_fsync"] = done / max(1.0, after["storage_commits"] - before["storage_commits"])
    result["bytes"] = (written_bytes(node.pid) - written) / result["requests"]
    return result


def best(results: list[dict[str, Any]]) -> dict[str, Any]:
    return max(results, key=lambda result: float(result["requests_per_s"]))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32, 64])
    args = parser.parse_args()
    seconds, rounds = (0.3, 1) if args.quick else (args.seconds, args.rounds)
    report = Report("invocations", args.json)
    rows: list[list[Any]] = []
    with control_server() as (port, pid), running_node() as node:
        component = node.add_component("counter", wasm("counter"))
        load(port, "/", clients=8, seconds=0.3)
        for clients in args.clients:
            names = {f"{clients} on {clients}": "w{client}"}
            if clients == 32:
                names["32 on one"] = "one"
            controls: list[dict[str, Any]] = []
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for _ in range(rounds):
                controls.append(load(port, "/", clients=clients, seconds=seconds, pid=pid))
                for name, worker in names.items():
                    found[name].append(measure(node, component, worker, clients, seconds))
            control = best(controls)
            rows.append(
                [f"control, {clients}", control["requests_per_s"], 1.0, control["p50_ms"], control["p99_ms"],
                 control["cpu_us_per_request"], None, None]
            )  # fmt: skip
            for name, results in found.items():
                result = best(results)
                rows.append(
                    [name, result["requests_per_s"], result["requests_per_s"] / control["requests_per_s"], result["p50_ms"],
                     result["p99_ms"], result["cpu_us_per_request"], result["per_fsync"], result["bytes"]]
                )  # fmt: skip
            report.note(f"{clients} clients done")
    report.table("Invocations over HTTP with one durable commit each", COLUMNS, rows)
    report.save()


if __name__ == "__main__":
    main()
