"""Primaries that lie with what they may sign.

**Rewrites history**: it puts its own election, honestly won, in the place of something committed long before.

    victim:   1 2 3 4* 5 6          * committed, on its disk too
    lie:            E               extends 3 by hash, has a later term, and the votes of a quorum

Nothing of it is forged but the place, so only that a follower never gives up what is committed stands against it (S4). The lie is
told about positions that the victim's disk knows to be committed; about others, a primary that contradicts itself is more than
Raft survives.

**Usurps**: in the place of its newest entry it writes a configuration with itself alone. All of it is sound but that voters may not
change so: only that a follower takes no configuration but a step from the one before stands against it (S8).

**Poses**: a follower speaks as the primary of a term that nobody has won: only that the others ask for votes stands against it (S7).
"""

from __future__ import annotations

from dataclasses import replace

from golemp2p.core.configuration import is_step
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.model.messages_shard import Append, Appended, ShardMessage
from golemp2p.model.replication import Configuration, Election, Entry, Member
from golemp2p_sim.shard_wire import HashNotary


def rewritten(message: ShardMessage, election: Entry | None, log: ReplicaLog, durable: ReplicaDurable) -> ShardMessage | None:
    """What to say instead of the append ``message`` to one whose log is ``log``; ``None``: nothing that it would believe.
    ``election``: the liar's newest."""
    position = durable.record.commit
    if type(message.body) is not Append or election is None or election.term != message.term:
        return None
    if not log.base.position < position <= log.commit or log.term_at(position) >= election.term:
        return None
    before, content = position - 1, election.content
    if not isinstance(content, Election) or content.configuration != log.configuration_at(before):
        return None
    previous_hash, author = log.hash_at(before), election.author
    entry_hash = HashNotary(author).entry_hash(position, election.term, previous_hash, author, content)
    lie = Entry(position, election.term, previous_hash, author, content, b"", entry_hash)
    return replace(message, body=Append(before, log.term_at(before), previous_hash, (lie,), 0))


def usurped(message: ShardMessage, liar: Member, log: ReplicaLog) -> ShardMessage | None:
    """What to say instead of the append ``message``. ``log``: the liar's."""
    body = message.body
    if type(body) is not Append or not body.entries:
        return None
    last, alone = body.entries[-1], Configuration((liar,))
    before, author = last.position - 1, liar.public_key
    if last.author != author or isinstance(last.content, Election) or not log.holds(before):
        return None
    if is_step(log.configuration_at(before), alone):
        return None
    notary = HashNotary(author)
    entry_hash = notary.entry_hash(last.position, last.term, last.previous_hash, author, alone)
    lie = Entry(last.position, last.term, last.previous_hash, author, alone, notary.sign_entry(entry_hash), entry_hash)
    return replace(message, body=replace(body, entries=(*body.entries[:-1], lie)))


def posed(message: ShardMessage, log: ReplicaLog) -> ShardMessage | None:
    """What to say instead of the acknowledgement ``message``. ``log``: the victim's, which it will not find fault with."""
    if type(message.body) is not Appended or log.is_blank:
        return None
    append = Append(log.commit, log.term_at(log.commit), log.hash_at(log.commit), (), log.commit)
    return replace(message, term=message.term + 1, body=append)
