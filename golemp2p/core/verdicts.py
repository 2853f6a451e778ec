"""What is recorded of how an execution ended against how its re-execution ended: the same, possible, or impossible.

Some ends are the guest's own doing and must repeat: a trap in its code, an exit, arguments that it refuses. Others depend on the
machine, the settings, or the moment (a limit, an interruption, a node that stopped), or happened inside a host call, which is not made
again.
"""

from __future__ import annotations

from enum import Enum

from golemp2p.errors import (
    Draining,
    GuestExited,
    LimitExceeded,
    OutOfMemory,
    Overloaded,
    StackOverflowed,
    UnknownImport,
    ValueMismatch,
    WorkerFailure,
    WorkerInterrupted,
    WorldError,
)

MORE = "asks for more"
"""Instead of ending, the guest asks for a host call, or says something, that is not recorded."""

GOES_ON = "goes on"
"""Instead of failing, the guest computes a result, or waits for what comes next."""

_MOMENTARY = frozenset(
    kind.code
    for kind in (
        Draining, LimitExceeded, OutOfMemory, Overloaded, StackOverflowed, WorkerFailure, WorkerInterrupted, WorldError
    )
) | {"divergence"}  # fmt: skip
"""Codes of ends that depend on where and when. A recorded divergence says that the node itself could not repeat its journal."""

_BY_ITSELF = frozenset({GuestExited.code, UnknownImport.code, ValueMismatch.code})
"""Codes of ends that a guest comes to without any host call being carried out."""


class Verdict(Enum):
    SAME = "same"
    POSSIBLE = "possible"
    IMPOSSIBLE = "impossible"


def judge(recorded: str, repeated: str) -> Verdict:
    """``recorded``: an error's code; ``repeated``: likewise, or ``MORE``, or ``GOES_ON``."""
    if recorded == repeated:
        return Verdict.SAME
    if recorded in _MOMENTARY or repeated in _MOMENTARY:
        return Verdict.POSSIBLE
    if repeated == MORE and recorded not in _BY_ITSELF:
        return Verdict.POSSIBLE
    return Verdict.IMPOSSIBLE


def is_momentary(code: str) -> bool:
    """Whether an end with this code says more of the machine than of the guest."""
    return code in _MOMENTARY
