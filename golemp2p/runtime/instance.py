"""One running instance: a store, a fiber, and the calls made on it, one at a time.

    new ──start──> idle ──call──> running ──result──> idle
                     │               └──raised anything──> dead ──close──> closed

A store belongs to exactly one instance and is deleted with it: nothing of a trapped or cancelled guest is ever used again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from golemp2p.errors import FunctionNotFound, InvalidState, ValueMismatch, WrongArity
from golemp2p.ports import WorkerHost
from golemp2p.runtime import ffi
from golemp2p.runtime.converters import MISFIT
from golemp2p.runtime.fibers import ERROR_OFFSET, RESULT_OFFSET, Fiber
from golemp2p.runtime.handles import InstanceHandles
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.linker import Fibers
from golemp2p.runtime.scheduler import Scheduler
from golemp2p.runtime.traps import guest_error
from golemp2p.runtime.wasm import PAGE_BYTES
from golemp2p.values.type_text import type_text

if TYPE_CHECKING:
    from golemp2p.runtime.component import ExportedFunction, LoadedComponent

_UNLIMITED = -1


class Instance:
    """``ports.GuestInstance``. Made by ``LoadedComponent.instantiate``."""

    __slots__ = (
        "_closed",
        "_component",
        "_context",
        "_dead",
        "_fiber",
        "_fibers",
        "_functions",
        "_instance",
        "_memory_bytes",
        "_released",
        "_running",
        "_scheduler",
        "_store",
    )

    def __init__(
        self,
        component: LoadedComponent,
        host: WorkerHost,
        scheduler: Scheduler,
        fibers: Fibers,
        released: Callable[[], None],
    ) -> None:
        self._component, self._scheduler, self._fibers, self._released = component, scheduler, fibers, released
        self._store: ffi.Address = ffi.store_new(component.engine_pointer, None, None)
        self._context: ffi.Address = ffi.store_context(self._store)
        limits = host.limits
        ffi.store_limiter(
            self._store, limits.memory_bytes_max, limits.table_elements_max, limits.instances_max, _UNLIMITED, _UNLIMITED
        )
        ffi.set_epoch_deadline(self._context, 1)
        ffi.epoch_yield(self._context, 1)
        context = Context(host)
        linker = component.linker
        handles = InstanceHandles(self._context, context.resources, host, linker.host_types, linker.droppers)
        self._fiber = Fiber(context, handles)
        self._fibers[self._context] = self._fiber
        self._functions: dict[int, bytes] = {}  # id of the exported function -> wasmtime_component_func_t
        self._instance = ctypes.create_string_buffer(ffi.INSTANCE_BYTES)
        self._memory_bytes = component.memory_initial
        self._running = self._dead = self._closed = False

    async def start(self) -> None:
        """Instantiate. Raises like ``call``, and the instance is closed then."""
        fiber, component = self._fiber, self._component
        fiber.clear_result()
        instance_at, error_at = ctypes.addressof(self._instance), fiber.address + ERROR_OFFSET
        linker = component.linker.pointer
        self._running = True
        try:
            fiber.begin(ffi.instantiate_async(linker, self._context, component.pointer, instance_at, error_at))
            await self._finish(fiber)
        except BaseException:
            self._closed = True
            raise
        finally:
            self._end()

    async def call(self, interface: str, function: str, args: Sequence[Any]) -> Any:
        exported = self._component.exported(interface, function)
        if exported is None:
            where = f"{interface}.{{{function}}}" if interface else function
            raise FunctionNotFound(f"the component exports no function {where}")
        return await self._call(exported, args)

    async def drop_resource(self, resource: int) -> None:
        identity = self._fiber.handles.resource(resource)
        if identity is None:
            raise ValueMismatch("resource", "the number of a living resource", repr(resource))
        dropper = self._component.dropper(identity)
        if dropper is None:
            self._check_idle()
            self._fiber.handles.forget(resource)
        else:
            await self._call(dropper, [resource])

    async def _call(self, exported: ExportedFunction, args: Sequence[Any]) -> Any:
        self._check_idle()
        fiber = self._fiber
        handles = fiber.handles
        keep: list[Any] = []  # what wasmtime reads while the call is under way
        image = _lower_args(exported, args, keep, handles)
        fiber.clear_result()
        result_at, lift = fiber.address + RESULT_OFFSET, exported.lift
        self._running = True
        try:
            future = ffi.func_call_async(
                ffi.address_of(self._function(exported)),
                self._context,
                ffi.address_of(image) if image else None,
                len(exported.lower),
                result_at,
                0 if lift is None else 1,
                fiber.address + ERROR_OFFSET,
            )
            fiber.begin(future)
            handles.given_away()
            await self._finish(fiber)
            handles.release()
            result = None if lift is None else lift(result_at, handles)
            if not exported.plain:
                ffi.val_delete(result_at)
            self._measure_memory()
        except BaseException:
            self._dead = True
            raise
        else:
            return result
        finally:
            self._end()

    async def _finish(self, fiber: Fiber) -> None:
        await self._scheduler.run(fiber)
        error = fiber.take_error()
        if error:
            raise guest_error(ffi.take_error(error))

    def _end(self) -> None:
        """The last step of ``start`` and ``_call``: nothing touches the store after it."""
        self._running = False
        if self._closed:
            self._free()

    def _measure_memory(self) -> None:
        """After a call: a few instructions of guest code per memory, which neither call the host nor wait."""
        sizers = self._component.sizers
        if not sizers:
            return
        fiber, pages = self._fiber, 0
        at, error_at = fiber.address + RESULT_OFFSET, fiber.address + ERROR_OFFSET
        for sizer in sizers:
            fiber.clear_result()
            future = ffi.func_call_async(ffi.address_of(self._function(sizer)), self._context, None, 0, at, 1, error_at)
            while not ffi.future_poll(future):
                pass  # the epoch deadline had passed; the next slice is fresh
            ffi.future_delete_finished(future)
            error = fiber.take_error()
            if error:
                raise AssertionError(f"memory cannot be measured: {ffi.take_error(error).message}")
            assert sizer.lift is not None
            pages += sizer.lift(at, fiber.handles)
        grown = pages * PAGE_BYTES - self._memory_bytes
        if grown > 0:
            self._memory_bytes += grown
            fiber.context.host.memory_grown(grown)

    def _function(self, exported: ExportedFunction) -> bytes:
        """``wasmtime_component_func_t`` of this store; looked up once."""
        found = self._functions.get(id(exported))
        if found is None:
            out = ctypes.create_string_buffer(ffi.FUNC_BYTES)
            at = ctypes.addressof(self._instance)
            if not ffi.instance_get_func(at, self._context, exported.index, ctypes.addressof(out)):
                raise AssertionError(f"{exported.name} is exported by the type but not by the instance")
            found = self._functions[id(exported)] = out.raw
        return found

    def _check_idle(self) -> None:
        if self._closed or self._dead:
            raise InvalidState("the instance is dead: make another one and replay")
        if self._running:
            raise InvalidState("the instance is busy with another call")

    @property
    def memory_bytes(self) -> int:
        """As of the end of the newest call."""
        return self._memory_bytes

    @property
    def computing_since_ns(self) -> int | None:
        return self._fiber.since_ns

    def close(self) -> None:
        """While a call is under way, the memory is given back when that call ends: whoever made it should cancel it."""
        if self._closed:
            return
        self._closed = True
        if not self._running:
            self._free()

    def _free(self) -> None:
        self._fiber.handles.close()
        ffi.store_delete(self._store)
        del self._fibers[self._context]
        self._fiber.context.resources.close()
        self._released()


def _lower_args(exported: ExportedFunction, args: Sequence[Any], keep: list[Any], handles: InstanceHandles) -> bytes:
    lowers = exported.lower
    if len(args) != len(lowers):
        raise WrongArity(f"{exported.name} takes {len(lowers)} arguments, got {len(args)}")
    images, index = [], 0
    try:
        for index, lower in enumerate(lowers):
            images.append(lower(args[index], keep, handles))
    except MISFIT as error:
        handles.forget_lowered()
        _, type_ = exported.function.params[index]
        raise ValueMismatch(f"params[{index}]", type_text(type_), f"{args[index]!r:.100} ({error})") from error
    return b"".join(images)
