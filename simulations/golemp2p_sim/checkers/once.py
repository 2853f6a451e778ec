"""Exactly once per idempotency key: a key takes effect at one position, everywhere with one result."""

from __future__ import annotations

from typing import Any

from golemp2p_sim.checkers import End
from golemp2p_sim.node import Answered, Executed
from golemp2p_sim.world import World


class ExactlyOnce:
    """Watches every copy of every worker, and every answer that leaves."""

    name = "exactly-once"

    def __init__(self) -> None:
        self._effects: dict[tuple[str, str], tuple[int, Any]] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Executed, self.on_executed)
        world.watch(Answered, self.on_answered)

    def on_executed(self, _time_ns: int, node: int, seen: Executed) -> None:
        known = self._effects.setdefault((seen.worker, seen.key), (seen.position, seen.result))
        if known[0] != seen.position:
            self._violate(f"n{node} ran {seen.key} of {seen.worker} at positions {known[0]} and {seen.position}")
        elif known[1] != seen.result:
            self._violate(f"{seen.key} of {seen.worker} gave {known[1]!r}, on n{node} {seen.result!r}")

    def on_answered(self, _time_ns: int, node: int, seen: Answered) -> None:
        known = self._effects.get((seen.worker, seen.key))
        if known is not None and known[1] != seen.result:
            self._violate(f"n{node} answered {seen.result!r} to {seen.key} of {seen.worker}, whose result is {known[1]!r}")

    def _violate(self, text: str) -> None:
        assert self._world is not None
        self._world.violate(self.name, text)

    def finish(self, end: End) -> None:
        """Whatever was answered was executed, once healing let everyone catch up."""
        for operation in end.history.operations.values():
            if operation.returned_ns is not None and (operation.worker, operation.key) not in self._effects:
                end.world.violate(self.name, f"{operation.key} of {operation.worker} was answered and never executed")
                return
