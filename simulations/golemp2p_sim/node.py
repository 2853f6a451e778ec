"""What the world asks of the things it simulates: a node that takes events and returns effects, and the subject that makes nodes.

    world ── on_message, on_time, on_persisted, on_request ──> node ──> [Send, Persist, Notice, Reply, Step, observations ...]

A node is an adapter around the real cores (or the toy in ``toy.py``): it has no clock, no dice but those given, no way to reach
another node. A crash drops the object; a restart makes a new one and calls ``start`` with what the disk still holds.
Times given to a node are its own monotonic clock, which may run fast or slow and jump ahead; it starts anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from golemp2p_sim.world import World

from golemp2p.model.light import light_dataclass

# -- what clients and nodes say to each other ---------------------------------------------------------------------------------


@light_dataclass(frozen=True, slots=True)
class Request:
    """One attempt of a client at a gateway. ``key`` is the idempotency key, equal in all attempts; ``id`` is this attempt's."""

    id: int
    worker: str
    operation: tuple[Any, ...]
    key: str


@light_dataclass(frozen=True, slots=True)
class Reply:
    """Effect: answer ``request_id``. ``ok`` means the invocation's result is ``value``; otherwise the client should try again."""

    request_id: int
    ok: bool
    value: Any = None


# -- effects beside golemp2p.core.effects -------------------------------------------------------------------------------------


@light_dataclass(frozen=True, slots=True)
class Step:
    """Effect: the node stands at a named protocol step, where crashes can be aimed at (``in mid-change``, say)."""

    name: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Effect: the process stops itself (its disk failed, an invariant broke). Its supervisor starts it again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """Effect: what was lost or damaged on this node's disk is whole again; the atlas may harm another replica."""


@dataclass(frozen=True, slots=True)
class Departed:
    """Effect: the node was told to leave and nothing depends on it any more. Its process ends and never starts again."""


# -- what nodes tell the judge ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BecamePrimary:
    """This node serves ``shard`` in ``term`` from now on (S7: its election entry is committed)."""

    shard: int
    term: int


@light_dataclass(frozen=True, slots=True)
class Committed:
    """This node learned that positions ``first``... of ``shard`` are committed. ``chains``: hash chain at each of them."""

    shard: int
    first: int
    chains: tuple[int, ...]


@light_dataclass(frozen=True, slots=True)
class Executed:
    """This node's copy ran the invocation ``key`` of ``worker`` by the entry at ``position`` (not: found its recorded result)."""

    shard: int
    position: int
    worker: str
    key: str
    result: Any


@light_dataclass(frozen=True, slots=True)
class Answered:
    """A result leaves the primary (S6). ``position``, ``chain``: the newest entry the answer depends on."""

    shard: int
    position: int
    chain: int
    worker: str
    key: str
    result: Any


