"""How long to wait before a peer is dialled again: longer after every failure, never for all nodes the same."""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.core.dice import Dice


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds. After failure n, counted from 1: ``first_s`` * 2 ** (n - 1), at most ``max_s``; of that a random share from half to
    all. ``healthy_s``: a connection that lasted so long wipes earlier failures out; a shorter one counts as another failure, so that
    a peer that accepts and closes is no reason to hurry."""

    first_s: float = 0.1
    max_s: float = 30.0
    healthy_s: float = 5.0

    def delay_s(self, failures: int, dice: Dice) -> float:
        """``failures`` >= 1."""
        longest_s = min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 64))
        return longest_s * (0.5 + dice.random() / 2)
