"""Runs a guest component on stock wasmtime, without a node: to see that a guest itself does what it should.

Where it differs from the real host: nothing is journalled, no time passes while a guest waits (unless the guest brings its own
WASI libc, as Python guests do: those get wasmtime's own WASI), and promises are answered by the test.

Component bytes come from ``make examples``; compiled code is kept beside them, for the next run.

Values are those of ``wasmtime.component``, not of ``golemp2p.model.wit``: records are objects with attributes, variants
``Variant(tag, payload)``, or the bare payload where the types of the cases do not overlap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasmtime import Engine, Store, WasiConfig, WasmtimeError
from wasmtime.component import Component, FuncType, Linker, ResourceHost, ResourceType

BUILT = Path(__file__).parents[2] / "examples" / "build"

_POLLABLE = 1
Imports = dict[str, dict[str, Callable[..., Any]]]


class StockGuest:
    """One instance of ``examples/build/<name>.wasm``. ``imports`` adds or replaces interfaces: {interface: {function: body}}.

    A body gets the store and the arguments. ``root`` is the directory that the guest sees as ``/``. ``log_lines`` collects
    (level, message); ``slept_ns`` what fake timers were asked.
    """

    def __init__(
        self, name: str, *, env: dict[str, str] | None = None, imports: Imports | None = None, root: Path | None = None
    ) -> None:
        self.log_lines: list[tuple[str, str]] = []
        self.slept_ns: list[int] = []
        self.built = built(name)
        engine = self.built.engine
        self._store = Store(engine)
        wasi = WasiConfig()
        wasi.env = tuple((env or {}).items())
        if root is not None:
            wasi.preopen_dir(str(root), "/")
        self._store.set_wasi(wasi)
        self._instance = self._linker(imports or {}).instantiate(self._store, self.built.component)

    def call(self, function: str, *args: Any, interface: str | None = None) -> Any:
        """``interface`` may be left out when the component exports one interface of the project's own only."""
        owner = self._instance.get_export_index(self._store, interface or self.built.interface)
        assert owner is not None, f"no interface {interface or self.built.interface}"
        index = self._instance.get_export_index(self._store, function, owner)
        assert index is not None, f"no function {function}"
        func = self._instance.get_func(self._store, index)
        assert func is not None
        return func(self._store, *args)

    def _linker(self, imports: Imports) -> Linker:
        linker = Linker(self.built.engine)
        needed = self.built.imports
        uses_libc = any(name.startswith("wasi:cli/") for name in needed)
        if uses_libc:
            linker.add_wasip2()
        with linker.root() as root:
            if "wasi:logging/logging" in needed:
                self._define(root, "wasi:logging/logging", {"log": self._log})
            for interface, functions in imports.items():
                self._define(root, interface, functions)
            for name in () if uses_libc else needed:
                if name.startswith("wasi:io/poll@"):
                    with root.add_instance(name) as poll:
                        poll.add_resource("pollable", ResourceType.host(_POLLABLE), lambda store, rep: None)
                        poll.add_func("[method]pollable.block", lambda store, pollable: pollable.drop(store))
                if name.startswith("wasi:clocks/monotonic-clock@"):
                    self._define(root, name, {"subscribe-duration": self._subscribe, "now": lambda store: 1})
                if name.startswith("wasi:clocks/wall-clock@"):
                    self._define(root, name, {"now": lambda store: _Datetime(seconds=7, nanoseconds=8)})
        return linker

    @staticmethod
    def _define(root: Any, interface: str, functions: dict[str, Callable[..., Any]]) -> None:
        with root.add_instance(interface) as instance:
            for name, body in functions.items():
                instance.add_func(name, body)

    def _log(self, store: Any, level: str, context: str, message: str) -> None:
        self.log_lines.append((level, message))

    def _subscribe(self, store: Any, duration_ns: int) -> Any:
        self.slept_ns.append(duration_ns)
        return ResourceHost.own(len(self.slept_ns), _POLLABLE)


@dataclass(frozen=True)
class _Datetime:
    seconds: int
    nanoseconds: int


@dataclass(frozen=True)
class Built:
    """A component: ``interface`` is the one exported interface of its own, ``imports`` the names of what it imports."""

    engine: Engine
    component: Component
    interface: str
    imports: tuple[str, ...]


@functools.cache
def built(name: str) -> Built:
    engine = Engine()
    component = _compiled(engine, BUILT / f"{name}.wasm")
    # componentize-py and componentize-qjs leave exports of their own behind: `exports` and `init`. Others may be of types only.
    own = [export for export, item in component.type.exports(engine).items() if ":" in export and _functions(engine, item)]
    assert len(own) == 1, f"{name} exports {own}"
    return Built(engine, component, own[0], tuple(component.type.imports(engine)))


def _functions(engine: Engine, item: Any) -> list[str]:
    return [name for name, export in item.ty.exports(engine).items() if isinstance(export.ty, FuncType)]


def _compiled(engine: Engine, wasm: Path) -> Component:
    """Cranelift needs ten seconds for a Python guest; so its work is kept while it is newer than the component."""
    kept = wasm.with_suffix(".cwasm")
    if kept.exists() and kept.stat().st_mtime_ns > wasm.stat().st_mtime_ns:
        try:
            return Component.deserialize_file(engine, str(kept))
        except WasmtimeError:  # of another version of wasmtime
            kept.unlink()
    component = Component.from_file(engine, str(wasm))
    kept.write_bytes(component.serialize())
    return component
