"""What a message, a request and a megabyte cost between two nodes over loopback, sealed, against the same frames in the clear.

    python -m benchmarks.transport [--quick] [--json FILE]

Both ends are in one process and share its loop, so the CPU columns hold both. Messages carry 200 bytes. *At once*: so many are queued
in one turn, then all are waited for. Control, in the same run and in alternating rounds: a plain trio stream with the same frames and
the same gathering of a turn into one write, without encryption, limits, deadlines or tasks per request.

Wall times need an idle machine; CPU columns and ratios are what to trust.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from benchmarks.report import Report, parser_of
from golemp2p.mesh import frames as f
from golemp2p.mesh.calls import Call
from golemp2p.mesh.handshake import ClientHandshake, ServerHandshake
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.opening import Identity, open_accepted, open_dialled
from golemp2p.mesh.session import Session
from golemp2p.wire.identity import SigningKey

PAYLOAD = os.urandom(200)
AT_ONCE = (1, 8, 64, 512)
ROUNDS = 3
CHUNK = os.urandom(f.CHUNK_BYTES_MAX)
MESH = os.urandom(32)
A, B = SigningKey(os.urandom(32)), SigningKey(os.urandom(32))


class Count:
    """How many arrived; wakes who waits for a number of them."""

    def __init__(self) -> None:
        self.value = 0
        self._until = 0
        self._reached = trio.Event()

    def add(self) -> None:
        self.value += 1
        if self.value == self._until:
            self._reached.set()

    async def wait_for(self, value: int) -> None:
        self._until, self._reached = value, trio.Event()
        if self.value < value:
            await self._reached.wait()


class Plain:
    """One end of the control."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.arrived = Count()
        self._stream = stream
        self._queue: list[bytes] = []
        self._wake = trio.Event()
        self._waiting: dict[int, trio.Event] = {}
        self._number = 0

    def post(self, frame: f.Frame) -> None:
        self._queue.append(f.encode_frame(frame))
        self._wake.set()

    def send(self, kind: int, payload: bytes) -> None:
        self.post(f.Message(kind, payload))

    async def request(self, payload: bytes) -> None:
        self._number = number = self._number + 1
        self._waiting[number] = done = trio.Event()
        self.post(f.Request(number, 1, 1_000, 0, payload))
        await done.wait()

    async def write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            queue, self._queue = self._queue, []
            await self._stream.send_all(b"".join(queue))

    async def read(self) -> None:
        reader = f.FrameReader(bytes_max=f.FRAME_BYTES_MAX)
        while data := await self._stream.receive_some(65_536):
            reader.feed(bytes(data))
            for frame, _ in reader:
                match frame:
                    case f.Request(number, _, _, _, payload):
                        self.post(f.Answer(number, payload))
                    case f.Answer(number):
                        self._waiting.pop(number).set()
                    case _:
                        self.arrived.add()


class Sealed:
    """The handler of both ends."""

    def __init__(self) -> None:
        self.arrived = Count()

    def message(self, _peer: bytes, _kind: int, _payload: bytes) -> None:
        self.arrived.add()

    async def serve(self, call: Call) -> bytes:
        if call.wants_chunks:
            for _ in range(int.from_bytes(call.payload, "big")):
                await call.send(CHUNK)
        return call.payload


async def sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        here = await trio.open_tcp_stream(*listener.socket.getsockname())
        return here, await listener.accept()


@asynccontextmanager
async def plain_pair() -> AsyncIterator[tuple[Plain, Plain]]:
    here, there = await sockets()
    async with trio.open_nursery() as nursery, here, there:
        ends = Plain(here), Plain(there)
        for end in ends:
            nursery.start_soon(end.read)
            nursery.start_soon(end.write)
        yield ends
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def sealed_pair() -> AsyncIterator[tuple[Session, Sealed]]:
    here, there = await sockets()
    limits = SessionLimits()
    ours, theirs = Sealed(), Sealed()

    async def accept() -> None:
        channel = await open_accepted(there, Identity(B, MESH, os.urandom, os.urandom(16)), limits)
        await Session(channel, theirs, limits).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        channel = await open_dialled(here, Identity(A, MESH, os.urandom, os.urandom(16)), B.public_key, limits)
        session = Session(channel, ours, limits)
        nursery.start_soon(session.run)
        yield session, theirs
        nursery.cancel_scope.cancel()


class Cost(NamedTuple):
    per_s: float
    cpu_us: float


