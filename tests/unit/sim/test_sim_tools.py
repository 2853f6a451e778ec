"""Shrinking, many seeds, the page, and the commands."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_helpers import toy_case

from golemp2p_node.cli.app import run as command_line
from golemp2p_sim.measured import percentiles_ms, spread
from golemp2p_sim.report import html
from golemp2p_sim.run import run_case
from golemp2p_sim.runner import run_seeds, summarize
from golemp2p_sim.scenario import load, parse
from golemp2p_sim.shrink import Shrinker, minimize
from golemp2p_sim.units import S


@given(st.sets(st.integers(0, 30), max_size=4), st.integers(1, 31))
def test_minimize_finds_what_is_needed(needed: set[int], count: int) -> None:
    needed = {item for item in needed if item < count}

    def fails(items: Sequence[int]) -> bool:
        return needed <= set(items)

    assert set(minimize(range(count), fails)) == needed


def test_a_failing_seed_becomes_a_story() -> None:
    case = toy_case(0, mutation="commit_by_majority", seconds=20)
    small = Shrinker(case, runs_max=150).shrink()
    assert small.result.violations
    assert small.runs <= 150
    assert len(small.case.faults) <= 4 < len(case.faults)
    assert len(small.case.wishes) <= 10 < len(case.wishes)
    assert small.result.lines
    assert run_case(small.case).trace_hash == small.result.trace_hash


def test_a_seed_that_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        Shrinker(toy_case(1, seconds=5))


def test_seeds_in_processes_are_the_seeds_at_home() -> None:
    plan = load("churn").changed(duration_ns=8 * S)
    here = [result.trace_hash for result, _ in run_seeds(plan, range(4))]
    there = [result.trace_hash for result, _ in run_seeds(plan, range(4), jobs=2)]
    assert here == there
    assert len(set(here)) == 4


def test_a_summary_adds_up() -> None:
    plan = load("churn").changed(duration_ns=8 * S)
    results = list(run_seeds(plan, range(3)))
    summary = summarize(iter(results))
    assert (summary.seeds, summary.failed) == (3, [])
    assert summary.answered == sum(result.answered for result, _ in results) == len(summary.latencies_ns)
    assert json.loads(json.dumps(summary.to_json()))["answered"] == summary.answered
    assert percentiles_ms([3_000_000, 1_000_000, 2_000_000]) == {"p50": 2.0, "p99": 3.0, "max": 3.0, "count": 3}
    assert percentiles_ms([n * 1_000_000 for n in range(200)]) == {"p50": 99.0, "p99": 197.0, "max": 199.0, "count": 200}
    assert percentiles_ms([]) == {}
    assert (spread([2, 2, 2]), spread([6, 0, 0]), spread([0, 0])) == (1, 3, None)
    assert summary.committed > summary.answered
    assert len(summary.measured.failovers_ns) == sum(len(result.measured.failovers_ns) for result, _ in results)
    assert [len(found) for found in summary.spreads.values()] == [3, 3, 3]


class Balanced(HTMLParser):
    """Every tag that opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing() -> None:
    plan = load("frozen-primary").changed(duration_ns=12 * S, subject="shard")
    summary = summarize(run_seeds(plan, range(3)))
    page = html(plan, run_case(plan.case(0)), summary)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.links == []
    assert page.count("<svg") >= 7
    for said in ("freeze", "Failover", "Shards per node", "messages and", "p50"):
        assert said in page
    for absent in ("NaN", "Hops", "hand-over", "Detection", "is born"):
        assert absent not in page


def test_the_page_shows_what_was_measured_and_who_was_born() -> None:
    plan = parse('subject = "toy"\nduration = "5s"\n[growth]\nfirst = "1s"\nevery = "200ms"', "mine")
    results = list(run_seeds(plan, range(1)))
    measured = results[0][0].measured
    measured.handovers_ns += [40_000_000, 2_000_000_000]
    measured.first_verdicts_ns.append(900_000_000)
    measured.lookups += [(2, 9, 0), (0, 1, 0), (3, 12, 1)]
    page = html(plan, results[0][0], summarize(iter(results)))
    for said in (
        "n6 is born",
        "Planned hand-over",
        "p50 40 ms, p99 2 s, max 2 s, of 2",
        "Hops per lookup",
        "Questions per lookup",
    ):
        assert said in page


def test_the_page_tells_violations_and_escapes() -> None:
    plan = load("everything").changed(duration_ns=10 * S, subject="toy")
    results = list(run_seeds(plan, range(2), mutation="answer_after_commit"))
    results[0][0].violations[0] = type(results[0][0].violations[0])("<b>", 1, "<script>")
    page = html(plan, results[0][0], summarize(iter(results)))
    assert "2 of 2 seeds with violations" in page
    assert "<script>" not in page


# -- commands -----------------------------------------------------------------------------------------------------------------


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = command_line(["sim", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "run", "churn", "--duration", "5s", "--seeds", "2", "--nodes", "5", "--twice")
    assert code == 0
    assert "no violation" in out
    assert "2, 0 with violations" in out


def test_run_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "--format", "json", "run", "churn", "--duration", "5s")
    assert code == 0
    assert json.loads(out) | {"scenario": "churn", "seeds": 1, "violations": []} == json.loads(out)


def test_a_failing_run_prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = ran(
        capsys, "run", "everything", "--protocol", "toy", "--duration", "10s", "--mutate", "answer_after_commit", "--seed", "3"
    )
    assert code == 1
    found = re.search(r"golemp2p sim (replay .* --seed 3) +\(trace (\w+)\)", out)
    assert found
    log = tmp_path / "log.txt"
    code, out, _ = ran(capsys, *found[1].split(), "--log", str(log))
    assert code == 1
    assert found[2] in out
    assert "answered-is-committed" in log.read_text(encoding="utf-8").splitlines()[-1]


def test_shrink_then_replay(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small = tmp_path / "small.json"
    words = (
        "shrink",
        "everything",
        "--protocol",
        "toy",
        "--duration",
        "10s",
        "--mutate",
        "answer_after_commit",
        "--seed",
        "3",
        "--out",
        str(small),
    )
    code, out, _ = ran(capsys, *words, "--runs", "60")
    assert code == 1
    assert "broke answered-is-committed" in out
    trace = re.search(r"trace (\w+)", out)
    code, out, _ = ran(capsys, "replay", str(small))
    assert code == 1
    assert trace
    assert trace[1] in out


def test_list_and_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = ran(capsys, "list")
    assert code == 0
    assert "split-brain" in out
    page = tmp_path / "page.html"
    code, out, _ = ran(capsys, "report", "calm", "--duration", "3s", "--seeds", "1", "--out", str(page))
    assert code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "nothing"), 4, "no scenario 'nothing'"),
        (("run", "calm", "--mutate", "gravity"), 2, "no rule 'gravity'"),
        (("run", "calm", "--duration", "long"), 2, "expected a duration"),
        (("run", "calm", "--faults", "some"), 2, "profile: expected one of"),
        (("replay", "missing.json"), 4, "cannot read missing.json"),
        (("shrink", "calm", "--duration", "2s"), 2, "does not fail"),
    ],
)
def test_mistakes_end_in_two_lines(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = ran(capsys, *words)
    assert (ended, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) <= 2
