"""Scenario files: what ships is sound, and every mistake gets a sentence that names the place."""

from __future__ import annotations

import pytest

from golemp2p_sim.case import case_from_json, case_to_json
from golemp2p_sim.faults import PRIMARY
from golemp2p_sim.profiles import PROFILES, draw_tape
from golemp2p_sim.randomness import Streams
from golemp2p_sim.run import run_case
from golemp2p_sim.scenario import ScenarioError, load, names, parse
from golemp2p_sim.subjects import make_subject
from golemp2p_sim.units import MS, S, duration_ns, duration_text
from golemp2p_sim.workload import WorkloadOptions, draw_wishes

EXPECTED = {
    "beyond-the-promise", "byzantine-voter", "calm", "churn", "corrupted-disk", "everything", "flapping-link", "founder-dies",
    "frozen-primary", "hot-shard", "join-storm", "leave-one-by-one", "one-to-a-hundred", "rolling-restart", "slow-disk",
    "split-brain", "stormy-elections", "thousand-nodes",
}  # fmt: skip


def test_what_ships() -> None:
    assert set(names()) >= EXPECTED
    assert all(load(name).summary for name in names())


@pytest.mark.parametrize("name", sorted(EXPECTED - {"thousand-nodes", "hot-shard", "join-storm", "one-to-a-hundred"}))
def test_shipped_scenarios_keep_every_promise(name: str) -> None:
    result = run_case(load(name).changed(duration_ns=15 * S).case(3))
    assert result.violations == []
    assert result.answered > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = 0", "nodes: expected a whole number from 1 to 10000, got 0"),
        ("nodez = 3", "did you mean nodes?"),
        ("duration = 60", "expected a duration such as 60s"),
        ("profile = 'some'", "profile: expected one of none, light, all, beyond"),
        ("subject = 'raft'", "subject: expected one of"),
        ("options = {voters = 3}", "no parameter 'voters'"),
        ("[network]\nlatency = 'slow'", "network.latency: expected one of lan"),
        ("[network]\nlatency = {min = '2ms', max = '1ms'}", "min is above max"),
        ("[workload]\nshape = 'odd'", "workload.shape"),
        ("[workload]\nmix = {counter = 0}", "needs a weight above 0"),
        ("[workload]\nmix = {cart = 1}", "workload.mix.cart: no such entry"),
        ("[[fault]]\nkind = 'crush'", "fault 1: kind: expected one of crash"),
        ("[[fault]]\nkind = 'crash'\nnodes = [7]", "fault 1: nodes: expected a whole number from 0 to 6"),
        ("[[fault]]\nkind = 'crash'\nnodes = 'pair'", "crash wants one node"),
        ("[[fault]]\nkind = 'reset'\nnodes = [1]", "reset wants two node"),
        ("[[fault]]\nkind = 'loss'\namount = '120%'", "expected 0% to 100%"),
        ("[[fault]]\nkind = 'loss'\namount = 1.5", "expected a whole number, a duration"),
        ("subject = 'toy'\n[[fault]]\nkind = 'byzantine'\nstep = 'flood'", "toy does not promise to survive it"),
        ("[[fault]]\nkind = 'aimed-crash'", "needs step"),
        ("[fault]\nkind = 'crash'", "[[fault]]"),
        ("nodes = ", "not TOML"),
    ],
)
def test_mistakes_are_explained(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "mine")
    assert said in str(caught.value)
    assert str(caught.value).startswith("mine: ")


def test_a_name_nearly_right() -> None:
    with pytest.raises(ScenarioError, match="did you mean split-brain"):
        load("split-brian")


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ScenarioError, match="node 6 is not among 3 nodes"):
        parse("[[fault]]\nkind = 'crash'\nnodes = [6]", "mine").changed(nodes=3)
    with pytest.raises(ScenarioError, match="profile"):
        load("calm").changed(profile="much")


def test_faults_of_a_file_become_a_tape() -> None:
    text = """
        duration = "10s"
        [[fault]]
        kind = "crash"
        at = "1s"
        for = "2s"
        every = "4s"
        nodes = "each"
        [[fault]]
        kind = "freeze"
        at = "8s"
        for = "5s"
        nodes = "primary"
        [[fault]]
        kind = "loss"
        for = "1s"
        amount = "50%"
    """
    case = parse(text, "mine").case(1)
    told = [(fault.kind, fault.at_ns, fault.for_ns, fault.nodes, fault.amount) for fault in case.faults]
    assert told == [
        ("loss", 0, S, (), 32_768),
        ("crash", S, 2 * S, (0,), 0),
        ("crash", 5 * S, 2 * S, (1,), 0),
        ("freeze", 8 * S, 2 * S, (PRIMARY,), 0),
        ("crash", 9 * S, S, (2,), 0),
    ]


