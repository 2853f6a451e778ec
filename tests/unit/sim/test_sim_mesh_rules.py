"""Rules of the replica core, switched off in whole nodes: the judges of S0-S10 notice, though groups move, forget and take in again."""

from __future__ import annotations

from typing import Any

import pytest

from golemp2p.core.effects import Persist
from golemp2p.core.replica_effects import Installed
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import BLANK_BASE
from golemp2p_sim.mesh import Mesh
from golemp2p_sim.run import Run, run_case
from golemp2p_sim.scenario import load
from golemp2p_sim.shard_seen import Born, Forgot, Kept, Settled
from golemp2p_sim.units import S

RULES = {
    "vote_once": ("stormy-elections", "one-vote-per-term", 6),
    "vote_durable_first": ("stormy-elections", "vote-is-durable", 3),
    "up_to_date_vote": ("stormy-elections", "vote-for-up-to-date", 3),
    "stickiness": ("contested-primary", "vote-against-primary", 6),
    "hash_chain_check": ("tampering-primary", "log-matching", 3),
    "verify_signature": ("tampering-primary", "log-matching", 3),
    "durable_before_ack": ("everything", "acknowledged-is-durable", 3),
    "truncate_only_uncommitted": ("rewritten-history", "committed-is-kept", 3),
    "own_term_commit": ("half-sent", "commit-in-own-term", 3),
    "verify_election": ("poser", "followed-is-elected", 3),
    "serve_after_election_commit": ("everything", "serves-after-own-commit", 3),
    "new_term_after_restart": ("everything", "one-life-per-term", 12),
    "joint_consensus": ("gone-and-back", "quorums-meet", 3),
    "configuration_step_check": ("usurper", "quorums-meet", 3),
    "record_outlives_removal": ("gone-and-back", "record-outlives-removal", 3),
    "store_id_identity": ("lost-stores", "commit-by-quorum", 3),
    "damaged_replica_abstains": ("lost-stores", "vote-of-the-damaged", 3),
    "stop_without_majority": ("contested-primary", "serves-with-majority", 3),
    "confirm_regained_majority": ("contested-primary", "regained-is-confirmed", 3),
}
"""Rule that is off -> scenario, the judge that notices it, within so many seeds of 30 seconds."""

GUARDED_TWICE = {"learner_before_voter"}
"""The planner proposes no voter that has not caught up: what a core does that is asked to take one, test_sim_shard.py tests."""


def test_every_rule_has_its_mutant() -> None:
    assert set(RULES) | GUARDED_TWICE == set(Mesh.rule_names())


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_core_is_caught(rule: str) -> None:
    name, judge, seeds = RULES[rule]
    plan = load(name).changed(duration_ns=30 * S, subject="mesh")
    for seed in range(seeds):
        if judge in {violation.checker for violation in run_case(plan.case(seed, mutation=rule)).violations}:
            return
    pytest.fail(f"{judge} did not notice in {seeds} seeds that {rule} is off")


@pytest.mark.parametrize("name", ["usurper", "poser", "half-sent", "lost-stores", "rewritten-history", "tampering-primary"])
def test_whole_nodes_survive_what_catches_their_mutants(name: str) -> None:
    plan = load(name).changed(duration_ns=30 * S, subject="mesh")
    for seed in range(2):
        result = run_case(plan.case(seed))
        assert result.violations == [], f"seed {seed}"
        assert result.recovered_ns >= 0


def test_only_the_newest_base_is_waited_for() -> None:
    """A replica starts over; so does another one after it, when it is forgotten and taken in again, while its write is under way."""
    world = Run(load("calm").changed(nodes=1, subject="mesh").case(1)).world
    world.start_all()
    node: Any = world.hosts[0].node
    node._peer.persisted = lambda _token, _now_ns: []
    write = ReplicaWrite(0, ReplicaRecord(1, None, 0, (0, 0)), base=BLANK_BASE, is_install=True)
    copy = node._copy(0)
    for token in (1_001, 1_002):
        node._carry_out([Persist(write, token), Installed(0, 0)], 0)
    node._tokens |= {2_001: (1_001,), 2_002: (1_002,)}
    node.on_persisted(2_001, 0)
    assert copy.stale
    node.on_persisted(2_002, 0)
    assert not copy.stale


def test_the_judges_hear_of_groups_that_move_forget_and_take_in_again() -> None:
    run = Run(load("gone-and-back").case(1))
    changes: list[str] = []
    forgot: dict[object, None] = {}
    back = installed = settled = 0

    def on_kept(_time_ns: int, _node: int, kept: Kept) -> None:
        changes.extend("joint" if change.now.is_joint else "simple" for change in kept.changes)

    def on_born(_time_ns: int, _node: int, born: Born) -> None:
        nonlocal back, installed
        back += (born.shard, born.member) in forgot
        installed += born.record is None and born.base.position > 0

    def on_settled(_time_ns: int, _node: int, _settled: Settled) -> None:
        nonlocal settled
        settled += 1

    run.world.watch(Kept, on_kept)
    run.world.watch(Born, on_born)
    run.world.watch(Settled, on_settled)
    run.world.watch(Forgot, lambda _time, _node, seen: forgot.setdefault((seen.shard, seen.member)))
    assert run.play().violations == []
    assert changes.count("joint") > 20
    assert back > 3
    assert installed > 10
    assert settled > 1_000
