"""A compiled component with everything that its instances share: types, linker, converters of its exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wasmtime import component as wc

from golemp2p.errors import GuestTrapped
from golemp2p.model import wit
from golemp2p.ports import GuestInstance, WorkerHost
from golemp2p.runtime import ffi
from golemp2p.runtime.additions import DROPPER_FUNCTION, DROPPER_PREFIX, PAGES_PREFIX
from golemp2p.runtime.compiler import CompiledCode
from golemp2p.runtime.converters import Lift, is_plain, params_lowerer, result_lifter
from golemp2p.runtime.instance import Instance
from golemp2p.runtime.linker import ComponentLinker
from golemp2p.runtime.reflect import Reflection, reflect, unsupported_in

if TYPE_CHECKING:
    from golemp2p.runtime.guests import WasmtimeGuests


@dataclass(frozen=True, slots=True, eq=False)
class ExportedFunction:
    """``index``: where wasmtime finds it; ``lower``: one per parameter; ``lift``: ``None`` without result."""

    name: str
    function: wit.Function
    index: ffi.Address
    lower: tuple[Callable[..., bytes], ...]
    lift: Lift | None
    plain: bool


class LoadedComponent:
    """``ports.GuestComponent``. ``memory_initial``: what the component's modules declare, in bytes."""

    def __init__(self, guests: WasmtimeGuests, code: CompiledCode) -> None:
        engine, component, self.memory_initial = code
        self._guests, self._component = guests, component
        self.pointer = ffi.pointer(component)
        self.engine_pointer = ffi.pointer(engine)
        self.reflection: Reflection = reflect(component, engine)
        self.type: wit.ComponentType = self.reflection.type
        self.linker = ComponentLinker(engine, self.reflection, guests.registry, guests.fibers)
        self._declared = {
            (interface.name, function.name): function for interface in self.type.exports for function in interface.functions
        }
        self._exported: dict[tuple[str, str], ExportedFunction] = {}
        self._indexes: list[wc.ExportIndex] = []  # keeps the pointers in ``ExportedFunction.index`` alive

    async def instantiate(self, host: WorkerHost) -> GuestInstance:
        """Raises ``Overloaded`` when this node holds as many instances as it can."""
        released = self._guests.admit()
        try:
            instance = Instance(self, host, self._guests.scheduler, self._guests.fibers, released)
        except BaseException:
            released()
            raise
        await instance.start()
        return instance

    def exported(self, interface: str, function: str) -> ExportedFunction | None:
        """The exported function, its converters made on first use; ``None`` when there is no such export.

        Raises ``GuestTrapped`` when its signature cannot be carried (``wit.Unsupported``)."""
        key = (interface, function)
        found = self._exported.get(key)
        if found is None:
            declared = self._declared.get(key)
            if declared is None:
                return None
            unsupported = unsupported_in(declared)
            if unsupported is not None:
                raise GuestTrapped(f"{function} uses a {unsupported}, which this host cannot carry")
            found = self._exported[key] = self._prepare(interface, declared)
        return found

    def dropper(self, identity: str) -> ExportedFunction | None:
        """The export that drops resources of this identity, ``None`` when there is none (see ``additions``)."""
        key = (DROPPER_PREFIX, identity)
        found = self._exported.get(key)
        if found is None:
            interface, _, name = identity.rpartition("#")
            number = self.reflection.exported_resources.index((interface, name))
            if self._component.get_export_index(f"{DROPPER_PREFIX}{number}") is None:
                return None
            function = wit.Function(DROPPER_FUNCTION, (("resource", wit.Handle(identity, owned=True)),), None)
            found = self._exported[key] = self._prepare(f"{DROPPER_PREFIX}{number}", function)
        return found

    @cached_property
    def sizers(self) -> tuple[ExportedFunction, ...]:
        """The exports that tell the size of each memory, in pages (see ``additions``)."""
        numbers = range(self.reflection.sizers_count)
        return tuple(self._prepare("", wit.Function(f"{PAGES_PREFIX}{each}", (), wit.Primitive("u32"))) for each in numbers)

    def _prepare(self, interface: str, function: wit.Function) -> ExportedFunction:
        name = f"{interface}.{{{function.name}}}" if interface else function.name
        parent = self._index(interface, None) if interface else None
        index = self._index(function.name, parent)
        result = function.result
        return ExportedFunction(
            name,
            function,
            ffi.pointer(index),
            tuple(params_lowerer([type_ for _, type_ in function.params])),
            None if result is None else result_lifter(result),
            is_plain(result),
        )

    def _index(self, name: str, parent: Any) -> wc.ExportIndex:
        index = self._component.get_export_index(name, parent)
        if index is None:
            raise AssertionError(f"{name} is exported by the type but not by the component")
        self._indexes.append(index)
        return index
