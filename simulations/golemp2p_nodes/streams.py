"""TCP between simulated machines, over the wires of level 0: what they lose, hold, slow down or cut, TCP sends again, in order.

    send_all ──> segments ──wires: latency, bandwidth, loss, cuts, clogs──> arrived ──in order──> buffer ──> receive_some
                    └── lost, or late: goes again after 200 ms, 400 ms, ... ── for 30 s in vain: the connection is broken

A machine without power swallows everything; one that has no such connection (any more) answers with a reset, which the wires may
lose like anything else. The kernel of a frozen process takes what fits into the window, and connections too.

Infidelities: acknowledgements and news of the window take no time and are never lost; no slow start; duplicates are nobody's business.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.errors import Unreachable
from golemp2p_sim import trace as tr
from golemp2p_sim.units import MS, S

if TYPE_CHECKING:
    from golemp2p_nodes.machine import Life
    from golemp2p_nodes.mesh import NodesWorld

SEGMENT_BYTES = 64 << 10
WINDOW_BYTES = 1 << 20
"""Sent and not read yet, of one direction: what a kernel buffers on both sides."""
RETRANSMIT_NS = 200 * MS
"""As Linux; doubled each time."""
SYN_RETRANSMIT_NS = 1 * S
GIVE_UP_NS = 30 * S
"""As with TCP_USER_TIMEOUT; without it Linux goes on for a quarter of an hour, and sessions give up after 30 s of silence anyway."""
HEADER_BYTES = 60
"""Of a segment on the wire."""
BACKLOG_MAX = 1_024
"""Connections that nobody has accepted yet; more are refused."""


class Segment:
    """``sent_at``: the last time; ``under_way``: neither arrived nor, as far as its sender knows, lost or late."""

    __slots__ = ("arrived", "data", "is_last", "sent_at", "under_way")

    def __init__(self, data: bytes, *, is_last: bool = False) -> None:
        self.data, self.is_last = data, is_last
        self.arrived = self.under_way = False
        self.sent_at = 0


class Line:
    """One direction of a connection, from ``sender`` to ``receiver``."""

    def __init__(self, world: NodesWorld, sender: End, receiver: End) -> None:
        self._world, self.sender, self.receiver = world, sender, receiver
        self._flight: deque[Segment] = deque()
        self.buffer = bytearray()
        self.ended = False
        self.unread_bytes = 0
        self._retry_ns = RETRANSMIT_NS
        self._retrying = False
        self._in_vain_since: int | None = None

    def send(self, data: bytes, *, is_last: bool = False) -> None:
        segment = Segment(data, is_last=is_last)
        self.unread_bytes += len(data)
        self._flight.append(segment)
        self._transmit(segment)

    def _transmit(self, segment: Segment) -> None:
        world = self._world
        segment.sent_at, segment.under_way = world.now, True
        size = len(segment.data) + HEADER_BYTES
        arrivals = world.network.arrivals(self.sender.life.index, self.receiver.life.index, size, world.now)
        if arrivals:
            world.at(arrivals[0], self._arrive, segment, segment.sent_at)
        if not arrivals or arrivals[0] > world.now + self._retry_ns:  # a late one is sent again, and what comes first counts
            self._lost(segment)

    def _lost(self, segment: Segment) -> None:
        segment.under_way = False
        if self._in_vain_since is None:
            self._in_vain_since = self._world.now
        if not self._retrying and not self.sender.is_over:
            self._retrying = True
            self._world.after(self._retry_ns, self._retry)
            self._retry_ns *= 2

    def _gone(self, segment: Segment, sent_at: int) -> None:
        """One copy of it, which may have been sent again since."""
        if segment.sent_at == sent_at:
            self._lost(segment)

    def _retry(self, _a: Any, _b: Any, _c: Any) -> None:
        self._retrying = False
        if self.sender.is_over:
            return
        if self._in_vain_since is not None and self._world.now - self._in_vain_since > GIVE_UP_NS:
            self.sender.break_off()
            return
        for segment in list(self._flight):
            if not segment.arrived and not segment.under_way:
                self._transmit(segment)

    def _arrive(self, segment: Segment, sent_at: int, _c: Any) -> None:
        world, network = self._world, self._world.network
        source, target = self.sender.life.index, self.receiver.life.index
        if segment.arrived or self.sender.is_broken:
            return
        if (not network.calm or sent_at <= network.reset_ns) and network.lost_on_the_way(source, target, sent_at):
            self._gone(segment, sent_at)
            return
        machine = world.machines[target]
        if not machine.has_power:
            network.counts.down += 1
            self._gone(segment, sent_at)
            return
        if self.receiver.is_over:
            world.reset_packet(target, source, self.sender.break_off)
            self._flight.clear()
            return
        segment.arrived = True
        machine.delivered += 1
        world.trace.add(world.now, tr.DELIVER, source << 20 | target, zlib.crc32(segment.data))
        if world.log:
            world.log("deliver", target, source, "end" if segment.is_last else f"{len(segment.data)} bytes")
        self._retry_ns, self._in_vain_since = RETRANSMIT_NS, None
        while self._flight and self._flight[0].arrived:
            first = self._flight.popleft()
            self.buffer += first.data
            self.ended |= first.is_last
            self.receiver.tell()

    def take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        self.unread_bytes -= len(data)
        self.sender.tell()
        return data


class End(trio.abc.Stream):
    """One end of a connection, of one process. Closed by us, broken by others, or of a process that is gone: over."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.outgoing: Line
        self.incoming: Line
        self.is_closed = self.is_broken = False
        self._changed = trio.Event()

    @property
    def is_over(self) -> bool:
        return self.is_closed or self.is_broken or self.life.is_dead

    def tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def break_off(self) -> None:
        """As after a reset."""
        if not self.is_closed:
            self.is_broken = True
            self.tell()

    def _check(self) -> None:
        if self.is_closed:
            raise trio.ClosedResourceError("this end is closed")
        if self.is_broken or self.life.is_dead:
            raise trio.BrokenResourceError("the connection is broken")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        view = memoryview(bytes(data))
        for start in range(0, len(view), SEGMENT_BYTES):
            while self.outgoing.unread_bytes >= WINDOW_BYTES:
                await self._changed.wait()
                self._check()
            if self.life.machine.aimed("mid-send"):
                await trio.sleep_forever()  # the process is gone
            self.outgoing.send(bytes(view[start : start + SEGMENT_BYTES]))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self.incoming.buffer:
            self._check()
            if self.incoming.ended:
                return b""
            await self._changed.wait()
        self._check()
        return self.incoming.take(max_bytes or SEGMENT_BYTES)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if self.is_over:
            self.is_closed = True
            return
        self.outgoing.send(b"", is_last=True)
        self.is_closed = True
        self.tell()


