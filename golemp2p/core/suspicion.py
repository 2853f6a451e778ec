"""How long a suspected member has to refute (Lifeguard, section IV-B: dynamic suspicion).

    timeout(C) = max(min, max - (max - min) * log(C + 1) / log(K + 1))        C independent confirmations, K expected

One accuser may be the one with the broken network: it waits long. When others confirm, the verdict comes soon.
"""

from __future__ import annotations

from math import log, log10

from golemp2p.core.membership_profile import MembershipProfile


class Suspicion:
    """Of one incarnation of one member. ``start_ns`` moves on when we cannot judge (we were paused, or are alone)."""

    __slots__ = ("_maximum_ns", "_minimum_ns", "_timeout_ns", "accusers", "excuses", "expected", "incarnation", "start_ns")

    def __init__(self, incarnation: int, accuser: bytes, now_ns: int, members: int, profile: MembershipProfile) -> None:
        self.incarnation = incarnation
        self.accusers = [accuser]
        self.start_ns = now_ns
        self.excuses = 0
        self.expected = max(0, min(profile.confirmations, members - 2))
        self._minimum_ns = int(profile.suspicion_min_ns * max(1.0, log10(members)))
        self._maximum_ns = self._minimum_ns * profile.suspicion_factor_max
        self._timeout_ns = self._timeout_now()

    def confirm(self, accuser: bytes) -> bool:
        """Whether ``accuser`` is a new and still needed confirmation (which is then passed on)."""
        if accuser in self.accusers or len(self.accusers) > self.expected:
            return False
        self.accusers.append(accuser)
        self._timeout_ns = self._timeout_now()
        return True

    def hurry(self) -> None:
        """Somebody has come to a verdict already: only the shortest time is left for a refutation."""
        self.expected = 0
        self._timeout_ns = self._timeout_now()

    def is_seasoned(self, now_ns: int) -> bool:
        """Whether it is so old that a refutation would be here: the verdict of another may be believed."""
        return now_ns - self.start_ns >= self._minimum_ns // 2

    @property
    def is_confirmed(self) -> bool:
        return len(self.accusers) > self.expected

    @property
    def deadline_ns(self) -> int:
        return self.start_ns + self._timeout_ns

    def _timeout_now(self) -> int:
        if self.is_confirmed:
            return self._minimum_ns
        confirmations = len(self.accusers) - 1
        span = self._maximum_ns - self._minimum_ns
        return self._maximum_ns - int(span * log(confirmations + 1) / log(self.expected + 1))
