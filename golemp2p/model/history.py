"""What checking a worker's history finds: facts, what could not be shown, and what is wrong.

*Not shown* is what the evidence at hand does not reach: the certificate of a term that no replica kept, bytes that were left out.
*Wrong* is what honest nodes cannot have made, or what was changed since. The two are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from golemp2p.model.replication import Branch

LISTED_MAX = 1000
"""Of problems of one kind, runs, and terms in a report; all are counted."""


class Standing(Enum):
    """How the primary of a term is known. ``ELECTED``: by votes of a majority of a configuration that follows from the mesh's birth.
    ``FORCED``: by an order of the operator. ``UNSHOWN``: by votes of a majority of the configuration that its election names, of which
    the evidence does not show that it was in force."""

    ELECTED = "elected"
    FORCED = "forced"
    UNSHOWN = "not shown"


class TermShown(NamedTuple):
    """``primary``: public key; ``position``: of the election in the shard's log; ``votes`` genuine ones of ``voters`` who may vote (of
    both halves of a joint configuration)."""

    term: int
    position: int
    primary: bytes
    standing: Standing
    votes: int
    voters: int


class Problem(NamedTuple):
    """``place``: where, in words (``worker log, index 17``). ``at``: the oplog index it is about, 0 where there is none."""

    place: str
    reason: str
    at: int = 0

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Problems:
    """Up to ``LISTED_MAX`` of them, and how many there were."""

    __slots__ = ("count", "listed")

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Problem] = []

    def add(self, place: str, reason: str, at: int = 0) -> None:
        self.count += 1
        if len(self.listed) < LISTED_MAX:
            self.listed.append(Problem(place, reason, at))

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(slots=True)
class Run:
    """Consecutive segments of one term: who ran the log then. ``first`` .. ``last``: their indexes, inclusive.

    ``standing``: ``None`` where no election of the term is shown. ``vouched_by``: the next term shown to be elected whose primary built
    on them (0: none), and so held them for genuine."""

    term: int
    author: bytes
    first: int
    last: int
    segments: int
    standing: Standing | None
    vouched_by: int = 0


class Seal(NamedTuple):
    """Who says so: a node's signature under a part of the history. ``holds``: whether the node is a member of the newest configuration
    that the part shows; ``position``: of the shard's log, up to which the node knew it to be committed."""

    node: bytes
    time_ns: int
    position: int
    holds: bool


@dataclass(slots=True)
class LogFindings:
    """Of one log: a worker's, or its component's. ``tail``: index after its last entry; ``head_hash``: hash of its last segment."""

    kind: str
    identity: str
    shard: int
    tail: int = 1
    head_hash: bytes = b""
    segments: int = 0
    bytes: int = 0
    runs: list[Run] = field(default_factory=list)
    runs_count: int = 0
    elections: int = 0
    configurations: int = 0
    votes: int = 0
    branches: list[Branch] = field(default_factory=list)
    seal: Seal | None = None


@dataclass(slots=True)
class RunFindings:
    """Of the re-execution. ``invocations``: results that were recorded and computed again, and were equal; ``failures`` likewise.

    ``end``: how the journal ends: ``idle``, ``unfinished`` (in the middle of an invocation), ``failed``, ``exited``, or ``""`` when the
    re-execution did not get there. ``divergence``: (oplog index, what the journal holds, what the guest did)."""

    invocations: int = 0
    failures: int = 0
    host_calls: int = 0
    lines: int = 0
    cut_short: int = 0
    end: str = ""
    divergence: tuple[int, str, str] | None = None


@dataclass(slots=True)
class HistoryReport:
    """``run`` is ``None`` where nothing was re-executed. ``component``: (version, SHA-256) of what the worker runs, where the log of
    its component says so."""

    mesh_id: bytes
    component_id: str
    worker_name: str
    component: tuple[int, bytes] | None = None
    logs: list[LogFindings] = field(default_factory=list)
    blobs: int = 0
    blob_bytes: int = 0
    invocations: int = 0
    run: RunFindings | None = None
    wrong: Problems = field(default_factory=Problems)
    unshown: Problems = field(default_factory=Problems)

    @property
    def verdict(self) -> str:
        """``wrong``, ``incomplete`` (nothing is wrong, and not all is shown), or ``verified``."""
        return "wrong" if self.wrong else "incomplete" if self.unshown else "verified"