async def measure(count: int, work: Callable[[], Awaitable[None]]) -> Cost:
    """``work`` does ``count`` things."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return Cost(count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6)


def best(costs: list[Cost]) -> Cost:
    return Cost(max(cost.per_s for cost in costs), min(cost.cpu_us for cost in costs))


async def messages(send: Callable[[int, bytes], object], arrived: Count, at_once: int, count: int) -> Cost:
    async def work() -> None:
        for _ in range(count // at_once):
            until = arrived.value + at_once
            for _ in range(at_once):
                send(1, PAYLOAD)
            await arrived.wait_for(until)

    return await measure(count // at_once * at_once, work)


async def requests(ask: Callable[[], Awaitable[object]], clients: int, count: int) -> Cost:
    async def client() -> None:
        for _ in range(count // clients):
            await ask()

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(client)

    return await measure(count // clients * clients, work)


async def tables(report: Report, scale: int) -> None:
    message_rows: list[list[str | float]] = []
    request_rows: list[list[str | float]] = []
    async with plain_pair() as (plain, plain_there), sealed_pair() as (session, there):
        for at_once in AT_ONCE:
            count = (2_000 if at_once == 1 else 20_000) // scale
            clear, closed, records = [], [], session.statistics().records_sent
            for _ in range(ROUNDS):
                clear.append(await messages(plain.send, plain_there.arrived, at_once, count))
                closed.append(await messages(session.send, there.arrived, at_once, count))
            share = ROUNDS * (count // at_once * at_once) / (session.statistics().records_sent - records)
            message_rows.append(row(str(at_once), best(clear), best(closed), share))
        for clients in (1, 8, 64):
            count = (1_000 if clients == 1 else 8_000) // scale
            clear, closed, records = [], [], session.statistics().records_sent
            for _ in range(ROUNDS):
                clear.append(await requests(lambda: plain.request(PAYLOAD), clients, count))
                closed.append(await requests(lambda: session.request(1, PAYLOAD, deadline_s=5), clients, count))
            share = ROUNDS * (count // clients * clients) / (session.statistics().records_sent - records)
            request_rows.append(row(str(clients), best(clear), best(closed), share))
        columns = ("clear per s", "sealed per s", "ratio", "clear CPU us", "sealed CPU us", "per record")
        report.table("messages of 200 bytes", ("at once", *columns), message_rows)
        report.table("requests, 200 bytes each way", ("clients", *columns), request_rows)
        await bulk(report, plain, plain_there, session, max(20, 400 // scale))


def row(name: str, clear: Cost, closed: Cost, share: float) -> list[str | float]:
    return [name, clear.per_s, closed.per_s, closed.per_s / clear.per_s, clear.cpu_us, closed.cpu_us, share]


async def bulk(report: Report, plain: Plain, there: Plain, session: Session, chunks: int) -> None:
    """The control has no credit: ten chunks at a time, which is about what the window holds."""

    async def in_clear() -> None:
        for _ in range(chunks // 10):
            until = there.arrived.value + 10
            for _ in range(10):
                plain.post(f.Chunk(1, CHUNK))
            await there.arrived.wait_for(until)

    async def sealed() -> None:
        async with session.fetch(1, chunks.to_bytes(4, "big"), progress_s=5) as download:
            while await download.receive():
                pass

    megabytes = chunks * len(CHUNK) / 1e6
    clear, closed = [], []
    for _ in range(ROUNDS):
        clear.append(await measure(chunks, in_clear))
        closed.append(await measure(chunks, sealed))
    rows = [
        [name, best(costs).per_s * megabytes / chunks, best(costs).cpu_us * chunks / megabytes]
        for name, costs in (("clear", clear), ("sealed", closed))
    ]
    report.table("bulk", ("", "MB/s", "CPU us per MB"), rows)


async def handshakes(report: Report, count: int) -> None:
    async def work() -> None:
        for _ in range(count):
            ours, theirs = ClientHandshake(MESH, A, B.public_key, os.urandom), ServerHandshake(MESH, B, os.urandom)
            ours.receive(theirs.receive(ours.receive(theirs.receive(ours.first_message))))

    cost = best([await measure(count, work) for _ in range(ROUNDS)])
    report.table(
        "handshakes, both sides, without the network", ("", "per s", "CPU us"), [["handshake", cost.per_s, cost.cpu_us]]
    )


async def main(report: Report, quick: bool) -> None:
    await handshakes(report, 20 if quick else 200)
    await tables(report, 10 if quick else 1)


if __name__ == "__main__":
    arguments = parser_of(__doc__).parse_args()
    output = Report("transport", arguments.json)
    trio.run(main, output, arguments.quick)
    output.save()
