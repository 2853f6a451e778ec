"""What one instance's host callbacks and the scheduler share: the fiber, and the host call it is parked on.

wasmtime waits by asking a *continuation*, a C function of one pointer. Ours is libc's strlen over a byte of the fiber's buffer:
"" is "not yet", "\\1" is "ready". So a parked guest costs no thread and no Python frame, and nothing of Python runs to poll it.

    buffer of a fiber    0..32 result cell    32..40 error    40..42 flag
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import trio

from golemp2p.runtime import ffi
from golemp2p.runtime.handles import InstanceHandles
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.host.dispatch import Dispatch, Waiting

_CONTINUATION = struct.Struct("<QQQ")  # callback, environment, finalizer
_READY_TEXT = ctypes.create_string_buffer(b"\x01")
READY = _CONTINUATION.pack(ffi.STRLEN, ctypes.addressof(_READY_TEXT), 0)
"""A continuation that is ready at once: the host call was answered inside the callback."""

RESULT_OFFSET, ERROR_OFFSET, FLAG_OFFSET, FIBER_BYTES = 0, 32, 40, 48
_ZEROS = bytes(FIBER_BYTES)


class Parked:
    """A host call that could not be answered inside the callback. ``waiting`` is started; else ``dispatch`` has still to be
    called with ``values``, on the event loop. The answer is written to ``result``."""

    __slots__ = ("dispatch", "result", "values", "waiting", "write")

    def __init__(self, write: Callable[[Any, int, InstanceHandles], None], result: int) -> None:
        self.write, self.result = write, result
        self.waiting: Waiting | None = None
        self.dispatch: Dispatch | None = None
        self.values: tuple[Any, ...] = ()


class Fiber:
    """The state of one instance that host callbacks and the scheduler share.

    ``on_loop``: whether the thread that polls is the event loop's. ``failure``: what a host function raised; it travels
    beside wasmtime, never through it. ``drops``: destructors that ran on a pool thread and wait for the event loop.
    """

    __slots__ = (
        "_buffer",
        "abandoned",
        "address",
        "computing_ns",
        "context",
        "drops",
        "failure",
        "future",
        "handles",
        "host_calls",
        "on_loop",
        "parked",
        "since_ns",
        "task",
        "wait",
        "wall_limit_ns",
    )

    def __init__(self, context: Context, handles: InstanceHandles) -> None:
        self._buffer = ctypes.create_string_buffer(FIBER_BYTES)
        self.address: ffi.Address = ctypes.addressof(self._buffer)
        self.wait = _CONTINUATION.pack(ffi.STRLEN, self.address + FLAG_OFFSET, 0)
        self.context, self.handles = context, handles
        self.future: ffi.Address = 0
        self.parked: Parked | None = None
        self.failure: BaseException | None = None
        self.on_loop = True
        self.abandoned = False
        self.host_calls = 0
        self.computing_ns = 0  # polled since the last host call
        self.since_ns: int | None = None
        self.drops: list[Callable[[], None]] = []
        self.task: trio.lowlevel.Task | None = None
        self.wall_limit_ns = int(context.host.limits.wall_time_s * 1e9)

    def park(self, parked: Parked, continuation: ffi.Address) -> None:
        """From the callback: leave the guest suspended until ``answer``."""
        self._buffer[FLAG_OFFSET] = b"\x00"
        self.parked = parked
        ffi.memmove(continuation, self.wait, len(self.wait))

    def answer(self, parked: Parked, value: Any) -> None:
        parked.write(value, parked.result, self.handles)
        self._buffer[FLAG_OFFSET] = b"\x01"

    def run_drops(self) -> None:
        """Event loop only: what destructors asked for on a pool thread, in their order."""
        drops, self.drops = self.drops, []
        for drop in drops:
            drop()

    def take_error(self) -> ffi.Address:
        """The error of the call that has just finished, 0 for none. The caller frees it; asking again gives 0."""
        error = int.from_bytes(self._buffer.raw[ERROR_OFFSET:FLAG_OFFSET], "little")
        if error:
            self.clear_result()
        return error

    def begin(self, future: ffi.Address) -> None:
        self.future = future
        self.failure, self.parked, self.abandoned, self.computing_ns = None, None, False, 0

    def clear_result(self) -> None:
        ffi.memmove(self.address, _ZEROS, FIBER_BYTES)

    def end(self, *, finished: bool = False) -> None:
        """Delete the future. One that is not ``finished`` is cancelled by that, and the instance is dead."""
        self.since_ns = None
        future, self.future = self.future, 0
        if future:
            (ffi.future_delete_finished if finished else ffi.future_delete)(future)
        parked, self.parked = self.parked, None
        if parked is not None and parked.waiting is not None:
            parked.waiting.close()
