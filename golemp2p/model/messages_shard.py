"""What the replicas of a shard tell each other. Every message is a ``ShardMessage`` around one of the bodies.

    candidate --RequestVote--> voter --Voted--> candidate
    voter --AskPrimary--> whom it holds for the primary --Resigned--> voter     so that nobody sticks to one that resigned
    primary --Append--> follower --Appended--> primary
    primary --TakeOver--> follower                               hand-over: campaign now, although I am alive
    primary --Offer--> follower                                  what you lack is compacted away: take my base
    follower --FetchManifest--> primary --ManifestPage--> follower
    follower --FetchSegments--> any replica --FetchedSegments--> follower

Any of them may be lost, repeated, or overtaken by others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from golemp2p.model.ids import Key
from golemp2p.model.light import light_dataclass
from golemp2p.model.replication import Base, Configuration, Entry, Head, LogSegment


class Refusal(IntEnum):
    """Why a vote or an append was refused. The numbers are what the wire carries."""

    OLD_TERM = 1
    PRIMARY_ALIVE = 2
    DAMAGED = 3  # "I cannot tell": the replica lost what it once acknowledged
    NOT_A_VOTER = 4
    NOT_A_MEMBER = 5
    BEHIND = 6  # the candidate's log, or the follower's
    VOTED = 7
    CONFLICT = 8
    VIOLATION = 9  # the sender broke the protocol
    BLANK = 10  # the follower has nothing and needs the base first
    UNPROVEN = 11  # the follower does not know that the sender won this term: show it


@light_dataclass(frozen=True, slots=True)
class RequestVote:
    """``trial``: would you vote for me in this term? Promises nothing. ``hand_over``: the primary wants it so (S3). ``milestones``: of
    the candidate's log, for a voter that does not know it."""

    trial: bool
    hand_over: bool
    last_position: int
    last_term: int
    configuration: Configuration
    configuration_position: int
    milestones: tuple[Entry, ...] = ()


@light_dataclass(frozen=True, slots=True)
class Voted:
    """``refusal`` is ``None`` for a granted vote. ``term``: the one asked for. ``signature``: the vote (empty when trial). ``primary``:
    to one that is no member any more, whom it may ask why (public key; else empty)."""

    term: int
    trial: bool
    refusal: Refusal | None
    signature: bytes
    primary: bytes = b""


@light_dataclass(frozen=True, slots=True)
class AskPrimary:
    """Somebody campaigns against you: are you still primary? Unanswered if so."""


@light_dataclass(frozen=True, slots=True)
class Resigned:
    """The sender is not primary of ``term``, in which it was asked."""

    term: int


@light_dataclass(frozen=True, slots=True)
class Append:
    """``entries`` follow the entry at ``previous_position``, which has this term and hash. ``commit``: the primary's. ``milestones``:
    of its log, for a follower that does not know who won the term."""

    previous_position: int
    previous_term: int
    previous_hash: bytes
    entries: tuple[Entry, ...]
    commit: int
    milestones: tuple[Entry, ...] = ()


@light_dataclass(frozen=True, slots=True)
class Appended:
    """Without ``refusal``: everything up to ``position`` is as the primary has it, and durable. With: ``position`` is the
    ``previous_position`` that was refused, and ``hint`` the last position that might match.

    ``damaged``: durable, but must not be counted: this replica lost entries that it acknowledged before. ``commit``: how far this
    replica knows the log to be committed.
    """

    position: int
    refusal: Refusal | None
    hint: int
    damaged: bool
    commit: int


@light_dataclass(frozen=True, slots=True)
class TakeOver:
    """Campaign now, although your primary is alive: it wants it so."""


@light_dataclass(frozen=True, slots=True)
class Offer:
    """``milestones``: of the primary's log, those after ``base``."""

    base: Base
    milestones: tuple[Entry, ...] = ()


@light_dataclass(frozen=True, slots=True)
class FetchManifest:
    """The heads of logs after ``after`` (``None``: from the start), in the order of keys, as of the base at ``position``."""

    position: int
    after: Key | None


@light_dataclass(frozen=True, slots=True)
class ManifestPage:
    position: int
    after: Key | None
    heads: tuple[tuple[Key, Head], ...]
    is_last: bool


@light_dataclass(frozen=True, slots=True)
class FetchSegments:
    """Segments of ``log`` from index ``first`` up to ``tail`` (exclusive) as of the base at ``position``; the answer may hold fewer.
    ``position`` 0: as the log is now."""

    position: int
    log: Key
    first: int
    tail: int


@light_dataclass(frozen=True, slots=True)
class FetchedSegments:
    log: Key
    first: int
    segments: tuple[LogSegment, ...]


Body: TypeAlias = (
    RequestVote
    | Voted
    | AskPrimary
    | Resigned
    | Append
    | Appended
    | TakeOver
    | Offer
    | FetchManifest
    | ManifestPage
    | FetchSegments
    | FetchedSegments
)


@light_dataclass(frozen=True, slots=True)
class ShardMessage:
    """``term``: the sender's (a candidate's trial: the one it would campaign in). ``store_id``: of the sender's store, which
    together with its authenticated public key says which member speaks. Messages of another ``branch`` are not listened to."""

    shard: int
    branch: bytes
    term: int
    store_id: bytes
    body: Body
