"""The world: one ordered loop over (time, sequence, event), all nodes, wires, disks and clocks in it, and who watches them.

    heap of (time_ns, sequence, action, three arguments)          ties are broken by sequence: the order of scheduling

Time only moves from event to event. Nothing here waits, and nothing asks the machine that runs it for anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from golemp2p_sim import trace as tr
from golemp2p_sim.disk import Disk, DiskOptions
from golemp2p_sim.host import Host
from golemp2p_sim.network import Network, NetworkOptions
from golemp2p_sim.node import MovingSubject, Reply, Sometimes, Subject
from golemp2p_sim.randomness import Streams, node_key
from golemp2p_sim.trace import Trace

Action = Callable[[Any, Any, Any], None]
EVENTS_WAITING_MAX, EVENTS_WAITING_PER_NODE_MAX = 10_000, 400
"""Messages and timers under way at one moment; a calm mesh has some ten per node, and a run with more of them would never end."""

Observer = Callable[[int, int, Any], None]
"""Told (time_ns, node index, observation)."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """What is simulated, without faults and workload."""

    nodes: int = 7
    network: NetworkOptions = field(default_factory=NetworkOptions)
    disk: DiskOptions = field(default_factory=DiskOptions)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: which checker saw it, when, in words."""

    checker: str
    time_ns: int
    text: str


