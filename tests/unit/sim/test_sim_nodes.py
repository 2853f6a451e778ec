"""Level 1: whole nodes under a virtual clock. The budget of every test run is here: some twenty seconds of CPU."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from golemp2p.drivers.shards import Shards
from golemp2p_node.cli.app import run as command_line
from golemp2p_nodes.fitting import NODES_MAX, REFUSED, case_of
from golemp2p_nodes.judges import DONE, disordered, lost_or_twice
from golemp2p_nodes.loop import PROCESS, Freezer, deterministic
from golemp2p_nodes.run import run_case
from golemp2p_sim.case import Case
from golemp2p_sim.faults import Fault
from golemp2p_sim.history import History
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import PlannedFault, ScenarioError, load, parse
from golemp2p_sim.units import S

BUDGET = [
    ("everything", 3, 12, 2),
    ("everything", 5, 12, 31),
    ("frozen-primary", 3, 8, 1),
    ("split-brain", 5, 12, 1),
    ("leave-one-by-one", 4, 16, 1),
]
"""Scenario, nodes, virtual seconds under faults, seed."""


def case(name: str, nodes: int, seconds: int, seed: int, mutation: str = "") -> Case:
    return case_of(load(name).changed(nodes=nodes, duration_ns=seconds * S), seed, mutation)


@pytest.mark.parametrize(("name", "nodes", "seconds", "seed"), BUDGET)
def test_whole_nodes_survive(name: str, nodes: int, seconds: int, seed: int) -> None:
    result = run_case(case(name, nodes, seconds, seed))
    command = f"golemp2p sim replay {name} --level 1 --nodes {nodes} --duration {seconds}s --seed {seed}"
    assert result.violations == [], command
    assert result.answered == result.asked > 0
    assert result.faults > 0
    assert result.recovered_ns > 0


def test_a_seed_is_the_same_in_every_process() -> None:
    played = case("everything", 3, 5, 13)
    here = run_case(played)
    again = run_case(played, keep_lines=True)
    assert here.trace_hash == again.trace_hash
    assert here.faults > 0
    for hash_seed in (1, 4711):
        assert hash_elsewhere(played, hash_seed, module="golemp2p_nodes") == here.trace_hash
    assert run_case(replace(played, seed=14)).trace_hash != here.trace_hash


# -- the loop -----------------------------------------------------------------------------------------------------------------


def order_of(seed: int) -> list[int]:
    order: list[int] = []

    async def one(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(one, number)

    with deterministic(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    return order


def test_the_seed_decides_the_order_of_tasks() -> None:
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)


def test_threads_run_inline() -> None:
    async def main() -> tuple[int, bool]:
        import threading

        return trio.current_time(), await trio.to_thread.run_sync(threading.get_ident) == threading.get_ident()

    with deterministic(1):
        assert trio.run(main, clock=MockClock(autojump_threshold=0)) == (0, True)


def test_a_frozen_process_does_nothing_until_it_thaws() -> None:
    ticks: list[tuple[str, float]] = []

    async def tick(name: str) -> None:
        PROCESS.set(name)
        async with trio.open_nursery() as nursery:  # what a process starts is part of it
            nursery.start_soon(ticking, name)

    async def ticking(name: str) -> None:
        while True:
            await trio.sleep(1)
            ticks.append((name, trio.current_time()))

    async def main() -> None:
        freezer = Freezer.install()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, "a")
            nursery.start_soon(tick, "b")
            await trio.sleep(1.5)
            freezer.freeze("a")
            await trio.sleep(3)
            freezer.thaw("a")
            freezer.thaw("nobody")
            await trio.sleep(1.2)
            nursery.cancel_scope.cancel()

    with deterministic(1):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [time for name, time in ticks if name == "a"] == [1.0, 4.5, 5.5]
    assert [time for name, time in ticks if name == "b"] == [1.0, 2.0, 3.0, 4.0, 5.0]


# -- judges -------------------------------------------------------------------------------------------------------------------


def told(*operations: tuple[str, tuple[object, ...], object]) -> History:
    """Operations of one counter, one after another; ``None``: not answered."""
    history = History()
    for number, (key, operation, result) in enumerate(operations):
        history.invoke(key, "counter-0", operation, 10 * number)
        if result is not None:
            history.complete(key, result, 10 * number + 5)
    return history


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ("k1 k2", ""),
        ("k1 k2 k3", ""),
        ("k1", "answered k2 and does not know of it"),
        ("k1 k2 k1", "did k1 more than once"),
        ("k1 k2 k9", "k9, which nobody asked for"),
    ],
)
def test_what_workers_did_is_compared_with_what_was_answered(done: str, said: str) -> None:
    history = told(("k1", ("add", 1), 1), ("k2", ("add", 1), 2), ("k3", ("add", 1), None), ("done0", (DONE,), done))
    assert said in lost_or_twice(history)
    assert bool(said) == bool(lost_or_twice(history))


def test_answers_without_an_order_are_noticed() -> None:
    assert disordered(told(("k1", ("add", 1), 1), ("k2", ("get",), 1))) == ("", 0)
    assert "counter-0" in disordered(told(("k1", ("add", 1), 1), ("k2", ("get",), 0)))[0]


def test_a_node_that_reads_less_than_a_majority_has_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that level 1 has found: workers were revived from what the node's own disk had, which was slower than the others'."""

    async def at_once(shards: Shards, shard: int) -> None:
        shards.check(shard)

    monkeypatch.setattr(Shards, "level", at_once)
    result = run_case(case("everything", 5, 12, 31))
    assert result.violations


