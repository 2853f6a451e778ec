"""A journal as a judge reads it: step by step, nothing skipped that a guest does, nothing answered that is not there."""

from __future__ import annotations

from typing import Any

import pytest

from golemp2p.core.recorded import JournalEnded, Recorded, shown
from golemp2p.errors import Divergence
from golemp2p.model import entries as e

HASH = bytes(16)
INVOKED = e.ExportedFunctionInvoked(1, "f", "k", b"\x80")
DONE = e.ExportedFunctionCompleted(1, b"\x01", 0)


def call(name: str, response: bytes = b"r") -> e.ImportedFunctionInvoked:
    return e.ImportedFunctionInvoked(1, name, "read-local", HASH, response)


def line(message: str) -> e.Log:
    return e.Log(1, "stdout", "", message)


def recorded(*entries: Any, skipped: list[tuple[int, int]] | None = None, ephemeral: bool = False) -> Recorded:
    return Recorded(iter(list(enumerate(entries, 1))), skipped or [], ephemeral=ephemeral)


def test_every_step_is_the_next_one() -> None:
    journal = recorded(INVOKED, call("a", b"1"), line("x"), call("b", b"2"), DONE)
    assert journal.take(e.ExportedFunctionInvoked) == INVOKED
    assert journal.take_host_call("a", HASH) == b"1"
    journal.note(line("x")._replace(time_ns=99))
    assert journal.take_host_call("b", HASH) == b"2"
    assert journal.index == 4
    assert journal.take(e.ExportedFunctionCompleted) == DONE
    assert journal.peek() is None
    assert (journal.calls, journal.lines) == (2, 1)


@pytest.mark.parametrize(
    "step",
    [
        lambda journal: journal.take_host_call("b", HASH),
        lambda journal: journal.take_host_call("a", b"\1" * 16),
        lambda journal: journal.take(e.ExportedFunctionCompleted),
        lambda journal: journal.note(line("x")),
        lambda journal: journal.control(e.NoOp(0)),
    ],
)
def test_another_step_diverges(step: Any) -> None:
    with pytest.raises(Divergence) as caught:
        step(recorded(call("a")))
    assert caught.value.index == 1
    assert "host call a" in caught.value.expected


def test_a_line_that_was_not_printed_diverges() -> None:
    with pytest.raises(Divergence, match="the stdout line 'x'"):
        recorded(line("x"), call("a")).take_host_call("a", HASH)
    with pytest.raises(Divergence, match=r"'x'.*'y'"):
        recorded(line("x")).note(line("y"))


def test_what_others_did_meanwhile_is_passed_over() -> None:
    meanwhile = (
        e.PendingInvocation(1, "f", "k2", b""), e.CancelPendingInvocation(1, "k2"), e.Suspend(1, None), e.Resumed(1),
        e.PromiseCompleted(1, 3, b""), e.PromiseDeleted(1, 3), e.Interrupted(1), e.Restart(1), e.Failed(1, "x", "", True),
        e.Jump(1, 5, 6),
    )  # fmt: skip
    journal = recorded(*meanwhile, call("a"), *meanwhile)
    assert journal.take_host_call("a", HASH) == b"r"
    assert journal.peek() is None


def test_jumps_leave_out_what_they_say() -> None:
    journal = recorded(call("a"), call("b"), line("x"), e.Jump(1, 2, 4), call("c"), skipped=[(2, 4), (2, 3)])
    assert journal.take_host_call("a", HASH)
    assert journal.take_host_call("c", HASH)
    assert journal.index == 5


def test_asking_for_more_ends_it() -> None:
    journal = recorded(call("a"))
    journal.take_host_call("a", HASH)
    with pytest.raises(JournalEnded) as caught:
        journal.take_host_call("a", HASH)
    assert caught.value.outcome is None
    journal.note(line("beyond the record"))  # printed, and not recorded any more


@pytest.mark.parametrize("outcome", [e.Failed(1, "x", "", False), e.Exited(1, 2), e.InvocationRefused(1, "k", "x", "")])
def test_what_ends_an_execution_is_told(outcome: Any) -> None:
    journal = recorded(outcome)
    for step in (lambda: journal.take_host_call("a", HASH), lambda: journal.note(line("x")), lambda: journal.take(e.NoOp)):
        with pytest.raises(JournalEnded) as caught:
            step()
        assert caught.value.outcome == outcome
    assert journal.take(type(outcome)) == outcome


def test_interruptions_end_ephemeral_executions() -> None:
    journal = recorded(call("a"), e.Interrupted(1), call("a"), ephemeral=True)
    journal.take_host_call("a", HASH)
    with pytest.raises(JournalEnded) as caught:
        journal.take_host_call("a", HASH)
    assert caught.value.outcome == e.Interrupted(1)


def test_controls_are_compared_without_their_time() -> None:
    policy = e.RetryPolicy()
    journal = recorded(e.NoOp(5), e.ChangeRetryPolicy(6, policy))
    assert journal.control(e.NoOp(0)) == 1
    with pytest.raises(Divergence):
        journal.control(e.ChangeRetryPolicy(0, policy._replace(attempts_max=9)))
    assert journal.control(e.ChangeRetryPolicy(0, policy)) == 2


@pytest.mark.parametrize(
    "entry", [line("x" * 9999), call("a"), INVOKED, DONE, e.Failed(1, "c", "m" * 9999, True), e.GrowMemory(1, 5)]
)
def test_entries_are_shown_in_few_words(entry: Any) -> None:
    assert 5 < len(shown(entry)) <= 203
