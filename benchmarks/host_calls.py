"""A durable host call, live and replayed: microseconds of CPU for one reading of the wall clock.

    python -m benchmarks.host_calls [--calls 10000] [--rounds 5] [--quick] [--json FILE]

    live       the whole node but HTTP: a guest that reads the clock again and again, every reading an entry in the oplog, the
               oplog sealed and in SQLite when the invocation is answered
    replay     the instance is thrown away; its next invocation reads the oplog, checks it, and runs the guest through it again
    in memory  the same on the runtime alone, with a journal that is a list: what storage, oplog and drivers add is the difference
    control    the same import of the same guest as a plain, synchronous host function of stock wasmtime-py, in the same run

CPU of this process, all threads; best round of each, in turns.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio
import wasmtime
from wasmtime import component as stock

from benchmarks.in_process import Service, open_bench_service
from benchmarks.node import wasm
from benchmarks.report import Report, parser_of
from golemp2p.model.ids import WorkerId
from golemp2p.runtime.component import LoadedComponent
from golemp2p.testing.hosts import MemoryJournal, MemoryWorkerHost

API = "test:bench/api@1.0.0"


class Stock:
    """The bench guest under wasmtime-py as it comes."""

    def __init__(self) -> None:
        engine = wasmtime.Engine()
        component = stock.Component(engine, wasm("bench").read_bytes())
        linker = stock.Linker(engine)
        linker.define_unknown_imports_as_traps(component)
        linker.allow_shadowing = True
        with linker.root() as root, root.add_instance("wasi:clocks/wall-clock@0.2.0") as clock:
            clock.add_func("now", self._now)
        self._store = wasmtime.Store(engine)
        instance = linker.instantiate(self._store, component)
        api = instance.get_export_index(self._store, API)
        index = instance.get_export_index(self._store, "clock-reads", api)
        assert index is not None
        function = instance.get_func(self._store, index)
        assert function is not None
        self._function = function

    @staticmethod
    def _now(store: Any) -> Any:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        return SimpleNamespace(seconds=seconds, nanoseconds=nanoseconds)

    async def run(self, calls: int) -> None:
        self._function(self._store, calls)
        self._function.post_return(self._store)


async def cpu_us(operation: Callable[[], Awaitable[object]], calls: int) -> float:
    begin = time.process_time()
    await operation()
    return (time.process_time() - begin) / calls * 1e6


async def measure(service: Service, calls: int, rounds: int) -> dict[str, float]:
    control = Stock()
    path = await service.client.component_file(service.component)
    loaded = await service.guests.load((await service.client.component(service.component)).sha256, path)
    found: dict[str, list[float]] = {"control": [], "live": [], "replay": [], "in memory, live": [], "in memory, replay": []}
    for number in range(rounds):
        found["control"].append(await cpu_us(lambda: control.run(calls), calls))
        name = f"w{number}"
        await service.invoke(name, "get")  # exists, has an instance
        found["live"].append(await cpu_us(lambda name=name: service.invoke(name, "clock-reads", calls), calls))  # type: ignore[misc]
        await service.client.interrupt_worker(WorkerId(service.component, name), recover_immediately=True)
        found["replay"].append(await cpu_us(lambda name=name: service.invoke(name, "get"), calls))  # type: ignore[misc]
        live, replayed = await in_memory(loaded, calls)
        found["in memory, live"].append(live)
        found["in memory, replay"].append(replayed)
    return {name: min(values) for name, values in found.items()}


async def in_memory(loaded: LoadedComponent, calls: int) -> tuple[float, float]:
    first = MemoryWorkerHost()
    live = await cpu_us(lambda: run_once(loaded, first, calls), calls)
    second = MemoryWorkerHost(journal=MemoryJournal(first.journal.calls))
    return live, await cpu_us(lambda: run_once(loaded, second, calls), calls)


async def run_once(loaded: LoadedComponent, host: MemoryWorkerHost, calls: int) -> None:
    instance = await loaded.instantiate(host)
    await instance.call(API, "clock-reads", [calls])
    instance.close()


async def run(calls: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="golemp2p-bench-") as folder:
        async with open_bench_service(Path(folder) / "data") as service:
            return await measure(service, calls, rounds)


AIMS = {"live": 20.0, "replay": 12.0}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    calls, rounds = (1000, 2) if args.quick else (args.calls, args.rounds)
    report = Report("host_calls", args.json)
    found = trio.run(run, calls, rounds)
    report.table(
        "A durable clock reading",
        ("call", "CPU us", "of control", "aim us"),
        [[name, value, value / found["control"], AIMS.get(name)] for name, value in found.items()],
    )
    report.save()


if __name__ == "__main__":
    main()
