"""The replica core under random faults: hundreds of short runs keep every rule, and each rule switched off is noticed.

A failing seed repeats with ``Chaos(seed, **ROUGH).run(STEPS)``.
"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from replica_chaos import Chaos
from replica_checks import Violation

from golemp2p.core.replica_rules import Rules

STEPS = 600
ROUGH = {
    "crash": 5,
    "campaign": 12,
    "restart": 10,
    "suspect": 10,
    "trust": 10,
    "cut": 3,
    "join": 3,
    "lose_disk": 3,
    "damage": 3,
}
LYING = {**ROUGH, "tamper": 3, "usurp": 3}
DISKS = {**ROUGH, "lose_disk": 30, "damage": 30}
ROTTEN = {
    "propose": 30,
    "delete": 4,
    "compact": 20,
    "rot": 20,
    "repair": 15,
    "restart": 15,
    "crash": 1,
    "suspect": 1,
    "delay": 8,
    "lag": 4,
    "release": 6,
}
LEAVING = {"change": 40, "forget": 60, "tick": 40, "propose": 6, "deliver": 160, "sync": 80}
SLOW = {"deliver": 150, "sync": 90, "propose": 40, "delay": 12, "lag": 6, "release": 10}
MIXES = {"CALM": {}, "ROUGH": ROUGH, "LYING": LYING, "DISKS": DISKS, "LEAVING": LEAVING, "SLOW": SLOW, "ROTTEN": ROTTEN}

SEEDS_MAX = 150
"""Within so many runs every mutant must have been noticed."""

NOTICED_BY = {
    "vote_once": ("two votes in a term", ROUGH),
    "vote_durable_first": ("voted before it was durable", ROUGH),
    "up_to_date_vote": ("a committed entry is lost", ROUGH),
    "stickiness": ("stickiness", ROUGH),
    "hash_chain_check": ("hash chain broken", LYING),
    "verify_signature": ("signature", LYING),
    "durable_before_ack": ("acknowledged before it was durable", ROUGH),
    "truncate_only_uncommitted": ("committed entries truncated", LYING),
    "own_term_commit": ("committed by way of an older term", ROUGH),
    "verify_election": ("not elected", LYING),
    "serve_after_election_commit": ("serves before its election is committed", ROUGH),
    "new_term_after_restart": ("two primaries in a term", ROUGH),
    "joint_consensus": ("voters changed at once", ROUGH),
    "configuration_step_check": ("voters changed at once", LYING),
    "learner_before_voter": ("a voter that had not caught up", ROUGH),
    "record_outlives_removal": ("while damaged", LEAVING),
    "store_id_identity": ("a committed entry is lost", DISKS),
    "damaged_replica_abstains": ("while damaged", DISKS),
    "confirm_regained_majority": ("serves again without a commit since", ROUGH),
    "stop_without_majority": ("serves without a majority", ROUGH),
}


@pytest.mark.parametrize("name", MIXES)
def test_no_rule_is_broken_and_the_healed_shard_agrees(name: str) -> None:
    weights = MIXES[name]
    committed = terms = 0
    for seed in range(100):
        chaos = Chaos(seed, **weights)
        try:
            chaos.run(STEPS)
        except Exception as error:
            error.add_note(f"seed {seed} with {name}")
            raise
        committed += len(chaos.world.checks.done)
        terms += max(chaos.world[node].term for node in chaos.names)
    assert committed > 1000  # the runs did something
    assert terms > 150


def test_a_seed_decides_everything() -> None:
    def trace(seed: int) -> tuple[object, ...]:
        chaos = Chaos(seed, **LYING)
        chaos.run(STEPS)
        return tuple(chaos.world.checks.done.items()), len(chaos.world.notices), chaos.world.now_ns

    assert [trace(seed) for seed in range(5)] == [trace(seed) for seed in range(5)]


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_a_rule_switched_off_is_noticed(rule: str) -> None:
    expected, weights = NOTICED_BY[rule]
    rules = replace(Rules(), **{rule: False})
    seen = []
    for seed in range(SEEDS_MAX):
        try:
            Chaos(seed, rules, **weights).run(STEPS)
        except Violation as violation:
            seen.append(str(violation))
            if expected in str(violation):
                return
    pytest.fail(f"not noticed in {SEEDS_MAX} seeds; noticed instead: {sorted(set(seen))}")
