"""Whether somebody is primary of a term: what a replica's own log says, and what the milestones of another log prove (S7).

    milestones    the elections and configurations of a log, without what stands between them

An election proves who won its term, if a quorum of a configuration that the replica knows signed it. A configuration is known if it is
in the replica's own log, or signed by the primary of its term and one step from a known one. So a replica that was away for several
changes of members and several elections follows them one by one, and believes no claim that stands alone.
"""

from __future__ import annotations

from golemp2p.core.configuration import is_step
from golemp2p.core.entry_check import checks_steps, is_elected
from golemp2p.core.notary import Notary
from golemp2p.core.replica_log import MILESTONES
from golemp2p.core.replica_state import ReplicaState
from golemp2p.model.messages_shard import Append, Offer, RequestVote, TakeOver
from golemp2p.model.replication import Configuration, Election, Entry


def is_primary(state: ReplicaState, key: bytes, term: int, shown: Append | Offer | TakeOver) -> bool:
    """Whether the node ``key``, which sent ``shown``, won ``term``, as far as the replica can tell."""
    log = state.log
    if log.last_term == term and log.author_at(log.last_position) == key:
        return True
    return _followed(state, shown)[0].get(term) == key


def newest_configuration(state: ReplicaState, shown: RequestVote) -> Configuration:
    """The last one that the replica knows, by its own log and what it is shown."""
    return _followed(state, shown)[1]


def _milestones(shown: Append | Offer | TakeOver | RequestVote) -> tuple[Entry, ...]:
    """The milestones that a message carries, oldest first."""
    match shown:
        case Append():
            return (*shown.milestones, *(entry for entry in shown.entries if entry.content.__class__ in MILESTONES))
        case Offer():
            return (*shown.base.milestones, *shown.milestones)
        case RequestVote():
            return shown.milestones
        case TakeOver():
            return ()


def _followed(state: ReplicaState, shown: Append | Offer | TakeOver | RequestVote) -> tuple[dict[int, bytes], Configuration]:
    """Primaries by term, and the newest configuration. What proves nothing is passed over: it may be older than this log, or
    follow from what is missing."""
    log, notary = state.log, state.notary
    primaries, known = log.primaries(), log.configurations()
    for entry in _milestones(shown):
        is_own = log.holds(entry.position) and log.hash_at(entry.position) == entry.hash
        if is_own or entry.position <= log.base.position:
            continue
        content = entry.content
        if content.__class__ is Election:
            is_won = content.configuration in known and is_elected(content, entry.term, content.configuration, notary)
            if is_won and content.primary.public_key == entry.author:
                primaries.setdefault(entry.term, entry.author)
        elif content.__class__ is Configuration:
            is_next = any(is_step(before, content) for before in known) or not checks_steps(state.rules)
            if is_next and primaries.get(entry.term) == entry.author and _is_genuine(entry, notary):
                known.append(content)
    return primaries, known[-1]


def _is_genuine(entry: Entry, notary: Notary) -> bool:
    expected = notary.entry_hash(entry.position, entry.term, entry.previous_hash, entry.author, entry.content)
    return entry.hash == expected and notary.is_entry_signed(entry.hash, entry.signature, entry.author)
