"""The fixed budget of every test run: so many seeds under all faults. ``make simulate`` plays as many as one has patience for."""

from __future__ import annotations

import pytest

from golemp2p_sim.run import run_case
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import load

SEEDS = {"toy": 20, "shard": 60, "mesh": 60}
"""Of 60 virtual seconds each: some 70 s of CPU together. The only place where the budget stands."""
PORTION = 20
"""Seeds per test; the first of each is played again in another process."""

PORTIONS = [(subject, first) for subject, count in SEEDS.items() for first in range(0, count, PORTION)]


@pytest.mark.parametrize(("subject", "first"), PORTIONS)
def test_everything_is_survived(subject: str, first: int) -> None:
    plan = load("everything").changed(subject=subject)
    for seed in range(first, min(first + PORTION, SEEDS[subject])):
        case = plan.case(seed)
        result = run_case(case)
        assert result.violations == [], f"golemp2p sim replay everything --protocol {subject} --seed {seed}"
        assert result.answered == result.asked > 0
        if seed == first:
            assert hash_elsewhere(case, seed + 1) == result.trace_hash, f"seed {seed} is not deterministic"
