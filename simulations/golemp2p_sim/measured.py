"""What runs measured of the protocol beside its promises, and how many numbers become few. Filled by ``stopwatch``.

Times are virtual nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Measured:
    """One run's, or of many added up. Each list has a value per event.

    ``failovers_ns``     from a serving primary's crash, freeze or cut to the first commit of another primary
    ``handovers_ns``     from the beginning of a planned hand-over to the first commit of the other primary
    ``first_verdicts_ns``, ``all_verdicts_ns``    from a crash to the first member that holds the node dead, and to all of them
    ``verdicts``, ``false_verdicts``              "dead" said of anybody; said of nodes that ran, and could be reached all along
    ``lookups``          (hops, questions, dead nodes in the result) of each
    """

    failovers_ns: list[int] = field(default_factory=list)
    handovers_ns: list[int] = field(default_factory=list)
    first_verdicts_ns: list[int] = field(default_factory=list)
    all_verdicts_ns: list[int] = field(default_factory=list)
    verdicts: int = 0
    false_verdicts: int = 0
    lookups: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, other: Measured) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def to_json(self) -> dict[str, Any]:
        return {
            "failover_ms": percentiles_ms(self.failovers_ns),
            "handover_ms": percentiles_ms(self.handovers_ns),
            "first_verdict_ms": percentiles_ms(self.first_verdicts_ns),
            "all_verdicts_ms": percentiles_ms(self.all_verdicts_ns),
            "verdicts": self.verdicts,
            "false_verdicts": self.false_verdicts,
            "lookup_hops": percentiles([hops for hops, _, _ in self.lookups]),
            "lookup_rpcs": percentiles([rpcs for _, rpcs, _ in self.lookups]),
            "lookup_dead": sum(dead for _, _, dead in self.lookups),
        }


def percentiles(values: Sequence[float], scale: float = 1) -> dict[str, float]:
    """Median, 99th percentile and largest by nearest rank, divided by ``scale``, and how many there were; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    count = len(ordered)
    ranks = {"p50": -(-count * 50 // 100), "p99": -(-count * 99 // 100), "max": count}
    return {name: round(ordered[rank - 1] / scale, 3) for name, rank in ranks.items()} | {"count": count}


def percentiles_ms(values_ns: Sequence[int]) -> dict[str, float]:
    return percentiles(values_ns, 1e6)


def spread(values: Sequence[float]) -> float | None:
    """Largest by mean: 1 is perfectly even; ``None`` if there is nothing to spread."""
    total = sum(values)
    return round(max(values) * len(values) / total, 3) if total else None
