"""A primary that rewrites history: it puts its own election, honestly won, in the place of something committed long before.

    victim:   1 2 3 4* 5 6          * committed, on its disk too
    lie:            E               extends 3 by hash, has a later term, and the votes of a quorum

Nothing of it is forged but the place, so only that a follower never gives up what is committed stands against it (S4). The lie is
told about positions that the victim's disk knows to be committed; about others, a primary that contradicts itself is more than
Raft survives.
"""

from __future__ import annotations

from dataclasses import replace

from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.model.messages_shard import Append, ShardMessage
from golemp2p.model.replication import Election, Entry
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
