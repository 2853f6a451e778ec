"""Stands beside the replicas of one node and tells the judges what they did (``shard_seen``). Changes nothing.

    core effects ──> node ──> Send, Persist(then=Send ...) ──> world
                       └── witness: an observation right behind each promise, so that it is seen exactly if the promise left

An observation inside ``Persist.then`` happens when the write is durable, as the message does; one behind a bare ``Send`` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from golemp2p.core.effects import Send
from golemp2p.core.replica import Replica
from golemp2p.core.replica_log import ReplicaLog
from golemp2p.core.replica_state import Role
from golemp2p.model.messages_shard import Appended, RequestVote, ShardMessage
from golemp2p.model.messages_shard import Voted as VoteBody
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Configuration, Entry, Member
from golemp2p_sim.node import Ballot
from golemp2p_sim.shard_seen import Acknowledged, Born, Change, Cut, Doubted, Forgot, Kept, Serving, Settled, Stored, Voted

PROMISES = (Appended, VoteBody, RequestVote)


class Watched(Protocol):
    """A replica on a simulated node. ``applied``: entries up to here are known to be committed."""

    @property
    def shard(self) -> int: ...

    @property
    def replica(self) -> Replica: ...

    @property
    def applied(self) -> int: ...


class Witness:
    """One per process. ``durable_of``: what the disk holds of a shard. ``_asked``: the request for a vote being answered, with shard,
    term and candidate before it, and whom this node was loyal to as it came behind it. ``_handed``: per shard, the record in the newest
    write; ``_led``: term and position of the newest entry that this node wrote as its primary."""

    __slots__ = ("_asked", "_durable_of", "_handed", "_led", "_member", "_written")

    def __init__(self, member: Member, durable_of: Callable[[int], Stored]) -> None:
        self._member, self._durable_of = member, durable_of
        self._asked: tuple[tuple[int, int, bytes], RequestVote, bytes | None] | None = None
        self._written: dict[int, dict[int, bytes]] = {}  # shard -> position -> hash of what was handed over in this life
        self._handed: dict[int, ReplicaRecord] = {}
        self._led: dict[int, tuple[int, int]] = {}

    def born(self, copy: Watched) -> Born:
        return Born(copy.shard, self._member, copy.replica.log.base, copy.replica.record)

    def hears(self, copy: Watched, sender: bytes, message: ShardMessage) -> None:
        """Before the core does."""
        body = message.body
        self._asked = None
        if type(body) is RequestVote and not body.trial:
            self._asked = (message.shard, message.term, sender), body, self._loyal_to(copy, sender)

    def _loyal_to(self, copy: Watched, candidate: bytes) -> bytes | None:
        replica = copy.replica
        if replica.is_serving:
            return self._member.public_key
        primary = replica.primary
        if replica.role is Role.PRIMARY or primary is None or primary == candidate or replica.suspects(primary):
            return None
        return primary

    def behind(self, copy: Watched, sends: Iterable[Send]) -> tuple[Any, ...]:
        """``sends``, each with what it promises behind it."""
        told: list[Any] = []
        for send in sends:
            told.append(send)
            if type(send.message.body) in PROMISES:
                told += self.promises(copy, send)
        return tuple(told)

    def promises(self, copy: Watched, send: Send) -> Sequence[Any]:
        """What ``send`` promises, to be seen when it has left."""
        message = send.message
        match message.body:
            case Appended(refusal=None) as body:
                durable = self._durable_of(copy.shard)
                return (Acknowledged(copy.shard, self._member, message.term, body.position, durable, send.peer),)
            case VoteBody(trial=False, refusal=None) as body:
                assert self._asked is not None, "nobody votes unasked"
                about, asked, loyal_to = self._asked
                assert about == (copy.shard, body.term, send.peer), "a vote answers the request that was just heard"
                return self._vote(copy, body.term, send.peer, asked, loyal_to)
            case RequestVote(trial=False) as body:
                return self._vote(copy, message.term, self._member.public_key, body, None)
        return ()

    def _vote(self, copy: Watched, term: int, candidate: bytes, asked: RequestVote, loyal_to: bytes | None) -> Sequence[Any]:
        shard, member, durable = copy.shard, self._member, self._durable_of(copy.shard)
        asked_last, own_last = (asked.last_term, asked.last_position), copy.replica.log.last
        return (
            Ballot(shard, member, term, candidate, lambda: _is_recorded(durable, term, candidate)),
            Voted(shard, member, term, asked_last, own_last, loyal_to, asked.hand_over, durable),
        )

    def written(self, copy: Watched, write: ReplicaWrite) -> Sequence[Any]:
        """What is handed to the disk."""
        shard, member, record = copy.shard, self._member, write.record
        seen: list[Any] = []
        log = copy.replica.log
        written = self._written.setdefault(shard, {})
        if write.truncate_from is not None:
            seen.append(Cut(shard, member, write.truncate_from, copy.applied))
            self._written[shard] = written = {at: one for at, one in written.items() if at < write.truncate_from}
        if write.is_forgotten or write.base is not None:
            written.clear()
        if write.is_install and write.base is not None:
            seen.append(Born(shard, member, write.base, None))
        entries = write.entries
        if entries:
            previous_hash = self._written_at(shard, entries[0].position - 1, log)
            is_own = (entries[0].author, entries[0].term) == (member.public_key, record.term)
            if is_own:
                self._led[shard] = record.term, entries[-1].position
            changes = _changes(log, entries, record.commit)
            seen.append(Kept(shard, member, previous_hash, entries, record.term if is_own else None, changes))
            written.update((entry.position, entry.hash) for entry in entries)
        self._handed[shard] = record
        return seen

    def _written_at(self, shard: int, position: int, log: ReplicaLog) -> bytes | None:
        """Hash of the entry there when this write was made: of a later write of the same event, the log tells already."""
        written = self._written[shard].get(position)
        return written or (log.hash_at(position) if log.holds(position) else None)

    def forgot(self, shard: int, write: ReplicaWrite) -> Sequence[Forgot]:
        """To be seen when ``write``, which is about to be handed to the disk, is durable."""
        if not write.is_forgotten:
            return ()
        before = self._handed.get(shard) or self._durable_of(shard).record
        return (Forgot(shard, self._member, before, write.record),)

    def settled(self, copy: Watched, position: int) -> Sequence[Settled]:
        """Entries up to ``position`` were just committed."""
        replica = copy.replica
        log = replica.log
        if replica.role is not Role.PRIMARY or not log.holds(position):
            return ()
        configurations = (log.configuration_at(position), log.configuration)
        durable = self._durable_of(copy.shard)
        return (Settled(copy.shard, self._member, replica.term, position, log.term_at(position), configurations, durable),)

    def stopped(self, shard: int, reason: str) -> Sequence[Doubted]:
        """It serves no longer, for ``reason``. To be told in order with ``written``."""
        led = self._led.get(shard)
        return () if led is None or reason != "no-majority" else (Doubted(shard, self._member, *led),)

    def serving(self, copy: Watched, *, begins: bool = False) -> Sequence[Serving]:
        """To be asked when serving begins, and now and then."""
        replica = copy.replica
        if not replica.is_serving:
            return ()
        configuration = replica.configuration
        suspected = tuple([key for key, _ in configuration.electors if replica.suspects(key)])
        if not suspected and not begins:
            return ()
        return (Serving(copy.shard, self._member, replica.term, configuration, suspected),)


def _changes(log: ReplicaLog, entries: Iterable[Entry], commit: int) -> tuple[Change, ...]:
    return tuple(
        [
            Change(log.configuration_at(entry.position - 1), _configured_at(log, entry.position), entry.content, commit)
            for entry in entries
            if entry.content.__class__ is Configuration
        ]
    )


def _configured_at(log: ReplicaLog, position: int) -> int:
    """Where the configuration before ``position`` stands."""
    earlier = (entry.position for entry in reversed(log.entries) if entry.content.__class__ is Configuration)
    return next((at for at in earlier if at < position), log.base.configuration_position)


def _is_recorded(durable: Stored, term: int, candidate: bytes) -> bool:
    record = durable.record
    voted_for = record.voted_for.public_key if record.voted_for is not None else None
    return record.term > term or (record.term, voted_for) == (term, candidate)
