"""Where faults are, so that they stay within what the protocol promises to survive: a minority of every group.

    harmed   nodes whose durable data was lost, damaged or lied about; until the protocol says it is repaired. Nodes gone for good
             are harmed for ever: they count until no group contains them
    away     nodes that are down, frozen or cut off just now

Harm is counted over the whole run, in the groups as they are when a fault is to begin; being away matters only when a profile asks
for availability. Beyond the promise (``Limit.NONE``) nothing is refused: then the demand is "stops, never diverges".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from golemp2p_sim.faults import KINDS, Fault


class Limit(Enum):
    """How many nodes of a group a kind of trouble may hit at once."""

    MINORITY = "minority"
    NONE = "none"


class Promises(Protocol):
    """What ``node.Subject`` says of these."""

    @property
    def name(self) -> str: ...
    @property
    def survives(self) -> frozenset[str]: ...
    def groups(self) -> Sequence[tuple[int, ...]]: ...


class Atlas:
    """``harm`` and ``away``: the limits. Faults that the subject does not promise to survive are refused in any case.
    ``groups``: how the groups stand now; ``None`` for those of the subject."""

    __slots__ = ("_away", "_away_limit", "_groups", "_harm_limit", "_harmed", "_subject", "harmed_ever")

    def __init__(
        self, subject: Promises, *, harm: Limit, away: Limit, groups: Callable[[], Sequence[tuple[int, ...]]] | None = None
    ) -> None:
        self._subject, self._groups = subject, groups or subject.groups
        self._harm_limit, self._away_limit = harm, away
        self._harmed: dict[int, None] = {}
        self._away: dict[int, int] = {}
        self.harmed_ever: dict[int, None] = {}

    def refuses(self, fault: Fault) -> str:
        """Why ``fault`` must not happen now; ``""`` if it may."""
        kind = KINDS[fault.kind]
        if fault.kind not in self._subject.survives:
            return f"{self._subject.name} does not promise to survive {fault.kind}"
        if kind.durable and self._harm_limit is Limit.MINORITY:
            hurt = self._too_many({*self._harmed, *fault.nodes}, fault.nodes)
            if hurt is not None:
                return f"group {hurt} would have lost the data of a majority"
        if kind.down and self._away_limit is Limit.MINORITY:
            away = {node for node, count in self._away.items() if count}
            hurt = self._too_many({*away, *self._harmed, *fault.nodes}, fault.nodes)
            if hurt is not None:
                return f"group {hurt} would have no majority"
        return ""

    def _too_many(self, bad: set[int], new: Sequence[int]) -> int | None:
        for shard, group in enumerate(self._groups()):
            if any(node in group for node in new) and sum(node in bad for node in group) > (len(group) - 1) // 2:
                return shard
        return None

    def begin(self, fault: Fault) -> None:
        kind = KINDS[fault.kind]
        for node in fault.nodes:
            if kind.durable:
                self._harmed[node] = None
                self.harmed_ever[node] = None
            if kind.down:
                self._away[node] = self._away.get(node, 0) + 1

    def gone(self, node: int) -> None:
        """``node`` will never come back."""
        self._harmed[node] = None
        self._away[node] = self._away.get(node, 0) + 1

    def end(self, fault: Fault) -> None:
        """The fault is over. Harm stays until ``repaired``."""
        if KINDS[fault.kind].down:
            for node in fault.nodes:
                self._away[node] -= 1

    def repaired(self, node: int) -> None:
        """The protocol vouches for the node's data again."""
        self._harmed.pop(node, None)
