"""What a shard replicates: values shared by the replica core, its messages, and storage (ARCHITECTURE 4).

entry       position 1, 2, 3, ... of the shard's log; hash = H(position, term, hash of the entry before, author, content)
content     LogSegment      the next piece of one of the logs that live in the shard; signed by itself
            Configuration   who votes and who only learns; simple, or joint while the voters change
            Election        who won a term, with the signed votes; always the first entry of its term
            Deletion        a log ends here (tombstone)
            NoOp
            Branch          an operator's forced recovery: history goes on from one survivor under another name
base        the position below which the shard's log was compacted away, with what must be known of it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from golemp2p.model.ids import Key
from golemp2p.model.light import light_dataclass

HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
BRANCH_BYTES = 16
DESCRIPTION_BYTES_MAX = 192 << 10
"""Arguments and environment of a worker, at most 128 KiB, are in its log's description."""
MAIN_BRANCH = bytes(BRANCH_BYTES)
"""The history that a mesh is born with."""
MILESTONES_MAX = 32
"""Three for each change of voters, one for each election. Who was away for more cannot follow them, and is not led any more."""


class Member(NamedTuple):
    """A replica: the node's public key (32 bytes) and the id of its store (16 bytes). A store that lost data gets a new id and
    so is another member (S9)."""

    public_key: bytes
    store_id: bytes


@light_dataclass(frozen=True, slots=True)
class Configuration:
    """``voters`` decide; ``learners`` receive everything and count for nothing. While the voters change (joint consensus)
    ``incoming`` holds the voters to come, and every decision needs a majority of both; else it is empty."""

    voters: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    incoming: tuple[Member, ...] = ()

    @property
    def is_joint(self) -> bool:
        return bool(self.incoming)

    @property
    def electors(self) -> tuple[Member, ...]:
        """Everyone whose vote counts, old voters first, each once."""
        return tuple(dict.fromkeys(self.voters + self.incoming)) if self.incoming else self.voters

    @property
    def members(self) -> tuple[Member, ...]:
        others = self.incoming + self.learners
        return tuple(dict.fromkeys(self.voters + others)) if others else self.voters


BLANK = Configuration(())
"""Of a replica that was told nothing yet."""


class Head(NamedTuple):
    """End of a log: index of its first unwritten entry, hash of its last segment."""

    tail: int
    hash: bytes


EMPTY_LOG = Head(1, NO_HASH)


@light_dataclass(frozen=True, slots=True)
class LogSegment:
    """Signed bytes of a log (``wire.segment``) with the facts of their header. ``first`` .. ``first + count - 1`` are the
    indexes of its entries; ``hash`` is the segment's own.

    ``description``: what the primary that wrote it says of the whole log as of this segment (``wire.description``), so that followers
    can list it and know its open work without reading it. Nothing signs it, and it is empty where a segment was fetched from somebody
    else: then the log itself is to be read."""

    log: Key
    term: int
    first: int
    count: int
    previous_hash: bytes
    author: bytes
    hash: bytes
    data: bytes
    description: bytes = b""


@light_dataclass(frozen=True, slots=True)
class Election:
    """``primary`` won the entry's term in ``configuration``; ``votes`` are (voter, its signature)."""

    primary: Member
    configuration: Configuration
    votes: tuple[tuple[Member, bytes], ...]


@dataclass(frozen=True, slots=True)
class Deletion:
    log: Key


@dataclass(frozen=True, slots=True)
class NoOp:
    pass


@dataclass(frozen=True, slots=True)
class Branch:
    """An operator lets ``survivor`` go on alone, though a majority of its group's disks is lost.

    ``branch`` names the new history. Entries after ``last_position`` may have been acknowledged and are missing; those in
    ``uncertain_from`` .. ``last_position`` are kept though nobody knows whether they had been committed. ``signature`` is the
    operator's over all of it.
    """

    branch: bytes
    survivor: Member
    uncertain_from: int
    last_position: int
    last_hash: bytes
    operator: bytes
    signature: bytes


Content: TypeAlias = LogSegment | Configuration | Election | Deletion | NoOp | Branch


@light_dataclass(frozen=True, slots=True)
class Entry:
    """``author``: public key of the primary of ``term``. ``signature``: the author's over ``hash``; empty for a ``LogSegment``
    (which is signed itself), an ``Election`` (votes) and a ``Branch`` (the operator's)."""

    position: int
    term: int
    previous_hash: bytes
    author: bytes
    content: Content
    signature: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Base:
    """Everything up to ``position`` is applied and only its outcome is kept: the heads of the logs, and this.

    ``author``: public key of the primary of ``term``, which entries after the base may still belong to. ``milestones``: elections and
    configurations up to here, oldest first, the newest ``MILESTONES_MAX`` and in any case the newest election: they prove to others
    who wrote, and who may.
    """

    position: int
    term: int
    hash: bytes
    author: bytes
    configuration: Configuration
    configuration_position: int
    branch: bytes = MAIN_BRANCH
    milestones: tuple[Entry, ...] = ()


BLANK_BASE = Base(0, 0, NO_HASH, b"", BLANK, 0)


def base_at_birth(founder: Member) -> Base:
    """Configuration zero of every shard is the founder alone (S0)."""
    return Base(0, 0, NO_HASH, b"", Configuration((founder,)), 0)
