"""One machine: a process (the node object, or none), its disk, its clock, its state of health. Carries effects out.

    RUNNING ──crash──> DOWN ──start──> RUNNING        crash: the object is dropped; the disk decides what survives
       └──freeze──> FROZEN ──thaw──> RUNNING          frozen: messages and completions queue up, the clock goes on
    not born ──bear──> RUNNING                        RUNNING ──leave──> drains ──Departed──> GONE <──destroy── any

Crashes can be aimed: an ``Aim`` waits for the node to reach a step and strikes there, between two effects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from golemp2p.core.effects import Notice, Persist, Send
from golemp2p_sim import trace as tr
from golemp2p_sim.disk import Disk
from golemp2p_sim.node import Departed, Halt, Image, Repaired, Reply, Request, SimulatedNode, Step, Surroundings
from golemp2p_sim.trace import DELIVER, PERSIST, TIMER

if TYPE_CHECKING:
    from golemp2p_sim.byzantine import Mangler
    from golemp2p_sim.world import World

WORLD_STEPS = ("before-persist", "after-persist", "mid-send", "before-reply")
"""Steps of any protocol: a write was handed over and is not durable; it is durable and nobody knows; some of several messages
have left; a result is committed and its caller does not know."""

INBOX_MAX = 20_000
"""Messages that the kernel and connections hold for a frozen process; what comes later is lost."""
CLOCK_START_NS = 1_000_000_000
RESTART_AFTER_HALT_NS = 500_000_000


@dataclass(slots=True)
class Aim:
    """Crash when the node reaches ``step`` for the ``nth`` time from now."""

    step: str
    nth: int
    strike: Callable[[], None]


class Host:
    """``index`` names it. The world schedules; the network carries; everything that happens to one node happens here."""

    __slots__ = (
        "_alarm", "_armed_ns", "_base_local", "_base_world", "_handlers", "_network", "_ppm", "_words", "aims", "born", "delivered",
        "disk", "frozen", "gone", "index", "key", "leaving", "mangler", "node", "on_packet", "restart_ns", "starts", "timers",
        "waiting", "world",
    )  # fmt: skip

    def __init__(self, world: World, index: int, disk: Disk, *, born: bool = True) -> None:
        self.world, self.index, self.disk = world, index, disk
        self.key = world.keys[index]
        disk.durable, disk.failed = self._durable, self._write_failed
        self.node: SimulatedNode | None = None
        self.frozen = False
        self.born, self.leaving, self.gone = born, False, False
        self.waiting: list[Callable[[], None]] = []
        self.aims: list[Aim] = []
        self.mangler: Mangler | None = None
        self.restart_ns: int | None = None
        self.starts = self.delivered = self.timers = 0
        self._armed_ns: int | None = None
        self._base_world, self._base_local, self._ppm = 0, CLOCK_START_NS + index * 7_919_000_000, 0
        self.on_packet = self._on_packet  # bound once: it is scheduled with every message
        self._alarm = self._on_timer
        self._network, self._words = world.network, world.trace.words
        self._handlers: dict[type, Callable[[Any], None]] = {
            Reply: self._reply, Notice: self._notice, Step: self._step, Halt: self._halt, Repaired: self._repaired,
            Departed: self._departed,
        }  # fmt: skip

    # -- life -----------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process on what the disk holds; nothing happens to one that runs, is not born yet, or is gone for good."""
        if self.node is not None or not self.born or self.gone:
            return
        world = self.world
        self.starts += 1
        self.restart_ns = None
        dice = world.streams.stream(f"node/{self.index}/{self.starts}")
        founder, contacts = world.acquaintances(self.index)
        node = world.subject.node(Surroundings(self.index, world.keys, self.disk.store, dice, founder, contacts))
        self.node = node
        world.trace.add(world.now, tr.START, self.index, self.disk.store)
        if world.log:
            world.log("start", self.index, None, f"start {self.starts}, store {self.disk.store}")
        world.is_back(self.index)
        self.perform(node.start(self.disk.image, self.local_ns()))
        if self.leaving and self.node is node:
            self.perform(node.on_leave(self.local_ns()))

    def crash(self, why: str) -> None:
        """kill -9 and a power cut: the object is gone, unsynced writes are doubtful. Twice is once."""
        if self.node is None:
            return
        self.world.is_away(self.index, frozen=False)
        self.node, self.frozen, self._armed_ns = None, False, None
        self.waiting.clear()
        fate = self.disk.crash()
        world = self.world
        world.trace.add(world.now, tr.CRASH, self.index, self.starts)
        if world.log:
            world.log("crash", self.index, None, f"{why}; {fate}")

    def freeze(self) -> None:
        if self.node is None or self.frozen:
            return
        self.world.is_away(self.index, frozen=True)
        self.frozen = True
        self._armed_ns = None  # thawing sets the alarm anew
        self.world.trace.add(self.world.now, tr.FREEZE, self.index, 0)
        if self.world.log:
            self.world.log("freeze", self.index, None, "stopped (SIGSTOP)")

    def thaw(self) -> None:
        """Go on as if nothing had been: what waited is handled first, in order, then timers."""
        if not self.frozen:
            return
        self.frozen = False
        waiting, self.waiting = self.waiting, []
        self.world.trace.add(self.world.now, tr.THAW, self.index, len(waiting))
        if self.world.log:
            self.world.log("thaw", self.index, None, f"goes on, {len(waiting)} events waited")
        self.world.is_back(self.index)
        starts = self.starts
        for action in waiting:
            if self.node is None or self.starts != starts:
                return
            action()
        self._rearm()

    def leave(self) -> None:
        """Tell the process to leave for good; it ends with ``Departed``. Told again at each start until then."""
        if self.leaving or self.gone:
            return
        self.leaving = True
        self.world.trace.add(self.world.now, tr.LEAVE, self.index, 0)
        if self.world.log:
            self.world.log("leave", self.index, None, "told to leave")
        if self.node is not None:
            self.perform(self.node.on_leave(self.local_ns()))
            self._rearm()

    def destroy(self, why: str) -> None:
        """Machine and disk are gone for good. Twice is once."""
        if self.gone:
            return
        self.crash(why)
        self.gone, self.leaving = True, False
        self.aims.clear()
        self.world.trace.add(self.world.now, tr.GONE, self.index, 0)
        self.world.is_gone(self.index)

    @property
    def runs(self) -> bool:
        """There is a process, frozen or not."""
        return self.node is not None

    def led(self) -> int:
        """Shards that it is primary of."""
        return sum(view.primary for view in self.node.replicas()) if self.node else 0

    # -- disk -----------------------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Disk:
        return self.disk

    def rot(self, dice: Random) -> str:
        return self.disk.image.rot(dice)

    def lose_store(self) -> None:
        self.disk.lose(self.world.subject.image())

    def store_copy(self) -> Image:
        return self.disk.image.copy()

    def put_back(self, copy: Image) -> None:
        self.disk.restore(copy)

    # -- clock ----------------------------------------------------------------------------------------------------------------

    def local_ns(self) -> int:
        """The node's own monotonic clock."""
        passed = self.world.now - self._base_world
        return self._base_local + passed + passed * self._ppm // 1_000_000

    def skew(self, ppm: int) -> None:
        """From now on the clock runs ``ppm`` millionths fast (or slow)."""
        self._base_local, self._base_world = self.local_ns(), self.world.now
        self._ppm = ppm
        self._armed_ns = None
        self._rearm()

    def jump(self, ahead_ns: int) -> None:
        """The clock jumps ahead, as after a suspended machine."""
        self._base_local += ahead_ns
        self._armed_ns = None
        self._rearm()

    def _world_ns(self, local_ns: int) -> int:
        passed = local_ns - self._base_local
        if self._ppm:
            passed = -(-passed * 1_000_000 // (1_000_000 + self._ppm))
        return max(self.world.now, self._base_world + passed)

    # -- events ---------------------------------------------------------------------------------------------------------------

    def _on_packet(self, src: int, message: Any, sent_at: int) -> None:
        world, node, network = self.world, self.node, self._network
        if node is None:
            network.counts.down += 1
            return
        if (not network.calm or sent_at <= network.reset_ns) and network.lost_on_the_way(src, self.index, sent_at):
            return
        if self.frozen:
            if len(self.waiting) < INBOX_MAX:
                self.waiting.append(partial(self._on_packet, src, message, world.now))
            return
        self.delivered = delivered = self.delivered + 1
        now = world.now
        self._words += (now, DELIVER, src << 20 | self.index, delivered)
        if world.log:
            world.log("deliver", self.index, src, world.subject.describe(message))
        now = self.local_ns() if self._ppm else now - self._base_world + self._base_local
        effects = node.on_message(world.keys[src], message, now)
        if effects:
            self.perform(effects)
        self._rearm()

    def on_stranger(self, key: bytes, message: Any, _c: Any) -> None:
        """A message from an identity that no honest node has."""
        if self.node is not None and not self.frozen:
            self.perform(self.node.on_message(key, message, self.local_ns()))
            self._rearm()

    def on_request(self, request: Request, _b: Any, _c: Any) -> None:
        node = self.node
        if node is None:
            self.world.replied(self.index, Reply(request.id, False, "connection refused"))
        elif self.frozen:
            self.waiting.append(partial(self.on_request, request, None, None))
        else:
            self.perform(node.on_request(request, self.local_ns()))
            self._rearm()

    def on_reset(self, peer: bytes) -> None:
        if self.node is None:
            return
        if self.frozen:
            self.waiting.append(partial(self.on_reset, peer))
        else:
            self.perform(self.node.on_reset(peer, self.local_ns()))
            self._rearm()

    def _on_timer(self, due_ns: int, starts: int, _c: Any) -> None:
        node = self.node
        if node is None or starts != self.starts or self._armed_ns != due_ns or self.frozen:
            return
        self._armed_ns = None
        wanted = node.next_due_ns()
        if wanted is None:
            return
        world = self.world
        now = self.local_ns() if self._ppm else world.now - self._base_world + self._base_local
        if wanted <= now:
            self.timers += 1
            self._words += (world.now, TIMER, self.index, self.timers)
            effects = node.on_time(now)
            if effects:
                self.perform(effects)
        self._rearm()

    def _rearm(self) -> None:
        """Have the world call when the node wants; an alarm that rings too early costs less than moving it each time."""
        node = self.node
        if node is None or self.frozen:
            return
        wanted = node.next_due_ns()
        if wanted is None:
            return
        at = self._world_ns(wanted) if self._ppm else wanted - self._base_local + self._base_world
        armed = self._armed_ns
        if armed is None or at < armed:
            world = self.world
            at = max(at, world.now)
            if armed is None or at < armed:
                self._armed_ns = at
                world.at(at, self._alarm, at, self.starts)

    def _durable(self, effect: Persist) -> None:
        if self.node is None:
            return
        if self.frozen:
            self.waiting.append(partial(self._durable, effect))
            return
        world = self.world
        self._words += (world.now, PERSIST, self.index, effect.token)
        if self.aims and self._aimed("after-persist"):
            return
        if effect.then:
            self.perform(effect.then)
        node = self.node
        if node is not None:
            effects = node.on_persisted(effect.token, self.local_ns())
            if effects:
                self.perform(effects)
            self._rearm()

    def _write_failed(self, effect: Persist) -> None:
        if self.node is None:
            return
        if self.frozen:
            self.waiting.append(partial(self._write_failed, effect))
            return
        self.world.trace.add(self.world.now, tr.PERSIST, self.index, -effect.token)
        self.perform(self.node.on_write_failed(effect.token, self.local_ns()))
        self._rearm()

    # -- effects --------------------------------------------------------------------------------------------------------------

    def perform(self, effects: Any) -> None:
        """Carry out in order. A crash, aimed or not, ends it: the rest of the list never happens."""
        world = self.world
        index = self.index
        starts = self.starts
        sends = 0
        aims = self.aims
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                sends += 1
                if aims and sends == 2 and self._aimed("mid-send"):
                    return
                if self.mangler is None:
                    world.send(index, effect.peer, effect.message)
                else:
                    self.mangler.send(self, effect)
            elif kind is Persist:
                self.disk.write(effect)
                if aims and self._aimed("before-persist"):
                    return
            else:
                handler = self._handlers.get(kind)
                if handler is None:
                    world.observed(index, kind, effect)
                else:
                    handler(effect)
                    if self.node is None or self.starts != starts:
                        return

    def _reply(self, reply: Reply) -> None:
        if not (self.aims and reply.ok and self._aimed("before-reply")):
            self.world.replied(self.index, reply)

    def _notice(self, notice: Notice) -> None:
        if self.world.log:
            detail = " ".join([notice.name, *(f"{name}={value}" for name, value in notice.fields)])
            self.world.log("notice", self.index, None, detail)

    def _step(self, step: Step) -> None:
        if self.aims:
            self._aimed(step.name)

    def _halt(self, halt: Halt) -> None:
        self.world.trace.add(self.world.now, tr.HALT, self.index, self.starts)
        self.world.sometimes("a node stopped itself")
        self.crash(f"stops itself: {halt.reason}")
        self.restart_ns = self.world.now + RESTART_AFTER_HALT_NS
        self.world.at(self.restart_ns, self._restart_after_halt)

    def _restart_after_halt(self, _a: Any, _b: Any, _c: Any) -> None:
        if self.restart_ns is not None and self.restart_ns <= self.world.now:
            self.start()

    def _repaired(self, _repaired: Repaired) -> None:
        self.world.repaired(self.index)

    def _departed(self, _departed: Departed) -> None:
        assert self.leaving, f"n{self.index} departs and nobody told it to leave"
        self.world.sometimes("a node left")
        self.destroy("has left")

    def _aimed(self, step: str) -> bool:
        for aim in self.aims:
            if aim.step == step:
                aim.nth -= 1
                if aim.nth <= 0:
                    self.aims.remove(aim)
                    aim.strike()
                    return self.node is None
        return False
