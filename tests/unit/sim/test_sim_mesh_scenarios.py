"""Scenarios of whole meshes: what each is for happens in it, and every promise is kept."""

from __future__ import annotations

from golemp2p_sim.byzantine import BEHAVIOURS, LIES
from golemp2p_sim.case import Result
from golemp2p_sim.run import run_case
from golemp2p_sim.scenario import load


def played(name: str, *, nodes: int | None = None, seed: int = 1) -> Result:
    result = run_case(load(name).changed(nodes=nodes).case(seed))
    assert result.violations == []
    assert result.answered == result.asked > 0
    assert result.recovered_ns >= 0
    return result


def test_the_founder_dies_and_everything_goes_on() -> None:
    result = played("founder-dies")
    assert result.present == [1, 2]
    assert result.measured.failovers_ns
    assert result.measured.all_verdicts_ns
    assert result.held_by_node[0] == 0 < min(result.held_by_node[1:])


def test_many_join_at_once() -> None:
    result = played("join-storm", nodes=18)
    assert len(result.present) == 18
    assert all(result.held_by_node)


def test_a_mesh_grows_under_load() -> None:
    result = played("one-to-a-hundred", nodes=16)
    assert result.present == list(range(16))
    assert all(result.held_by_node)


def test_nodes_leave_and_hand_over_what_they_led() -> None:
    result = played("leave-one-by-one")
    assert len(result.present) == 3
    assert result.coverage["a node left"] == 4
    assert [span.kind for span in result.spans] == ["leave"] * 4
    assert all(span.end_ns > span.start_ns for span in result.spans)
    assert len(result.measured.handovers_ns) > 4


def test_a_lying_voter_is_survived() -> None:
    told: set[str] = set()
    for seed in range(2):
        result = played("byzantine-voter", seed=seed)
        assert result.refused == 0
        assert [span.kind for span in result.spans].count("byzantine") == len(BEHAVIOURS)
        told |= set(result.coverage)
    assert {f"lied: {lie}" for lie in LIES} <= told
