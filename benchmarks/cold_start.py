"""Cold start of an idle worker: the first invocation after its node has restarted, by the length of its oplog.

    python -m benchmarks.cold_start [--rounds 3] [--quick] [--json FILE]

Each round opens a new service over the same data, uses another worker so that the component's code is loaded, and then invokes
``get`` on the worker in question: its log is read, checked and replayed, the call made, its result committed. All in this process,
without HTTP. Best round. The controls: a worker without history, and a plain SELECT of the same bytes over a connection of its own.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import trio

from benchmarks.in_process import open_bench_service
from benchmarks.report import Report, parser_of
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.storage.database import DATABASE

LENGTHS = (1, 10, 1000, 10_000, 100_000)
AIMS_MS = {10_000: 200.0}


async def write_histories(folder: Path, lengths: tuple[int, ...]) -> ComponentId:
    async with open_bench_service(folder) as service:
        await service.invoke("warm", "get")
        for length in lengths:
            await service.invoke(f"w{length}", "clock-reads", length)
        return service.component


async def start_cold(folder: Path, length: int) -> tuple[float, float]:
    """Milliseconds by the clock, and of CPU."""
    async with open_bench_service(folder) as service:
        await service.invoke("warm", "get")
        wall, cpu = time.perf_counter(), time.process_time()
        await service.invoke(f"w{length}", "get")
        return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


def read_plainly(folder: Path, worker: WorkerId) -> tuple[float, int]:
    """Milliseconds, bytes."""
    connection = apsw.Connection(str(folder / DATABASE), flags=apsw.SQLITE_OPEN_READONLY)
    begin = time.perf_counter()
    rows: list[Any] = connection.execute(
        "SELECT data FROM payloads JOIN segments USING (id) WHERE log = ? ORDER BY first", (worker.key.digest,)
    ).fetchall()
    elapsed = (time.perf_counter() - begin) * 1e3
    connection.close()
    return elapsed, sum(len(row[0]) for row in rows)


async def run(folder: Path, lengths: tuple[int, ...], rounds: int, report: Report) -> list[list[Any]]:
    component = await write_histories(folder, lengths)
    report.note("histories are written")
    rows: list[list[Any]] = []
    for length in lengths:
        times = [await start_cold(folder, length) for _ in range(rounds)]
        wall, cpu = min(wall for wall, _ in times), min(cpu for _, cpu in times)
        plain, size = min(read_plainly(folder, WorkerId(component, f"w{length}")) for _ in range(rounds))
        entries = f"{length:,} readings" if length > 1 else "control: 1 reading"
        rows.append(
            [entries, wall, cpu, cpu / length * 1e3 if length >= 1000 else None, plain, size / 1024, AIMS_MS.get(length)]
        )
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    lengths, rounds = (LENGTHS[:3], 1) if args.quick else (LENGTHS, args.rounds)
    report = Report("cold_start", args.json)
    with tempfile.TemporaryDirectory(prefix="golemp2p-bench-") as folder:
        rows = trio.run(run, Path(folder) / "data", lengths, rounds, report)
    report.table(
        "First invocation of a worker that is not in memory",
        ("journal", "wall ms", "CPU ms", "CPU us/entry", "plain read ms", "KiB", "aim ms"),
        rows,
    )
    report.save()


if __name__ == "__main__":
    main()
