"""Who broke the protocol, how often, and until when this node wants nothing to do with it.

    nonsense, well sealed ──> counted, told, and a penalty: 1 s, 2 s, 4 s, ... up to 10 min; forgotten after an hour without more
    forged records        ──> counted and told: whoever sits on the line can make them, and must not be able to part two peers
    failed handshakes     ──> counted and told: nobody has proved who it was
    other versions        ──> counted and told: nobody's fault

Sans-IO: times are seconds of the caller's clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from golemp2p.errors import FrameMalformed, RemoteError


@dataclass(frozen=True, slots=True)
class Penalties:
    """Seconds. ``peers_max``: remembered at once; who misbehaved longest ago is forgotten first."""

    first_s: float = 1.0
    max_s: float = 600.0
    memory_s: float = 3_600.0
    peers_max: int = 4_096


@dataclass(slots=True)
class _Record:
    times: int
    last: float
    until: float


class Conduct:
    """``counts``: how often, by the code of the error."""

    def __init__(self, penalties: Penalties) -> None:
        self.counts: Counter[str] = Counter()
        self._penalties = penalties
        self._records: dict[bytes, _Record] = {}

    def note(self, peer: bytes | None, error: RemoteError, now: float) -> None:
        """``peer``: its proved public key, ``None`` if nobody proved anything."""
        self.counts[error.code] += 1
        if peer is None or not isinstance(error, FrameMalformed):
            return
        record = self._records.pop(peer, None)
        times = 1 if record is None or now - record.last > self._penalties.memory_s else record.times + 1
        penalty_s = min(self._penalties.max_s, self._penalties.first_s * 2.0 ** min(times - 1, 64))
        self._records[peer] = _Record(times, now, now + penalty_s)
        while len(self._records) > self._penalties.peers_max:
            del self._records[next(iter(self._records))]

    def shunned_until(self, peer: bytes) -> float:
        """0 for the well-behaved."""
        record = self._records.get(peer)
        return 0.0 if record is None else record.until

    def is_welcome(self, peer: bytes, now: float) -> bool:
        return now >= self.shunned_until(peer)
