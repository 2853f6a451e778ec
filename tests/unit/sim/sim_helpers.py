"""A world without a protocol: nodes that do what a test says, and cases of the toy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from golemp2p_sim.atlas import Atlas, Limit
from golemp2p_sim.case import Case
from golemp2p_sim.checkers import Checker, End
from golemp2p_sim.disk import JournalImage
from golemp2p_sim.faults import KINDS, Fault
from golemp2p_sim.history import History
from golemp2p_sim.node import Effects, Image, ReplicaView, Request, Surroundings
from golemp2p_sim.profiles import PROFILES, draw_tape
from golemp2p_sim.randomness import Streams
from golemp2p_sim.subjects import make_subject
from golemp2p_sim.units import S
from golemp2p_sim.workload import Clients, WorkloadOptions, draw_wishes
from golemp2p_sim.world import World, WorldOptions


class Puppet:
    """A node whose answers a test sets: ``on[event](*arguments) -> effects``. ``seen``: everything that happened to it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.seen: list[tuple[Any, ...]] = []
        self.on: dict[str, Callable[..., Effects]] = {}
        self.due_ns: int | None = None
        self.views: list[ReplicaView] = []
        self.chains: dict[tuple[int, int], int] = {}
        self.lengths: dict[str, tuple[int, int]] = {}

    def _event(self, name: str, *arguments: Any) -> Effects:
        self.seen.append((name, *arguments))
        handler = self.on.get(name)
        return handler(*arguments) if handler else ()

    def start(self, image: Image, now_ns: int) -> Effects:
        assert isinstance(image, JournalImage)
        return self._event("start", tuple(image.records), now_ns)

    def on_message(self, sender: bytes, message: Any, now_ns: int) -> Effects:
        return self._event("message", message, now_ns)

    def on_time(self, now_ns: int) -> Effects:
        self.due_ns = None
        return self._event("time", now_ns)

    def on_persisted(self, token: int, now_ns: int) -> Effects:
        return self._event("persisted", token)

    def on_write_failed(self, token: int, now_ns: int) -> Effects:
        return self._event("failed", token)

    def on_reset(self, peer: bytes, now_ns: int) -> Effects:
        return self._event("reset")

    def on_request(self, request: Request, now_ns: int) -> Effects:
        return self._event("request", request)

    def on_leave(self, now_ns: int) -> Effects:
        return self._event("leave")

    def next_due_ns(self) -> int | None:
        return self.due_ns

    def replicas(self) -> Sequence[ReplicaView]:
        return self.views

    def chain_at(self, shard: int, position: int) -> int | None:
        return self.chains.get((shard, position))

    def queues(self) -> Mapping[str, tuple[int, int]]:
        return self.lengths

    def names(self) -> list[str]:
        return [event[0] for event in self.seen]


class Puppets:
    """A subject of puppets; ``lives[i]``: every process that node i has had."""

    name = "puppets"
    survives = frozenset(KINDS)
    steps: tuple[str, ...] = ("middle",)

    def __init__(self, nodes: int, groups: Sequence[tuple[int, ...]] = ()) -> None:
        self.lives: list[list[Puppet]] = [[] for _ in range(nodes)]
        self._groups = groups or [tuple(range(nodes))]
        self.prepare: Callable[[Puppet], None] = lambda puppet: None

    def node(self, surroundings: Surroundings) -> Puppet:
        puppet = Puppet(surroundings.index)
        self.prepare(puppet)
        self.lives[surroundings.index].append(puppet)
        return puppet

    def image(self) -> JournalImage:
        return JournalImage()

    def groups(self) -> Sequence[tuple[int, ...]]:
        return self._groups

    def shard_of(self, worker: str) -> int:
        return 0

    def message_bytes(self, message: Any) -> int:
        return 100

    def describe(self, message: Any) -> str:
        return str(message)

    def lie(self, message: Any, dice: Random, behaviour: str) -> Any | None:
        return f"not {message}"


def puppet_world(
    nodes: int = 3, *, seed: int = 0, options: WorldOptions | None = None, groups: Any = ()
) -> tuple[World, Puppets]:
    """Started; node i's process is ``subject.lives[i][-1]``."""
    subject = Puppets(nodes, groups)
    world = World(seed, subject, options or WorldOptions(nodes=nodes), keep_lines=True)
    world.start_all()
    return world, subject


class Court:
    """A world of puppets under one judge."""

    def __init__(self, *checkers: Checker) -> None:
        self.world, self.subject = puppet_world()
        self.checkers = checkers
        self.history = History()
        self.clients = Clients(self.world, self.history, ())
        for checker in checkers:
            checker.watch(self.world)

    def see(self, node: int, *observations: Any) -> None:
        for observation in observations:
            self.world.observed(node, type(observation), observation)

    def verdict(self, *, progress: bool = True) -> list[str]:
        end = End(self.world, self.history, self.clients, Atlas(self.subject, harm=Limit.NONE, away=Limit.NONE), progress)
        for checker in self.checkers:
            checker.finish(end)
        return [violation.checker for violation in self.world.violations]

    def hold(self, node: int, view: ReplicaView) -> None:
        self.subject.lives[node][-1].views.append(view)


def toy_case(
    seed: int, *, mutation: str = "", profile: str = "all", seconds: int = 20, nodes: int = 7, rate: float = 20
) -> Case:
    duration_ns = seconds * S
    streams = Streams(seed)
    tape: list[Fault] = draw_tape(PROFILES[profile], make_subject("toy", nodes), streams, nodes, duration_ns)
    wishes = draw_wishes(WorkloadOptions(rate_per_s=rate), streams, duration_ns)
    return Case(
        seed,
        mutation=mutation,
        profile=profile,
        options=WorldOptions(nodes=nodes),
        faults=tuple(tape),
        wishes=tuple(wishes),
        duration_ns=duration_ns,
    )
