"""Trio as a simulation wants it: one seed decides the order of tasks, threads run inline, and tasks can be held back.

    deterministic(seed)    while it lasts: batches of runnable tasks are sorted by age and then shuffled by the seed's dice; what
                           drivers send to a thread runs at once, in the loop's own; cyclic garbage is collected by nobody but us
    Freezer                the loop's queue of runnable tasks; those of a frozen process wait beside it

The only file that knows trio's insides (0.31 to 0.35): ``_core._run._r`` and ``_ALLOW_DETERMINISTIC_SCHEDULING``, ``Runner.runq``,
``_threads.start_thread_soon``. The seed alone is not enough: without the flag, batches are in the order of sets.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import outcome
import trio
import trio._core._run as trio_run
import trio._threads
from trio.lowlevel import Task

_threads: Any = trio._threads
"""As it is a module's own name there, type checkers do not show it."""

PROCESS: ContextVar[object] = ContextVar("process", default=None)
"""The simulated process that a task belongs to; tasks inherit it from the one that starts them. ``None``: the simulation itself."""


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Around ``trio.run``. Not reentrant, and one per process: trio's dice are global."""
    kept = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate(), _threads.start_thread_soon
    collecting = gc.isenabled()
    gc.disable()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)
    _threads.start_thread_soon = _run_inline
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, _, _threads.start_thread_soon = kept  # type: ignore[misc]
        trio_run._r.setstate(kept[1])
        if collecting:
            gc.enable()


def _run_inline(fn: Callable[[], Any], deliver: Callable[[outcome.Outcome[Any]], object], name: str | None = None) -> None:
    """In place of a thread: done before anyone else runs, reported in the next turn of the loop."""
    deliver(outcome.capture(fn))


class Freezer(deque[Task]):
    """Trio's queue of runnable tasks, for the run that makes it. Tasks of a frozen process that become runnable are kept
    aside, in order, until it thaws: their timers have run out then, and what came for them is there, as after SIGSTOP and SIGCONT.

    **Where it differs:** a task that is woken by two things while it is frozen sees the first of them only; a real loop sees sockets
    before timers, whichever was first. What is runnable when the process freezes still runs once, at the same moment."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[object, list[Task]] = {}

    @classmethod
    def install(cls) -> Freezer:
        """In the run that calls it."""
        freezer = cls()
        runner = trio_run.GLOBAL_RUN_CONTEXT.runner
        freezer.extend(runner.runq)
        runner.runq = freezer
        return freezer

    def append(self, task: Task) -> None:
        if self._held:
            held = self._held.get(task.context.get(PROCESS))
            if held is not None:
                held.append(task)
                return
        super().append(task)

    def freeze(self, process: object) -> None:
        held = self._held.setdefault(process, [])
        held += [task for task in self if task.context.get(PROCESS) is process]
        stay = [task for task in self if task.context.get(PROCESS) is not process]
        self.clear()
        self.extend(stay)

    def thaw(self, process: object) -> None:
        """Safe to repeat, and for who is not frozen."""
        self.extend(self._held.pop(process, ()))
