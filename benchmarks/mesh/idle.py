"""What a mesh of three nodes costs while nothing happens: with ten thousand workers that have nothing to do, and without any.

Each worker was invoked once and stays in the memory of the node that leads it. The controls: the same mesh before they were made,
and a single node with nothing in it. Idle means that nobody asks anything of the nodes, not even this program.
"""

from __future__ import annotations

import json
import subprocess
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.invocations import BODY, invoke_path
from benchmarks.loadgen import cpu_s
from benchmarks.mesh.nodes import add_counter, meter, running_mesh, wait_quiet
from benchmarks.node import load_command, running_node
from benchmarks.report import Report
from golemp2p.testing.node_process import NodeProcess

IDLE_S = 20.0
CLIENTS = 16
MAKING_S_MAX = 240.0


def idle(nodes: Sequence[NodeProcess], idle_s: float) -> list[Any]:
    """Per cent of a core: the busiest node, all together on average; messages per second of all."""
    wait_quiet(nodes)
    used = meter(nodes)
    before = [cpu_s([node.pid]) for node in nodes]
    time.sleep(idle_s)
    shares = [(cpu_s([node.pid]) - then) / idle_s * 100 for node, then in zip(nodes, before, strict=True)]
    return [max(shares), sum(shares) / len(shares), used().messages / idle_s]


def make_workers(nodes: Sequence[NodeProcess], component: str, count: int) -> None:
    """Invoke each of them once."""
    path = invoke_path(component, "idle{all}")
    command = load_command([node.port for node in nodes], path, clients=CLIENTS, seconds=MAKING_S_MAX, body=BODY)
    output = subprocess.run([*command, "--requests", str(count)], check=True, capture_output=True, text=True).stdout
    made = json.loads(output)
    if made["errors"] or made["requests"] < count:
        raise SystemExit(f"not all workers could be made: {made}")


def run(report: Report, args: Namespace) -> None:
    idle_s = 3.0 if args.quick else IDLE_S
    rows: list[list[Any]] = []
    with ExitStack() as stack:
        with running_node(shards_count=str(args.shards)) as node:
            rows.append(["control: a single node, empty", *idle([node], idle_s)])
        mesh = stack.enter_context(running_mesh(3, shards=args.shards))
        mesh.wait_spread()
        component = add_counter(mesh)
        rows.append(["control: three nodes, no workers", *idle(mesh.nodes, idle_s)])
        begin = time.monotonic()
        make_workers(mesh.nodes, component, args.workers)
        report.note(f"{args.workers:,} workers made, {args.workers / (time.monotonic() - begin):.0f} per second")
        rows.append([f"three nodes, {args.workers:,} idle workers", *idle(mesh.nodes, idle_s)])
    report.table(
        f"Idle, {args.shards:,} shards, per cent of a core (aim: under 1 per node)",
        ("", "busiest node", "average", "messages/s, all"),
        rows,
    )
