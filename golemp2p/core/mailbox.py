"""Which invocation a worker runs next, and what a repeated idempotency key gets.

An invocation with a known key is never run twice: it gets the recorded outcome, or joins the one under way. A new one starts at
once when the worker is ready and has nothing else to do; otherwise it is written down as pending, and the order of those entries
is the order of execution.

    admit(key) ->  KNOWN    outcome recorded          JOINED  pending or running under this key already
                   START    append the invoked entry  ENQUEUE append a pending entry

Follows Golem 1.2 (lookup order: result, pending, else enqueue), without its unbounded queue.
"""

from __future__ import annotations

from enum import Enum

from golemp2p.core.worker_state import Invocation, Outcome, WorkerState
from golemp2p.errors import Overloaded, PreviousInvocationExited, PreviousInvocationFailed


class Admission(Enum):
    KNOWN = "known"
    JOINED = "joined"
    START = "start"
    ENQUEUE = "enqueue"


class Mailbox:
    """Decisions over a ``WorkerState``. ``queue_max``: pending invocations beyond which new ones are refused."""

    __slots__ = ("_queue_max", "_state")

    def __init__(self, state: WorkerState, queue_max: int) -> None:
        self._state = state
        self._queue_max = queue_max

    def outcome(self, key: str) -> Outcome | None:
        return self._state.results.get(key)

    def is_waiting(self, key: str) -> bool:
        """Pending or under way."""
        state = self._state
        return key in state.pending or (state.running is not None and state.running.key == key)

    def admit(self, key: str, *, ready: bool) -> Admission:
        """What to do with an invocation under ``key``. ``ready``: the worker is live and nothing runs.

        Raises ``PreviousInvocationFailed``, ``PreviousInvocationExited`` (a new key for a worker that ended) and
        ``Overloaded`` (the queue is full); all three only for keys that are new.
        """
        state = self._state
        if key in state.results:
            return Admission.KNOWN
        if self.is_waiting(key):
            return Admission.JOINED
        if state.exited is not None:
            raise PreviousInvocationExited(f"the worker exited with status {state.exited}; delete it to start anew")
        if state.failed is not None:
            raise PreviousInvocationFailed(f"Previous invocation failed: {state.failed.message}")
        if ready and state.running is None and not state.pending:
            return Admission.START
        if len(state.pending) >= self._queue_max:
            raise Overloaded(f"{len(state.pending)} invocations are pending on this worker, which is its limit", 1.0)
        return Admission.ENQUEUE

    def next(self) -> Invocation | None:
        """The next pending invocation, ``None`` while one is running or nothing is pending."""
        state = self._state
        if state.running is not None or not state.pending:
            return None
        return next(iter(state.pending.values()))
