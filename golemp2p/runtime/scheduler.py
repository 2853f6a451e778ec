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

import os
import time
from types import TracebackType

import trio

from golemp2p.errors import LimitExceeded
from golemp2p.runtime import ffi
from golemp2p.runtime.engine import Ticker
from golemp2p.runtime.fibers import Fiber, Parked
from golemp2p.runtime.host.dispatch import Waiting
from golemp2p.runtime.pool import Pool

PASS_BUDGET_NS = 4_000_000  # of inline guest time per pass of the event loop; 10 ms is what we promise others
NOTICEABLE_NS = 300_000  # shorter slices are not counted against the budget: they are host calls, not computing


class Scheduler:
    """Runs fibers to the end of a call. Made on the event loop; all methods are for its thread.

    With ``threads`` 0 everything runs inline; when ``ticker`` is ``None``, no clock is asked, and nothing depends on how long a slice
    took: for simulations.
    """

    def __init__(self, ticker: Ticker | None, threads: int | None = None) -> None:
        self._ticker = ticker
        self._pool = None if threads == 0 else Pool(ticker, threads or max(2, os.cpu_count() or 2))
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
                    fiber.context.host.journal.flush_nowait()  # it may compute for long: what it did shall outlive the node
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
            fiber.end(finished=True)
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
        ticker = self._ticker
        if ticker is None:
            return bool(ffi.future_poll(fiber.future))
        calls, begin = fiber.host_calls, time.perf_counter_ns()
        ticker.slice_begins()
        done: bool = ffi.future_poll(fiber.future)
        spent = time.perf_counter_ns() - begin
        if spent < NOTICEABLE_NS:
            if not done and fiber.parked is None and fiber.host_calls == calls:
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
            value = parked.dispatch(fiber.context, parked.values)
            waiting = value if type(value) is Waiting else None
        if waiting is not None:
            value = await waiting.finish()
        fiber.answer(parked, value)
        fiber.computing_ns, fiber.since_ns = 0, time.monotonic_ns()

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
