"""What happened, twice: as a running hash (always) and as lines for people (when asked).

The hash takes four integers per event (time, code, two numbers), packed as little-endian 64-bit words. It is equal in every process
and for every PYTHONHASHSEED, or the simulation is not deterministic.

Lines have five columns, separated by two spaces:

    time          seconds since the start, microseconds behind the point
    event         what happened: deliver, drop, timer, persist, crash, start, freeze, ... (``EVENTS``), or a notice of the protocol
    node          where: n3; c2 for a client; * for the world
    peer          the other side, or -
    detail        message, request, fault, in the words of the protocol
"""

from __future__ import annotations

import sys
from array import array
from hashlib import blake2b

EVENTS = (
    "deliver", "drop", "timer", "persist", "crash", "start", "freeze", "thaw", "fault", "heal", "request", "reply", "invoke",
    "complete", "notice", "clock", "lie", "halt", "leave", "gone",
)  # fmt: skip
"""Names of events; the place in this table is the code that is hashed."""

(
    DELIVER,
    DROP,
    TIMER,
    PERSIST,
    CRASH,
    START,
    FREEZE,
    THAW,
    FAULT,
    HEAL,
    REQUEST,
    REPLY,
    INVOKE,
    COMPLETE,
    NOTICE,
    CLOCK,
    LIE,
    HALT,
    LEAVE,
    GONE,
) = range(20)

FLUSH_WORDS = 1 << 14
LINES_MAX = 2_000_000
"""A log of two million lines is some 200 MB; later lines are left out."""


class Trace:
    """``words`` is filled by the hot loop itself; the loop calls ``flush`` every few thousand events."""

    __slots__ = ("_hash", "lines", "words")

    def __init__(self, *, keep_lines: bool = False) -> None:
        self._hash = blake2b(digest_size=16)
        self.words: list[int] = []
        self.lines: list[str] | None = [] if keep_lines else None

    def flush(self) -> None:
        packed = array("q", self.words)
        if sys.byteorder == "big":
            packed.byteswap()
        self._hash.update(packed.tobytes())
        self.words.clear()

    def add(self, time_ns: int, code: int, first: int, second: int) -> None:
        self.words += (time_ns, code, first, second)
        if len(self.words) >= FLUSH_WORDS:
            self.flush()

    def hexdigest(self) -> str:
        """Hash of everything so far, 32 hex digits."""
        self.flush()
        return self._hash.copy().hexdigest()

    def line(self, time_ns: int, event: str, node: str, peer: str, detail: str) -> None:
        """One line for people; callers test ``lines is not None`` first, since making the text is the costly part."""
        if self.lines is not None and len(self.lines) < LINES_MAX:
            self.lines.append(f"{time_ns / 1e9:12.6f}  {event:<9}  {node:<6}  {peer:<6}  {detail}")
