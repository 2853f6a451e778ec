"""Those who wait: for one outcome that is told by a callback, and for those of a worker's invocations, by idempotency key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio


class Waiter:
    """Somebody waiting for one outcome; ``settle`` may be called by whoever has it, before or after the wait begins."""

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: Any = None
        self._error: Exception | None = None

    def settle(self, value: Any, error: Exception | None) -> None:
        self._value, self._error = value, error
        self._event.set()

    async def wait(self) -> Any:
        """The value, or the error raised."""
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Waiters:
    """False when nobody waits."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[str, list[Waiter]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def add(self, key: str) -> Waiter:
        waiter = Waiter()
        self._by_key.setdefault(key, []).append(waiter)
        return waiter

    def forget(self, key: str, waiter: Waiter) -> None:
        """A waiter gave up; the invocation goes on."""
        waiters = self._by_key.get(key)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._by_key[key]

    def settle(self, keys: Iterable[str], value: Any, error: Exception | None) -> None:
        """Everybody who waits for ``keys`` gets this outcome."""
        for key in keys:
            for waiter in self._by_key.pop(key, ()):
                waiter.settle(value, error)

    def keys(self) -> list[str]:
        return list(self._by_key)
