"""What replicas of the core did, told to the judges of S0-S10 at the moment when it took effect: facts, no verdicts.

    Voted, Acknowledged    the message has just left; ``durable`` is what this node's disk holds at that moment
    Kept, Cut              entries were handed to the disk; part of the log was given up
    Settled, Serving       a primary counted its followers; a primary goes on serving
    Doubted                a primary stopped serving, as its node holds a majority dead
    Born, Forgot           a process began with this replica; its group has removed it, and its data goes

``member`` is node *and* store. Positions and terms are the core's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from golemp2p.core.replica_durable import FRESH
from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import Base, Configuration, Entry, Member


class Stored(Protocol):
    """What a disk holds of a replica, as far as judges ask."""

    @property
    def record(self) -> ReplicaRecord: ...

    @property
    def base(self) -> Base: ...

    @property
    def entries(self) -> Sequence[Entry]: ...


@dataclass(frozen=True, slots=True)
class Born:
    """``base``: what the log starts from; blank for a newcomer. Said again when somebody's base takes its place. ``record``: what it
    knows of its promises; ``None``: it is not new."""

    shard: int
    member: Member
    base: Base
    record: ReplicaRecord | None = FRESH


@dataclass(frozen=True, slots=True)
class Forgot:
    """All but the record goes: ``before`` was handed to the disk last, ``kept`` is what stays."""

    shard: int
    member: Member
    before: ReplicaRecord
    kept: ReplicaRecord


@dataclass(frozen=True, slots=True)
class Voted:
    """Why ``member`` gave the vote that has just left (a ``Ballot``). Its own vote leaves as a request for the votes of others.

    ``asked_last``, ``own_last``: (term, position) of the last entry of the candidate, as it says, and of the voter.
    ``loyal_to``: key of another primary of this term which the voter's node held alive when it was asked, ``None`` if there was none.
    """

    shard: int
    member: Member
    term: int
    asked_last: tuple[int, int]
    own_last: tuple[int, int]
    loyal_to: bytes | None
    hand_over: bool
    durable: Stored


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Everything up to ``position`` was said to be durable, to the node with key ``primary`` as the primary of ``term``."""

    shard: int
    member: Member
    term: int
    position: int
    durable: Stored
    primary: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """The configuration ``now`` follows ``before``, which stands at ``before_at``, in the log of one that knows everything up to
    ``commit`` to be committed."""

    before: Configuration
    before_at: int
    now: Configuration
    commit: int


@dataclass(frozen=True, slots=True)
class Kept:
    """``entries`` follow an entry with hash ``previous_hash`` (``None``: it is not held). ``written_in``: the term in which this
    node wrote them itself, as primary, ``None`` if it was sent them; ``changes``: those of the members among them."""

    shard: int
    member: Member
    previous_hash: bytes | None
    entries: Sequence[Entry]
    written_in: int | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """Entries at ``first`` and after are given up. ``committed``: the newest that this process knew to be committed."""

    shard: int
    member: Member
    first: int
    committed: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The primary of ``term`` takes everything up to ``position`` for committed, whose entry has ``entry_term``.
    ``configurations``: in force there, and the newest in its log."""

    shard: int
    member: Member
    term: int
    position: int
    entry_term: int
    configurations: tuple[Configuration, Configuration]
    durable: Stored


@dataclass(frozen=True, slots=True)
class Serving:
    """The primary of ``term`` serves while its node holds those of the electors in ``suspected`` dead."""

    shard: int
    member: Member
    term: int
    configuration: Configuration
    suspected: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Doubted:
    """The primary of ``term``, which has written up to ``last``, does not know any more whether another one was elected."""

    shard: int
    member: Member
    term: int
    last: int
