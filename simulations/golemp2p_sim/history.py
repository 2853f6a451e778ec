"""What callers saw: one operation per idempotency key, from its first attempt to its first answer.

    invoke(key) ───────── perhaps many attempts, at many gateways ─────────> complete(key, result)

Operations without an answer may have happened or not. Invocations made by workers themselves (calls, timers) are operations too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Operation:
    """``returned_ns`` is ``None`` while unanswered."""

    key: str
    worker: str
    operation: tuple[Any, ...]
    invoked_ns: int
    returned_ns: int | None = None
    result: Any = None


class History:
    """All operations, in the order in which they were invoked."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}

    def invoke(self, key: str, worker: str, operation: tuple[Any, ...], time_ns: int) -> None:
        """The first attempt counts; later ones change nothing."""
        if key not in self.operations:
            self.operations[key] = Operation(key, worker, operation, time_ns)

    def complete(self, key: str, result: Any, time_ns: int) -> str | None:
        """The first answer counts. Returns what is wrong, if a later answer differs from the first."""
        operation = self.operations.get(key)
        if operation is None:
            return f"{key} was answered and never asked"
        if operation.returned_ns is None:
            operation.returned_ns, operation.result = time_ns, result
            return None
        if operation.result != result:
            return f"{key} was answered {operation.result!r} and later {result!r}"
        return None

    def by_worker(self) -> dict[str, list[Operation]]:
        """Operations per worker: invocations of different workers are independent."""
        workers: dict[str, list[Operation]] = {}
        for operation in self.operations.values():
            workers.setdefault(operation.worker, []).append(operation)
        return workers
