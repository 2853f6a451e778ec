"""The world of level 1: machines over level 0's wires, in one trio run.

    NodesWorld ── machines[i] ── life ── open_service: a whole node
        │  └ network: which wires lose, hold, cut      └ streams, storage, clock, dice: of this world
        └ clockwork: latencies, syncs, faults, clients' pauses

``stage.Stage`` for injector and clients.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from golemp2p.core.peer_effects import PeerProfile
from golemp2p.drivers.peers.mesh_state import GENESIS
from golemp2p.drivers.settings import ServiceSettings
from golemp2p.model.ids import ComponentId
from golemp2p.model.replication import Base, Configuration, Entry
from golemp2p.ports import Batch, Storage
from golemp2p.wire.certificate import Genesis, load_genesis
from golemp2p_nodes.clockwork import Action, Clockwork
from golemp2p_nodes.disk import Disk, Store
from golemp2p_nodes.guests import ModelGuests
from golemp2p_nodes.loop import Freezer
from golemp2p_nodes.machine import IDLE_TTL_S, SUSPEND_AFTER_S, Life, Machine
from golemp2p_nodes.streams import End, Listener
from golemp2p_sim import trace as tr
from golemp2p_sim.network import Network
from golemp2p_sim.node import Reply
from golemp2p_sim.randomness import Streams
from golemp2p_sim.trace import Trace
from golemp2p_sim.world import Violation, WorldOptions

Stand = tuple[tuple[int, int], Configuration]


class NodesWorld:
    """Make and use it inside a trio run. ``folder``: for files of guests. ``over``: somebody broke a promise."""

    def __init__(
        self,
        seed: int,
        options: WorldOptions,
        nursery: trio.Nursery,
        *,
        births: Sequence[int],
        profile: PeerProfile,
        shards: int,
        guests: ModelGuests,
        new_store: Callable[[Disk], Store],
        folder: Path,
        keep_lines: bool,
    ) -> None:
        self.options, self.profile, self.guests, self.new_store, self.folder = options, profile, guests, new_store, folder
        self.settings = ServiceSettings(shards_count=shards, suspend_after_s=SUSPEND_AFTER_S, idle_ttl_s=IDLE_TTL_S)
        self.streams = Streams(seed)
        self.trace = Trace(keep_lines=keep_lines)
        self.log: Callable[[str, int | None, int | None, str], None] | None = self._log if keep_lines else None
        self.clockwork = Clockwork()
        self.freezer = Freezer.install()
        self._nursery = nursery
        self.network = Network(
            options.network,
            options.nodes,
            [self.streams.stream(f"net/{index}") for index in range(options.nodes)],
            self.streams.stream("net"),
        )
        self.listeners: dict[str, Listener] = {}
        self.connections: list[tuple[End, End]] = []
        self.violations: list[Violation] = []
        self.over = trio.Event()
        self.coverage: dict[str, int] = {}
        self.on_reply: Callable[[int, Reply], None] | None = None
        self.on_repaired: list[Callable[[int], None]] = []
        self.on_gone: list[Callable[[int], None]] = []
        self.on_written: list[Callable[[int, Batch], None]] = []
        self.present: list[int] = []
        self.founder = -1
        self.genesis: Genesis | None = None
        self.component: ComponentId | None = None
        self.births = tuple(births)
        self.machines = [Machine(self, index, born=not self.births) for index in range(options.nodes)]
        self._indexes = {machine.key: machine.index for machine in self.machines}
        self._addresses = {machine.address: machine.index for machine in self.machines}

    # -- time

    @property
    def now(self) -> int:
        return self.clockwork.read()

    def at(self, time_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        self.clockwork.at(time_ns, action, a, b, c)

    def after(self, delay_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        self.clockwork.after(delay_ns, action, a, b, c)

    def spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        """A process, or something in one, in a task that belongs to nobody yet."""
        self._nursery.start_soon(run)

    # -- who is there

    def start_all(self) -> None:
        for machine in self.machines:
            birth_ns = self.births[machine.index] if self.births else 0
            if birth_ns:
                self.at(birth_ns, self._bear, machine)
            else:
                self._bear(machine)

    def bear_all(self) -> None:
        for machine in self.machines:
            self._bear(machine)

    def _bear(self, machine: Machine, _b: Any = None, _c: Any = None) -> None:
        if not machine.starts:
            machine.born = True
            machine.start()

    def is_present(self, index: int) -> None:
        if self.founder < 0:
            self.founder = index
        if index not in self.present:
            insort(self.present, index)

    def is_gone(self, index: int) -> None:
        if index in self.present:
            self.present.remove(index)
        for listener in self.on_gone:
            listener(index)

    async def founded(self, storage: Storage) -> None:
        record = await storage.get_meta(GENESIS)
        assert record is not None, "the founder's service has started"
        self.genesis = load_genesis(record)

    # -- connections

    def machine_at(self, address: str) -> int | None:
        return self._addresses.get(address)

    def packet(self, source: int, target: int, then: Callable[[], None]) -> None:
        """One packet without content, of a kernel; it may be lost, and is not sent again."""
        arrivals = self.network.arrivals(source, target, 60, self.now)
        if arrivals:
            self.at(arrivals[0], self._packet_arrived, (source, target, self.now), then)

    def _packet_arrived(self, sent: tuple[int, int, int], then: Callable[[], None], _c: Any) -> None:
        source, target, sent_at = sent
        network = self.network
        if (not network.calm or sent_at <= network.reset_ns) and network.lost_on_the_way(source, target, sent_at):
            return
        if self.machines[target].has_power:
            then()

    reset_packet = packet
    """One that says that there is no such connection."""

    def drop_connections(self, life: Life, *, tell: bool) -> None:
        """The process is gone. ``tell``: its kernel lives, and says so to the other ends."""
        kept = []
        for one, other in self.connections:
            for mine, theirs in ((one, other), (other, one)):
                if mine.life is life and tell and not mine.is_closed and not theirs.is_over:
                    self.reset_packet(life.index, theirs.life.index, theirs.break_off)
            if not (one.is_over and other.is_over):
                kept.append((one, other))
        self.connections = kept

    def reset_between(self, machine: Machine, peer: bytes) -> None:
        """Every connection of ``machine`` with ``peer`` breaks, at both ends."""
        pair = {machine.index, self._indexes[peer]}
        for one, other in self.connections:
            if {one.life.index, other.life.index} == pair:
                one.break_off()
                other.break_off()

    # -- what injector, clients and judges ask

    def groups(self) -> Sequence[tuple[int, ...]]:
        """The voters of every shard by node index, by the most up-to-date log on any disk; while they change, the new ones, too."""
        best: list[Stand] = [((-1, 0), Configuration(()))] * self.settings.shards_count
        for machine in self.machines:
            if not machine.gone:
                for shard, replica in machine.disk.image.replicas.items():
                    best[shard] = max(best[shard], _stand(replica.base, replica.entries), key=lambda stand: stand[0])
        newest = [configuration for _, configuration in best]
        groups = [self._indexes_of(configuration.voters) for configuration in newest]
        return groups + [self._indexes_of(configuration.incoming) for configuration in newest if configuration.is_joint]

    def _indexes_of(self, members: Sequence[Any]) -> tuple[int, ...]:
        return tuple(self._indexes[member.public_key] for member in members)

    def replied(self, node: int, reply: Reply) -> None:
        self.trace.add(self.now, tr.REPLY, node << 40 | reply.request_id, int(reply.ok))
        if self.on_reply is not None:
            self.on_reply(node, reply)

    def written(self, node: int, batch: Batch) -> None:
        """``batch`` is about to be durable on the disk of ``node``."""
        for listener in self.on_written:
            listener(node, batch)

    def sometimes(self, name: str) -> None:
        self.coverage[name] = self.coverage.get(name, 0) + 1

    def violate(self, checker: str, text: str) -> None:
        """A promise is broken: the run ends."""
        self.violations.append(Violation(checker, self.now, text))
        if self.log:
            self.log("violated", None, None, f"{checker}: {text}")
        self.over.set()

    def _log(self, event: str, node: int | None, peer: int | None, detail: str) -> None:
        place = "*" if node is None else f"n{node}"
        self.trace.line(self.now, event, place, "-" if peer is None else f"n{peer}", detail)


def _stand(base: Base, entries: Sequence[Entry]) -> Stand:
    last = entries[-1] if entries else base
    found = [entry.content for entry in entries if isinstance(entry.content, Configuration)]
    return (last.term, last.position), (found or [base.configuration])[-1]
