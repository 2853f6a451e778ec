"""One shard, checked: that its entries follow from its base and from each other, and that whoever wrote them was elected.

    record -- base -- entry, entry, ...          milestones: elections, configurations, branches, also of entries long compacted
                                                            who won each term, for the segments of the logs

An election is checked for the votes of a majority of the configuration it names; after the base, where nothing is missing, that
configuration is the one in force. Hashes and votes need the mesh's genesis record, whose id is in them; without it (no mesh was founded
yet) only form, order and signatures are checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p.errors import DataDamaged
from golemp2p.model.replication import BLANK, Branch, Configuration, Election, Entry, LogSegment, Member
from golemp2p.ports import StoredReplica
from golemp2p.storage.replica_reading import configuration_after, has_others
from golemp2p.wire.certificate import is_vote
from golemp2p.wire.identity import is_signed
from golemp2p.wire.notary import entry_hash, is_branch_signed, is_entry_signed
from golemp2p.wire.segment import open_start


class Shard:
    """``held``: what the store has of it; ``milestones``: all that it has seen. ``mesh_id``: ``None`` without a genesis record.

    ``authors``: who won which term, as far as elections and branches prove it."""

    def __init__(self, number: int, held: StoredReplica, milestones: Sequence[Entry], mesh_id: bytes | None) -> None:
        self.number = number
        self.record, self.base, self.entries = held.record, held.base, held.entries
        self.heads = held.heads
        self.milestones = milestones
        self.authors: dict[int, bytes] = {}
        self._mesh_id = mesh_id

    @property
    def last_position(self) -> int:
        return self.entries[-1].position if self.entries else self.base.position

    @property
    def is_shared(self) -> bool:
        """Whether there are other members than one."""
        return has_others(self.base, self.entries)

    def check_milestones(self) -> int:
        """Raises ``DataDamaged``; fills ``authors``, up to what is damaged. Returns the number of elections."""
        elections = 0
        for entry in self.milestones:
            self._check_genuine(entry)
            content = entry.content
            if isinstance(content, Election):
                self._check_votes(entry, content)
                elections += 1
            if isinstance(content, Election | Branch) and self.authors.setdefault(entry.term, entry.author) != entry.author:
                raise self._damaged(entry, f"a second primary of term {entry.term}")
        if self.base.author and self.authors.setdefault(self.base.term, self.base.author) != self.base.author:
            raise DataDamaged(f"shard:{self.number}", "its base names another primary of its term than was elected")
        return elections

    def check_entries(self) -> None:
        """Raises ``DataDamaged`` for the first that does not follow."""
        base, record = self.base, self.record
        last = Entry(base.position, base.term, b"", base.author, base.configuration, b"", base.hash)
        in_force = base.configuration
        seen = {entry.position: entry for entry in self.milestones}
        for entry in self.entries:
            self._check_follows(entry, last, in_force)
            content = entry.content
            if isinstance(content, Election | Configuration | Branch) and seen.get(entry.position) != entry:
                raise self._damaged(entry, "is not kept as a milestone, as it should be")
            in_force = configuration_after(content, in_force)
            last = entry
        if not self.entries and base.configuration == BLANK:
            return  # forgotten, or never begun: only the record is there, and says what was
        if record.high_water > (last.term, last.position):
            reason = f"ends at {(last.term, last.position)} (term, position), and has acknowledged {record.high_water}"
            raise DataDamaged(f"shard:{self.number}", reason)
        if record.commit > last.position:
            raise DataDamaged(f"shard:{self.number}", f"is committed up to {record.commit}, and ends at {last.position}")

    def _check_follows(self, entry: Entry, last: Entry, in_force: Configuration) -> None:
        content = entry.content
        if entry.position != last.position + 1:
            raise self._damaged(entry, f"a gap after position {last.position}")
        if entry.author == b"":
            raise self._damaged(entry, "cannot be read")
        if entry.term > self.record.term or entry.term < last.term:
            raise self._damaged(entry, f"term {entry.term} after term {last.term}, in a record of term {self.record.term}")
        if isinstance(content, Election) and in_force not in (BLANK, content.configuration):
            raise self._damaged(entry, "the electors are not the configuration before it")
        opens = isinstance(content, Election | Branch)
        if opens != (entry.term > last.term) or (not opens and entry.author != last.author):
            raise self._damaged(entry, "another author than the primary of its term")
        self._check_genuine(entry)

    def _check_genuine(self, entry: Entry) -> None:
        """Hash and signature."""
        content, mesh_id = entry.content, self._mesh_id
        if isinstance(content, LogSegment):
            parsed = open_start(content.data)  # the rest is its log's
            if not is_signed(parsed.header, parsed.signature, entry.author) or content.term != entry.term:
                raise self._damaged(entry, "its segment is not signed by the primary of its term")
        elif not isinstance(content, Election | Branch) and not is_entry_signed(entry.hash, entry.signature, entry.author):
            raise self._damaged(entry, "the signature is not its author's")
        if mesh_id is None:
            return
        facts = (entry.position, entry.term, entry.previous_hash, entry.author, content)
        if entry.hash != entry_hash(*facts, mesh_id=mesh_id, shard=self.number):
            raise self._damaged(entry, "its hash is not that of its content after the entry before it")
        if isinstance(content, Branch) and not is_branch_signed(content, mesh_id=mesh_id, shard=self.number):
            raise self._damaged(entry, "the branch has not its operator's signature")

    def _check_votes(self, entry: Entry, election: Election) -> None:
        primary, shard = election.primary.public_key, self.number
        if primary != entry.author:
            raise self._damaged(entry, "was not written by whom it elects")
        mesh_id = self._mesh_id
        if mesh_id is None:
            return
        agreeing = {
            voter
            for voter, vote in election.votes
            if is_vote(vote, voter.public_key, mesh_id=mesh_id, shard=shard, term=entry.term, primary=primary)
        }
        if not is_quorum(election.configuration, agreeing):
            raise self._damaged(entry, f"{len(agreeing)} valid votes are no majority of its configuration")

    def _damaged(self, entry: Entry, reason: str) -> DataDamaged:
        kind = type(entry.content).__name__
        return DataDamaged(f"shard:{self.number}", f"{kind} at position {entry.position}, term {entry.term}: {reason}")


def is_quorum(configuration: Configuration, agreeing: set[Member]) -> bool:
    """A majority of the voters, and of the incoming ones too where there are any."""
    groups = [set(configuration.voters), set(configuration.incoming)]
    return bool(configuration.voters) and all(2 * len(group & agreeing) > len(group) for group in groups if group)
