"""What a worker's oplog says of it: a fold over its entries, from the first to the last.

The same fold runs over entries read from disk and over entries as they are appended, so a worker's state is never anything
but a function of its history. ``apply`` is called once per entry, in order, and costs O(1).

    status:  Exited > Failed > Interrupted > Retrying > Suspended > Running > Idle    (the first that holds)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from golemp2p.model import entries as e
from golemp2p.model.worker import OwnedResource, WorkerStatus


class Invocation(NamedTuple):
    """An accepted invocation. ``at``: index of its pending or its invoked entry; ``time_ns``: that entry's."""

    function: str
    key: str
    request: e.Payload
    at: int
    time_ns: int


class Completed(NamedTuple):
    """The result is in the ``ExportedFunctionCompleted`` at index ``at``, of a call of ``function``."""

    at: int
    function: str


class Refused(NamedTuple):
    """The invocation ended with an error; it will never run again."""

    code: str
    message: str


Outcome = Completed | Refused

_HINTS = e.HINTS


class WorkerState:
    """The fold. Fields are read freely by drivers and changed only by ``apply``.

    ``tail``: index the next entry will get. ``results`` maps idempotency keys to outcomes, for ever. ``promises`` maps a
    promise's index to its value, ``None`` while it has none; deleted ones are absent. ``failures``: failed executions since
    the last progress. ``suspended``: waiting unloaded; ``wake_ns`` says until when (``None``: a promise).
    """

    __slots__ = (
        "create",
        "exited",
        "failed",
        "failures",
        "interrupted",
        "last_error",
        "last_time_ns",
        "memory_bytes",
        "pending",
        "promises",
        "resources",
        "results",
        "retry_policy",
        "running",
        "skipped",
        "suspended",
        "tail",
        "wake_ns",
    )

    def __init__(self) -> None:
        self.tail = 1
        self.create: e.Create | None = None
        self.running: Invocation | None = None
        self.pending: dict[str, Invocation] = {}
        self.results: dict[str, Outcome] = {}
        self.promises: dict[int, e.Payload | None] = {}
        self.resources: dict[int, OwnedResource] = {}
        self.skipped: list[tuple[int, int]] = []
        self.retry_policy: e.RetryPolicy | None = None
        self.failures = 0
        self.failed: Refused | None = None
        self.exited: int | None = None
        self.interrupted = False
        self.suspended = False
        self.wake_ns: int | None = None
        self.last_error: str | None = None
        self.memory_bytes = 0
        self.last_time_ns = 0

    @classmethod
    def of(cls, entries: Iterable[e.Entry]) -> WorkerState:
        """The state a log tells of, from its first entry."""
        state = cls()
        for entry in entries:
            state.apply(entry)
        return state

    def apply(self, entry: e.Entry) -> int:
        """Take the next entry into account; returns its index."""
        index = self.tail
        self.tail = index + 1
        kind = type(entry)
        if kind not in _HINTS:
            self.failures = 0
            self.suspended = False
            self.wake_ns = None
        self.last_time_ns = max(self.last_time_ns, entry[0])
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, index, entry)
        return index

    @property
    def status(self) -> WorkerStatus:
        if self.exited is not None:
            return WorkerStatus.EXITED
        if self.failed is not None:
            return WorkerStatus.FAILED
        if self.interrupted:
            return WorkerStatus.INTERRUPTED
        if self.failures and (self.running is not None or self.pending):
            return WorkerStatus.RETRYING
        if self.suspended:
            return WorkerStatus.SUSPENDED
        if self.running is not None or self.pending:
            return WorkerStatus.RUNNING
        return WorkerStatus.IDLE

    @property
    def open_invocations(self) -> list[Invocation]:
        """The one that runs, and those that wait for their turn."""
        return [*([self.running] if self.running is not None else []), *self.pending.values()]

    @property
    def has_open_work(self) -> bool:
        """Something that must go on by itself after a restart of the node."""
        if self.create is None or self.create.ephemeral or self.failed or self.interrupted or self.exited is not None:
            return False
        if self.suspended:
            return False
        return self.running is not None or bool(self.pending)

    # -- one handler per kind that matters ------------------------------------------------------------------------------

    def _create(self, index: int, entry: e.Create) -> None:
        self.create = entry
        self.memory_bytes = entry.memory_initial

    def _invoked(self, index: int, entry: e.ExportedFunctionInvoked) -> None:
        self.pending.pop(entry.idempotency_key, None)
        self.running = Invocation(entry.function, entry.idempotency_key, entry.request, index, entry.time_ns)

    def _completed(self, index: int, entry: e.ExportedFunctionCompleted) -> None:
        if self.running is not None:
            self.results[self.running.key] = Completed(index, self.running.function)
            self.running = None

    def _pending(self, index: int, entry: e.PendingInvocation) -> None:
        key = entry.idempotency_key
        self.pending[key] = Invocation(entry.function, key, entry.request, index, entry.time_ns)

    def _canceled(self, index: int, entry: e.CancelPendingInvocation) -> None:
        if self.pending.pop(entry.idempotency_key, None) is not None:
            self.results[entry.idempotency_key] = Refused("invocation-canceled", "the invocation was canceled while pending")

    def _refused(self, index: int, entry: e.InvocationRefused) -> None:
        self.results[entry.idempotency_key] = Refused(entry.code, entry.message)
        self.pending.pop(entry.idempotency_key, None)
        if self.running is not None and self.running.key == entry.idempotency_key:
            self.running = None
            self.failures = 0

    def _failure(self, index: int, entry: e.Failed) -> None:
        self.failures += 1
        self.last_error = entry.message
        if not entry.retried:
            self._end(Refused(entry.code, entry.message))
            self.failed = Refused(entry.code, entry.message)

    def _exited(self, index: int, entry: e.Exited) -> None:
        self._end(Refused("guest-exited", f"the worker exited with status {entry.status}"))
        self.exited = entry.status

    def _end(self, outcome: Refused) -> None:
        """The running and all pending invocations end with ``outcome``."""
        if self.running is not None:
            self.results[self.running.key] = outcome
            self.running = None
        for key in self.pending:
            self.results[key] = outcome
        self.pending.clear()

    def _suspend(self, index: int, entry: e.Suspend) -> None:
        self.suspended = True
        self.wake_ns = entry.wake_ns

    def _interrupted(self, index: int, entry: e.Interrupted) -> None:
        self.interrupted = True

    def _resumed(self, index: int, entry: e.Resumed) -> None:
        self.interrupted = False
        self.suspended = False
        self.wake_ns = None

    def _jump(self, index: int, entry: e.Jump) -> None:
        self.skipped.append((entry.start, entry.end))

    def _policy(self, index: int, entry: e.ChangeRetryPolicy) -> None:
        self.retry_policy = entry.policy

    def _grow(self, index: int, entry: e.GrowMemory) -> None:
        self.memory_bytes += entry.delta_bytes

    def _resource(self, index: int, entry: e.CreateResource) -> None:
        self.resources[entry.resource] = OwnedResource(entry.time_ns, entry.name, None)

    def _described(self, index: int, entry: e.DescribeResource) -> None:
        self.resources[entry.resource] = OwnedResource(entry.time_ns, entry.name, tuple(entry.params))

    def _dropped(self, index: int, entry: e.DropResource) -> None:
        self.resources.pop(entry.resource, None)

    def _promise(self, index: int, entry: e.PromiseCreated) -> None:
        self.promises.setdefault(entry.promise_index, None)

    def _promise_completed(self, index: int, entry: e.PromiseCompleted) -> None:
        self.promises[entry.promise_index] = entry.data
        self.suspended = False
        self.wake_ns = None

    def _promise_deleted(self, index: int, entry: e.PromiseDeleted) -> None:
        self.promises.pop(entry.promise_index, None)
        if self.wake_ns is None:
            self.suspended = False  # whoever waits for it must find out


_HANDLERS: dict[type, Callable[[WorkerState, int, Any], None]] = {
    e.Create: WorkerState._create,
    e.ExportedFunctionInvoked: WorkerState._invoked,
    e.ExportedFunctionCompleted: WorkerState._completed,
    e.PendingInvocation: WorkerState._pending,
    e.CancelPendingInvocation: WorkerState._canceled,
    e.InvocationRefused: WorkerState._refused,
    e.Failed: WorkerState._failure,
    e.Exited: WorkerState._exited,
    e.Suspend: WorkerState._suspend,
    e.Interrupted: WorkerState._interrupted,
    e.Resumed: WorkerState._resumed,
    e.Jump: WorkerState._jump,
    e.ChangeRetryPolicy: WorkerState._policy,
    e.GrowMemory: WorkerState._grow,
    e.CreateResource: WorkerState._resource,
    e.DescribeResource: WorkerState._described,
    e.DropResource: WorkerState._dropped,
    e.PromiseCreated: WorkerState._promise,
    e.PromiseCompleted: WorkerState._promise_completed,
    e.PromiseDeleted: WorkerState._promise_deleted,
}
