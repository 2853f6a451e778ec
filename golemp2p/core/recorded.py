"""A worker's journal as a judge reads it: every step of a re-execution must be the next one recorded, and nothing goes live.

    recorded   Create Invoked call line call Completed | Pending Invoked call          p: passed over   |: what others did meanwhile
    repeated   take   take    take note take take        p       take    take  asks for more: the journal ends

``core.replay.Cursor`` lets a worker go on; this one does not. **Where it differs:** what the guest printed and reported (lines,
resources, memory) is compared too, in its order; entries come one by one, so a journal of any length takes no memory; what ends an
execution in the record (a refusal, a failure, an exit) is told to whoever asks for more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

from golemp2p.core.replay import describe
from golemp2p.errors import Divergence
from golemp2p.model import entries as e

E = TypeVar("E")

REPEATED = frozenset({e.Log, e.GrowMemory, e.CreateResource, e.DescribeResource, e.DropResource, e.PromiseCreated})
"""What a guest emits itself, as often as it runs, and which is recorded once."""

_MEANWHILE = frozenset(
    {
        e.Suspend, e.Resumed, e.PendingInvocation, e.CancelPendingInvocation, e.PromiseCompleted, e.PromiseDeleted, e.Jump,
    }
)  # fmt: skip
"""What others did, or the node, while the guest was where it was."""

_LINE_CHARS = 200


class JournalEnded(Exception):
    """The worker asks for more than was recorded. ``outcome``: the entry with which the record ends its execution; ``None``: the log
    ends."""

    def __init__(self, outcome: e.Entry | None) -> None:
        super().__init__("the journal ends")
        self.outcome = outcome


class Recorded:
    """``entries``: (index, entry) of a whole log, in order. ``skipped``: inclusive ranges of indexes that jumps left out.

    ``ephemeral``: every invocation is an execution of its own, so an interruption or a restart ends one. ``index``: of what was taken
    last; ``calls`` and ``lines``: how many host calls were taken, and how much of what the guest emitted.
    """

    def __init__(self, entries: Iterator[tuple[int, e.Entry]], skipped: list[tuple[int, int]], *, ephemeral: bool) -> None:
        self._entries = entries
        self._skipped = deque(sorted(skipped))
        self._is_ephemeral = ephemeral
        self._next: tuple[int, e.Entry] | None = None
        self.index = 0
        self.calls = 0
        self.lines = 0

    def peek(self) -> e.Entry | None:
        """The next entry that counts; ``None`` at the end."""
        if self._next is None:
            self._next = next((pair for pair in self._entries if self._counts(*pair)), None)
        return None if self._next is None else self._next[1]

    def take(self, kind: type[E]) -> E:
        """Consume the next entry, which must be a ``kind``. Raises ``JournalEnded``, ``Divergence``."""
        entry = self._expected(kind)
        if type(entry) is not kind:
            raise self.divergence(kind.__name__)
        self._consume()
        return entry

    def take_host_call(self, function: str, request_hash: bytes) -> e.Payload:
        """Consume the record of a host call; returns its encoded response. Raises ``JournalEnded``, ``Divergence``."""
        entry = self._expected(e.ImportedFunctionInvoked)
        if type(entry) is not e.ImportedFunctionInvoked or (entry.function, entry.request_hash) != (function, request_hash):
            raise self.divergence(f"host call {function} with request {request_hash.hex()}")
        self._consume()
        self.calls += 1
        return entry.response

    def control(self, entry: e.Entry) -> int:
        """Consume the next entry, which must be like ``entry`` but for its time; returns its index. Raises as ``take``."""
        recorded = self._expected(type(entry))
        if type(recorded) is not type(entry) or recorded[1:] != entry[1:]:
            raise self.divergence(shown(entry))
        self._consume()
        return self.index

    def note(self, hint: e.Entry) -> None:
        """The guest emits ``hint``, one of ``REPEATED``: the next recorded must be it. At the log's end it was not recorded any more.
        Raises ``JournalEnded`` when the record ends the execution before, ``Divergence``."""
        if self.peek() is not None:
            self.control(hint)
        self.lines += 1

    def divergence(self, got: str) -> Divergence:
        """At the next entry."""
        assert self._next is not None, "an entry to differ from"
        index, entry = self._next
        return Divergence(index, shown(entry), got)

    def _expected(self, kind: type) -> Any:
        entry = self.peek()
        if entry is None or (self.is_outcome(entry) and type(entry) is not kind):
            raise JournalEnded(entry)
        return entry

    def _consume(self) -> None:
        assert self._next is not None, "peek comes first"
        self.index, self._next = self._next[0], None

    def is_outcome(self, entry: e.Entry) -> bool:
        """Whether the record ends an execution here."""
        return isinstance(entry, e.InvocationRefused | e.Failed | e.Exited | e.Interrupted | e.Restart)

    def _counts(self, index: int, entry: e.Entry) -> bool:
        kind = type(entry)
        if kind in _MEANWHILE or self._is_skipped(index):
            return False
        if kind is e.Failed:
            return not entry.retried
        return self._is_ephemeral or kind not in (e.Interrupted, e.Restart)

    def _is_skipped(self, index: int) -> bool:
        skipped = self._skipped
        while skipped and skipped[0][1] < index:
            skipped.popleft()
        return bool(skipped) and skipped[0][0] <= index


def shown(entry: Any) -> str:
    """An entry, for a person."""
    match entry:
        case e.Log():
            text = f"the {entry.level} line {entry.message!r}"
        case e.Failed() | e.InvocationRefused():
            text = f"the failure {entry.code} ({entry.message})"
        case e.ExportedFunctionInvoked():
            text = f"a call of {entry.function}"
        case e.ImportedFunctionInvoked() | e.ExportedFunctionCompleted():
            text = describe(entry)
        case _:
            text = repr(entry)
    return text if len(text) <= _LINE_CHARS else text[:_LINE_CHARS] + "..."