class World:
    """``seed`` decides everything. ``births[i]``: when node i starts, all at once if there are none. ``keep_lines`` keeps the log
    for people, at a third of the speed. ``present``: nodes that have started and not gone for good, in order of index."""

    def __init__(
        self,
        seed: int,
        subject: Subject,
        options: WorldOptions,
        *,
        births: Sequence[int] = (),
        keep_lines: bool = False,
    ) -> None:
        self.seed, self.subject, self.options = seed, subject, options
        self.streams = Streams(seed)
        self.now = 0
        self.events = 0
        self.trace = Trace(keep_lines=keep_lines)
        self.log: Callable[[str, int | None, int | None, str], None] | None = self._log if keep_lines else None
        self.violations: list[Violation] = []
        self.coverage: dict[str, int] = {}
        self.on_reply: Callable[[int, Reply], None] | None = None
        self.on_repaired: list[Callable[[int], None]] = []
        self.on_away: list[Callable[[int, bool], None]] = []
        self.on_back: list[Callable[[int], None]] = []
        self.on_gone: list[Callable[[int], None]] = []
        self.births = tuple(births)
        self.present: list[int] = []
        self._founder = -1
        self._moving = subject if isinstance(subject, MovingSubject) else None
        self._observers: dict[type, list[Observer]] = {}
        self._heap: list[tuple[int, int, Action, Any, Any, Any]] = []
        self._sequence = 0
        self.keys = tuple(node_key(index) for index in range(options.nodes))
        self.network = Network(
            options.network,
            options.nodes,
            [self.streams.stream(f"net/{index}") for index in range(options.nodes)],
            self.streams.stream("net"),
        )
        self.hosts = [Host(self, index, self._disk(index), born=not self.births) for index in range(options.nodes)]
        if self._moving is not None:
            self._moving.placed_in(self)
        self._receivers = {host.key: (host.index, host.on_packet) for host in self.hosts}
        self._message_bytes = subject.message_bytes
        self._observers[Sometimes] = [lambda _time, _node, seen: self.sometimes(seen.name)]

    def _disk(self, index: int) -> Disk:
        return Disk(self.options.disk, self.subject.image(), self.streams.stream(f"disk/{index}"), self.after)

    # -- time -----------------------------------------------------------------------------------------------------------------

    def at(self, time_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        """Call ``action(a, b, c)`` at ``time_ns``, after everything already scheduled for that moment."""
        self._sequence = sequence = self._sequence + 1
        heappush(self._heap, (time_ns, sequence, action, a, b, c))

    def after(self, delay_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        self.at(self.now + delay_ns, action, a, b, c)

    def run_until(self, end_ns: int) -> None:
        """Let everything up to and including ``end_ns`` happen; stops early at the first violation."""
        heap, trace, violations = self._heap, self.trace, self.violations
        events = 0
        while heap and heap[0][0] <= end_ns:
            time_ns, _, action, a, b, c = heappop(heap)
            self.now = time_ns
            action(a, b, c)
            events += 1
            if not events & 1023:
                trace.flush()
                if len(heap) > EVENTS_WAITING_MAX + EVENTS_WAITING_PER_NODE_MAX * self.options.nodes:
                    self.violate("bounded-queues", f"{len(heap)} messages and timers are under way: a storm")
            if violations:
                break
        else:
            self.now = end_ns
        self.events += events

    @property
    def machines(self) -> list[Host]:
        return self.hosts

    # -- what hosts ask for ---------------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start those born at the beginning, and see to it that the others start in time."""
        for host in self.hosts:
            birth_ns = self.births[host.index] if self.births else 0
            if birth_ns:
                self.at(birth_ns, self._bear, host)
            else:
                self._bear(host)

    def bear_all(self) -> None:
        """Whoever is not born yet is born now."""
        for host in self.hosts:
            self._bear(host)

    def _bear(self, host: Host, _b: Any = None, _c: Any = None) -> None:
        if not host.starts:
            host.born = True
            host.start()

    def acquaintances(self, index: int) -> tuple[bool, tuple[int, ...]]:
        """For a node that starts: whether it is the founder, and which others have started before and not gone."""
        if self._founder < 0:
            self._founder = index
        present = self.present
        contacts = tuple(present)
        at = bisect_left(present, index)
        if at < len(present) and present[at] == index:
            contacts = contacts[:at] + contacts[at + 1 :]
        elif not self.hosts[index].gone:
            present.insert(at, index)
        return self._founder == index, contacts

    def groups(self) -> Sequence[tuple[int, ...]]:
        """The voters of every shard just now; index in the list is the shard."""
        return self._moving.current_groups(self) if self._moving is not None else self.subject.groups()

    def send(self, src: int, peer: bytes, message: Any) -> None:
        """To a peer by key. A key that nobody has swallows it."""
        receiver = self._receivers.get(peer)
        if receiver is None:
            return
        dst, on_packet = receiver
        now = self.now
        if src == dst:
            self.at(now, on_packet, src, message, now)
            return
        arrivals = self.network.arrivals(src, dst, self._message_bytes(message), now)
        for time_ns in arrivals:
            self._sequence = sequence = self._sequence + 1
            heappush(self._heap, (time_ns, sequence, on_packet, src, message, now))
        if self.log and not arrivals:
            self.log("drop", src, dst, self.subject.describe(message))

    def replied(self, node: int, reply: Reply) -> None:
        self.trace.add(self.now, tr.REPLY, node << 40 | reply.request_id, int(reply.ok))
        if self.on_reply is not None:
            self.on_reply(node, reply)

    def is_away(self, node: int, *, frozen: bool) -> None:
        """``node``'s process is about to be frozen or gone."""
        for listener in self.on_away:
            listener(node, frozen)

    def is_back(self, node: int) -> None:
        """``node``'s process starts or goes on."""
        for listener in self.on_back:
            listener(node)

    def is_gone(self, node: int) -> None:
        """``node`` is gone for good."""
        if node in self.present:
            self.present.remove(node)
        for listener in self.on_gone:
            listener(node)

    def repaired(self, node: int) -> None:
        for listener in self.on_repaired:
            listener(node)

    # -- watching -------------------------------------------------------------------------------------------------------------

    def watch(self, kind: type, observer: Observer) -> None:
        """``observer`` is told every observation of class ``kind``, as it happens."""
        self._observers.setdefault(kind, []).append(observer)

    def observed(self, node: int, kind: type, observation: Any) -> None:
        now = self.now
        for observer in self._observers.get(kind, ()):
            observer(now, node, observation)

    def sometimes(self, name: str) -> None:
        """Count a rare branch."""
        self.coverage[name] = self.coverage.get(name, 0) + 1

    def violate(self, checker: str, text: str) -> None:
        """A promise is broken: the run ends."""
        self.violations.append(Violation(checker, self.now, text))
        if self.log:
            self.log("violated", None, None, f"{checker}: {text}")

    def _log(self, event: str, node: int | None, peer: int | None, detail: str) -> None:
        place = "*" if node is None else f"n{node}"
        other = "-" if peer is None else f"n{peer}"
        self.trace.line(self.now, event, place, other, detail)
