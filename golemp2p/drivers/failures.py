"""Recorded failures back to errors: the inverse of writing ``error.code`` into the log."""

from __future__ import annotations

from golemp2p import errors
from golemp2p.core.worker_state import Outcome, Refused

_BY_CODE: dict[str, type[errors.Golemp2pError]] = {
    kind.code: kind
    for kind in (
        errors.GuestTrapped,
        errors.StackOverflowed,
        errors.OutOfMemory,
        errors.UnknownImport,
        errors.InvocationCanceled,
        errors.WorkerInterrupted,
        errors.InvalidState,
        errors.FunctionNotFound,
    )
}


def failure_from(outcome: Refused) -> errors.Golemp2pError:
    """The error to raise for a recorded failure: same code, same text."""
    kind = _BY_CODE.get(outcome.code)
    return kind(outcome.message) if kind is not None else errors.RecordedFailure(outcome.code, outcome.message)


def refusal_of(outcome: Outcome) -> errors.Golemp2pError:
    assert isinstance(outcome, Refused)
    return failure_from(outcome)
