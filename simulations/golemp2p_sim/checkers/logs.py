"""The logs of the core's replicas, as they are written: S0, S4, S7.

one-birth                all replicas of a shard begin with the same configuration                                       S0
log-matching             there is one entry for a position and a term, the same after the same entry before it           S4
committed-is-kept        nobody gives up entries that it knows to be committed                                           S4
one-life-per-term        what is written under a term is written by one process: not by another one, nor after a restart S7
followed-is-elected      nobody acknowledges anything to another node than the one that won the term                      S7
certificate              an election in the log has votes of a quorum, each of which was cast, by this node and store    S7, S9
"""

from __future__ import annotations

from golemp2p.model.replication import Base, Election, Entry, LogSegment
from golemp2p_sim.checkers import End
from golemp2p_sim.checkers.quorums import is_decided_by
from golemp2p_sim.checkers.votes import Votes
from golemp2p_sim.shard_seen import Acknowledged, Born, Cut, Kept
from golemp2p_sim.world import World


class Logs:
    """Uses what ``Votes`` collected: watch that one first."""

    name = "log-matching"

    def __init__(self, votes: Votes) -> None:
        self._votes = votes
        self._bases: dict[int, Base] = {}
        self._entries: dict[tuple[int, int, int], tuple[bytes, bytes]] = {}
        self._writers: dict[tuple[int, int], tuple[int, int]] = {}
        self._elected: dict[tuple[int, int], bytes] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Born, self.on_born)
        world.watch(Kept, self.on_kept)
        world.watch(Cut, self.on_cut)
        world.watch(Acknowledged, self.on_acknowledged)

    def on_born(self, _time_ns: int, node: int, seen: Born) -> None:
        base = seen.base
        if base.position:
            known = self._entries.get((seen.shard, base.term, base.position))
            if known is not None and known[0] != base.hash:
                place = f"shard {seen.shard} position {base.position}, term {base.term}"
                self._violate(self.name, f"{place}: n{node} begins after an entry that its primary did not write there")
        elif base.configuration.voters and self._bases.setdefault(seen.shard, base) != base:
            self._violate("one-birth", f"shard {seen.shard}: n{node} begins with another configuration")

    def on_kept(self, _time_ns: int, node: int, seen: Kept) -> None:
        previous_hash = seen.previous_hash
        for entry in seen.entries:
            place = f"shard {seen.shard} position {entry.position}, term {entry.term}"
            content = entry.content
            said = content.hash if content.__class__ is LogSegment else b""
            known = self._entries.setdefault((seen.shard, entry.term, entry.position), (entry.hash, said))
            if known != (entry.hash, said) or previous_hash not in (None, entry.previous_hash):
                self._violate(self.name, f"{place}: n{node} keeps an entry that its primary did not write there")
                return
            if content.__class__ is Election:
                if seen.written_in is not None:
                    self._elected[seen.shard, entry.term] = entry.author
                self._on_election(node, seen.shard, entry, content)
            previous_hash = entry.hash
        if seen.written_in is not None:
            self._on_written(node, seen.shard, seen.written_in)

    def _on_written(self, node: int, shard: int, term: int) -> None:
        assert self._world is not None
        life = (node, self._world.hosts[node].starts)
        first = self._writers.setdefault((shard, term), life)
        if first != life:
            text = f"shard {shard} term {term}: n{node} in its life {life[1]} writes, as did n{first[0]} in its life {first[1]}"
            self._violate("one-life-per-term", text)

    def _on_election(self, node: int, shard: int, entry: Entry, election: Election) -> None:
        primary = election.primary
        cast = self._votes.cast
        voters = [
            member
            for member, _ in election.votes
            if member == primary or cast.get((shard, member, entry.term)) == primary.public_key
        ]
        place = f"shard {shard} term {entry.term}: n{node} keeps an election"
        if len(voters) < len(election.votes):
            self._violate("certificate", f"{place} with a vote that nobody cast")
        elif not is_decided_by(election.configuration, voters):
            self._violate("certificate", f"{place} without a quorum")

    def on_acknowledged(self, _time_ns: int, node: int, seen: Acknowledged) -> None:
        if self._elected.get((seen.shard, seen.term)) != seen.primary:
            text = f"shard {seen.shard} term {seen.term}: n{node} follows a node that has not won an election"
            self._violate("followed-is-elected", text)

    def on_cut(self, _time_ns: int, node: int, seen: Cut) -> None:
        if seen.first <= seen.committed:
            text = f"shard {seen.shard}: n{node} gives up its log from {seen.first} on, committed up to {seen.committed}"
            self._violate("committed-is-kept", text)

    def _violate(self, judge: str, text: str) -> None:
        assert self._world is not None
        self._world.violate(judge, text)

    def finish(self, end: End) -> None:
        """Everything was said as it happened."""
