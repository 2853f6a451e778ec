"""Whether an entry that somebody sent may follow what a replica holds (S4). Never trusts the entry's own claims.

hash       H(position, term, hash of the entry before, author, content)
term       that of the entry before; or a higher one, if the entry is the election (or the forced branch) that opens it
author     the primary which that election names; signature by it
content    an election has the votes of a quorum of the configuration in force; a configuration is one step from it (S8); a segment
           or a deletion continues its log
"""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p.core.configuration import is_quorum, is_step
from golemp2p.core.notary import Notary
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.core.replica_rules import Rules
from golemp2p.model.replication import Base, Branch, Configuration, Election, Entry, LogSegment


def differs(left: bytes, right: bytes, rules: Rules) -> bool:
    """Whether two hashes of the chain contradict each other."""
    return rules.hash_chain_check and left != right


def checks_steps(rules: Rules) -> bool:
    """Whether configurations follow one another by steps: not in a group that changes its voters at once."""
    return rules.joint_consensus and rules.configuration_step_check


def violation(entry: Entry, log: ReplicaLog, notary: Notary, rules: Rules) -> str | None:
    """Why ``entry`` may not stand at its position, right after what ``log`` holds before it; ``None`` if it may."""
    before = entry.position - 1
    if differs(entry.previous_hash, log.hash_at(before), rules) or differs(entry.hash, _hash_of(entry, notary), rules):
        return "hash"
    term_before = log.term_at(before)
    opens_term = entry.term > term_before
    if opens_term != (entry.content.__class__ in (Election, Branch)) or entry.term < term_before:
        return "term"
    if not opens_term and entry.author != log.author_at(before):
        return "author"
    if rules.verify_signature and not _is_signed(entry, log.configuration_at(before), notary):
        return "signature"
    content = entry.content
    is_free = content.__class__ is not Configuration or is_step(log.configuration_at(before), content)
    if not is_free and checks_steps(rules):
        return "configuration"
    if not log.heads.extends(entry.content, at=before):
        return "log"
    return None


def _hash_of(entry: Entry, notary: Notary) -> bytes:
    return notary.entry_hash(entry.position, entry.term, entry.previous_hash, entry.author, entry.content)


def _is_signed(entry: Entry, configuration: Configuration, notary: Notary) -> bool:
    content = entry.content
    if content.__class__ is LogSegment:
        matches = content.author == entry.author and content.term == entry.term
        return matches and notary.is_segment_signed(content)
    if content.__class__ is Election:
        return is_elected(content, entry.term, configuration, notary) and content.primary.public_key == entry.author
    if content.__class__ is Branch:
        continues = content.last_position == entry.position - 1 and content.last_hash == entry.previous_hash
        return continues and content.survivor.public_key == entry.author and notary.is_branch_signed(content)
    return notary.is_entry_signed(entry.hash, entry.signature, entry.author)


def is_elected(election: Election, term: int, configuration: Configuration, notary: Notary) -> bool:
    """Whether ``election`` proves that its primary won ``term`` in ``configuration``. The primary need not be of the electors: it may
    be leaving."""
    if election.configuration != configuration:
        return False
    primary = election.primary.public_key
    voted = [voter for voter, vote in election.votes if notary.is_vote(term, primary, voter.public_key, vote)]
    return is_quorum(configuration, voted)


def intact(base: Base, entries: Sequence[Entry], notary: Notary) -> list[Entry]:
    """Of ``entries``, which storage holds, those up to the first that does not follow from the one before it."""
    found: list[Entry] = []
    position, term, last_hash = base.position, base.term, base.hash
    for entry in entries:
        expected = notary.entry_hash(position + 1, entry.term, last_hash, entry.author, entry.content)
        if entry.position != position + 1 or entry.term < term or entry.hash != expected:
            break
        found.append(entry)
        position, term, last_hash = entry.position, entry.term, entry.hash
    return found
