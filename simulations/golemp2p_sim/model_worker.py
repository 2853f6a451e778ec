"""The model worker: what clients invoke in simulations. Deterministic, small, and revealing when something happens twice or never.

    counter-*   add n -> total               get -> total
    list-*      append item -> length        read -> (length, running checksum of all items in order)
    account-*   transfer (to, n) -> balance  balance -> balance        calls deposit on the other account
    timer-*     set ns -> timers set         fired -> timers fired     calls fire on itself, later
    promise-*   complete v -> won?           get -> value              the first to complete wins

State is hashable, so that the linearizability checker can remember where it has been.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import Any

from golemp2p.model.light import light_dataclass

OPENING_BALANCE = 100
KINDS = ("counter", "list", "account", "timer", "promise")


@light_dataclass(frozen=True, slots=True)
class Call:
    """What an invocation asks of another worker (or of itself, later); it happens exactly once, though not at once."""

    worker: str
    operation: tuple[Any, ...]
    delay_ns: int = 0


Outcome = tuple[Hashable, Any, Call | None]
"""State after, result, and the call that goes out."""


def initial(worker: str) -> Hashable:
    """State of a worker that nobody has invoked."""
    kind = worker.partition("-")[0]
    if kind == "account":
        return OPENING_BALANCE
    if kind in ("list", "timer"):
        return (0, 0)
    return None if kind == "promise" else 0


def apply(worker: str, state: Any, operation: tuple[Any, ...]) -> Outcome:
    """Run ``operation``; anything not in the table above is an assertion: the workload is ours."""
    match operation:
        case ("add", amount):
            return state + amount, state + amount, None
        case ("append", item):
            length, checksum = state
            return (length + 1, zlib.crc32(str(item).encode(), checksum)), length + 1, None
        case ("read",) | ("get",) | ("balance",):
            return state, state, None
        case ("transfer", to, amount):
            if state < amount or to == worker:
                return state, "refused", None
            return state - amount, state - amount, Call(to, ("deposit", amount))
        case ("deposit", amount):
            return state + amount, state + amount, None
        case ("set", delay_ns):
            count, fired = state
            return (count + 1, fired), count + 1, Call(worker, ("fire",), delay_ns)
        case ("fire",):
            count, fired = state
            return (count, fired + 1), fired + 1, None
        case ("fired",):
            return state, state[1], None
        case ("complete", value):
            return (value, True, None) if state is None else (state, False, None)
    raise AssertionError(f"the model worker has no operation {operation!r}")
