"""Plays a tape of faults into a world, within the atlas, and heals everything at the end.

tape ──at──> allowed? begin ──for──> end          heal(): whatever goes on ends, nothing further begins, all nodes run
                      begin ──final──> gone       but those that are gone for good; whoever was told to leave goes on leaving
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from golemp2p_sim import trace as tr
from golemp2p_sim.atlas import Atlas
from golemp2p_sim.byzantine import Liar
from golemp2p_sim.faults import KINDS, PRIMARY, Fault
from golemp2p_sim.host import Aim
from golemp2p_sim.network import Weather, between
from golemp2p_sim.stage import Stage

REPLACE_DISK_NS = 100_000_000
"""How long a node is away while its disk is swapped."""

_CODES = {kind: code for code, kind in enumerate(KINDS)}


@dataclass(slots=True)
class Happened:
    """A fault as it was played: ``end_ns`` is ``None`` while it goes on; ``refused`` says why it did not happen."""

    fault: Fault
    start_ns: int
    end_ns: int | None = None
    refused: str = ""


class Injector:
    """One per run. ``happened`` tells what was really injected, for checkers and plots; ``told`` are called with each fault that
    begins (just before) and ends (just after), and which of the two it is."""

    def __init__(self, world: Stage, atlas: Atlas, tape: Sequence[Fault]) -> None:
        self.world, self.atlas = world, atlas
        self.happened: list[Happened] = []
        self.told: list[Callable[[Fault, bool], None]] = []
        self._undo: dict[int, Callable[[], None]] = {}
        self._healed = False
        self._dice = [world.streams.stream(f"injector/{index}") for index in range(len(world.machines))]
        world.on_repaired.append(atlas.repaired)
        world.on_gone.append(self._gone)
        for fault in sorted(tape, key=lambda fault: fault.at_ns):
            world.at(fault.at_ns, self._begin, fault)

    @property
    def injected(self) -> int:
        return sum(not played.refused for played in self.happened)

    def heal(self) -> None:
        """Faults end; every node that is down is started, and born if it was not yet; those gone for good stay away. Clocks stay as
        they are: a protocol must live with them."""
        self._healed = True
        for position in list(self._undo):
            self._end(position, None, None)
        world = self.world
        world.network.heal()
        world.trace.add(world.now, tr.HEAL, 0, 0)
        if world.log:
            world.log("heal", None, None, "all faults end")
        for host in world.machines:
            host.aims.clear()
            host.mangler = None
            host.faults.mend()
            host.thaw()
            host.start()
        world.bear_all()

    def _begin(self, fault: Fault, _b: Any, _c: Any) -> None:
        if self._healed:
            return
        world = self.world
        if PRIMARY in fault.nodes:
            fault = replace(fault, nodes=self._primary())
        if KINDS[fault.kind].nodes == "side":
            fault = replace(fault, nodes=tuple(node for node in fault.nodes if self._is_present(node)))
        played = Happened(fault, world.now)
        self.happened.append(played)
        played.refused = self._pointless(fault) or self.atlas.refuses(fault)
        if played.refused:
            return
        world.trace.add(world.now, tr.FAULT, _CODES[fault.kind], len(self.happened))
        if world.log:
            world.log("fault", fault.nodes[0] if fault.nodes else None, None, str(fault))
        self.atlas.begin(fault)
        position = len(self.happened) - 1
        for listener in self.told:
            listener(fault, True)
        undo = getattr(self, "_do_" + fault.kind.replace("-", "_"))(fault)
        if not KINDS[fault.kind].final:  # the others end when the node is gone
            self._undo[position] = undo
            world.after(fault.for_ns, self._end, position)

    def _end(self, position: int, _b: Any, _c: Any) -> None:
        undo = self._undo.pop(position, None)
        if undo is None:
            return
        played = self.happened[position]
        played.end_ns = self.world.now
        undo()
        self.atlas.end(played.fault)
        for listener in self.told:
            listener(played.fault, False)

    def _gone(self, node: int) -> None:
        self.atlas.gone(node)
        for played in self.happened:
            if KINDS[played.fault.kind].final and node in played.fault.nodes and not played.refused:
                played.end_ns = self.world.now

    def _pointless(self, fault: Fault) -> str:
        kind = KINDS[fault.kind]
        if kind.nodes != "any" and not fault.nodes:
            return "nobody is there" if kind.nodes == "side" else "nobody is primary"
        if kind.nodes == "two" and len(set(fault.nodes)) < 2:
            return "there is no second node"
        nodes = [self.world.machines[node] for node in fault.nodes]
        if any(not host.born for host in nodes):
            return "the node is not born yet"
        if any(host.gone for host in nodes):
            return "the node is gone"
        if fault.kind == "leave" and (nodes[0].leaving or not self._can_spare(fault.nodes[0])):
            return "the node leaves already" if nodes[0].leaving else "too few nodes would be left for what it has"
        if kind.nodes == "one" and any(not host.runs or host.frozen for host in nodes):
            return "the node is away already"
        if fault.kind == "byzantine" and nodes[0].mangler is not None:
            return "the node lies already"
        return ""

    def _is_present(self, node: int) -> bool:
        host = self.world.machines[node]
        return host.born and not host.gone

    def _can_spare(self, node: int) -> bool:
        """Whether each group would find enough nodes that stay."""
        stay = sum(not self.world.machines[other].leaving for other in self.world.present if other != node)
        return stay >= max(map(len, self.world.groups()), default=1)

    def _primary(self) -> tuple[int, ...]:
        """Who leads most shards just now; ``()`` if nobody leads any."""
        led = [host.led() for host in self.world.machines]
        return (led.index(max(led)),) if any(led) else ()

    # -- processes and clocks: each returns how it ends ------------------------------------------------------------------------

    def _do_crash(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.crash(fault.kind)
        return host.start

    _do_churn = _do_crash

    def _do_aimed_crash(self, fault: Fault) -> Callable[[], None]:
        """The aim waits while the fault lasts; once it strikes, the node is away for a quarter of that."""
        host = self.world.machines[fault.nodes[0]]
        world = self.world

        def strike() -> None:
            world.sometimes(f"crashed at {fault.step}")
            host.crash(f"aimed at {fault.step}")
            world.after(max(1, fault.for_ns // 4), lambda _a, _b, _c: host.start())

        aim = Aim(fault.step, max(1, fault.amount), strike)
        host.aims.append(aim)

        def over() -> None:
            if aim in host.aims:
                host.aims.remove(aim)

        return over

    def _do_freeze(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.freeze()
        return host.thaw

    def _do_destroyed(self, fault: Fault) -> Callable[[], None]:
        self.world.machines[fault.nodes[0]].destroy(fault.kind)
        return _nothing

    def _do_leave(self, fault: Fault) -> Callable[[], None]:
        self.world.machines[fault.nodes[0]].leave()
        return _nothing

    def _do_clock_jump(self, fault: Fault) -> Callable[[], None]:
        self.world.machines[fault.nodes[0]].jump(fault.amount)
        return _nothing

    def _do_clock_skew(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.skew(fault.amount)
        return lambda: host.skew(0)

    # -- network --------------------------------------------------------------------------------------------------------------

    def _weather(self, weather: Weather) -> Callable[[], None]:
        network = self.world.network
        network.begin(weather)
        return lambda: network.end(weather)

    def _do_partition(self, fault: Fault) -> Callable[[], None]:
        network = self.world.network
        cut = network.cut_off(fault.nodes)
        return lambda: network.rejoin(cut)

    def _do_one_way(self, fault: Fault) -> Callable[[], None]:
        network = self.world.network
        cut = network.cut_off(fault.nodes, one_way=True)
        return lambda: network.rejoin(cut)

    def _do_partial(self, fault: Fault) -> Callable[[], None]:
        return self._weather(Weather(cut=True, links=between(fault.nodes[:1], fault.nodes[1:])))

    def _do_flap(self, fault: Fault) -> Callable[[], None]:
        world, network = self.world, self.world.network
        weather = Weather(cut=True, links=between(fault.nodes[:1], fault.nodes[1:]))
        on = [False, True]  # cut now; still flapping

        def turn(_a: Any, _b: Any, _c: Any) -> None:
            if not on[1]:
                return
            (network.end if on[0] else network.begin)(weather)
            on[0] = not on[0]
            world.after(max(1_000_000, fault.amount), turn)

        def over() -> None:
            if on[0]:
                network.end(weather)
            on[1] = False

        turn(None, None, None)
        return over

    def _do_clog(self, fault: Fault) -> Callable[[], None]:
        links = between(fault.nodes, range(len(self.world.machines)))
        return self._weather(Weather(clogged_until_ns=self.world.now + fault.for_ns, links=links))

    def _do_slow_link(self, fault: Fault) -> Callable[[], None]:
        links = between(fault.nodes, range(len(self.world.machines)))
        return self._weather(Weather(slow_factor=max(1, fault.amount), links=links))

    def _do_loss(self, fault: Fault) -> Callable[[], None]:
        return self._weather(Weather(loss=fault.amount))

    def _do_duplicate(self, fault: Fault) -> Callable[[], None]:
        return self._weather(Weather(duplicate=fault.amount))

    def _do_reorder(self, fault: Fault) -> Callable[[], None]:
        return self._weather(Weather(reorder=fault.amount))

    def _do_reset(self, fault: Fault) -> Callable[[], None]:
        first, second = (self.world.machines[node] for node in fault.nodes)
        self.world.network.reset(first.index, second.index, self.world.now)
        first.on_reset(second.key)
        second.on_reset(first.key)
        return _nothing

    # -- disks ----------------------------------------------------------------------------------------------------------------

    def _do_disk_slow(self, fault: Fault) -> Callable[[], None]:
        disk = self.world.machines[fault.nodes[0]].faults
        disk.slow_factor = max(1, fault.amount)
        return lambda: setattr(disk, "slow_factor", 1)

    def _do_disk_full(self, fault: Fault) -> Callable[[], None]:
        disk = self.world.machines[fault.nodes[0]].faults
        disk.full = True
        return lambda: setattr(disk, "full", False)

    def _do_disk_error(self, fault: Fault) -> Callable[[], None]:
        disk = self.world.machines[fault.nodes[0]].faults
        disk.failing = True
        return lambda: setattr(disk, "failing", False)

    def _do_sync_dropped(self, fault: Fault) -> Callable[[], None]:
        disk = self.world.machines[fault.nodes[0]].faults
        disk.dropping = True
        return lambda: setattr(disk, "dropping", False)

    def _do_bit_rot(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.crash("bit rot")
        what = host.rot(self._dice[host.index])
        if self.world.log:
            self.world.log("fault", host.index, None, f"rotten: {what or 'nothing there'}")
        return host.start

    def _do_store_lost(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.crash("store lost")
        host.lose_store()
        return host.start

    def _do_store_restored(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        old = host.store_copy()

        def put_back() -> None:
            host.crash("old disk image restored")
            host.put_back(old)
            self.world.after(REPLACE_DISK_NS, lambda _a, _b, _c: host.start())

        return put_back

    def _do_byzantine(self, fault: Fault) -> Callable[[], None]:
        host = self.world.machines[fault.nodes[0]]
        host.mangler = Liar(fault.step, self._dice[host.index])

        def honest() -> None:
            host.mangler = None

        return honest


def _nothing() -> None:
    """The fault was over as it began."""
