"""Who should vote for a shard: what its primary asks the core to change, through learners and joint consensus (S8, S9).

    settled ──a store was lost, or it is time to move──> wanted ──learners added──> learning ──change of voters──> joint ──> settled

Moves are drawn again and again. Half of them take as few of the present voters as there can be, so that the sets before and after
share none or one. A move that is not done by the time of the next one is given up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from golemp2p.model.replication import Configuration, Member
from golemp2p_sim.shard_copy import ShardCopy

SIZES = (1, 3, 3, 3, 5)

Wish = tuple[Sequence[Member], Sequence[Member]]
"""(voters, learners) to change to."""


def _step(configuration: Configuration, wanted: Sequence[Member]) -> Wish | None:
    """The next step towards ``wanted`` voters, ``None`` if they are there."""
    fresh = [member for member in wanted if member not in configuration.voters]
    if configuration.is_joint or sorted(wanted) == sorted(configuration.voters):
        return None
    if all(member in configuration.learners for member in fresh):
        return wanted, ()
    return configuration.voters, fresh


def replace_lost(copy: ShardCopy, present: Mapping[bytes, Member]) -> Wish | None:
    """A voter whose node has another store now is gone: its new store learns, and takes the vote over."""
    configuration = copy.replica.configuration
    return _step(configuration, [present.get(voter.public_key, voter) for voter in configuration.voters])


class Shuffle:
    """One per process; each shard that it leads moves every ``every_ns``."""

    __slots__ = ("_dice", "_due", "_every_ns", "_wanted")

    def __init__(self, every_ns: int, dice: Random) -> None:
        self._every_ns, self._dice = every_ns, dice
        self._due: dict[int, int] = {}
        self._wanted: dict[int, tuple[Member, ...]] = {}

    def wish(self, copy: ShardCopy, present: Mapping[bytes, Member], now_ns: int) -> Wish | None:
        """``present``: every node heard of, dead or alive."""
        shard, configuration = copy.shard, copy.replica.configuration
        if now_ns >= self._due.setdefault(shard, now_ns + self._every_ns):
            self._due[shard] = now_ns + self._every_ns
            self._wanted[shard] = self._draw(configuration.voters, list(present.values()))
        return _step(configuration, self._wanted.get(shard, configuration.voters))

    def _draw(self, voters: Sequence[Member], present: list[Member]) -> tuple[Member, ...]:
        size = min(self._dice.choice(SIZES), len(present) - 1 + len(present) % 2)
        self._dice.shuffle(present)
        if self._dice.random() < 0.5:
            present.sort(key=lambda member: member in voters)
        return tuple(present[:size])
