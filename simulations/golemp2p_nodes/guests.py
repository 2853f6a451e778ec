"""Which guests the nodes of a run have: scripts, which are fast and need nothing built, or WebAssembly, as in production.

    --guests scripted    testing.guests.ScriptedGuests over workers.SCRIPT
    --guests wasm        golemp2p.runtime over examples/build/model.wasm (guests_wasm)

Both are the same model worker, and answer alike: clients and judges cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from golemp2p.ports import Guests
from golemp2p_sim.scenario import ScenarioError

SCRIPTED, WASM = "scripted", "wasm"
KINDS: Final = (SCRIPTED, WASM)


class GuestsMissing(ScenarioError):
    """These guests cannot be played here. ``way_out``: what to do about it."""

    def __init__(self, message: str, way_out: str) -> None:
        super().__init__(message)
        self.way_out = way_out


class ModelGuests(Protocol):
    """The model worker as one kind of guest. Made before a run, used by all of its nodes."""

    @property
    def wasm(self) -> bytes:
        """What is uploaded."""
        ...

    def open(self, folder: Path) -> AbstractAsyncContextManager[Guests]:
        """The guests port for one life of one node. ``folder`` is the run's, the same for all."""
        ...

    def params(self, function: str, key: str, params: Sequence[Any]) -> list[Any]:
        """What an operation of the model, asked for under ``key``, is called with."""
        ...


def make_guests(kind: str) -> ModelGuests:
    """Of one of ``KINDS``. ``GuestsMissing``: not on this machine, or not yet."""
    if kind == SCRIPTED:
        from golemp2p_nodes.workers import Scripted  # noqa: PLC0415 - beside the one below

        return Scripted()
    assert kind == WASM, f"no such guests: {kind!r}"
    try:
        from golemp2p_nodes import guests_wasm  # noqa: PLC0415 - needs the engine; nobody else does
    except ImportError as error:
        raise GuestsMissing(
            f"--guests wasm needs the engine, and it cannot be imported: {error}",
            "`pip install wasmtime`, as pyproject.toml pins it; or leave out --guests wasm: scripted guests need no engine",
        ) from error
    return guests_wasm.WasmGuests.load(guests_wasm.MODEL)
