"""What is submitted waits until the event loop has nothing else to do, and then goes to the writer as one group.

    submit ──▶ gathered ──the loop is about to wait, or something has waited for 2 ms──▶ hand over

A commit costs a sync, however much it holds. While the loop is busy, more is on its way that the same commit could hold; and the
writer, woken for each batch, takes the interpreter's lock from the loop that makes the next ones. An idle loop hands over at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

GATHER_S_MAX = 0.002
"""As long as a fast commit takes: a busy loop makes nobody wait twice as long."""

GATHERED_MAX = 512
"""Handed over at once: a group of the writer is as large."""

T = TypeVar("T")


class Gathering(trio.abc.Instrument, Generic[T]):
    """Between ``open`` and ``close``, which hands over the rest, on one event loop."""

    def __init__(self, hand_over: Callable[[list[T]], None]) -> None:
        self._hand_over = hand_over
        self._gathered: list[T] = []
        self._until = 0.0
        self._is_open = False

    def open(self) -> None:
        trio.lowlevel.add_instrument(self)
        self._is_open = True

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            trio.lowlevel.remove_instrument(self)
            self._is_open = False
        self._flush()

    def add(self, item: T) -> None:
        if not self._gathered:
            self._until = time.monotonic() + GATHER_S_MAX
        self._gathered.append(item)
        if len(self._gathered) >= GATHERED_MAX:
            self._flush()

    def before_io_wait(self, timeout: float) -> None:
        """Called by the loop once per turn; ``timeout`` is 0 while tasks are ready to run."""
        if self._gathered and (timeout > 0 or time.monotonic() >= self._until):
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._hand_over(gathered)
