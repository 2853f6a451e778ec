"""What this node asked a peer over one connection, and the answers as they come.

ask ──> number ──> Request          forget: Cancel, unless it was answered
Answer, Failure, Chunk ──> the waiter of that number; none, if nobody waits any more; nonsense, if it was never given
"""

from __future__ import annotations

from collections.abc import Callable

from golemp2p.errors import FrameMalformed, Golemp2pError, Overloaded, RequestFailed
from golemp2p.mesh import frames as f
from golemp2p.mesh.calls import Download, Pending
from golemp2p.mesh.writer import Writer


class Asking:
    """``requests_max``: how many unanswered requests the peer takes."""

    def __init__(self, writer: Writer, requests_max: int) -> None:
        self.asked_count = 0
        self._writer = writer
        self._requests_max = requests_max
        self._waiting: dict[int, Pending | Download] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, waiter: Pending | Download, kind: int, payload: bytes, patience_s: float, *, credit: int) -> int:
        """The number of the request, which is on its way. Raises ``Overloaded`` or ``PayloadTooLarge``; then nothing was sent."""
        if len(self._waiting) >= self._requests_max:
            raise Overloaded(f"{len(self._waiting)} requests to this peer are under way, as many as it takes")
        number = self.asked_count + 1
        patience_ms = max(1, min(round(patience_s * 1_000), f.DEADLINE_MS_MAX))
        data = self._writer.encode(f.Request(number, kind, patience_ms, credit, payload))
        if not self._writer.has_room(len(data)):
            raise Overloaded("too much is queued for this peer")
        self.asked_count = number
        self._waiting[number] = waiter
        self._writer.post(data)
        return number

    def forget(self, number: int) -> None:
        """Nobody waits any more."""
        waiter = self._waiting.pop(number, None)
        if waiter is not None and not waiter.done.is_set():
            self._writer.post(self._writer.encode(f.Cancel(number)))

    def fail_all(self, error: Callable[[], Golemp2pError]) -> None:
        """The connection is over. ``error`` makes one for each, since every task that raises one adds its traceback."""
        for waiter in self._waiting.values():
            if not waiter.done.is_set():
                waiter.fail(error())
        self._waiting.clear()

    def take(self, frame: f.Answer | f.Failure | f.Chunk) -> None:
        """Raises ``FrameMalformed``."""
        if not 0 < frame.number <= self.asked_count:
            raise FrameMalformed(f"an answer to request {frame.number}, which was never asked")
        waiter = self._waiting.get(frame.number)
        if waiter is None or waiter.done.is_set():
            return
        match frame:
            case f.Answer(_, payload):
                waiter.answer(payload)
            case f.Failure(_, code, text, after_ms):
                waiter.fail(RequestFailed(code, text, None if after_ms is None else after_ms / 1_000))
            case f.Chunk(_, payload):
                waiter.chunk(payload)
