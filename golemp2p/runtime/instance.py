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
from golemp2p.runtime.fibers import ERROR_OFFSET, RESULT_OFFSET, Fiber, Scheduler
from golemp2p.runtime.handles import InstanceHandles
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.linker import Fibers
from golemp2p.runtime.traps import guest_error

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
        self._running = self._dead = self._closed = False

    async def start(self) -> None:
        """Instantiate. Raises like ``call``, and the instance is closed then."""
        fiber = self._fiber
        fiber.clear_result()
        error_at = fiber.address + ERROR_OFFSET
        component = self._component
        try:
            await self._run(
                ffi.instantiate_async(
                    component.linker.pointer, self._context, component.pointer, ctypes.addressof(self._instance), error_at
                )
            )
        except BaseException:
            self.close()
            raise

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
        await self._call(self._component.dropper(identity), [resource])

    async def _call(self, exported: ExportedFunction, args: Sequence[Any]) -> Any:
        fiber = self._fiber
        self._check_idle()
        handles = fiber.handles
        keep: list[Any] = []
        image = _lower_args(exported, args, keep, handles)
        fiber.clear_result()
        result_at = fiber.address + RESULT_OFFSET
        lift = exported.lift
        future = ffi.func_call_async(
            ffi.address_of(self._function(exported)),
            self._context,
            ffi.address_of(image) if image else None,
            len(exported.lower),
            result_at,
            0 if lift is None else 1,
            fiber.address + ERROR_OFFSET,
        )
        handles.given_away()
        await self._run(future)
        handles.release()
        if lift is None:
            return None
        try:
            return lift(result_at, handles)
        finally:
            if not exported.plain:
                ffi.val_delete(result_at)

    async def _run(self, future: ffi.Address) -> None:
        """``future`` is this fiber's next one. Whatever is raised, the instance is dead."""
        fiber = self._fiber
        fiber.begin(future)
        self._running = True
        try:
            await self._scheduler.run(fiber)
            error = fiber.take_error()
            if error:
                raise guest_error(ffi.take_error(error))
        except BaseException:
            self._dead = True
            raise
        finally:
            self._running = False
            if self._closed:
                self._free()

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
        return self._component.memory_initial

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
        raise ValueMismatch(f"params[{index}]", str(type_), f"{args[index]!r:.100} ({error})") from error
    return b"".join(images)
