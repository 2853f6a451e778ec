"""What nodes tell each other about themselves when they are asked: a call of kind ``STATUS``. For people and routing; nothing of it
decides who may write.

    StatusAsked ──> NodeFacts   what stays while a node runs: version, HTTP address, start
                    NodeLoad    how much it holds just now
                    reports     of its replicas, a page at a time
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

VERSION_BYTES_MAX = 64
HTTP_BYTES_MAX = 256
REPORTS_MAX = 1_024
"""Reports in one answer: some 350 KB, if all have three voters and a learner."""
MEMBERS_MAX = 24
"""Voters, incoming voters and learners of one shard."""


class Wanted(IntEnum):
    """Which replicas a node is asked to report."""

    NOTHING = 0
    LED = 1
    HELD = 2


class ReplicaRole(IntEnum):
    FOLLOWER = 0
    CANDIDATE = 1
    PRIMARY = 2


@dataclass(frozen=True, slots=True)
class StatusAsked:
    """``first``: reports start with this shard."""

    wanted: Wanted = Wanted.NOTHING
    first: int = 0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """``http``: where this node's HTTP can be reached by others, such as ``http://10.0.0.1:9881``; "" if nowhere. ``started_ns``: Unix
    time."""

    version: str
    http: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """Numbers of replicas: with a vote, without one, and those of which the node is primary."""

    voting: int
    learning: int
    leading: int

    @property
    def held(self) -> int:
        return self.voting + self.learning


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica as its node sees it. ``primary``: public key, empty while unknown. ``voters``, ``learners``: public keys of the
    newest configuration it has; while voters change, the incoming ones are among them. ``last_term``, ``last_position``: of its last
    entry."""

    shard: int
    role: ReplicaRole
    is_serving: bool
    is_damaged: bool
    branch: bytes
    term: int
    primary: bytes
    voters: tuple[bytes, ...]
    learners: tuple[bytes, ...]
    last_term: int
    last_position: int
    commit: int


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """``next_shard``: where the next page starts; ``None`` after the last."""

    facts: NodeFacts
    load: NodeLoad
    reports: tuple[ReplicaReport, ...] = ()
    next_shard: int | None = None
