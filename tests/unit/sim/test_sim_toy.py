"""The world finds bugs: the right toy passes, every broken one is caught, and a seed decides everything."""

from __future__ import annotations

import pytest
from sim_helpers import toy_case

from golemp2p_sim.run import run_case
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import load
from golemp2p_sim.toy_replica import ToyRules
from golemp2p_sim.units import S

SEEDS = range(4)

CAUGHT_BY = {
    "one_vote_per_term": {"one-vote-per-term"},
    "vote_durable_before_sent": {"vote-is-durable"},
    "vote_for_up_to_date_only": {"one-entry-per-position", "answered-is-kept"},
    "append_must_fit": {"one-entry-per-position", "answered-is-kept", "convergence", "exactly-once", "nothing-raises"},
    "ack_after_durable": {"one-entry-per-position", "answered-is-kept", "progress", "convergence"},
    "commit_by_majority": {"one-entry-per-position", "answered-is-kept", "answered-is-committed"},
    "answer_after_commit": {"answered-is-committed"},
    "read_through_log": {"exactly-once", "linearizability"},
    "serve_after_own_entry": {"answered-is-kept"},
    "key_takes_effect_once": {"exactly-once"},
    "resend_what_is_missing": {"progress", "convergence"},
    "calls_survive_takeover": {"progress"},
}
"""Rule that is off -> judges that watch it, one of which must notice."""

ELSEWHERE = {"bounded_proposals"}
"""Caught in a scenario of its own, below."""


def test_every_rule_has_its_mutant() -> None:
    assert set(ToyRules.names()) == set(CAUGHT_BY) | ELSEWHERE


@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_toy_survives_everything(seed: int) -> None:
    result = run_case(toy_case(seed, seconds=30))
    assert result.violations == []
    assert result.answered == result.asked > 0
    assert result.faults > 0
    assert result.recovered_ns >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_beyond_the_promise_it_stops_and_never_diverges(seed: int) -> None:
    result = run_case(toy_case(seed, profile="beyond"))
    assert result.violations == []


@pytest.mark.parametrize("rule", CAUGHT_BY)
def test_a_broken_toy_is_caught(rule: str) -> None:
    for seed in range(30):
        violations = run_case(toy_case(seed, mutation=rule, seconds=30)).violations
        if {violation.checker for violation in violations} & CAUGHT_BY[rule]:
            return
    pytest.fail(f"no judge of this rule noticed in 30 seeds that {rule} is off")


def test_two_votes_in_a_term_lead_to_two_primaries_in_a_storm() -> None:
    storm = load("stormy-elections").changed(duration_ns=30 * S, subject="toy")
    assert run_case(storm.case(8)).violations == []
    broken = run_case(storm.case(8, mutation="one_vote_per_term"), rules=False)
    assert {violation.checker for violation in broken.violations} >= {"one-primary-per-term"}


def test_a_queue_without_bound_is_caught_at_a_hot_shard() -> None:
    hot = load("hot-shard").changed(duration_ns=10 * S, subject="toy")
    found = [run_case(hot.case(seed, mutation="bounded_proposals")).violations for seed in (0, 1)]
    assert {violation.checker for violations in found for violation in violations} == {"bounded-queues"}


def test_a_seed_decides_everything() -> None:
    case = toy_case(5)
    here = run_case(case)
    assert run_case(case, keep_lines=True).trace_hash == here.trace_hash
    assert hash_elsewhere(case, 1) == hash_elsewhere(case, 4711) == here.trace_hash
    assert run_case(toy_case(6)).trace_hash != here.trace_hash
