"""One run, made explicit: everything a seed decides, as a value that can be edited, written down and run again.

    scenario + seed ──draw──> Case {nodes, faults, wishes} ──run──> Result {violations, trace hash, figures}

Two phases: safety under faults until ``duration``, then everything heals and progress is demanded within ``deadline``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from golemp2p_sim.faults import Fault
from golemp2p_sim.units import S
from golemp2p_sim.workload import Wish
from golemp2p_sim.world import Violation, WorldOptions


@dataclass(frozen=True, slots=True)
class Case:
    """``subject``: name in ``subjects``, with ``mutation`` the rule that is switched off (``""``: none)."""

    seed: int
    subject: str = "toy"
    mutation: str = ""
    options: WorldOptions = field(default_factory=WorldOptions)
    profile: str = "all"
    faults: tuple[Fault, ...] = ()
    wishes: tuple[Wish, ...] = ()
    duration_ns: int = 60 * S
    deadline_ns: int = 30 * S
    parameters: tuple[tuple[str, Any], ...] = ()
    """Of the subject: replicas, shards."""


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault as it was, for plots."""

    kind: str
    nodes: tuple[int, ...]
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Result:
    """What a run found. ``finished``: (when, latency) of every answered operation."""

    seed: int
    violations: list[Violation]
    trace_hash: str
    virtual_ns: int
    events: int
    faults: int
    refused: int
    asked: int
    answered: int
    timeouts: int
    elections: int
    messages: int
    bytes: int
    dropped: int
    inconclusive: int
    healed_ns: int
    recovered_ns: int
    """From healing to everything answered and equal; -1 if it never was."""
    coverage: dict[str, int]
    longest_queues: dict[str, int]
    finished: list[tuple[int, int]] = field(default_factory=list)
    spans: list[FaultSpan] = field(default_factory=list)
    delivered_by_node: list[int] = field(default_factory=list)
    lines: list[str] | None = None

    @property
    def ok(self) -> bool:
        return not self.violations
