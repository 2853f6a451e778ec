"""How fast two empty nodes that join a third have replicas of everything, and what a caller of the third notices.

    control     the same with one shard: what starting the processes and getting to know each other takes
    empty       until all shards have three voters
    with data   as well until every log is there: the founder holds so many MiB of oplogs, one worker per shard at most

While they join, clients go on to invoke workers of the founder; their control is the same load before.
"""

from __future__ import annotations

import json
import subprocess
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.invocations import BODY, invoke_path
from benchmarks.loadgen import cpu_s
from benchmarks.mesh.nodes import GROWN_S_MAX, is_grown, prepared_mesh, voting
from benchmarks.node import load, load_command, wasm
from benchmarks.report import Report
from golemp2p.testing.mesh_process import MeshProcess

READS = 10_000
"""Of the clock, in one invocation: some 780 KiB of oplog."""
READS_BYTES = 780 << 10
CLIENTS = 4
CALM_S = 3.0


def grow(mesh: MeshProcess) -> tuple[float, float, float]:
    """Seconds from the start of the joiners' processes until they answer, and until the mesh has grown; CPU seconds of all nodes."""
    invite = mesh.invite(mesh[0])
    founder_s = cpu_s([mesh[0].pid])
    begin = time.monotonic()
    for node in mesh.nodes[1:]:
        node.spawn(join=invite)
    for node in mesh.nodes[1:]:
        node.wait_ready()
    ready_s = time.monotonic() - begin
    mesh.until(lambda: is_grown(mesh), lambda: f"every shard has its voters, but {voting(mesh)}", GROWN_S_MAX)
    return ready_s, time.monotonic() - begin, cpu_s([node.pid for node in mesh]) - founder_s


def fill(mesh: MeshProcess, mebibytes: int) -> float:
    """Write oplogs on the founder, one per worker. Bytes that they have."""
    component = mesh[0].add_component("bench", wasm("bench"))
    count = max(1, (mebibytes << 20) // READS_BYTES)
    for number in range(count):
        mesh[0].invoke(component, f"full{number}", "test:bench/api@1.0.0.{clock-reads}", READS)
    return float(count * READS_BYTES)


def join_under_load(mesh: MeshProcess) -> tuple[tuple[float, float, float], dict[str, Any], dict[str, Any]]:
    """How it grew; the load before, and while it did."""
    component = mesh[0].add_component("counter", wasm("counter"))
    path = invoke_path(component, "c{client}")
    load(mesh[0].port, path, clients=CLIENTS, seconds=0.3, body=BODY)
    before = load(mesh[0].port, path, clients=CLIENTS, seconds=CALM_S, body=BODY)
    command = load_command(mesh[0].port, path, clients=CLIENTS, seconds=2 * GROWN_S_MAX, body=BODY)
    process = subprocess.Popen([*command, "--until-closed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        grown = grow(mesh)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return grown, before, json.loads(output)


def run(report: Report, args: Namespace) -> None:
    growth: list[list[Any]] = []
    for name, shards in (("control: one shard", 1), (f"{args.shards:,} shards, empty", args.shards)):
        with prepared_mesh(3, shards=shards) as mesh:
            mesh[0].start()
            growth.append([name, *grow(mesh), None])
        report.note(f"{name}: done")
    with prepared_mesh(3, shards=args.shards) as mesh:
        mesh[0].start()
        size = fill(mesh, args.mebibytes)
        report.note(f"{size / 2**20:.0f} MiB of oplogs written")
        grown, before, meanwhile = join_under_load(mesh)
        held = sum(stored_bytes(node.data_dir) for node in mesh.nodes[1:])
    growth.append([f"{size / 2**20:.0f} MiB, under load", *grown, 2 * size / grown[1] / 1e6])
    report.table(
        "Two empty nodes join a third (aim for the empty ones: 5 s)",
        ("", "processes ready s", "three voters everywhere s", "CPU s, all three", "MB/s copied"),
        growth,
    )
    report.table(
        f"{CLIENTS} clients of the founder (the joiners' databases have {held / 2**20:.0f} MiB together)",
        ("", "requests/s", "p50 ms", "p99 ms", "max ms", "errors"),
        [
            [name, r["requests_per_s"], r["p50_ms"], r["p99_ms"], r["max_ms"], r["errors"] + r["connections_lost"]]
            for name, r in (("control: before", before), ("while two nodes join", meanwhile))
        ],
    )


def stored_bytes(data_dir: Path) -> int:
    return sum(path.stat().st_size for path in data_dir.glob("**/storage.sqlite*"))