def test_cases_survive_being_written_down() -> None:
    case = load("everything").case(4, mutation="vote_once")
    assert case_from_json(case_to_json(case)) == case
    with pytest.raises(ValueError, match="not a simulation case"):
        case_from_json({"format": "other"})
    with pytest.raises(ValueError, match="damaged"):
        case_from_json({"format": "golemp2p-sim-case/1"})


def test_kinds_of_faults_have_dice_of_their_own() -> None:
    """Leaving a kind out leaves the others as they were."""
    subject = make_subject("toy", 7)
    everything = draw_tape(PROFILES["all"], subject, Streams(3), 7, 60 * S)
    kinds = {fault.kind for fault in everything}
    missing = sorted(kinds)[0]
    subject.survives = subject.survives - {missing}
    assert draw_tape(PROFILES["all"], subject, Streams(3), 7, 60 * S) == [
        fault for fault in everything if fault.kind != missing
    ]
    assert len(kinds) > 3
    assert all(fault.end_ns <= 60 * S for fault in everything)


@pytest.mark.parametrize("shape", ["uniform", "skewed", "bursty"])
def test_shapes_of_workloads(shape: str) -> None:
    wishes = draw_wishes(WorkloadOptions(shape=shape, rate_per_s=100, workers=10), Streams(1), 60 * S)
    assert 5_000 < len(wishes) < 7_000
    assert [wish.at_ns for wish in wishes] == sorted(wish.at_ns for wish in wishes)
    first = sum(wish.worker == "counter-0" for wish in wishes) / len(wishes)
    assert (first > 0.25) == (shape == "skewed")
    early = sum(wish.at_ns % (2 * S) < 400 * MS for wish in wishes) / len(wishes)
    assert (early == 1) == (shape == "bursty")


@pytest.mark.parametrize(
    ("text", "ns"), [("60s", 60 * S), ("1.5m", 90 * S), ("200ms", 200 * MS), ("5us", 5_000), ("1h", 3600 * S)]
)
def test_durations(text: str, ns: int) -> None:
    assert duration_ns(text) == ns
    assert duration_ns(duration_text(ns)) == ns


# -- growth -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("growth", "births"),
    [
        ("first = '2s'", (0, 2 * S, 3 * S, 4 * S, 5 * S)),
        ("founders = 3\nfirst = '2s'\nevery = '300ms'", (0, 0, 0, 2 * S, 2 * S + 300 * MS)),
        ("first = '2s'\ntogether = 4", (0, 2 * S, 2 * S, 2 * S, 2 * S)),
        ("first = '2s'\ntogether = 2\nevery = '7s'", (0, 2 * S, 2 * S, 9 * S, 9 * S)),
        ("founders = 5", (0, 0, 0, 0, 0)),
    ],
)
def test_nodes_are_born_as_the_file_says(growth: str, births: tuple[int, ...]) -> None:
    assert parse(f"nodes = 5\nduration = '10s'\n[growth]\n{growth}", "mine").case(1).births == births


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[growth]\nfounder = 1", "did you mean founders?"),
        ("[growth]\nfounders = 8", "growth.founders: expected a whole number from 1 to 7"),
        ("duration = '6s'\n[growth]\nfirst = '1s'", "the last of 7 nodes would be born at 6s, after the end"),
    ],
)
def test_mistakes_in_growth_are_explained(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "mine")
    assert said in str(caught.value)


def test_faults_choose_among_the_born() -> None:
    text = """
        nodes = 5
        duration = "20s"
        [growth]
        first = "5s"
        every = "10s"
        together = 2
        [[fault]]
        kind = "crash"
        at = "1s"
        for = "1s"
        every = "1s"
        nodes = "random"
    """
    faults = parse(text, "mine").case(1).faults
    assert {fault.nodes for fault in faults if fault.at_ns < 5 * S} == {(0,)}
    assert {fault.nodes for fault in faults if 5 * S <= fault.at_ns < 15 * S} == {(0,), (1,), (2,)}
    assert parse(text, "mine").changed(nodes=2, duration_ns=3 * S).case(1).births == (0, 5 * S)
