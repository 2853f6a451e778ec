"""The one engine configuration, in two variants, and the ticker that ends slices.

Guest code checks an *epoch* at every loop and function entry. The ticker, a thread that sleeps, advances the epoch every
``TICK_S`` while guests run; a guest that crosses its deadline yields to whoever polls it (``scheduler``). When no slice has
begun for ``IDLE_TICKS`` ticks, the ticker sleeps until the next one begins: an idle node does not wake five hundred times a
second.

Whatever changes compiled code belongs into ``_CODE_SETTINGS``: its hash is part of the name of cached code.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

import wasmtime
from wasmtime import _bindings

from golemp2p.runtime.ffi import increment_epoch, pointer

TICK_S = 0.002  # the longest a guest keeps the event loop: a fifth of the 10 ms that are promised
IDLE_TICKS = 50

WASM_STACK_BYTES = 512 * 1024  # of the 2 MiB fiber; the rest is for host functions, which run on the same stack

_CODE_SETTINGS = {
    "epoch_interruption": True,
    "cranelift_opt_level": "speed",
    "cranelift_nan_canonicalization": True,  # the bits of a NaN must not depend on the machine: replay may run elsewhere
    "wasm_relaxed_simd_deterministic": True,  # for the same reason
    "wasm_threads": False,  # shared memory would let two agents race
    "max_wasm_stack": WASM_STACK_BYTES,
}

WASMTIME_VERSION = importlib.metadata.version("wasmtime")


def code_fingerprint() -> str:
    """16 hex digits that change when older code can no longer be used. What is appended (``additions``) counts too."""
    text = repr((sorted(_CODE_SETTINGS.items()), platform.machine(), platform.system(), "additions-2", "engines-2"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Engines(NamedTuple):
    """Two engines that differ in one setting, the support for component-model async, because neither will do for all guests.

    With it, wasmtime 50.0.1 breaks ("deferred host scope has no call context") as soon as a guest lends two handles to one host
    call, as ``poll`` does; without it, components with async built-ins do not compile. So ``plain`` has every component that
    it can compile, and ``concurrent`` the rest.
    """

    plain: wasmtime.Engine
    concurrent: wasmtime.Engine


def new_engines(*, parallel_compilation: bool = False) -> Engines:
    """``parallel_compilation`` is for the compiler's child process only: a node does not compile."""
    return Engines(_new_engine(False, parallel_compilation), _new_engine(True, parallel_compilation))


def _new_engine(concurrency: bool, parallel_compilation: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    for name, value in _CODE_SETTINGS.items():
        setattr(config, name, value)
    config.parallel_compilation = parallel_compilation
    _bindings.wasmtime_config_concurrency_support_set(config.ptr(), concurrency)  # there is no property for it
    return wasmtime.Engine(config)


class Ticker:
    """Advances the epoch of all engines while guests run. ``count`` is the number of ticks so far."""

    def __init__(self, engines: Sequence[wasmtime.Engine]) -> None:
        self.count = 0
        self.asleep = True
        self._slices = 0
        self._engines = engines  # keeps the pointers below alive
        self._pointers = [pointer(engine) for engine in engines]
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="golemp2p-ticker", daemon=True)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def slice_begins(self) -> None:
        """To be called before guest code runs, from any thread. Cheap while the ticker is awake."""
        self._slices += 1
        if self.asleep:
            self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            self.asleep = False
            self._tick_while_busy()
            self.asleep = True
            # A slice may have begun between the last look and the line above; it saw us awake, so look once more.
            if self._slices != self._seen:
                self._wake.set()

    def _tick_while_busy(self) -> None:
        quiet, self._seen = 0, self._slices
        while quiet < IDLE_TICKS and not self._stopping:
            time.sleep(TICK_S)
            for engine in self._pointers:
                increment_epoch(engine)
            self.count += 1
            if self._slices == self._seen:
                quiet += 1
            else:
                quiet, self._seen = 0, self._slices
