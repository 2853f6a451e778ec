"""Whether the entries of a worker's log tell a story that can be true, whatever the guest computes: once per key, in its turn.

    Create                                 first, and only there; names the worker
    PendingInvocation k ... Invoked k      the same function and request
    Invoked k ... Completed                one at a time, each key once, an outcome before the next

A fold in constant time per entry, over entries that anybody may have written: of each key it keeps a hash, of what is pending another.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from golemp2p.model import entries as e
from golemp2p.model.history import Problems
from golemp2p.model.ids import WorkerId

KEYS_MAX = 4_000_000
"""Keys remembered, with 100 bytes each; of later ones it is not told whether they are repeated."""

WAITING_MAX = 1_000_000
"""More invocations than any node lets wait; and as many jumps."""

_HASH_BYTES = 16
_FEW_CHARS = 80


class Story:
    """Of ``worker``. ``skipped``: inclusive ranges of indexes that jumps left out."""

    def __init__(self, worker: WorkerId, wrong: Problems, unshown: Problems) -> None:
        self._worker = worker
        self._wrong = wrong
        self._unshown = unshown
        self._done: dict[bytes, None] = {}
        self._pending: dict[bytes, bytes] = {}  # hash of the key -> of function and request
        self._running: str | None = None
        self._is_full = False
        self._has_ended = False
        self._index = 0
        self.create: e.Create | None = None
        self.skipped: list[tuple[int, int]] = []
        self.invocations = 0

    def tell(self, entry: e.Entry) -> None:
        """The next entry."""
        self._index += 1
        if self._index == 1 and not isinstance(entry, e.Create):
            self._refuse("the first entry does not create a worker")
        match entry:
            case e.Create():
                self._created(entry)
            case e.PendingInvocation():
                self._accept(entry)
            case e.ExportedFunctionInvoked():
                self._begin(entry)
            case e.ExportedFunctionCompleted():
                self._complete()
            case e.InvocationRefused():
                self._refused(entry)
            case e.CancelPendingInvocation():
                self._cancel(entry)
            case e.Failed():
                if not entry.retried:
                    self._end()
            case e.Exited():
                self._end()
            case e.Jump():
                if len(self.skipped) < WAITING_MAX:
                    self.skipped.append((entry.start, entry.end))
                reason = f"leaves out entries {entry.start} to {entry.end}: what was in them is not re-executed"
                self._unshown.add(f"worker log, index {self._index}", reason, self._index)
            case e.ComponentVersionAdded() | e.Elected():
                self._refuse(f"{type(entry).__name__} does not belong into the log of a worker")

    def _created(self, entry: e.Create) -> None:
        if self._index > 1:
            self._refuse("a worker is created once")
        elif (entry.component_id, entry.worker_name) != (str(self._worker.component), self._worker.name):
            self._refuse(f"creates worker {_few(entry.component_id)}/{_few(entry.worker_name)}, not {self._worker}")
        else:
            self.create = entry

    def _accept(self, entry: e.PendingInvocation) -> None:
        self._check_new(entry.idempotency_key)
        if len(self._pending) >= WAITING_MAX:
            self._refuse(f"more than {WAITING_MAX} invocations wait")
            return
        self._pending[_hash(entry.idempotency_key)] = _hash(entry.function, entry.request)

    def _begin(self, entry: e.ExportedFunctionInvoked) -> None:
        key = entry.idempotency_key
        if self._running is not None:
            self._refuse(f"{_few(key)!r} begins before {_few(self._running)!r} has an outcome")
        accepted = self._pending.pop(_hash(key), None)
        if accepted is None:
            self._check_new(key)
        elif accepted != _hash(entry.function, entry.request):
            self._refuse(f"{_few(key)!r} is not run as it was accepted")
        self._running = key
        self.invocations += 1

    def _check_new(self, key: str) -> None:
        hashed = _hash(key)
        if hashed in self._pending or key == self._running or hashed in self._done:
            self._refuse(f"the invocation with key {_few(key)!r} is accepted a second time")
        if self._has_ended:
            self._refuse(f"the invocation with key {_few(key)!r} is accepted after the worker's end")

    def _complete(self) -> None:
        if self._running is None:
            self._refuse("a result, and no invocation runs")
            return
        self._settle(_hash(self._running))
        self._running = None

    def _refused(self, entry: e.InvocationRefused) -> None:
        key, hashed = entry.idempotency_key, _hash(entry.idempotency_key)
        if key != self._running and hashed not in self._pending:
            self._refuse(f"the invocation with key {_few(key)!r} is refused, and neither runs nor waits")
        self._pending.pop(hashed, None)
        self._settle(hashed)
        if key == self._running:
            self._running = None

    def _cancel(self, entry: e.CancelPendingInvocation) -> None:
        hashed = _hash(entry.idempotency_key)
        if self._pending.pop(hashed, None) is not None:
            self._settle(hashed)

    def _end(self) -> None:
        """The worker has failed or exited for good."""
        self._has_ended = True
        for hashed in self._pending:
            self._settle(hashed)
        self._pending.clear()
        self._running = None

    def _settle(self, hashed: bytes) -> None:
        if len(self._done) < KEYS_MAX:
            self._done[hashed] = None
        elif not self._is_full:
            self._is_full = True
            reason = f"more than {KEYS_MAX} invocations: whether later ones are repeated is not looked at"
            self._unshown.add(f"worker log, index {self._index}", reason, self._index)

    def _refuse(self, reason: str) -> None:
        self._wrong.add(f"worker log, index {self._index}", reason, self._index)


def _hash(text: str, request: e.Payload = b"") -> bytes:
    hasher = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES)
    hasher.update(b"\0" + (request if isinstance(request, bytes) else request.sha256 + request.size_bytes.to_bytes(8, "big")))
    return hasher.digest()


def _few(text: Any) -> str:
    shown = str(text)
    return shown if len(shown) <= _FEW_CHARS else shown[:_FEW_CHARS] + "..."
