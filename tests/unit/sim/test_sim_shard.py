"""The real replica core in the simulated world: it keeps what it promises under every fault, and broken ones are caught."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from golemp2p_sim.case import Case
from golemp2p_sim.faults import PRIMARY, Fault
from golemp2p_sim.profiles import PROFILES, draw_tape
from golemp2p_sim.randomness import Streams
from golemp2p_sim.run import Run, run_case
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import ScenarioError, load
from golemp2p_sim.shard_seen import Change, Kept
from golemp2p_sim.shard_subject import Shards
from golemp2p_sim.subjects import make_subject
from golemp2p_sim.units import MS, S
from golemp2p_sim.workload import WorkloadOptions, draw_wishes
from golemp2p_sim.world import WorldOptions

NODES = 7

FORGOTTEN = "record_outlives_removal"
"""Played by whole nodes: only they forget replicas."""

RULES = {
    "vote_once": ("stormy-elections", "one-vote-per-term", 10),
    "vote_durable_first": ("stormy-elections", "vote-is-durable", 3),
    "up_to_date_vote": ("stormy-elections", "vote-for-up-to-date", 5),
    "stickiness": ("moving-voters", "vote-against-primary", 8),
    "hash_chain_check": ("tampering-primary", "log-matching", 3),
    "verify_signature": ("tampering-primary", "log-matching", 3),
    "durable_before_ack": ("everything", "acknowledged-is-durable", 3),
    "truncate_only_uncommitted": ("rewritten-history", "committed-is-kept", 3),
    "own_term_commit": ("slow-followers", "commit-in-own-term", 5),
    "serve_after_election_commit": ("everything", "serves-after-own-commit", 3),
    "new_term_after_restart": ("everything", "progress", 3),
    "joint_consensus": ("moving-voters", "quorums-meet", 3),
    "learner_before_voter": ("moving-voters", "voters-have-caught-up", 3),
    "store_id_identity": ("lost-stores", "commit-by-quorum", 5),
    "damaged_replica_abstains": ("lost-stores", "vote-of-the-damaged", 8),
    "stop_without_majority": ("contested-primary", "serves-with-majority", 3),
    "confirm_regained_majority": ("contested-primary", "regained-is-confirmed", 3),
    "configuration_step_check": ("usurper", "quorums-meet", 3),
    "verify_election": ("poser", "followed-is-elected", 3),
    FORGOTTEN: ("gone-and-back", "record-outlives-removal", 3),
}
"""Rule that is off -> scenario, the judge that notices it, within so many seeds of 30 seconds."""

OUTCOMES = {
    "up_to_date_vote": {"one-entry-per-position", "answered-is-kept", "progress", "nothing-raises"},
    "durable_before_ack": {"one-entry-per-position", "answered-is-kept", "convergence"},
    "serve_after_election_commit": {"answered-is-kept"},
    "new_term_after_restart": {"progress", "one-primary-per-term", "one-entry-per-position", "answered-is-kept"},
}
"""Rule that is off -> judges of outcomes that may notice first, within ``OUTCOME_SEEDS``, without looking inside any replica."""

OUTCOME_SEEDS = 10
SHIPPED = ("moving-voters", "slow-followers", "contested-primary", "rewritten-history", "tampering-primary", "lost-stores")
"""Scenarios made for the core, which it has to survive."""


def shard_case(seed: int, *, mutation: str = "", profile: str = "all", seconds: int = 20, **parameters: Any) -> Case:
    duration_ns = seconds * S
    streams = Streams(seed)
    tape = draw_tape(PROFILES[profile], make_subject("shard", NODES, "", parameters), streams, NODES, duration_ns)
    return Case(
        seed,
        subject="shard",
        mutation=mutation,
        profile=profile,
        options=WorldOptions(nodes=NODES),
        faults=tuple(tape),
        wishes=tuple(draw_wishes(WorkloadOptions(rate_per_s=20), streams, duration_ns)),
        duration_ns=duration_ns,
        parameters=tuple(parameters.items()),
    )


def test_the_replica_core_survives_everything() -> None:
    coverage: dict[str, int] = {}
    faults = elections = 0
    for seed in range(20):
        result = run_case(shard_case(seed))
        assert result.violations == [], f"seed {seed}"
        assert result.answered == result.asked > 0
        assert result.recovered_ns >= 0
        faults += result.faults
        elections += result.elections
        for name, count in result.coverage.items():
            coverage[name] = coverage.get(name, 0) + count
    assert faults > 200
    assert elections > 20 * NODES + 20  # more than the first primary of every shard
    assert coverage["what was lost or rotten was repaired"] > 0
    assert coverage["a damaged replica started"] > 0


@pytest.mark.parametrize("seed", range(2))
def test_five_voters(seed: int) -> None:
    result = run_case(shard_case(seed, replicas=5))
    assert result.violations == []
    assert result.recovered_ns >= 0


@pytest.mark.parametrize("seed", range(2))
def test_beyond_the_promise_it_stops_and_never_diverges(seed: int) -> None:
    assert run_case(shard_case(seed, profile="beyond")).violations == []


def test_every_rule_has_its_mutant() -> None:
    assert set(RULES) == set(Shards.rule_names())


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_core_is_caught(rule: str) -> None:
    name, judge, seeds = RULES[rule]
    subject = "mesh" if rule == FORGOTTEN else "shard"
    scenario = load(name).changed(duration_ns=30 * S, subject=subject)
    for seed in range(seeds):
        if judge in {violation.checker for violation in run_case(scenario.case(seed, mutation=rule)).violations}:
            return
    pytest.fail(f"{judge} did not notice in {seeds} seeds that {rule} is off")


@pytest.mark.parametrize("rule", OUTCOMES)
def test_a_broken_core_is_caught_by_its_outcomes(rule: str) -> None:
    for seed in range(OUTCOME_SEEDS):
        violations = run_case(shard_case(seed, mutation=rule, seconds=30), rules=False).violations
        if violations:
            assert {violation.checker for violation in violations} & OUTCOMES[rule]
            return
    pytest.fail(f"no seed of {OUTCOME_SEEDS} noticed that {rule} is off")


@pytest.mark.parametrize(
    ("rule", "name", "seeds", "judges"),
    [
        ("joint_consensus", "moving-voters", 20, {"one-entry-per-position"}),
        ("vote_once", "stormy-elections", 10, {"convergence", "progress"}),
        ("truncate_only_uncommitted", "rewritten-history", 2, {"nothing-raises"}),
    ],
)
def test_what_a_broken_rule_leads_to(rule: str, name: str, seeds: int, judges: set[str]) -> None:
    scenario = load(name).changed(subject="shard")
    for seed in range(seeds):
        violations = run_case(scenario.case(seed, mutation=rule), rules=False).violations
        if violations:
            assert judges & {violation.checker for violation in violations}
            return
    pytest.fail(f"no seed of {seeds} noticed that {rule} is off")


@pytest.mark.parametrize("name", [*SHIPPED, "stormy-elections"])
def test_the_core_survives_what_catches_its_mutants(name: str) -> None:
    scenario = load(name).changed(duration_ns=30 * S, subject="shard")
    for seed in range(7):
        result = run_case(scenario.case(seed))
        assert result.violations == [], f"seed {seed}"
        assert result.recovered_ns >= 0


def test_voters_move_while_primaries_crash() -> None:
    run = Run(load("moving-voters").changed(duration_ns=30 * S).case(5))
    changes: list[Change] = []
    run.world.watch(Kept, lambda _time, _node, kept: changes.extend(kept.changes))
    assert run.play().violations == []
    moves = [change for change in changes if not change.now.is_joint and change.before.is_joint]
    assert len(moves) > 10
    assert any(not set(change.now.voters) & set(change.before.voters) for change in moves)


@pytest.mark.parametrize("name", ["frozen-primary", "split-brain", "corrupted-disk"])
def test_scenarios_play_with_the_core_as_well(name: str) -> None:
    scenario = load(name).changed(duration_ns=20 * S, subject="shard")
    result = run_case(scenario.case(1))
    assert result.violations == []
    assert result.elections > 0
    assert result.recovered_ns >= 0


def lying_case(seed: int, mutation: str = "") -> Case:
    """Nodes 0 and 3, which share no shard, tamper with what they send while they lead, and crash again and again."""
    lies = [Fault("byzantine", 2 * S, 17 * S, (node,), step="equivocate") for node in (0, 3)]
    crashes = [Fault("crash", (4 + 2 * turn) * S, 1 * S, (3 * (turn % 2),)) for turn in range(8)]
    case = shard_case(seed, mutation=mutation, profile="none")
    return replace(case, faults=tuple(sorted((*lies, *crashes), key=lambda fault: fault.at_ns)))


@pytest.mark.parametrize("seed", range(2))
def test_lies_are_not_believed(seed: int) -> None:
    result = run_case(lying_case(seed))
    assert result.violations == []
    assert result.recovered_ns >= 0
    assert result.coverage["a liar changed a message"] > 10


@pytest.mark.parametrize("rule", ["hash_chain_check", "verify_signature"])
def test_a_core_that_believes_lies_is_caught(rule: str) -> None:
    assert any(run_case(lying_case(seed, rule)).violations for seed in range(6))


def disks_case(seed: int, mutation: str = "") -> Case:
    """Stores are lost and rot, and whoever is primary dies just as the harmed node is back."""
    dice = Random(seed)
    faults: list[Fault] = []
    at_ns = 3 * S
    while at_ns < 18 * S:
        kind = dice.choice(["store-lost", "bit-rot", "crash", "partition", "freeze"])
        node = dice.randrange(NODES)
        faults.append(Fault(kind, at_ns, dice.randrange(100 * MS, 1_500 * MS), (node,)))
        if kind in ("store-lost", "bit-rot"):
            faults.append(Fault("crash", at_ns + dice.randrange(100 * MS, 600 * MS), 1_500 * MS, (PRIMARY,)))
        at_ns += dice.randrange(200 * MS, 1_500 * MS)
    case = shard_case(seed, mutation=mutation, profile="none")
    return replace(case, faults=tuple(sorted(faults, key=lambda fault: fault.at_ns)))


@pytest.mark.parametrize("seed", range(3))
def test_lost_and_rotten_stores_are_replaced_and_repaired(seed: int) -> None:
    result = run_case(disks_case(seed))
    assert result.violations == []
    assert result.coverage["what was lost or rotten was repaired"] > 0


def test_writes_reach_the_disk_in_the_order_in_which_they_were_given() -> None:
    """A commit that lets a primary write its next configuration also lets calls between workers end, which are written as well."""
    scenario = load("lost-stores").changed(duration_ns=40 * S)
    assert [run_case(scenario.case(seed)).violations for seed in (10, 25)] == [[], []]


def test_a_new_store_that_passes_for_the_old_one_is_caught() -> None:
    assert any(run_case(disks_case(seed, "store_id_identity")).violations for seed in range(20))


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ScenarioError, match="paxos"):
        load("calm").changed(subject="paxos")


def test_a_seed_decides_everything() -> None:
    case = shard_case(3, seconds=10)
    here = run_case(case)
    assert run_case(case, keep_lines=True).trace_hash == here.trace_hash
    assert hash_elsewhere(case, 4711) == here.trace_hash
