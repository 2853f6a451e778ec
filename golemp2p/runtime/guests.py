"""The ``ports.Guests`` of production: wasmtime components on fibers.

    async with open_guests(cache_dir) as guests:
        component = await guests.load(sha256, path)
        instance = await component.instantiate(host)

Owns the engines, one ticker thread, a small pool of threads for guests that compute, and a nursery for compilations. Everything
ends with the block; instances should be closed before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from golemp2p.errors import Draining, Overloaded
from golemp2p.ports import CompilationState
from golemp2p.runtime.compiler import COMPONENT_BYTES_MAX, Compiler
from golemp2p.runtime.component import LoadedComponent
from golemp2p.runtime.engine import Ticker, new_engines
from golemp2p.runtime.host.declare import HostInterface
from golemp2p.runtime.host.registry import Registry, host_interfaces
from golemp2p.runtime.linker import Fibers
from golemp2p.runtime.scheduler import Running, Scheduler

MAPS_PER_INSTANCE = 7  # memory mappings of a parked instance with one memory, whose initial data splits it; 4 without memory
MAPS_RESERVED = 2500  # for everything else in the process: a fresh node has 340, each component in memory adds a few
MAPS_DEFAULT = 65530  # Linux's vm.max_map_count


def instances_max_default() -> int:
    """As many instances as the kernel's limit of mappings allows: beyond it wasmtime does not fail, it breaks."""
    try:
        maps = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        maps = MAPS_DEFAULT
    return max(16, (maps - MAPS_RESERVED) // MAPS_PER_INSTANCE)


class _Load:
    """A component being loaded, or loaded. Concurrent askers wait for ``finished``."""

    __slots__ = ("component", "error", "finished", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.finished = trio.Event()
        self.component: LoadedComponent | None = None
        self.error: Exception | None = None


class WasmtimeGuests:
    """Made by ``open_guests``. All methods are for the event loop's thread."""

    def __init__(
        self,
        compiler: Compiler,
        scheduler: Scheduler,
        registry: Registry,
        nursery: trio.Nursery,
        *,
        instances_max: int,
    ) -> None:
        self.scheduler, self.registry = scheduler, registry
        self.fibers: Fibers = {}
        self._compiler, self._nursery = compiler, nursery
        self.instances_max = instances_max
        self._instances = 0
        self._instances_total = 0
        self._loads: dict[bytes, _Load] = {}
        self._closed = False

    async def load(self, sha256: bytes, path: Path) -> LoadedComponent:
        """A failed load is forgotten: asking again tries again."""
        self._check_open()
        load = self._loads.get(sha256)
        if load is None:
            load = self._loads[sha256] = _Load()
            self._nursery.start_soon(self._load, load, sha256, path)
        await load.finished.wait()
        if load.component is None:
            raise load.error if load.error is not None else Draining("the engine is shutting down")
        return load.component

    async def _load(self, load: _Load, sha256: bytes, path: Path) -> None:
        """Not cancelled with whoever asked first: others may wait for the same component."""
        with load.scope:
            try:
                code = await self._compiler.obtain(sha256, path)
                # In this thread: reflection is Python, and would hold the lock in any other one too.
                load.component = LoadedComponent(self, code)
            except Exception as error:  # noqa: BLE001  # handed to everybody who waits
                load.error = error
            finally:
                if load.component is None:
                    del self._loads[sha256]
                load.finished.set()

    def forget(self, sha256: bytes) -> None:
        """Let go of a component; instances that run keep what they need."""
        load = self._loads.get(sha256)
        if load is not None and load.component is not None:
            del self._loads[sha256]

    def compilation(self, sha256: bytes) -> CompilationState | None:
        return self._compiler.state(sha256)

    def admit(self) -> Callable[[], None]:
        """Count a new instance. Returns what to call when it is gone. Raises ``Overloaded``."""
        self._check_open()
        if self._instances >= self.instances_max:
            raise Overloaded(f"this node holds {self._instances} instances, the most it can", retry_after_s=1.0)
        self._instances += 1
        self._instances_total += 1
        return self._release

    def _release(self) -> None:
        self._instances -= 1

    def _check_open(self) -> None:
        if self._closed:
            raise Draining("the engine is shutting down")

    def statistics(self) -> dict[str, float]:
        return {
            "instances": self._instances,
            "instances_max": self.instances_max,
            "instances_total": self._instances_total,
            "components": len(self._loads),
            "compilations_total": self._compiler.compilations_count,
            **self.scheduler.statistics(),
        }

    async def aclose(self) -> None:
        """Stop compiling and admit nothing more. Threads end with the block of ``open_guests``."""
        self._closed = True
        for load in [each for each in self._loads.values() if not each.finished.is_set()]:
            load.scope.cancel()
            await load.finished.wait()


@asynccontextmanager
async def open_guests(
    cache_dir: Path,
    *,
    interfaces: Iterable[HostInterface] | None = None,
    instances_max: int | None = None,
    component_bytes_max: int = COMPONENT_BYTES_MAX,
    threads: int | None = None,
    slicing: bool = True,
    compile_in_process: bool = False,
) -> AsyncIterator[WasmtimeGuests]:
    """The engine for one node.

    ``interfaces``: what the host provides, by default everything in ``host.registry``. ``threads``: for guests that compute,
    by default one per core and at least two; 0 runs them on the event loop. ``slicing=False`` also does without the ticker: a
    guest then runs until it calls the host or ends, which is what a deterministic simulation wants.
    """
    engines = new_engines()
    ticker = Ticker(engines) if slicing else None
    registry = Registry(host_interfaces() if interfaces is None else interfaces)
    compiler = Compiler(cache_dir, engines, in_process=compile_in_process, bytes_max=component_bytes_max)
    most = instances_max_default() if instances_max is None else instances_max
    raised: Exception | None = None
    with Running(ticker, threads if slicing else 0) as scheduler:
        async with trio.open_nursery() as nursery:
            guests = WasmtimeGuests(compiler, scheduler, registry, nursery, instances_max=most)
            try:
                yield guests
            except Exception as error:  # noqa: BLE001  # carried around the nursery, which would only wrap it in a group
                raised = error
            finally:
                with trio.CancelScope(shield=True):  # short: cancelling a load kills its child
                    await guests.aclose()
    if raised is not None:
        raise raised
