"""Votes, as they leave: S1 of any protocol; S2, S3, and S9 as far as it is about votes, of the core's replicas.

one-vote-per-term      a voter votes for one candidate in a term, however often it starts anew                           S1
vote-is-durable        the disk knows of a vote before anybody else does                                                 S1
vote-for-up-to-date    the candidate's log is at least as far as the voter's                                             S2
vote-against-primary   nobody votes out a primary that it holds alive, unless that one hands over                        S3
vote-of-the-damaged    whose log is shorter than what it may have acknowledged does not vote                             S9
"""

from __future__ import annotations

from collections.abc import Hashable

from golemp2p_sim.checkers import End
from golemp2p_sim.node import Ballot
from golemp2p_sim.shard_seen import Stored, Voted
from golemp2p_sim.world import World


class Votes:
    """``cast``: (shard, voter, term) -> candidate."""

    name = "one-vote-per-term"

    def __init__(self) -> None:
        self.cast: dict[tuple[int, Hashable, int], Hashable] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Ballot, self.on_ballot)
        world.watch(Voted, self.on_voted)

    def on_ballot(self, _time_ns: int, node: int, seen: Ballot) -> None:
        place = f"shard {seen.shard} term {seen.term}: n{node}"
        first = self.cast.setdefault((seen.shard, seen.voter, seen.term), seen.candidate)
        if first != seen.candidate:
            self._violate(self.name, f"{place} voted for {_name(first)} and for {_name(seen.candidate)}")
        elif not seen.is_durable():
            self._violate("vote-is-durable", f"{place} voted for {_name(first)}, and its disk does not know")

    def on_voted(self, _time_ns: int, node: int, seen: Voted) -> None:
        place = f"shard {seen.shard} term {seen.term}: n{node}"
        last, high_water = _last(seen.durable), seen.durable.record.high_water
        if seen.asked_last < seen.own_last:
            text = f"{place} with a log up to (term, position) {seen.own_last} voted for one up to {seen.asked_last}"
            self._violate("vote-for-up-to-date", text)
        elif seen.loyal_to is not None and not seen.hand_over:
            self._violate("vote-against-primary", f"{place} voted against {_name(seen.loyal_to)}, which it holds alive")
        elif last < high_water:
            self._violate("vote-of-the-damaged", f"{place} voted with a log up to {last}, having had one up to {high_water}")

    def _violate(self, judge: str, text: str) -> None:
        assert self._world is not None
        self._world.violate(judge, text)

    def finish(self, end: End) -> None:
        """Everything was said as it happened."""


def _last(durable: Stored) -> tuple[int, int]:
    newest = durable.entries[-1] if durable.entries else durable.base
    return newest.term, newest.position


def _name(candidate: Hashable) -> str:
    return candidate.hex()[:6] if isinstance(candidate, bytes) else f"n{candidate}"
