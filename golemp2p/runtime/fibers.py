"""Guests on fibers: who runs a guest, where, and for how long.

A guest runs on a stack of its own (wasmtime's fiber) and moves only while somebody polls it. One slice ends when the guest

    finishes     the call is over
    parks        a host call waits: ``Fiber.parked`` says for what. No thread and no Python frame is held meanwhile
    is due       it crossed its epoch deadline, about ``TICK_S`` after it began (``engine.Ticker``)

                  ┌────────── host call answered ───────────┐
                  v                                         │
    call ──> slice on the event loop ── parks ──────> await the host function
                  │   ^
        is due,   │   └── is due, but made host calls: let the loop run, go on here (its calls would come back anyway)
        no calls  v
              pool of threads, interpreter lock released, round robin ── parks or finishes ──> event loop

Host code runs only on the event loop's thread: a guest that calls the host from the pool parks and comes back. Inline slices
share a budget per pass of the event loop, so that a hundred guests cannot each take their 2 ms in one pass.

The waker of wasmtime's futures does nothing here: a fiber is polled exactly when there is something to do.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import outcome
import trio

from golemp2p.errors import LimitExceeded
from golemp2p.runtime import ffi
from golemp2p.runtime.engine import Ticker
from golemp2p.runtime.handles import InstanceHandles
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.host.dispatch import Dispatch, Waiting

PASS_BUDGET_NS = 4_000_000  # of inline guest time per pass of the event loop; 10 ms is what we promise others
NOTICEABLE_NS = 300_000  # shorter slices are not counted against the budget: they are host calls, not computing
POOL_NICE = 5  # pool threads give way to the event loop's when cores are short

_CONTINUATION = struct.Struct("<QQQ")  # callback, environment, finalizer
_READY_TEXT = ctypes.create_string_buffer(b"\x01")
READY = _CONTINUATION.pack(ffi.STRLEN, ctypes.addressof(_READY_TEXT), 0)
"""A continuation that is ready at once: the host call was answered inside the callback."""

RESULT_OFFSET, ERROR_OFFSET, FLAG_OFFSET, FIBER_BYTES = 0, 32, 40, 48


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
        ctypes.memset(self.address, 0, FIBER_BYTES)

    def end(self) -> None:
        """Delete the future. One that is not finished is cancelled by that, and the instance is dead."""
        self.since_ns = None
        future, self.future = self.future, 0
        if future:
            ffi.future_delete(future)
        parked, self.parked = self.parked, None
        if parked is not None and parked.waiting is not None:
            parked.waiting.close()


class Scheduler:
    """Runs fibers to the end of a call. Made on the event loop; all methods are for its thread.

    With ``threads`` 0 everything runs inline, in slices without a clock when ``ticker`` is ``None``: for simulations.
    """

    def __init__(self, ticker: Ticker | None, threads: int | None = None) -> None:
        self._ticker = ticker
        self._pool = None if threads == 0 else _Pool(ticker, threads or max(2, os.cpu_count() or 2))
        self._spent_ns = 0  # inline, in this pass of the event loop
        self._turn = trio.Lock()
        self.slices_inline = 0
        self.slices_pooled = 0
        self.parks = 0
        self._token = trio.lowlevel.current_trio_token()
        self._pass_ends = False

    async def run(self, fiber: Fiber) -> None:
        """Returns when the call under way in ``fiber`` is over (``Fiber.take_error``). Raises what a host function raised,
        or ``LimitExceeded``, or ``Cancelled``; then, as after a trap, the instance is dead."""
        fiber.since_ns = time.monotonic_ns()
        try:
            calls = fiber.host_calls
            done = await self._inline(fiber)
            while not done:
                if fiber.drops:
                    fiber.run_drops()
                if fiber.parked is not None:
                    await self._host_call(fiber, fiber.parked)
                    calls = fiber.host_calls
                    done = await self._inline(fiber)
                    continue
                self._check_wall_time(fiber, calls)
                if self._pool is None or fiber.host_calls != calls:
                    calls = fiber.host_calls
                    await trio.lowlevel.checkpoint()
                    done = await self._inline(fiber)
                else:
                    done = await self._pool.run(fiber)
                    self.slices_pooled += 1
            if fiber.drops:
                fiber.run_drops()
            if fiber.failure is not None:
                raise fiber.failure
        except BaseException:
            fiber.end()
            error = fiber.take_error()
            if error:  # ours, made in the callback: what was raised says more
                ffi.error_delete(error)
            raise
        else:
            fiber.end()
        finally:
            fiber.failure = None

    async def _inline(self, fiber: Fiber) -> bool:
        if self._spent_ns > PASS_BUDGET_NS:
            await self._wait_turn()
        return self._slice(fiber)

    @trio.lowlevel.enable_ki_protection
    def _slice(self, fiber: Fiber) -> bool:
        """One slice here and now. A KeyboardInterrupt must not strike between a callback's entry and its ``try``."""
        self.slices_inline += 1
        ticker, calls, begin = self._ticker, fiber.host_calls, time.perf_counter_ns()
        if ticker is not None:
            ticker.slice_begins()
        done: bool = ffi.future_poll(fiber.future)
        spent = time.perf_counter_ns() - begin
        if spent < NOTICEABLE_NS:
            if not done and fiber.parked is None and ticker is not None and fiber.host_calls == calls:
                # The deadline had passed while the guest was parked: it yielded at once, and now has a fresh slice.
                done = ffi.future_poll(fiber.future)
                spent = time.perf_counter_ns() - begin
            if spent < NOTICEABLE_NS:
                return done
        fiber.computing_ns = fiber.computing_ns + spent if fiber.host_calls == calls else spent
        self._spend(spent)
        return done

    def _spend(self, spent_ns: int) -> None:
        self._spent_ns += spent_ns
        if not self._pass_ends:
            self._pass_ends = True
            self._token.run_sync_soon(self._end_pass)  # runs in the loop's next pass

    def _end_pass(self) -> None:
        self._spent_ns, self._pass_ends = 0, False

    async def _wait_turn(self) -> None:
        """First come, first served: one guest after another gets the next pass."""
        async with self._turn:
            while self._spent_ns > PASS_BUDGET_NS:
                await trio.lowlevel.checkpoint()

    async def _host_call(self, fiber: Fiber, parked: Parked) -> None:
        self.parks += 1
        fiber.parked, fiber.since_ns = None, None
        value, waiting = None, parked.waiting
        if parked.dispatch is not None:
            value = self._dispatch(fiber, parked.dispatch, parked.values)
            waiting = value if type(value) is Waiting else None
        if waiting is not None:
            value = await waiting.finish()
        fiber.answer(parked, value)
        fiber.computing_ns, fiber.since_ns = 0, time.monotonic_ns()

    @staticmethod
    def _dispatch(fiber: Fiber, dispatch: Dispatch, values: tuple[Any, ...]) -> Any:
        return dispatch(fiber.context, values)

    @staticmethod
    def _check_wall_time(fiber: Fiber, calls: int) -> None:
        if fiber.host_calls == calls and fiber.computing_ns > fiber.wall_limit_ns:
            seconds = fiber.context.host.limits.wall_time_s
            raise LimitExceeded("wall_time_s", f"the guest computed for {seconds:g} s without calling the host")

    def close(self) -> None:
        """To be called when no fiber runs any more."""
        if self._pool is not None:
            self._pool.close()

    def statistics(self) -> dict[str, float]:
        return {
            "slices_inline": self.slices_inline,
            "slices_pooled": self.slices_pooled,
            "parks": self.parks,
            "pool_queue": self._pool.waiting if self._pool is not None else 0,
        }


