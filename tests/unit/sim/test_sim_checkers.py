"""Every judge sees a world that keeps its rule and one that breaks it: a judge that catches nothing is broken."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_helpers import Court

from golemp2p_sim import model_worker
from golemp2p_sim.checkers.agreement import AnsweredIsCommitted, OneEntryPerPosition, OnePrimaryPerTerm
from golemp2p_sim.checkers.ends import SAMPLE_NS, BoundedQueues, Convergence, Progress
from golemp2p_sim.checkers.linearizability import Linearizability, Verdict, check_worker
from golemp2p_sim.checkers.once import ExactlyOnce
from golemp2p_sim.history import History, Operation
from golemp2p_sim.node import Answered, BecamePrimary, Committed, Executed, ReplicaView
from golemp2p_sim.workload import Wish
from golemp2p_sim.world import World


def view(*, commit: int = 2, chain: int = 22, state: int = 5, sound: bool = True) -> ReplicaView:
    return ReplicaView(0, 1, False, sound, commit, chain, state)


def answered(position: int, chain: int, key: str = "k", result: Any = 1) -> Answered:
    return Answered(0, position, chain, "counter-0", key, result)


def test_one_entry_per_position_accepts_equal_logs() -> None:
    court = Court(OneEntryPerPosition())
    court.see(0, Committed(0, 1, (11, 22, 33)))
    court.see(1, Committed(0, 1, (11,)), Committed(0, 2, (22, 33)))
    court.see(2, Committed(1, 1, (99,)))
    court.hold(0, view(commit=2, chain=22))
    assert court.verdict() == []


def test_one_entry_per_position_sees_a_fork() -> None:
    court = Court(OneEntryPerPosition())
    court.see(0, Committed(0, 1, (11, 22, 33)))
    court.see(1, Committed(0, 1, (11, 23)))
    assert court.verdict() == ["one-entry-per-position"]


def test_one_entry_per_position_sees_a_fork_at_the_end() -> None:
    court = Court(OneEntryPerPosition())
    court.see(0, Committed(0, 1, (11, 22)))
    court.hold(2, view(commit=2, chain=99))
    assert court.verdict() == ["one-entry-per-position"]


def test_two_primaries_of_one_term() -> None:
    court = Court(OnePrimaryPerTerm())
    court.see(0, BecamePrimary(0, 1), BecamePrimary(0, 3))
    court.see(1, BecamePrimary(0, 2), BecamePrimary(1, 3))
    assert court.verdict() == []
    court.see(1, BecamePrimary(0, 3))
    assert court.verdict() == ["one-primary-per-term"]


def test_a_primary_must_hold_what_was_answered() -> None:
    court = Court(OnePrimaryPerTerm())
    court.see(0, BecamePrimary(0, 1), answered(4, 44))
    court.subject.lives[1][-1].chains[0, 4] = 44
    court.see(1, BecamePrimary(0, 2))
    assert court.verdict() == []
    court.see(2, BecamePrimary(0, 3))
    assert court.verdict() == ["answered-is-kept"]


def test_a_primary_that_stood_still_since_it_won_lacks_what_later_terms_answered() -> None:
    court = Court(OnePrimaryPerTerm())
    court.subject.lives[1][-1].chains[0, 4] = 44
    court.see(1, BecamePrimary(0, 3), answered(4, 44))
    court.see(2, BecamePrimary(0, 2))
    assert court.verdict() == []


def test_a_sound_replica_must_hold_what_was_answered_in_the_end() -> None:
    court = Court(OnePrimaryPerTerm())
    court.see(0, answered(4, 44))
    court.hold(1, view(sound=False))
    assert court.verdict() == []
    court.hold(2, view())
    assert court.verdict(progress=False) == []
    assert court.verdict() == ["answered-is-kept"]


@pytest.mark.parametrize("known", [(), (11, 99)])
def test_an_answer_before_its_commit(known: tuple[int, ...]) -> None:
    positions = OneEntryPerPosition()
    court = Court(positions, AnsweredIsCommitted(positions))
    court.see(1, Committed(0, 1, known))
    court.see(0, answered(2, 22))
    assert court.verdict() == ["answered-is-committed"]


def test_an_answer_after_its_commit() -> None:
    positions = OneEntryPerPosition()
    court = Court(positions, AnsweredIsCommitted(positions))
    court.see(0, Committed(0, 1, (11, 22)), answered(2, 22))
    assert court.verdict() == []


def executed(position: int, result: int) -> Executed:
    return Executed(0, position, "counter-0", "k", result)


@pytest.mark.parametrize(
    ("second", "caught"),
    [(executed(3, 7), False), (executed(5, 7), True), (executed(3, 8), True), (answered(3, 0, "k", 8), True)],
)
def test_exactly_once(second: Any, caught: bool) -> None:
    court = Court(ExactlyOnce())
    court.see(0, executed(3, 7), answered(3, 0, "k", 7))
    court.see(1, second)
    assert court.verdict() == (["exactly-once"] if caught else [])


def test_answered_and_never_executed() -> None:
    court = Court(ExactlyOnce())
    court.history.invoke("k", "counter-0", ("add", 1), 0)
    court.history.complete("k", 1, 5)
    assert court.verdict() == ["exactly-once"]


def test_history_notices_a_second_answer_that_differs() -> None:
    history = History()
    history.invoke("k", "counter-0", ("add", 1), 0)
    assert history.complete("k", 1, 5) is None
    assert history.complete("k", 1, 6) is None
    assert "answered 1 and later 2" in (history.complete("k", 2, 7) or "")
    assert "never asked" in (history.complete("j", 2, 7) or "")


def test_convergence() -> None:
    court = Court(Convergence())
    court.hold(0, view())
    court.hold(1, view())
    court.hold(2, view(state=6, sound=False))
    assert court.verdict() == []
    court.hold(2, view(state=6))
    assert court.verdict(progress=False) == []
    assert court.verdict() == ["convergence"]


def test_progress_sees_the_unanswered() -> None:
    court = Court(Progress())
    assert court.verdict() == []
    court.clients.add(Wish(0, 0, "counter-0", ("get",), "k"))
    court.world.run_until(1000)
    assert court.verdict(progress=False) == []
    assert court.verdict() == ["progress"]


def test_progress_sees_calls_that_never_ended() -> None:
    court = Court(Progress())
    court.history.invoke("k/deposit", "account-1", ("deposit", 5), 0)
    assert court.verdict() == ["progress"]


@pytest.mark.parametrize(("length", "caught"), [(10, False), (11, True)])
def test_bounded_queues(length: int, caught: bool) -> None:
    court = Court(BoundedQueues())
    court.subject.lives[1][-1].lengths["letters"] = (length, 10)
    court.world.run_until(SAMPLE_NS)
    assert court.verdict() == (["bounded-queues"] if caught else [])


# -- linearizability ----------------------------------------------------------------------------------------------------------


def operation(name: str, invoked: int, returned: int | None, result: Any) -> Operation:
    kind, _, amount = name.partition(" ")
    return Operation(name, "counter-0", (kind, int(amount)) if amount else (kind,), invoked, returned, result)


def counter(state: Any, operation: tuple[Any, ...]) -> tuple[Any, Any]:
    after, result, _ = model_worker.apply("counter-0", state, operation)
    return after, result


def test_overlapping_operations_may_take_either_order() -> None:
    history = [operation("add 1", 0, 10, 3), operation("add 2", 1, 9, 2), operation("get", 11, 12, 3)]
    assert check_worker(history, 0, counter) is Verdict.OK


def test_a_stale_read_is_caught() -> None:
    history = [operation("add 1", 0, 10, 1), operation("get", 11, 12, 0)]
    assert check_worker(history, 0, counter) is Verdict.VIOLATED


def test_a_lost_update_is_caught() -> None:
    history = [operation("add 1", 0, 10, 1), operation("add 1", 5, 15, 1)]
    assert check_worker(history, 0, counter) is Verdict.VIOLATED


def test_unanswered_operations_happen_later_or_never() -> None:
    pending = operation("add 5", 3, None, None)
    assert check_worker([pending, operation("get", 10, 12, 0)], 0, counter) is Verdict.OK
    assert check_worker([pending, operation("get", 10, 12, 5)], 0, counter) is Verdict.OK
    assert check_worker([operation("get", 0, 2, 5), pending], 0, counter) is Verdict.VIOLATED


def test_a_budget_ends_the_search() -> None:
    history = [operation("add 1", 0, None, None) for _ in range(12)] + [operation("get", 0, 1, 99)]
    assert check_worker(history, 0, counter, budget=5) is Verdict.UNKNOWN


def test_the_judge_partitions_by_worker() -> None:
    court = Court(Linearizability())
    for worker in ("counter-0", "counter-1"):
        court.history.invoke(f"{worker}/a", worker, ("add", 1), 0)
        court.history.complete(f"{worker}/a", 1, 5)
    assert court.verdict() == []
    court.history.invoke("late", "counter-1", ("get",), 6)
    court.history.complete("late", 0, 7)
    assert court.verdict() == ["linearizability"]


OPERATIONS = st.tuples(
    st.sampled_from(["add 1", "add 2", "get"]), st.integers(0, 9), st.integers(0, 9) | st.none(), st.integers(0, 5)
)


@given(st.lists(OPERATIONS, max_size=5))
def test_agrees_with_trying_every_order(drawn: list[tuple[str, int, int | None, int]]) -> None:
    history = [
        operation(name, invoked, None if length is None else invoked + length, result)
        for name, invoked, length, result in drawn
    ]
    assert (check_worker(history, 0, counter) is Verdict.OK) == explained(history)


def explained(history: list[Operation]) -> bool:
    """Slow and simple: some order of the answered and some of the others works."""
    for chosen in range(1 << len(history)):
        if any(op.returned_ns is not None and not chosen >> i & 1 for i, op in enumerate(history)):
            continue
        present = [op for i, op in enumerate(history) if chosen >> i & 1]
        for order in permutations(present):
            if in_time(order) and plausible(order):
                return True
    return False


def in_time(order: tuple[Operation, ...]) -> bool:
    pairs = ((first, later) for i, first in enumerate(order) for later in order[i + 1 :])
    return not any(later.returned_ns is not None and later.returned_ns < first.invoked_ns for first, later in pairs)


def plausible(order: tuple[Operation, ...]) -> bool:
    state: Any = 0
    for op in order:
        state, result = counter(state, op.operation)
        if op.returned_ns is not None and result != op.result:
            return False
    return True


def test_violations_end_the_run() -> None:
    court = Court(OneEntryPerPosition())
    world: World = court.world
    world.at(5, lambda a, b, c: world.violate("x", "y"))
    world.at(6, lambda a, b, c: world.sometimes("went on"))
    world.run_until(10)
    assert world.now == 5
    assert world.coverage == {}
