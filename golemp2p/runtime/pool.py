"""Threads that poll guests which compute, with the interpreter lock released. See ``scheduler`` for who comes here."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from queue import SimpleQueue

import outcome
import trio

from golemp2p.runtime import ffi
from golemp2p.runtime.engine import Ticker
from golemp2p.runtime.fibers import Fiber

POOL_NICE = 5  # pool threads give way to the event loop's when cores are short


class Pool:
    """Round robin: when a slice ends and others wait, the guest goes to the back of the queue. Threads start on first need."""

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
