"""The model worker as real WebAssembly, through ``golemp2p.runtime`` as production runs it; the only module here that knows the engine.

    model.wasm ──once per process──> machine code ──file in the run's folder──> each life of each node: open_guests, load, instantiate

What production leaves to real time, and how it is decided here, so that a seed decides everything:

- **Compilation** takes as long as it takes, in a child. Here the code is in every node's cache before the run begins: no load waits
  for a compiler, whichever process plays the run and whichever run it is there.
- **Deadlines by epoch** need a thread that ticks in real time. Here no thread ticks (``slicing=False``): a guest runs inline until it
  calls the host or ends, and however long that takes, it takes no virtual time, as with scripts. Fuel would end a slice at the same
  instruction everywhere, but it is other machine code than production's, and there is nothing to share: time stands still meanwhile.
  The price: ``wall_time_s`` does not apply, and a guest that computes for ever would hang the run. The model worker does not.
- **Instances** that a node may hold depend on the kernel; here on a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from golemp2p.errors import InvalidComponent
from golemp2p.ports import Guests
from golemp2p.runtime.compile import description_path, write_compiled
from golemp2p.runtime.compiler import code_name
from golemp2p.runtime.engine import new_engines
from golemp2p.runtime.guests import open_guests
from golemp2p_nodes.guests import GuestsMissing
from golemp2p_nodes.workers import WRITES

MODEL: Final = Path(__file__).parents[2] / "examples" / "build" / "model.wasm"
"""Built by ``make examples`` from tests/guests/src/model."""

INSTANCES_MAX: Final = 1_000
"""Per node; more than scenarios have workers."""

CACHE: Final = "compiled"


@dataclass(frozen=True, slots=True)
class WasmGuests:
    """``guests.ModelGuests``. ``code``, ``description``: the two files of a compiler's cache."""

    wasm: bytes
    code: bytes
    description: bytes

    @staticmethod
    def load(path: Path) -> WasmGuests:
        """From ``path``, compiled unless this process has done so. ``GuestsMissing``: there is nothing, or nothing that compiles."""
        try:
            wasm = path.read_bytes()
        except OSError as error:
            raise GuestsMissing(
                f"--guests wasm plays {path}, and it cannot be read: {error.strerror}",
                "`make examples` builds it, in a checkout of golemp2p; without --guests wasm, scripted guests need nothing built",
            ) from error
        try:
            return _compiled(wasm)
        except InvalidComponent as error:
            raise GuestsMissing(f"{path}: {error}", "`make clean examples` builds it anew") from error

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Guests]:
        cache_dir = folder / CACHE
        code = cache_dir / code_name(hashlib.sha256(self.wasm).digest())
        if not code.exists():
            cache_dir.mkdir()
            code.write_bytes(self.code)
            description_path(code).write_bytes(self.description)
        async with open_guests(
            cache_dir, instances_max=INSTANCES_MAX, threads=0, slicing=False, compile_in_process=True
        ) as guests:
            yield guests

    def params(self, function: str, key: str, params: Sequence[Any]) -> list[Any]:
        """Writes bring their key along: nothing in what a guest may import tells it."""
        return [key, *params] if function in WRITES else list(params)


@cache
def _compiled(wasm: bytes) -> WasmGuests:
    with TemporaryDirectory(prefix="golemp2p-sim-") as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.write_bytes(wasm)
        write_compiled(source, target, hashlib.sha256(wasm).digest(), new_engines())
        return WasmGuests(wasm, target.read_bytes(), description_path(target).read_bytes())