@light_dataclass(frozen=True, slots=True)
class Invoked:
    """A worker calls a worker, or a timer fires: an invocation that no client made. ``key`` is derived from the parent's."""

    worker: str
    operation: tuple[Any, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote has just left (S1). ``voter`` has one in ``term``, and gives it to ``candidate``; ``is_durable`` looks at its disk."""

    shard: int
    voter: Hashable
    term: int
    candidate: Hashable
    is_durable: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The serving primary begins a planned hand-over of ``shard``; the next ``BecamePrimary`` of another node ends it."""

    shard: int


@dataclass(frozen=True, slots=True)
class HeldDead:
    """This node's membership holds the node with key ``peer`` dead from now on."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class HeldAlive:
    """This node's membership holds ``peer`` alive again."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A lookup of this node ended. ``hops``: length of the longest chain of answers that led to the result, 0 if its own table was
    enough; ``rpcs``: questions sent; ``dead``: nodes that the result names and that do not run."""

    hops: int
    rpcs: int
    dead: int


@dataclass(frozen=True, slots=True)
class Sometimes:
    """A rare branch was reached; the run counts it."""

    name: str


# -- the node -----------------------------------------------------------------------------------------------------------------

Effects = Sequence[Any]


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What a replica holds, for the judge: ``sound`` is false while it cannot vouch for its data; ``state``: hash of all of it."""

    shard: int
    term: int
    primary: bool
    sound: bool
    commit: int
    chain: int
    state: int


class Image(Protocol):
    """What a disk holds, as a node reads it at start. ``disk.JournalImage`` serves most; a protocol may bring its own."""

    def apply(self, write: Any) -> None:
        """``write`` is durable."""
        ...

    def tear(self, write: Any, dice: Random) -> None:
        """A crash left part of ``write``. A reader must be able to see that it is not whole."""
        ...

    def rot(self, dice: Random) -> str:
        """Damage something that was sound; returns what, ``""`` when there was nothing."""
        ...

    def copy(self) -> Image:
        """An image that later writes to this one do not change."""
        ...


class SimulatedNode(Protocol):
    """One process. All methods return effects, carried out in order; none blocks."""

    def start(self, image: Image, now_ns: int) -> Effects: ...

    def on_message(self, sender: bytes, message: Any, now_ns: int) -> Effects: ...

    def on_time(self, now_ns: int) -> Effects: ...

    def on_persisted(self, token: int, now_ns: int) -> Effects: ...

    def on_write_failed(self, token: int, now_ns: int) -> Effects:
        """The disk refused the write (EIO, full): it and what hung on it are gone."""
        ...

    def on_reset(self, peer: bytes, now_ns: int) -> Effects:
        """The connection with ``peer`` broke: what was under way is lost, in both directions."""
        ...

    def on_request(self, request: Request, now_ns: int) -> Effects: ...

    def on_leave(self, now_ns: int) -> Effects:
        """Leave for good: hand everything over, then ``Departed``. Told again after a restart: repeating it is safe. Only called if
        the subject survives ``leave``."""
        ...

    def next_due_ns(self) -> int | None:
        """When ``on_time`` wants to be called, by the node's own clock."""
        ...

    def replicas(self) -> Sequence[ReplicaView]: ...

    def chain_at(self, shard: int, position: int) -> int | None:
        """Hash chain of the shard's log at ``position``; ``None``: not held (or compacted away)."""
        ...

    def queues(self) -> Mapping[str, tuple[int, int]]:
        """Everything that can grow: name -> (length now, limit promised)."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node is told at each start. ``keys[i]`` names node i; ``store``: 0 as delivered, another number after each loss.

    ``founder``: it was the first of all; with store 0 and a blank disk it founds the mesh. ``contacts``: the other nodes that have
    started before and not gone for good, in order of index; whoever has a blank disk and founds nothing asks them to be let in."""

    index: int
    keys: tuple[bytes, ...]
    store: int
    dice: Random
    founder: bool = False
    contacts: tuple[int, ...] = ()


class Subject(Protocol):
    """A protocol under test: makes nodes and says what it promises."""

    name: str
    survives: frozenset[str]
    """Fault kinds (``faults.KINDS``) that it promises to survive on a minority of every group."""
    steps: tuple[str, ...]
    """Names of ``Step`` effects that its nodes emit."""

    def node(self, surroundings: Surroundings) -> SimulatedNode: ...

    def image(self) -> Image:
        """An empty disk."""
        ...

    def groups(self) -> Sequence[tuple[int, ...]]:
        """The voters of every shard by node index; index in the list is the shard. Of a ``MovingSubject``: at the beginning."""
        ...

    def shard_of(self, worker: str) -> int: ...

    def message_bytes(self, message: Any) -> int:
        """Size on the wire."""
        ...

    def describe(self, message: Any) -> str:
        """A message in one short line."""
        ...

    def lie(self, message: Any, dice: Random, behaviour: str) -> Any | None:
        """What a Byzantine sender might say instead; ``None``: nothing believable. ``behaviour``: one of ``byzantine.LIES``."""
        ...


@runtime_checkable
class MovingSubject(Subject, Protocol):
    """A subject whose groups change while it runs. ``World.groups`` asks here."""

    def placed_in(self, world: World) -> None:
        """Called once, before any node starts: where the nodes of this subject live."""
        ...

    def current_groups(self, world: World) -> Sequence[tuple[int, ...]]:
        """The voters of every shard by node index, as they stand now: by whoever knows best, running node or disk
        (``world.hosts[i].node``, ``.disk.image``). ``()``: a shard without any. While a change of voters is under way the old ones,
        and the new ones as one more group behind the last shard."""
        ...


@runtime_checkable
class Forger(Protocol):
    """A subject whose liars know more of themselves and their victims than what they say to them."""

    def forged(self, message: Any, behaviour: str, *, liar: SimulatedNode, victim: SimulatedNode, disk: Image) -> Any | None:
        """What ``liar`` might say to ``victim``, whose disk is given, instead of ``message``; ``None``: nothing believable.
        ``behaviour``: one of ``byzantine.AIMED_BEHAVIOURS``."""
        ...
