"""Judges: plain objects that observe the world and say which promise was broken. Each names the rules that it watches.

    watch(world)     subscribe to observations; a broken promise is told at once by ``world.violate``
    finish(end)      look at everything once more when the run is over

A checker that never catches anything is broken: ``tests/unit/sim`` feeds each a history that violates its rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from golemp2p_sim.atlas import Atlas
from golemp2p_sim.history import History
from golemp2p_sim.workload import Clients
from golemp2p_sim.world import World


@dataclass(frozen=True, slots=True)
class End:
    """The run as it ended. ``progress``: whether everything had to be answered and equal by now."""

    world: World
    history: History
    clients: Clients
    atlas: Atlas
    progress: bool


class Checker(Protocol):
    """One per promise."""

    name: str

    def watch(self, world: World) -> None: ...

    def finish(self, end: End) -> None: ...
