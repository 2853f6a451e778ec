"""Stories that cannot be true, whatever a guest computes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from golemp2p.core.story import Story
from golemp2p.model import entries as e
from golemp2p.model.history import Problems
from golemp2p.model.ids import ComponentId, WorkerId

WORKER = WorkerId(ComponentId(uuid.UUID(int=1)), "w")
CREATE = e.Create(1, str(WORKER.component), "w", 0, (), (), None, 10, False, "node", 0)


def invoked(key: str, request: bytes = b"\x80") -> e.ExportedFunctionInvoked:
    return e.ExportedFunctionInvoked(1, "f", key, request)


def pending(key: str, request: bytes = b"\x80", function: str = "f") -> e.PendingInvocation:
    return e.PendingInvocation(1, function, key, request)


DONE = e.ExportedFunctionCompleted(1, b"\xf6", 0)
CALL = e.ImportedFunctionInvoked(1, "f", "pure", bytes(16), b"")


def told(*entries: Any) -> tuple[Story, str]:
    wrong, unshown = Problems(), Problems()
    story = Story(WORKER, wrong, unshown)
    for entry in entries:
        story.tell(entry)
    return story, "; ".join(str(problem) for problem in (*wrong.listed, *unshown.listed))


@pytest.mark.parametrize(
    "entries",
    [
        (invoked("a"), CALL, DONE, invoked("b"), DONE),
        (pending("a"), pending("b"), invoked("a"), DONE, invoked("b")),
        (pending("a"), e.CancelPendingInvocation(1, "a"), e.CancelPendingInvocation(1, "never")),
        (invoked("a"), e.Failed(1, "guest-trapped", "", True), DONE),
        (pending("b"), invoked("a"), e.Failed(1, "guest-trapped", "", False)),
        (invoked("a"), e.InvocationRefused(1, "a", "value-mismatch", ""), invoked("b"), DONE),
        (pending("a"), e.InvocationRefused(1, "a", "guest-trapped", "")),
        (invoked("a"), e.Exited(1, 0), e.PromiseCompleted(1, 3, b"")),
    ],
)
def test_what_can_be_true(entries: tuple[Any, ...]) -> None:
    story, reasons = told(CREATE, *entries)
    assert reasons == ""
    assert story.create == CREATE


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((invoked("a"), invoked("b")), "index 3: 'b' begins before 'a' has an outcome"),
        ((invoked("a"), DONE, invoked("a")), "index 4: .*accepted a second time"),
        ((invoked("a"), pending("a")), "accepted a second time"),
        ((pending("a"), pending("a")), "accepted a second time"),
        ((invoked("a"), e.InvocationRefused(1, "a", "x", ""), pending("a")), "accepted a second time"),
        ((pending("a"), e.CancelPendingInvocation(1, "a"), invoked("a")), "accepted a second time"),
        ((pending("a"), invoked("a", b"\x81\x01")), "'a' is not run as it was accepted"),
        ((pending("a", function="g"), invoked("a")), "'a' is not run as it was accepted"),
        ((DONE,), "a result, and no invocation runs"),
        ((e.InvocationRefused(1, "a", "x", ""),), "neither runs nor waits"),
        ((invoked("a"), e.Exited(1, 0), pending("b")), "after the worker's end"),
        ((pending("b"), e.Failed(1, "x", "", False), invoked("b")), "accepted a second time.*after the worker's end"),
        ((CREATE,), "created once"),
        ((e.Jump(1, 2, 3),), "leaves out entries 2 to 3"),
        ((e.Elected(1, 1, b""),), "Elected does not belong"),
    ],
)
def test_what_cannot(entries: tuple[Any, ...], reason: str) -> None:
    assert_matches(told(CREATE, *entries)[1], reason)


def test_a_log_creates_its_worker_first() -> None:
    assert_matches(
        told(invoked("a"), CREATE)[1], "index 1: the first entry does not create a worker; .*index 2: .*created once"
    )
    other = CREATE._replace(worker_name="other")
    story, reasons = told(other)
    assert_matches(reasons, "creates worker .*/other, not .*/w")
    assert story.create is None


def test_keys_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golemp2p.core.story.KEYS_MAX", 2)
    entries = [entry for key in "abcd" for entry in (invoked(key), DONE)]
    reasons = told(CREATE, *entries, invoked("d"), DONE)[1]
    assert reasons.count("is not looked at") == 1
    assert "a second time" not in reasons


def test_long_keys_are_cut_in_what_is_told() -> None:
    assert len(told(CREATE, invoked("k" * 1000), pending("k" * 1000))[1]) < 300


def assert_matches(text: str, pattern: str) -> None:
    import re

    assert re.search(pattern, text, re.DOTALL), text
