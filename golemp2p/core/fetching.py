"""Whom to ask for which bytes of one blob, and whom to believe.

    next: Ask(peer, offset) ── took, took ... ──┬── answered ──> whole ──> verified: right ──> done
      ^                                         │                          wrong: whoever gave all of it is struck off;
      │                                         │                                 several gave it: anew, each of them alone
      ├── failed: no connection, silence, busy ─┤
      ├── answered: has none ───────────────────┤
      └── struck off: too many bytes, too few ──┘

A peer goes on where the one before it stopped. Only a whole blob can be proved right or wrong, so a liar may hide among those who gave
the other parts; then nothing is mixed any more, and each liar is found by itself. Peers that failed are asked again, in rounds, until
rounds bring nothing any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

PAUSES_S = (0.25, 1.0, 2.0)
"""Before the rounds that follow one that brought nothing; after as many such rounds in a row nobody is asked any more. Long enough
for a busy peer to become free and for a connection to be made anew, short for who waits."""

PROGRESS_BYTES = 64 << 10
"""A round that brings less brings nothing: else a peer could keep everybody waiting for as long as the blob has bytes."""


class Ask(NamedTuple):
    """Ask ``peer`` for everything from ``offset`` on; what was collected beyond it is to be thrown away."""

    peer: bytes
    offset: int


class Pause(NamedTuple):
    seconds: float


class Fetching:
    """Of a blob of ``size`` >= 1 bytes, from ``peers``, the likeliest first. One peer is asked at a time."""

    __slots__ = (
        "_asked",
        "_best",
        "_from",
        "_givers",
        "_has_gained",
        "_idle_rounds",
        "_is_alone",
        "_known",
        "_later",
        "_waiting",
        "have",
        "resumed_count",
        "size",
        "wrong",
    )

    def __init__(self, size: int, peers: Iterable[bytes]) -> None:
        assert size > 0, "what has no bytes need not be fetched"
        self.size = size
        self.have = 0
        """Bytes collected, from the beginning of the blob."""
        self.resumed_count = 0
        """How often a peer went on where another transfer had stopped."""
        self.wrong: dict[bytes, str] = {}
        """Peers that were struck off, and why."""
        self._known = dict.fromkeys(peers)
        self._waiting = deque(self._known)
        self._later: list[bytes] = []
        self._asked: bytes | None = None
        self._from = 0
        self._givers: dict[bytes, None] = {}
        self._is_alone = False
        self._best = 0
        self._has_gained = False
        self._idle_rounds = 0

    @property
    def is_whole(self) -> bool:
        """All bytes are there: look at the hash, and tell it by ``verified``."""
        return self.have == self.size and self._asked is None

    @property
    def silent(self) -> list[bytes]:
        """Peers that may have the blob, and could not be asked."""
        return list(self._later)

    def add(self, peers: Iterable[bytes]) -> None:
        """More peers to ask; those that are known already are not asked again for it."""
        for peer in peers:
            if peer not in self._known:
                self._known[peer] = None
                self._waiting.append(peer)

    def next(self) -> Ask | Pause | None:
        """What to do while the blob is not whole; ``None``: nobody is left."""
        assert self._asked is None, "one peer at a time"
        if not self._waiting:
            if not self._later:
                return None
            self._idle_rounds = 0 if self._has_gained else self._idle_rounds + 1
            self._has_gained = False
            if self._idle_rounds > len(PAUSES_S):
                return None
            self._waiting.extend(self._later)
            self._later.clear()
            if self._idle_rounds:
                return Pause(PAUSES_S[self._idle_rounds - 1])
        peer = self._waiting.popleft()
        if self._is_alone and peer not in self._givers:
            self._restart()
        self._asked, self._from = peer, self.have
        self.resumed_count += self.have > 0
        return Ask(peer, self.have)

    def took(self, count: int) -> bool:
        """``count`` bytes came. ``False``: more than there are; the peer is struck off, and its transfer over."""
        self.have += count
        if self.have <= self.size:
            return True
        self._strike("sent more than the blob has")
        return False

    def answered(self, *, held: bool) -> None:
        """The transfer ended as the peer wanted it; ``held``: whether it has the blob."""
        if self.have == self.size:
            self._gained()
            self._asked = None
        elif held:
            self._strike("sent less than the blob has")
        else:
            self.have, self._asked = self._from, None

    def failed(self) -> None:
        """The transfer broke, or never began. What came is kept."""
        peer = self._asked
        assert peer is not None, "somebody was asked"
        has_gained = self._gained()
        self._asked = None
        if has_gained and self._is_alone:
            self._waiting.appendleft(peer)  # another would begin anew
        else:
            self._later.append(peer)

    def nonsense(self, reason: str) -> None:
        """The peer answered what makes no sense: it is struck off."""
        self._strike(reason)

    def verified(self, *, right: bool) -> None:
        """Whether the whole has the hash it should have."""
        assert self.is_whole, "only the whole can be verified"
        if right:
            return
        if len(self._givers) == 1:
            (liar,) = self._givers
            self.wrong[liar] = "its bytes do not match the blob's hash"
            self._waiting = deque(peer for peer in self._waiting if peer != liar)
            self._later = [peer for peer in self._later if peer != liar]
        else:
            self._is_alone = True
            again = dict.fromkeys((*self._givers, *self._waiting, *self._later))
            self._waiting = deque(peer for peer in again if peer not in self.wrong)
            self._later.clear()
        self._restart()
        self._best = self._idle_rounds = 0

    def _restart(self) -> None:
        self.have = 0
        self._givers.clear()

    def _strike(self, reason: str) -> None:
        assert self._asked is not None, "somebody was asked"
        self.wrong[self._asked] = reason
        self.have, self._asked = self._from, None

    def _gained(self) -> bool:
        """Count what the transfer brought; whether it was worth it."""
        assert self._asked is not None, "somebody was asked"
        if self.have > self._from:
            self._givers[self._asked] = None
        worth = self.have - self._best >= min(PROGRESS_BYTES, self.size - self._best) and self.have > self._best
        self._best = max(self._best, self.have)
        self._has_gained = self._has_gained or worth
        return worth
