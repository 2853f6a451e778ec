"""From a failing seed to a story that a person can read: fewer faults, fewer operations, fewer nodes, less time.

    case that fails ──> cut the time after it ──> whole kinds of faults ──> ddmin faults ──> ddmin operations ──> fewer nodes ──> ...

Delta debugging (Zeller & Hildebrandt 2002, ddmin) over the explicit tapes of a case; labelled random streams see to it that what is
left behaves as it did. A smaller case counts if the same checker complains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from golemp2p_sim.case import Case, Result
from golemp2p_sim.run import run_case
from golemp2p_sim.units import MS

T = TypeVar("T")

RUNS_MAX = 600
"""A budget of runs: smaller cases run faster, so this is a minute or so."""
NODES_MIN = 3


@dataclass(slots=True)
class Shrunk:
    """The smallest case found, with its result and log. ``runs``: how many were tried."""

    case: Case
    result: Result
    runs: int


class Shrinker:
    """``told(runs, faults, wishes)`` follows the work; ``play(case, keep_lines=...)`` runs a case."""

    def __init__(
        self,
        case: Case,
        *,
        runs_max: int = RUNS_MAX,
        told: Callable[[int, int, int], None] | None = None,
        play: Callable[..., Result] = run_case,
    ) -> None:
        self._runs, self._runs_max, self._told, self._play = 0, runs_max, told, play
        self.best = case
        self.result = play(case)
        if self.result.ok:
            raise ValueError(f"seed {case.seed} does not fail: there is nothing to shrink")
        self._checkers = {violation.checker for violation in self.result.violations}

    def shrink(self) -> Shrunk:
        self._cut_time()
        self._drop_kinds()
        size = -1
        while self._runs < self._runs_max and size != self._size():
            size = self._size()
            self._minimize_faults()
            self._minimize_wishes()
            self._fewer_nodes()
            self._all_at_once()
            self._shorter_faults()
            self._cut_time()
        return Shrunk(self.best, self._play(self.best, keep_lines=True), self._runs)

    def _size(self) -> int:
        return len(self.best.faults) + len(self.best.wishes) + self.best.options.nodes

    def _fails(self, case: Case) -> bool:
        """Tries a smaller case and keeps it if the same checker complains."""
        if self._runs >= self._runs_max:
            return False
        self._runs += 1
        result = self._play(case)
        if not any(violation.checker in self._checkers for violation in result.violations):
            return False
        self.best, self.result = case, result
        if self._told:
            self._told(self._runs, len(case.faults), len(case.wishes))
        return True

    def _cut_time(self) -> None:
        """What comes after the violation does not matter; if it came after healing, heal as soon as faults allow."""
        when = self.result.violations[0].time_ns
        best = self.best
        if when < best.duration_ns:
            end = when + MS
        else:
            last = max([0, *(fault.end_ns for fault in best.faults), *(wish.at_ns for wish in best.wishes)])
            end = min(best.duration_ns, last + MS)
        if end < best.duration_ns:
            faults = tuple(replace(f, for_ns=min(f.for_ns, end - f.at_ns)) for f in best.faults if f.at_ns < end)
            wishes = tuple(wish for wish in best.wishes if wish.at_ns < end)
            self._fails(replace(best, duration_ns=end, faults=faults, wishes=wishes))

    def _drop_kinds(self) -> None:
        for kind in dict.fromkeys(fault.kind for fault in self.best.faults):
            self._fails(replace(self.best, faults=tuple(fault for fault in self.best.faults if fault.kind != kind)))

    def _minimize_faults(self) -> None:
        minimize(self.best.faults, lambda faults: self._fails(replace(self.best, faults=tuple(faults))))

    def _minimize_wishes(self) -> None:
        minimize(self.best.wishes, lambda wishes: self._fails(replace(self.best, wishes=tuple(wishes))))

    def _fewer_nodes(self) -> None:
        for nodes in range(NODES_MIN, self.best.options.nodes):
            best = self.best
            faults = tuple(fault for fault in best.faults if max(fault.nodes, default=0) < nodes)
            options = replace(best.options, nodes=nodes)
            if self._fails(replace(best, options=options, births=best.births[:nodes], faults=faults)):
                return

    def _all_at_once(self) -> None:
        """Nodes that are all there from the beginning are simpler to read of."""
        if self.best.births:
            self._fails(replace(self.best, births=()))

    def _shorter_faults(self) -> None:
        for index, fault in enumerate(self.best.faults):
            if fault.for_ns > 10 * MS:
                faults = list(self.best.faults)
                faults[index] = replace(fault, for_ns=fault.for_ns // 2)
                self._fails(replace(self.best, faults=tuple(faults)))


def minimize(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """ddmin: a subset of ``items`` that still fails, from which no single one can be left out (if ``fails`` keeps answering)."""
    kept = list(items)
    parts = 2
    if kept and fails([]):
        return []
    while len(kept) >= 2:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(kept):
                break
            parts = min(len(kept), parts * 2)
    return kept