class Listener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, life: Life, closed: Callable[[], None]) -> None:
        self.life = life
        self.arrivals, self._waiting = trio.open_memory_channel[End](BACKLOG_MAX)
        self._closed = closed

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._waiting.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self._closed()
        self._waiting.close()
        await trio.lowlevel.checkpoint()


class Dial:
    """One attempt to connect: ``end`` when it succeeded, ``refused`` when nobody listens; over when ``is_abandoned``."""

    def __init__(self, world: NodesWorld, life: Life, address: str) -> None:
        self._world, self._life, self._address = world, life, address
        self._target = world.machine_at(address)
        self._retry_ns = SYN_RETRANSMIT_NS
        self._here = End(life)
        self._there: End | None = None
        self.settled = trio.Event()
        self.refused = self.is_abandoned = False

    @property
    def end(self) -> End:
        return self._here

    def start(self) -> None:
        if self._target is None:
            self.refuse()
        else:
            self._knock(None, None, None)

    def refuse(self) -> None:
        self.refused = True
        self.settled.set()

    def _knock(self, _a: Any, _b: Any, _c: Any) -> None:
        if self.settled.is_set() or self.is_abandoned or self._life.is_dead:
            return
        assert self._target is not None, "it was looked up"
        self._world.packet(self._life.index, self._target, self._reached)
        self._world.after(self._retry_ns, self._knock)
        self._retry_ns *= 2

    def _reached(self) -> None:
        """At the other machine, which has power."""
        world = self._world
        assert self._target is not None, "it was looked up"
        if self._there is None:
            listener = world.listeners.get(self._address)
            if listener is None or listener.life.is_dead:
                world.reset_packet(self._target, self._life.index, self.refuse)
                return
            there = End(listener.life)
            there.outgoing = self._here.incoming = Line(world, there, self._here)
            there.incoming = self._here.outgoing = Line(world, self._here, there)
            try:
                listener.arrivals.send_nowait(there)
            except (trio.WouldBlock, trio.BrokenResourceError):
                world.reset_packet(self._target, self._life.index, self.refuse)
                return
            self._there = there
            world.connections.append((self._here, there))
        world.packet(self._target, self._life.index, self._answered)

    def _answered(self) -> None:
        if self.is_abandoned:
            self._here.close()
        else:
            self.settled.set()


class MachineStreams:
    """``mesh.streams.Streams`` of one process."""

    def __init__(self, world: NodesWorld, life: Life) -> None:
        self._world, self._life = world, life

    async def open(self, address: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        dial = Dial(self._world, self._life, address)
        dial.start()
        try:
            await dial.settled.wait()
        except trio.Cancelled:
            dial.is_abandoned = True
            raise
        if dial.refused:
            raise Unreachable(f"{address}: nobody listens")
        return dial.end

    async def listen(self, address: str) -> list[tuple[str, trio.abc.Listener[trio.abc.Stream]]]:
        await trio.lowlevel.checkpoint()
        listeners = self._world.listeners
        held = listeners.get(address)
        if held is not None and not held.life.is_dead:
            raise Unreachable(f"{address}: somebody listens there")
        listener = Listener(self._life, lambda: self._forget(address))
        listeners[address] = listener
        return [(address, listener)]

    def _forget(self, address: str) -> None:
        held = self._world.listeners.get(address)
        if held is not None and held.life is self._life:
            del self._world.listeners[address]
