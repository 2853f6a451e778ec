"""Where the CPU of an invocation goes: the node of ``invocations`` under cProfile, 32 clients on workers of their own.

    python -m benchmarks.costs [--clients 32] [--seconds 4] [--quick] [--json FILE]

Two runs of one node: without the profiler, for what an invocation really costs and which threads pay; then with it. cProfile sees
the event loop's thread only, and makes small Python functions look dearer than they are: the shares are a guide, and whoever acts
on one measures again without it. ``us/request`` are scaled to what the event loop's thread costs when nobody looks.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.invocations import BODY, invoke_path
from benchmarks.loadgen import TICKS_PER_S
from benchmarks.node import load, wasm
from benchmarks.report import Report, parser_of
from golemp2p.testing.node_process import NodeProcess

TOP = 30
WRITE_S_MAX = 30.0


class ProfiledNode(NodeProcess):
    """SIGUSR1 starts its profiler, SIGUSR2 stops it and writes ``stats_path``."""

    @property
    def stats_path(self) -> Path:
        return self.data_dir.with_suffix(".pstats")

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.costs", "--serve", str(self.stats_path), *super()._command()[1:]]


def serve(stats_path: Path, arguments: list[str]) -> None:
    from golemp2p_node.cli import main as node_main  # noqa: PLC0415  # only the node's process pays for importing it

    profiler = cProfile.Profile(builtins=True)

    def stop(number: int, frame: Any) -> None:
        profiler.disable()
        partial = stats_path.with_suffix(".partial")
        profiler.dump_stats(partial)
        partial.rename(stats_path)

    signal.signal(signal.SIGUSR1, lambda number, frame: profiler.enable())
    signal.signal(signal.SIGUSR2, stop)
    sys.argv = ["golemp2p", *arguments]
    node_main()


def threads_cpu_s(pid: int) -> dict[int, float]:
    """CPU seconds by thread; the one numbered ``pid`` is the event loop's."""
    found: dict[int, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return found


def part_of(file: str) -> str:
    """The part of the program that a function's file belongs to."""
    for marker in ("golemp2p_gateway", "golemp2p/", "trio", "hypercorn", "h11", "json", "uuid", "prometheus_client"):
        if f"/{marker}" in file:
            if marker == "golemp2p/":
                return "golemp2p." + file.rpartition("/golemp2p/")[2].partition("/")[0].removesuffix(".py")
            return marker
    return "C functions" if file == "~" else "rest of the standard library"


def short(file: str, line: int, name: str) -> str:
    if file == "~":
        return name.strip("<>")[:60]
    parts = file.split("/")
    return f"{'/'.join(parts[-2:])}:{line} {name}"


def profile(node: ProfiledNode, path: str, clients: int, seconds: float) -> tuple[dict[Any, Any], int]:
    """The profile of a run, and its number of requests."""
    os.kill(node.pid, signal.SIGUSR1)
    count = load(node.port, path, clients=clients, seconds=seconds, body=BODY)["requests"]
    os.kill(node.pid, signal.SIGUSR2)
    deadline = time.monotonic() + WRITE_S_MAX
    while not node.stats_path.exists():
        if time.monotonic() > deadline:
            raise SystemExit("the node did not write its profile")
        time.sleep(0.05)
    stats: dict[Any, Any] = vars(pstats.Stats(str(node.stats_path)))["stats"]
    return stats, count


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    seconds = 0.5 if args.quick else args.seconds
    report = Report("costs", args.json)
    with tempfile.TemporaryDirectory(prefix="golemp2p-bench-") as folder:
        node = ProfiledNode(Path(folder) / "data")
        node.start()
        try:
            path = invoke_path(node.add_component("counter", wasm("counter")), "w{client}")
            load(node.port, path, clients=args.clients, seconds=0.5, body=BODY)
            before = threads_cpu_s(node.pid)
            count = load(node.port, path, clients=args.clients, seconds=seconds, body=BODY)["requests"]
            spent = {task: cpu - before.get(task, 0.0) for task, cpu in threads_cpu_s(node.pid).items()}
            report.note("measured; now with the profiler")
            stats, profiled = profile(node, path, args.clients, seconds)
        finally:
            node.kill()
    loop_us = spent[node.pid] / count * 1e6
    others_us = (sum(spent.values()) - spent[node.pid]) / count * 1e6
    report.table(
        "Threads, without the profiler",
        ("thread", "CPU us/request"),
        [["event loop", loop_us], ["storage writer and all others", others_us]],
    )
    # waiting for something to happen is not a cost
    selves = {key: row[2] for key, row in stats.items() if "epoll" not in key[2]}
    scale = loop_us / sum(selves.values())
    by_part: defaultdict[str, float] = defaultdict(float)
    for (file, _, _), seconds_spent in selves.items():
        by_part[part_of(file)] += seconds_spent
    report.table(
        "By part, own time",
        ("part", "us/request"),
        [[part, by_part[part] * scale] for part in sorted(by_part, key=by_part.__getitem__, reverse=True)],
    )
    ordered = sorted(selves.items(), key=lambda item: -item[1])[:TOP]
    report.table(
        f"The {TOP} functions with the most time of their own",
        ("function", "us/request", "calls/request"),
        [[short(*key), own * scale, stats[key][1] / profiled] for key, own in ordered],
    )
    report.save()


if __name__ == "__main__":
    main()