# -- what fits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REFUSED)
def test_faults_that_make_no_sense_are_refused_with_a_reason(kind: str) -> None:
    step = "flood" if kind == "byzantine" else ""
    plan = load("calm")
    planned = PlannedFault(Fault(kind, 1 * S, step=step), "random", 0)
    with pytest.raises(ScenarioError, match=f"level 1 cannot play {kind}: "):
        case_of(replace(plan, faults=(planned,)), 1)


def test_scenarios_of_other_protocols_and_sizes_are_refused() -> None:
    with pytest.raises(ScenarioError, match="level 1 plays whole nodes"):
        case_of(load("everything").changed(subject="toy"), 1)
    with pytest.raises(ScenarioError, match=f"at most {NODES_MAX} nodes"):
        case_of(load("everything").changed(nodes=NODES_MAX + 1), 1)
    plan = parse('[[fault]]\nkind = "aimed-crash"\nat = "1s"\namount = 1\nstep = "mid-change"', "mine")
    with pytest.raises(ScenarioError, match="a step inside of a core"):
        case_of(plan, 1)


def test_what_a_profile_draws_and_cannot_be_played_is_left_out() -> None:
    kinds = {fault.kind for seed in range(30) for fault in case("everything", 7, 60, seed).faults}
    assert not kinds & set(REFUSED)
    assert {"crash", "freeze", "partition", "one-way", "loss", "disk-full", "store-lost", "leave"} <= kinds


# -- commands -----------------------------------------------------------------------------------------------------------------


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = command_line(["sim", *words]) if words[0] != "--format" else command_line([*words[:2], "sim", *words[2:]])
    out, err = capsys.readouterr()
    return code, out, err


def test_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("rolling-restart", "--level", "1", "--nodes", "3", "--duration", "5s")
    code, out, _ = ran(capsys, "--format", "json", "run", *words)
    assert code == 0
    assert json.loads(out)["faults"] > 0
    log = tmp_path / "log.txt"
    code, out, _ = ran(capsys, "replay", *words, "--log", str(log))
    assert code == 0
    assert "no violation" in out
    assert re.search(r"notice +n\d .*member_changed", log.read_text(encoding="utf-8"))
    code, _, err = ran(capsys, "run", "byzantine-voter", "--level", "1")
    assert code == 2
    assert "level 1 cannot play byzantine" in err


def test_a_failing_run_prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    impatient = tmp_path / "impatient.toml"
    crash = '[[fault]]\nkind = "crash"\nat = "1s"\nfor = "1s"'
    impatient.write_text(f'nodes = 3\nduration = "2s"\ndeadline = "1ms"\n{crash}', encoding="utf-8")
    code, out, _ = ran(capsys, "run", str(impatient), "--level", "1", "--seed", "2")
    assert code == 1
    assert "broke progress" in out
    found = re.search(r"golemp2p sim (replay .* --level 1 --seed 2) +\(trace (\w+)\)", out)
    assert found
    code, out, _ = ran(capsys, *found[1].split())
    assert code == 1
    assert found[2] in out