class _Pool:
    """Threads that poll guests busy computing. Started when first needed."""

    def __init__(self, ticker: Ticker | None, threads: int) -> None:
        self._ticker, self._count = ticker, threads
        self._queue: SimpleQueue[Fiber | None] = SimpleQueue()
        self._finished: deque[tuple[Fiber, outcome.Value[bool | None] | outcome.Error]] = deque()
        self._threads: list[threading.Thread] = []
        self._token = trio.lowlevel.current_trio_token()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def run(self, fiber: Fiber) -> bool:
        """Poll ``fiber`` in the pool until it finishes (True), parks or exceeds its time (False). When cancelled, it comes
        back after its current slice: a fiber that is being polled must not be touched."""
        self._start()

        def abandon(_raise_cancel: object) -> trio.lowlevel.Abort:
            fiber.abandoned = True
            return trio.lowlevel.Abort.FAILED

        fiber.task, fiber.on_loop = trio.lowlevel.current_task(), False
        self._queue.put(fiber)
        try:
            done: bool = await trio.lowlevel.wait_task_rescheduled(abandon)
        finally:
            fiber.on_loop = True
        if fiber.abandoned and not done:
            fiber.abandoned = False
            await trio.lowlevel.checkpoint_if_cancelled()
        return done

    def _start(self) -> None:
        while len(self._threads) < self._count:
            name = f"golemp2p-guests-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        if hasattr(os, "PRIO_PROCESS"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POOL_NICE)
        while True:
            fiber = self._queue.get()
            if fiber is None:
                return
            result = outcome.capture(self._poll, fiber)
            if isinstance(result, outcome.Value) and result.value is None:
                self._queue.put(fiber)  # others wait: to the back of the queue
                continue
            self._finished.append((fiber, result))
            self._token.run_sync_soon(self._return_finished)

    def _poll(self, fiber: Fiber) -> bool | None:
        """Slices, until the fiber has to go back to the event loop (bool: finished) or others wait (``None``)."""
        while True:
            if self._ticker is not None:
                self._ticker.slice_begins()
            calls, begin = fiber.host_calls, time.perf_counter_ns()
            done: bool = ffi.future_poll(fiber.future)
            spent = time.perf_counter_ns() - begin
            fiber.computing_ns = fiber.computing_ns + spent if fiber.host_calls == calls else spent
            if done or fiber.parked is not None or fiber.abandoned or fiber.computing_ns > fiber.wall_limit_ns:
                return done
            if not self._queue.empty():
                return None

    def _return_finished(self) -> None:
        while self._finished:
            fiber, result = self._finished.popleft()
            assert fiber.task is not None
            trio.lowlevel.reschedule(fiber.task, result)
            fiber.task = None

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


class Running:
    """``with`` both: the ticker starts, and the scheduler's threads end, with the block."""

    def __init__(self, ticker: Ticker | None, threads: int | None) -> None:
        self.ticker, self.scheduler = ticker, Scheduler(ticker, threads)

    def __enter__(self) -> Scheduler:
        if self.ticker is not None:
            self.ticker.__enter__()
        return self.scheduler

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.scheduler.close()
        if self.ticker is not None:
            self.ticker.stop()
