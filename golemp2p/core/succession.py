"""Who campaigns for a shard that nobody leads, and when: the live voters in order of rank, each a little after the one before.

    led --primary dead, silent, gone or unknown--> WAITING --pause over--> campaign --nobody leads yet--> WAITING, longer ...
         <------------------ somebody leads -------------'

The pause is ``rank_ns`` per live voter that ranks before this node, and some jitter, so that votes are seldom split. A node that has
just started waits longer, since a primary may be there and not have spoken yet. Being wrong costs a trial round (``core.voting``), and
never anything else (S11). All shards of one dead node become due together, so that they share messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.core.dice import Dice
from golemp2p.core.membership_profile import MS


@dataclass(frozen=True, slots=True)
class SuccessionProfile:
    """All times in nanoseconds."""

    rank_ns: int = 250 * MS
    """A round of votes takes some round trips and two writes to disk: the next in rank waits for that."""
    jitter_ns: int = 50 * MS
    hear_ns: int = 1_000 * MS
    """After a start: how long a primary has to be heard of."""
    again_ns: int = 1_000 * MS
    """After a campaign that nobody won; doubles up to the next."""
    again_max_ns: int = 8_000 * MS


class Succession:
    """For the shards of one node."""

    def __init__(self, dice: Dice, profile: SuccessionProfile | None = None) -> None:
        self._dice = dice
        self._profile = profile or SuccessionProfile()
        self._dues: dict[int, int] = {}
        self._tries: dict[int, int] = {}
        self._jitter_ns = 0
        self._jitter_at_ns = -1

    def unled(self, shard: int, rank: int, now_ns: int, *, is_new: bool = False) -> None:
        """Nobody leads ``shard``. ``rank``: live voters that come first. ``is_new``: this node has not heard of any primary yet.
        Repeating it changes nothing."""
        if shard not in self._dues:
            wait_ns = self._profile.hear_ns if is_new else 0
            self._dues[shard] = now_ns + wait_ns + self._pause_ns(rank, now_ns)

    def led(self, shard: int) -> None:
        """Somebody leads it, or this node has no vote in it."""
        if shard in self._dues:
            del self._dues[shard]
            self._tries.pop(shard, None)

    def put_off(self, shard: int, rank: int, now_ns: int) -> int:
        """This node campaigns now, or must not: next time it waits longer. Returns how often in a row that was."""
        tries = self._tries.get(shard, 0)
        self._tries[shard] = tries + 1
        again_ns = min(self._profile.again_ns << min(tries, 16), self._profile.again_max_ns)
        self._dues[shard] = now_ns + again_ns + self._pause_ns(rank, now_ns)
        return tries + 1

    def hurry(self, now_ns: int) -> None:
        """Things have changed (somebody is back): who waits long waits no longer than at first."""
        self._tries.clear()
        limit_ns = now_ns + self._profile.again_ns
        for shard, due_ns in self._dues.items():
            if due_ns > limit_ns:
                self._dues[shard] = limit_ns

    def due(self, now_ns: int) -> list[int]:
        """Shards whose pause is over, in order of number. For each, ``put_off`` or ``led`` must follow."""
        return sorted(shard for shard, due_ns in self._dues.items() if due_ns <= now_ns)

    def next_due_ns(self) -> int | None:
        return min(self._dues.values()) if self._dues else None

    def _pause_ns(self, rank: int, now_ns: int) -> int:
        """Shards that lose their primary at one moment share the jitter."""
        if now_ns != self._jitter_at_ns:
            self._jitter_at_ns = now_ns
            self._jitter_ns = self._dice.randrange(self._profile.jitter_ns)
        return rank * self._profile.rank_ns + self._jitter_ns
