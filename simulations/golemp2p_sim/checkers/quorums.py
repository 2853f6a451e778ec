"""Who decides for a shard of the core, and by how many: S4 as far as it is about acknowledgements, S5, S7, S8, S10.

acknowledged-is-durable   what a follower acknowledges to the primary of its term is on its disk                         S4
commit-by-quorum          a primary commits what a quorum acknowledged to it in its term, itself with what its disk has  S5
commit-in-own-term        and counts only by way of an entry of its term (Raft 5.4.2)                                    S5
serves-after-own-commit   it begins to serve after it has committed one                                                  S7
quorums-meet              every quorum before a change of members meets every quorum after it                            S8
one-change-at-a-time      the change before is committed, voters are an odd number                                       S8
voters-have-caught-up     a voter to come has acknowledged everything that is committed                                  S8
serves-with-majority      nobody serves while its node holds so many dead that no quorum is left                         S10
regained-is-confirmed     nor again thereafter, unless a quorum has taken an entry that it wrote since                   S10
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from golemp2p.model.replication import Configuration, Member
from golemp2p_sim.checkers import End
from golemp2p_sim.shard_seen import Acknowledged, Change, Doubted, Forgot, Kept, Serving, Settled
from golemp2p_sim.world import World


def _groups(configuration: Configuration) -> Iterator[frozenset[Member]]:
    """Of each of these a majority must agree."""
    yield frozenset(configuration.voters)
    if configuration.incoming:
        yield frozenset(configuration.incoming)


def is_decided_by(configuration: Configuration, members: Container[Member]) -> bool:
    return all(2 * sum(voter in members for voter in group) > len(group) for group in _groups(configuration))


def do_meet(before: Configuration, now: Configuration) -> bool:
    """Whether each quorum of one has a member in common with each of the other: a majority of some group of one and a majority of
    some group of the other are more than both together hold."""
    return any(
        len(left) // 2 + 1 + len(right) // 2 + 1 > len(left | right) for left in _groups(before) for right in _groups(now)
    )


class Quorums:
    """``acknowledged``: (shard, term, member) -> the highest position; ``_opened``: (shard, term) -> node that has committed something;
    ``_doubted``: (shard, term) -> what must be committed after it lost its majority."""

    name = "commit-by-quorum"

    def __init__(self) -> None:
        self.acknowledged: dict[tuple[int, int, Member], int] = {}
        self._opened: dict[tuple[int, int], int] = {}
        self._doubted: dict[tuple[int, int], int] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Acknowledged, self.on_acknowledged)
        world.watch(Settled, self.on_settled)
        world.watch(Kept, self.on_kept)
        world.watch(Serving, self.on_serving)
        world.watch(Doubted, self.on_doubted)
        world.watch(Forgot, self.on_forgot)

    def on_acknowledged(self, _time_ns: int, node: int, seen: Acknowledged) -> None:
        durable = seen.durable
        held = durable.base.position + len(durable.entries)
        if seen.position > held and durable.record.term <= seen.term:  # else it has cut since, for a newer primary
            text = f"shard {seen.shard}: n{node} acknowledges up to {seen.position}, its disk holds up to {held}"
            self._violate("acknowledged-is-durable", text)
        key = (seen.shard, seen.term, seen.member)
        if seen.position > self.acknowledged.get(key, 0):
            self.acknowledged[key] = seen.position

    def on_settled(self, _time_ns: int, node: int, seen: Settled) -> None:
        place = f"shard {seen.shard} term {seen.term}: n{node} commits up to {seen.position}"
        if seen.entry_term != seen.term:
            self._violate("commit-in-own-term", f"{place}, an entry of term {seen.entry_term}")
            return
        self._opened.setdefault((seen.shard, seen.term), node)
        if seen.position > self._doubted.get((seen.shard, seen.term), seen.position):
            del self._doubted[seen.shard, seen.term]
        durable = seen.durable
        agreeing = _Agreeing(self.acknowledged, seen, durable.base.position + len(durable.entries) >= seen.position)
        if not any(is_decided_by(configuration, agreeing) for configuration in seen.configurations):
            self._violate(self.name, f"{place}, which no quorum has")

    def on_kept(self, _time_ns: int, node: int, seen: Kept) -> None:
        for change in seen.changes:
            if seen.written_in is None:
                if not do_meet(change.before, change.now):
                    self._violate(
                        "quorums-meet", f"shard {seen.shard}: n{node} believes that members may change to others at once"
                    )
                continue
            fault = _unsafe(change)
            place = f"shard {seen.shard} term {seen.written_in}: n{node} changes the members"
            if fault:
                self._violate(fault[0], f"{place}: {fault[1]}")
                return
            for member in change.now.electors:
                has = self.acknowledged.get((seen.shard, seen.written_in, member), 0)
                if member not in change.before.electors and has < change.commit:
                    text = f"{place}: a voter to come has {has} of {change.commit} committed entries"
                    self._violate("voters-have-caught-up", text)
                    return

    def on_serving(self, _time_ns: int, node: int, seen: Serving) -> None:
        if self._opened.get((seen.shard, seen.term)) != node:
            text = f"shard {seen.shard} term {seen.term}: n{node} serves and has committed nothing of this term"
            self._violate("serves-after-own-commit", text)
        live = [member for member in seen.configuration.electors if member.public_key not in seen.suspected]
        if not is_decided_by(seen.configuration, live):
            text = f"shard {seen.shard} term {seen.term}: n{node} serves and holds {len(seen.suspected)} nodes dead"
            self._violate("serves-with-majority", text)
        elif (seen.shard, seen.term) in self._doubted:
            text = f"shard {seen.shard} term {seen.term}: n{node} serves again, and has committed nothing since it held a majority dead"
            self._violate("regained-is-confirmed", text)

    def on_doubted(self, _time_ns: int, _node: int, seen: Doubted) -> None:
        self._doubted[seen.shard, seen.term] = seen.last

    def on_forgot(self, _time_ns: int, _node: int, seen: Forgot) -> None:
        """What it acknowledged is gone; should it be taken in again, it has to say so anew."""
        self.acknowledged.pop((seen.shard, seen.before.term, seen.member), None)

    def _violate(self, judge: str, text: str) -> None:
        assert self._world is not None
        self._world.violate(judge, text)

    def finish(self, end: End) -> None:
        """Everything was said as it happened."""


class _Agreeing:
    """The members that hold what was settled."""

    __slots__ = ("_acknowledged", "_seen", "_self_has_it")

    def __init__(self, acknowledged: dict[tuple[int, int, Member], int], seen: Settled, self_has_it: bool) -> None:
        self._acknowledged, self._seen, self._self_has_it = acknowledged, seen, self_has_it

    def __contains__(self, member: object) -> bool:
        seen = self._seen
        if member == seen.member:
            return self._self_has_it
        assert isinstance(member, Member)
        return self._acknowledged.get((seen.shard, seen.term, member), 0) >= seen.position


def _unsafe(change: Change) -> tuple[str, str] | None:
    before, now = change.before, change.now
    if not do_meet(before, now):
        return "quorums-meet", f"{len(before.electors)} electors become {len(now.electors)}, and may decide apart"
    if change.before_at > change.commit:
        return "one-change-at-a-time", f"the one at {change.before_at} is not committed"
    if len(now.voters) % 2 == 0 or (now.incoming and len(now.incoming) % 2 == 0):
        return "one-change-at-a-time", f"to an even number of voters, {len(now.voters)}"
    return None
