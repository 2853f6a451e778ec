"""Everything a component imports, defined once per component by reflection: declared functions, traps for the others.

Interfaces that nobody declares still link, with their resource types: only calling into them fails. All functions are defined
asynchronous, so that each may park its guest; one that answers at once costs nothing for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import trio
import wasmtime
from wasmtime import component as wc

from golemp2p.model import wit
from golemp2p.runtime import ffi
from golemp2p.runtime.converters import MISFIT, params_lifter, result_writer
from golemp2p.runtime.fibers import READY, Fiber, Parked
from golemp2p.runtime.host.dispatch import Dispatch, Waiting, dispatcher, unknown_import
from golemp2p.runtime.host.encoding import journal_name
from golemp2p.runtime.host.registry import Registry
from golemp2p.runtime.reflect import Reflection, unsupported_in

Fibers = dict[ffi.Address, Fiber]
"""The living instances by their store's context, which is what a callback is given."""

_READY_BYTES = len(READY)
_HOST_FAILED = b"the host function failed"  # never seen: what was raised travels on the fiber


class ComponentLinker:
    """``host_types``: identity of an imported resource -> number of its type; ``droppers``: what to do with dropped ones."""

    def __init__(self, engine: wasmtime.Engine, reflection: Reflection, registry: Registry, fibers: Fibers) -> None:
        self.linker = wc.Linker(engine)
        self.pointer = ffi.pointer(self.linker)
        self.host_types = {identity: number for number, identity in enumerate(reflection.imported_resources)}
        self.droppers = {identity: _dropper(identity, registry) for identity in reflection.imported_resources}
        self._fibers = fibers
        self._callbacks: list[Any] = []  # ctypes callbacks must outlive the linker
        with self.linker.root() as root:
            for interface in reflection.type.imports:
                if not interface.name:
                    self._define(root, interface, reflection, registry)
                    continue
                with root.add_instance(interface.name) as instance:
                    self._define(instance, interface, reflection, registry)

    def _define(self, target: Any, interface: wit.Interface, reflection: Reflection, registry: Registry) -> None:
        at = ffi.pointer(target)
        for name, type_ in interface.types:
            if type_ is None:
                self._define_resource(at, name, reflection.import_aliases[interface.name, name])
        for function in interface.functions:
            declared = registry.function(interface.name, function.name)
            if declared is None or unsupported_in(function) is not None:
                callback = _callback(self._fibers, unknown_import(interface.name, function.name), None, interface.name)
            else:
                callback = _callback(self._fibers, dispatcher(declared), function, interface.name)
            self._callbacks.append(callback)
            label = function.name.encode()
            _check(ffi.linker_instance_add_func_async(at, label, len(label), _address(callback), None, None))

    def _define_resource(self, at: ffi.Address, name: str, identity: str) -> None:
        type_ = wc.ResourceType.host(self.host_types[identity])
        callback = _drop_callback(self._fibers)
        self._callbacks.append(callback)
        label = name.encode()
        error = ffi.linker_instance_add_resource(at, label, len(label), ffi.pointer(type_), _address(callback), None, None)
        _check(error)


def _address(callback: Any) -> ffi.Address:
    return ctypes.cast(callback, ctypes.c_void_p).value or 0


def _check(error: ffi.Address) -> None:
    if error:
        raise AssertionError(f"an import cannot be defined: {ffi.take_error(error).message}")


def _dropper(identity: str, registry: Registry) -> Callable[[Any], None]:
    interface, _, name = identity.rpartition("#")
    declared = registry.interface(interface)
    dropped = None if declared is None else declared.resources.get(name)
    return dropped if dropped is not None else lambda resource: None


def _callback(fibers: Fibers, dispatch: Dispatch, function: wit.Function | None, interface: str) -> Any:
    """The C function behind one import. ``function`` is ``None`` when ``dispatch`` wants no values (it will raise)."""
    lift = params_lifter([type_ for _, type_ in function.params]) if function else params_lifter([])
    write = _checked_writer(interface, function) if function else result_writer(None)
    memmove, ready = ffi.memmove, READY

    @trio.lowlevel.enable_ki_protection
    def callback(
        _env: int, store: int, _type: int, args: int, _nargs: int, result: int, _nresults: int, error: int, continuation: int
    ) -> None:
        fiber = fibers[store]
        try:
            fiber.host_calls += 1
            values = lift(args, fiber.handles)
            if fiber.on_loop:
                value = dispatch(fiber.context, values)
                if type(value) is not Waiting:
                    write(value, result, fiber.handles)
                    memmove(continuation, ready, _READY_BYTES)
                    return
                parked = Parked(write, result)
                parked.waiting = value
            else:
                parked = Parked(write, result)
                parked.dispatch, parked.values = dispatch, values
            fiber.park(parked, continuation)
        except BaseException as failure:  # noqa: BLE001  # raised again by ``Scheduler.run``; C must not see it
            fiber.failure = failure
            memmove(error, ffi.error_new(_HOST_FAILED).to_bytes(8, "little"), 8)

    return ffi.AsyncCallback(callback)


def _checked_writer(interface: str, function: wit.Function) -> Any:
    """As ``result_writer``, with an error that names the function, and boxes of handles freed once they are copied."""
    inner = result_writer(function.result)
    name = journal_name(interface, function.name)
    handles_inside = function.result is not None and _has_handle(function.result)

    def write(value: Any, at: int, handles: Any) -> None:
        try:
            inner(value, at, handles)
        except MISFIT as error:
            raise AssertionError(f"{name} answered {value!r:.200}, which is no {function.result}: {error}") from error
        if handles_inside:
            handles.release()

    return write


def _has_handle(type_: wit.Type) -> bool:
    match type_:
        case wit.Handle():
            return True
        case wit.ListOf():
            return _has_handle(type_.element)
        case wit.OptionOf():
            return _has_handle(type_.payload)
        case wit.ResultOf():
            return any(_has_handle(side) for side in (type_.ok, type_.err) if side is not None)
        case wit.TupleOf():
            return any(map(_has_handle, type_.elements))
        case wit.Record():
            return any(_has_handle(each) for _, each in type_.fields)
        case wit.Variant():
            return any(_has_handle(payload) for _, payload in type_.cases if payload is not None)
        case _:
            return False


def _drop_callback(fibers: Fibers) -> Any:
    @trio.lowlevel.enable_ki_protection
    def callback(_env: int, store: int, rep: int) -> int:
        fiber = fibers[store]
        try:
            if fiber.on_loop:
                fiber.context.resources.drop(rep)
            else:
                fiber.drops.append(lambda: fiber.context.resources.drop(rep))
        except BaseException as failure:  # noqa: BLE001  # raised again by ``Scheduler.run``; C must not see it
            fiber.failure = failure
            error: int = ffi.error_new(_HOST_FAILED)
            return error
        return 0

    return ffi.DropCallback(callback)
