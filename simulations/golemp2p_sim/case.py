"""One run, made explicit: everything a seed decides, as a value that can be edited, written down and run again.

    scenario + seed ──draw──> Case {nodes, faults, wishes} ──run──> Result {violations, trace hash, figures}

Two phases: safety under faults until ``duration``, then everything heals and progress is demanded within ``deadline``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from golemp2p_sim.disk import DiskOptions
from golemp2p_sim.faults import Fault
from golemp2p_sim.measured import Measured
from golemp2p_sim.network import Latency, NetworkOptions
from golemp2p_sim.units import S
from golemp2p_sim.workload import Wish
from golemp2p_sim.world import Violation, WorldOptions

FORMAT = "golemp2p-sim-case/1"


@dataclass(frozen=True, slots=True)
class Case:
    """``subject``: name in ``subjects``, with ``mutation`` the rule that is switched off (``""``: none). ``births[i]``: when node i
    starts, 0 at the beginning; without any, all do. Who is not born by ``duration_ns`` is born at healing."""

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
    births: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.births and len(self.births) != self.options.nodes:
            raise ValueError(f"{len(self.births)} births for {self.options.nodes} nodes")


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
    held_by_node: list[int] = field(default_factory=list)
    led_by_node: list[int] = field(default_factory=list)
    """Shards that each node holds and leads at the end."""
    present: list[int] = field(default_factory=list)
    """Nodes that had started and were not gone for good at the end."""
    committed: int = 0
    """Entries: different positions of different shards."""
    measured: Measured = field(default_factory=Measured)
    lines: list[str] | None = None

    @property
    def ok(self) -> bool:
        return not self.violations


def case_to_json(case: Case) -> dict[str, Any]:
    """A case as a document that ``case_from_json`` reads back: what a shrinker leaves behind."""
    network, disk = case.options.network, case.options.disk
    return {
        "format": FORMAT,
        "seed": case.seed,
        "subject": case.subject,
        "mutation": case.mutation,
        "profile": case.profile,
        "duration_ns": case.duration_ns,
        "deadline_ns": case.deadline_ns,
        "parameters": dict(case.parameters),
        "nodes": case.options.nodes,
        "births": list(case.births),
        "network": asdict(network),
        "disk": asdict(disk),
        "faults": [fault.to_json() for fault in case.faults],
        "wishes": [wish.to_json() for wish in case.wishes],
    }


def case_from_json(data: Any) -> Case:
    """``ValueError`` if ``data`` is not a case of this format."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"not a simulation case (expected format {FORMAT!r})")
    try:
        network = dict(data["network"])
        network["latency"] = Latency(**network["latency"])
        return Case(
            seed=data["seed"],
            subject=data["subject"],
            mutation=data["mutation"],
            options=WorldOptions(data["nodes"], NetworkOptions(**network), DiskOptions(**data["disk"])),
            profile=data["profile"],
            faults=tuple(Fault.from_json(fault) for fault in data["faults"]),
            wishes=tuple(Wish.from_json(wish) for wish in data["wishes"]),
            duration_ns=data["duration_ns"],
            deadline_ns=data["deadline_ns"],
            parameters=tuple(data["parameters"].items()),
            births=tuple(data.get("births", ())),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"a damaged simulation case: {type(error).__name__} {error}") from error
