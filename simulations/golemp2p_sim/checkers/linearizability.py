"""Linearizability of each worker: there is an order of its operations, within their real times, that the model worker explains.

Wing & Gong's search (1993) with Lowe's memory of visited (operations done, state) pairs, worker by worker as Porcupine partitions by
key. Unanswered operations may take effect at any later moment, or never.

**Where it differs:** the search has a budget; a history that exceeds it counts as inconclusive, which a run reports and does not
call a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from typing import Any

from golemp2p_sim import model_worker
from golemp2p_sim.checkers import End
from golemp2p_sim.history import Operation
from golemp2p_sim.world import World

BUDGET_STEPS = 200_000
"""Steps per worker; histories of simulated clients need about one or two per operation."""

_NEVER = 1 << 62


class Verdict(Enum):
    OK = "linearizable"
    VIOLATED = "not linearizable"
    UNKNOWN = "inconclusive"


def check_worker(operations: Sequence[Operation], initial: Hashable, apply: Callable[[Any, tuple[Any, ...]], tuple[Hashable, Any]],
                 budget: int = BUDGET_STEPS) -> Verdict:  # fmt: skip
    """``apply(state, operation) -> (state, result)``. ``operations`` of one worker."""
    ordered = sorted(operations, key=lambda operation: operation.invoked_ns)
    count = len(ordered)
    returns = [_NEVER if operation.returned_ns is None else operation.returned_ns for operation in ordered]
    answered = sum(1 << i for i in range(count) if returns[i] != _NEVER)
    # Depth first. A frame: (done mask, state, candidates left). A candidate may go first if no undone one returned before it began.
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable, list[int]]] = [(0, initial, _candidates(0, ordered, returns, 0))]
    steps = 0
    while stack:
        done, state, candidates = stack[-1]
        if done & answered == answered:
            return Verdict.OK
        if not candidates:
            stack.pop()
            continue
        index = candidates.pop()
        steps += 1
        if steps > budget:
            return Verdict.UNKNOWN
        after, result = apply(state, ordered[index].operation)
        if returns[index] != _NEVER and result != ordered[index].result:
            continue
        mask = done | 1 << index
        if (mask, after) in seen:
            continue
        seen.add((mask, after))
        stack.append((mask, after, _candidates(mask, ordered, returns, _first_undone(mask))))
    return Verdict.VIOLATED


def _first_undone(mask: int) -> int:
    """Index of the lowest zero bit."""
    return (~mask & (mask + 1)).bit_length() - 1


def _candidates(mask: int, ordered: Sequence[Operation], returns: Sequence[int], first: int) -> list[int]:
    """Undone operations invoked before the earliest return of any undone one; the likeliest (first to return) comes last."""
    earliest = _NEVER + 1
    found: list[int] = []
    for index in range(first, len(ordered)):
        if ordered[index].invoked_ns > earliest:
            break
        if not mask >> index & 1:
            found.append(index)
            earliest = min(earliest, returns[index])
    found = [index for index in found if ordered[index].invoked_ns <= earliest]
    found.sort(key=lambda index: -returns[index])
    return found


class Linearizability:
    """Checks all workers when the run is over."""

    name = "linearizability"

    def __init__(self) -> None:
        self.inconclusive = 0

    def watch(self, world: World) -> None:
        """Everything is in the history."""

    def finish(self, end: End) -> None:
        for worker, operations in end.history.by_worker().items():

            def apply(state: Any, operation: tuple[Any, ...], worker: str = worker) -> tuple[Hashable, Any]:
                after, result, _ = model_worker.apply(worker, state, operation)
                return after, result

            verdict = check_worker(operations, model_worker.initial(worker), apply)
            if verdict is Verdict.UNKNOWN:
                self.inconclusive += 1
                end.world.sometimes("linearizability: inconclusive")
            elif verdict is Verdict.VIOLATED:
                answered = sum(operation.returned_ns is not None for operation in operations)
                end.world.violate(self.name, f"{worker}: no order of its {answered} answered operations explains the answers")
                return
