"""Which scenarios make sense with whole nodes, and which of their faults. What was written down and cannot be played is refused with
a reason; what a profile draws and cannot be played is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from golemp2p_sim.case import Case
from golemp2p_sim.faults import KINDS, Fault
from golemp2p_sim.host import WORLD_STEPS
from golemp2p_sim.mesh import Mesh
from golemp2p_sim.scenario import Scenario, ScenarioError
from golemp2p_sim.subjects import make_subject

NODES_MAX: Final = 50
"""More take a minute of CPU for each virtual second."""

REFUSED: Final = {
    "duplicate": "nodes talk over TCP, which hides packets that come twice",
    "bit-rot": "its disks do not rot: what was synced is read back",
    "sync-dropped": "its disks keep what they called durable",
    "byzantine": "its nodes are the real ones, and their connections are sealed: nobody can put other words into their mouths",
}
"""Kinds of faults that level 1 cannot play, and why."""

SURVIVES: Final = frozenset(KINDS) - frozenset(REFUSED)


def check(scenario: Scenario) -> None:
    """``ScenarioError`` says what cannot be played at level 1, and why."""
    if scenario.subject != "mesh":
        raise ScenarioError(
            f"{scenario.name}: level 1 plays whole nodes, and this scenario is about {scenario.subject}; --protocol mesh may do"
        )
    if scenario.world.nodes > NODES_MAX:
        raise ScenarioError(
            f"{scenario.name}: level 1 plays at most {NODES_MAX} nodes, not {scenario.world.nodes}; fewer with --nodes"
        )
    for planned in scenario.faults:
        fault = planned.fault
        if fault.kind in REFUSED:
            raise ScenarioError(f"{scenario.name}: level 1 cannot play {fault.kind}: {REFUSED[fault.kind]}")
        if not _has_step(fault):
            raise ScenarioError(
                f"{scenario.name}: level 1 cannot aim at {fault.step!r}, which is a step inside of a core; "
                f"it knows {', '.join(WORLD_STEPS)}"
            )


def check_case(case: Case) -> None:
    """The same of a case from a file."""
    if case.subject != "mesh" or case.options.nodes > NODES_MAX:
        raise ScenarioError(
            f"level 1 plays whole nodes, {NODES_MAX} at most; this case has {case.options.nodes} of {case.subject}"
        )
    for fault in case.faults:
        if fault.kind in REFUSED or not _has_step(fault):
            raise ScenarioError(f"level 1 cannot play {fault}: {REFUSED.get(fault.kind, 'the step is inside of a core')}")


def case_of(scenario: Scenario, seed: int, mutation: str = "") -> Case:
    """Everything that ``seed`` decides, as at level 0 but for faults that cannot be played. ``ScenarioError`` as ``check``."""
    check(scenario)
    case = scenario.case(seed, mutation=mutation)
    return replace(case, faults=tuple(fault for fault in case.faults if fault.kind in SURVIVES and _has_step(fault)))


def subject_of(case: Case) -> Mesh:
    """Profile and number of shards are as level 0 has them."""
    subject = make_subject(case.subject, case.options.nodes, case.mutation, dict(case.parameters))
    assert isinstance(subject, Mesh), "checked before"
    return subject


def _has_step(fault: Fault) -> bool:
    return fault.kind != "aimed-crash" or fault.step in WORLD_STEPS


class WholeNodes:
    """What level 1 promises to survive, for the atlas."""

    name = "level 1"
    survives = SURVIVES

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The world knows."""
        return ()
