"""Invocations of a mesh with three replicas against those of a single node, in turns.

    control     a node alone, as in ``invocations``
    any node    the clients are spread over the nodes, whoever leads their workers: two of three requests are forwarded
    its leader  each client speaks to the node that leads its worker, as the header ``x-golemp2p-primary`` would have it

Each client has a worker of its own. CPU, messages and bytes are those of all nodes together; commits are of all their disks.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from benchmarks.invocations import BODY, best, invoke_path
from benchmarks.mesh.nodes import add_counter, leaders_of, meter, running_mesh, wait_quiet
from benchmarks.node import load, running_node, wasm
from benchmarks.report import Report
from golemp2p.testing.node_process import NodeProcess

CLIENTS = (1, 8, 32, 64)
ROUNDS = 3
SECONDS = 3.0
SPREAD_S_MAX = 60.0

COLUMNS = (
    "clients", "requests/s", "of control", "p50 ms", "p99 ms", "CPU us", "per commit", "messages", "sent bytes", "disk bytes", "errors",
)  # fmt: skip


def measure(nodes: Sequence[NodeProcess], ports: Sequence[int], component: str, clients: int, seconds: float) -> dict[str, Any]:
    """One run of the load generator: client i asks ``ports[i]``, over and over."""
    path = invoke_path(component, "w{client}")
    load(ports, path, clients=clients, seconds=min(0.5, seconds), body=BODY, strict=False)  # workers exist, code is loaded
    used = meter(nodes)
    result = load(ports, path, clients=clients, seconds=seconds, body=BODY, strict=False)
    use = used()
    count = max(1, int(result["requests"]))
    return {
        **result,
        "cpu_us": use.cpu_s / count * 1e6,
        "per_commit": use.invocations / max(1.0, use.commits),
        "messages": use.messages / count,
        "sent": use.sent_bytes / count,
        "written": use.written_bytes / count,
    }


def row(name: str, result: dict[str, Any], control: dict[str, Any]) -> list[Any]:
    return [
        name, result["requests_per_s"], result["requests_per_s"] / control["requests_per_s"], result["p50_ms"], result["p99_ms"],
        result["cpu_us"], result["per_commit"], result["messages"], result["sent"], result["written"],
        result["errors"] + result["connections_lost"],
    ]  # fmt: skip


def run(report: Report, args: Namespace) -> None:
    rounds, seconds = (1, 0.5) if args.quick else (ROUNDS, SECONDS)
    rows: list[list[Any]] = []
    with (
        running_node(shards_count=str(args.shards)) as single,
        running_mesh(3, shards=args.shards) as mesh,
    ):
        alone = single.add_component("counter", wasm("counter"))
        mesh.wait_spread(SPREAD_S_MAX)
        wait_quiet(mesh.nodes)  # shards move for some time after a mesh has grown
        component = add_counter(mesh)
        report.note("the mesh has grown, and every node leads some shards")
        everywhere = [node.port for node in mesh]
        for clients in CLIENTS:
            workers = [f"w{number}" for number in range(clients)]
            direct = [node.port for node in leaders_of(mesh, component, workers)]
            found: list[list[dict[str, Any]]] = [[], [], []]
            for _ in range(rounds):
                found[0].append(measure([single], [single.port], alone, clients, seconds))
                found[1].append(measure(mesh.nodes, everywhere, component, clients, seconds))
                found[2].append(measure(mesh.nodes, direct, component, clients, seconds))
            control, spread, led = map(best, found)
            rows += [
                row(f"control, {clients}", control, control),
                row(f"any node, {clients}", spread, control),
                row(f"its leader, {clients}", led, control),
            ]
            report.note(f"{clients} clients done")
    report.table(
        "Durable invocations: three nodes with three replicas against one; per invocation, all nodes together (aims: 0.4 of the"
        " control, 3,000 us)",
        COLUMNS,
        rows,
    )
