"""All benchmarks, one after another: ``python -m benchmarks [NAME ...] [--quick] [--json FILE]``.

Each runs in a process of its own and is ended when it takes longer than its limit. The exit status tells whether all of them ran
to their end; figures are judged by people. With ``--json``, the tables of those that keep theirs, and the output of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent


class Benchmark(NamedTuple):
    """``keeps_tables``: knows ``--quick`` and ``--json``; the others take the arguments in ``quick`` instead."""

    what: str
    limit_s: float
    keeps_tables: bool = True
    quick: tuple[str, ...] = ()


BENCHMARKS = {
    "host_calls": Benchmark("a durable host call, live and replayed", 120),
    "invocations": Benchmark("invocations over HTTP against a stock hello", 240),
    "sleepers": Benchmark("ten thousand sleeping workers", 400),
    "cold_start": Benchmark("first invocation after a restart, by length of the oplog", 180),
    "costs": Benchmark("where the CPU of an invocation goes", 120),
    "guest_runtime": Benchmark("the runtime alone", 240, keeps_tables=False, quick=("--guests", "1000")),
    "http_edge": Benchmark("the HTTP edge alone", 120, keeps_tables=False, quick=("--seconds", "0.2", "--rounds", "1")),
    "storage": Benchmark("the storage alone", 60, keeps_tables=False, quick=("--seconds", "0.2")),
    "transport": Benchmark("messages, requests and bulk between two nodes, sealed and in the clear", 120),
    "mesh": Benchmark("three and thirty real nodes: work, death, joining, idling, lookups", 1500),
    "protocol_cores": Benchmark(
        "detection, placement and lookups in virtual time", 300, keeps_tables=False, quick=("--quick",)
    ),
}


def end(process: subprocess.Popen[str]) -> None:
    """It and the nodes it has started: they share its session."""
    print("  ended: it took longer than its limit", flush=True)
    os.killpg(process.pid, signal.SIGKILL)


def run(name: str, benchmark: Benchmark, quick: bool, tables: Path) -> dict[str, Any]:
    """Its output goes to ours as it comes."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    if benchmark.keeps_tables:
        command += ["--json", str(tables), *(["--quick"] if quick else [])]
    else:
        command += benchmark.quick if quick else ()
    load, begin = os.getloadavg()[0], time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        watch = threading.Timer(benchmark.limit_s, end, [process])
        watch.start()
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        status = process.wait()
        watch.cancel()
    found: dict[str, Any] = {"benchmark": name, "status": status, "seconds": time.monotonic() - begin, "load_before": load}
    if tables.exists():
        return {**found, **json.loads(tables.read_text())}
    return {**found, "output": "".join(lines)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:14} {benchmark.what}" for name, benchmark in BENCHMARKS.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all when none is given")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that they run, not for figures")
    parser.add_argument("--json", type=Path, default=None, help="write all tables there")
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    results = []
    names = args.names or list(BENCHMARKS)
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names, 1):
            print(f"\n[{number}/{len(names)}] {name}: {BENCHMARKS[name].what}", flush=True)
            results.append(run(name, BENCHMARKS[name], args.quick, Path(folder) / f"{name}.json"))
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1))
    failed = [result["benchmark"] for result in results if result["status"]]
    if failed:
        print(f"\ndid not run to their end: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
