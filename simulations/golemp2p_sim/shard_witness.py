"""Stands beside the replicas of one node and tells the judges what they did (``shard_seen``). Changes nothing.

    core effects ──> node ──> Send, Persist(then=Send ...) ──> world
                       └── witness: an observation right behind each promise, so that it is seen exactly if the promise left

An observation inside ``Persist.then`` happens when the write is durable, as the message does; one behind a bare ``Send`` at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from golemp2p.core.effects import Send
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import ReplicaWrite
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.model.messages_shard import Appended, RequestVote, ShardMessage
from golemp2p.model.messages_shard import Voted as VoteBody
from golemp2p.model.replication import Configuration, Entry, Member
from golemp2p_sim.node import Ballot
from golemp2p_sim.shard_copy import ShardCopy
from golemp2p_sim.shard_image import ShardImage
from golemp2p_sim.shard_seen import Acknowledged, Born, Change, Cut, Kept, Serving, Settled, Voted

_PROMISES = (Appended, VoteBody, RequestVote)


class Witness:
    """One per process. ``_asked``: the request for a vote being answered, and whom this node was loyal to as it came."""

    __slots__ = ("_asked", "_image", "_member")

    def __init__(self, member: Member, image: ShardImage) -> None:
        self._member, self._image = member, image
        self._asked: tuple[RequestVote, bytes | None] | None = None

    def born(self, copy: ShardCopy) -> Born:
        return Born(copy.shard, self._member, self._image.shards[copy.shard].base)

    def hears(self, copy: ShardCopy, sender: bytes, message: ShardMessage) -> None:
        """Before the core does."""
        body = message.body
        self._asked = (body, self._loyal_to(copy, sender)) if type(body) is RequestVote else None

    def _loyal_to(self, copy: ShardCopy, candidate: bytes) -> bytes | None:
        replica = copy.replica
        if replica.is_serving:
            return self._member.public_key
        primary = replica.primary
        if copy.is_primary or primary is None or primary == candidate or replica.suspects(primary):
            return None
        return primary

    def behind(self, copy: ShardCopy, sends: Iterable[Send]) -> tuple[Any, ...]:
        """``sends``, each with what it promises behind it."""
        told: list[Any] = []
        for send in sends:
            told.append(send)
            if type(send.message.body) in _PROMISES:
                told += self._promises(copy, send)
        return tuple(told)

    def _promises(self, copy: ShardCopy, send: Send) -> Sequence[Any]:
        message = send.message
        match message.body:
            case Appended(refusal=None) as body:
                durable = self._image.shards[copy.shard]
                return (Acknowledged(copy.shard, self._member, message.term, body.position, durable),)
            case VoteBody(trial=False, refusal=None) as body if self._asked is not None:
                asked, loyal_to = self._asked
                return self._vote(copy, body.term, send.peer, asked, loyal_to)
            case RequestVote(trial=False) as body:
                return self._vote(copy, message.term, self._member.public_key, body, None)
        return ()

    def _vote(self, copy: ShardCopy, term: int, candidate: bytes, asked: RequestVote, loyal_to: bytes | None) -> Sequence[Any]:
        shard, member, durable = copy.shard, self._member, self._image.shards[copy.shard]
        asked_last, own_last = (asked.last_term, asked.last_position), copy.replica.log.last
        return (
            Ballot(shard, member, term, candidate, lambda: _is_recorded(durable, term, candidate)),
            Voted(shard, member, term, asked_last, own_last, loyal_to, asked.hand_over, durable),
        )

    def written(self, copy: ShardCopy, write: ReplicaWrite) -> Sequence[Any]:
        """What is handed to the disk."""
        seen: list[Any] = []
        log = copy.replica.log
        if write.truncate_from is not None:
            seen.append(Cut(copy.shard, self._member, write.truncate_from, copy.applied))
        if write.entries:
            previous = write.entries[0].position - 1
            previous_hash = log.hash_at(previous) if log.holds(previous) else None
            written_in = copy.replica.term if copy.is_primary else None
            changes = () if written_in is None else self._changes(log, write.entries)
            seen.append(Kept(copy.shard, self._member, previous_hash, write.entries, written_in, changes))
        return seen

    def _changes(self, log: ReplicaLog, entries: Iterable[Entry]) -> tuple[Change, ...]:
        return tuple(
            Change(log.configuration_at(entry.position - 1), _configured_at(log, entry.position), entry.content, log.commit)
            for entry in entries
            if entry.content.__class__ is Configuration
        )

    def settled(self, copy: ShardCopy, position: int) -> Sequence[Settled]:
        """Entries up to ``position`` were just committed."""
        replica = copy.replica
        log = replica.log
        if not copy.is_primary or not log.holds(position):
            return ()
        configurations = (log.configuration_at(position), log.configuration)
        durable = self._image.shards[copy.shard]
        return (Settled(copy.shard, self._member, replica.term, position, log.term_at(position), configurations, durable),)

    def serving(self, copy: ShardCopy, *, begins: bool = False) -> Sequence[Serving]:
        """To be asked when serving begins, and now and then."""
        replica = copy.replica
        if not copy.is_primary or not replica.is_serving:
            return ()
        configuration = replica.configuration
        suspected = tuple([key for key, _ in configuration.electors if replica.suspects(key)])
        if not suspected and not begins:
            return ()
        return (Serving(copy.shard, self._member, replica.term, configuration, suspected),)


def _configured_at(log: ReplicaLog, position: int) -> int:
    """Where the configuration before ``position`` stands."""
    earlier = (entry.position for entry in reversed(log.entries) if entry.content.__class__ is Configuration)
    return next((at for at in earlier if at < position), log.base.configuration_position)


def _is_recorded(durable: ReplicaDurable, term: int, candidate: bytes) -> bool:
    record = durable.record
    voted_for = record.voted_for.public_key if record.voted_for is not None else None
    return record.term > term or (record.term, voted_for) == (term, candidate)
