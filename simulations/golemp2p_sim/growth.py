"""A mesh that is not there at once: who is born when.

founders ──first──> together ──every──> together ──every──> ...        until all nodes are born
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p_sim.units import S


@dataclass(frozen=True, slots=True)
class Growth:
    """``founders`` stand at the beginning; from ``first_ns`` on, ``together`` more are born at one moment every ``every_ns``."""

    founders: int = 1
    first_ns: int = 0
    every_ns: int = S
    together: int = 1

    def births(self, nodes: int) -> tuple[int, ...]:
        """When each node is born."""
        later = range(max(0, nodes - self.founders))
        return (0,) * min(nodes, self.founders) + tuple(self.first_ns + i // self.together * self.every_ns for i in later)
