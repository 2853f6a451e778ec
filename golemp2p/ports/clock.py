"""Time and chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time. ``wall_ns`` may jump; ``monotonic_ns`` never goes back within one process."""

    def wall_ns(self) -> int: ...

    def monotonic_ns(self) -> int: ...


RandomBytes = Callable[[int], bytes]
"""Cryptographically strong bytes in production, seeded in simulation."""
