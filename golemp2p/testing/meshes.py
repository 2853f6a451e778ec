"""Several members of a mesh in one process, for tests of everything that stands on ``ports.Mesh``.

    async with open_meshes(3, shards_count=8) as town:
        town.members[0].serve_forward = ...    who does what is asked of the primary; ``calls``: who serves which kind of call
        town.move(5, to=1)                     shard 5 is led by member 1 from now on; ``None``: by nobody
        town.stop(1)                           it is gone in the middle of whatever it does; ``start`` brings it back
        town.cut(0, 2)                         these two do not hear each other; ``mend`` ends it
        town.lost_answers = 2                  the next two requests are done, and their answers lost

Infidelities:

* nothing is replicated: what members share is for the handlers to say, and a shard moves in an instant;
* who asks finds the primary at once, whatever it believed before, if they hear each other; retries come after fixed pauses;
* nothing is encoded but payloads; limits of size, of requests and of peers are not looked at;
* a bulk answer has no window: its sender waits until the asker has taken every single piece of ``chunk_bytes``;
* members know of all others, dead or alive; hints about primaries are what they learned last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from golemp2p.errors import (
    ConnectionLost,
    DeadlineExceeded,
    Golemp2pError,
    Moved,
    RequestFailed,
    Unreachable,
    UsageError,
    WorldError,
)
from golemp2p.model.membership import PUBLIC_KEY_BYTES, STORE_ID_BYTES, NodeRecord
from golemp2p.ports import Asked

RETRY_S = 0.05
"""Between two attempts of one request."""

CHUNK_BYTES = 1000
"""Small and odd, so that nobody relies on where a stream is cut."""

Serve = Callable[[Asked], Awaitable[bytes]]
ServeForward = Callable[[int, str, bytes], Awaitable[bytes]]


class FakeMesh:
    """``ports.Mesh`` of one member."""

    def __init__(self, town: Town, number: int) -> None:
        self.number = number
        self.own = number.to_bytes(2, "big").rjust(PUBLIC_KEY_BYTES, b"\x10")
        self.shards_count = town.shards_count
        self.serve_forward: ServeForward | None = None
        self.calls: Mapping[int, Serve] = {}
        self.is_up = True
        self.hints: dict[int, bytes] = {}
        """Who leads a shard, as far as this member knows."""
        self.asked: list[tuple[int, str, bytes]] = []
        """(shard, key, payload) of all requests of this member."""
        self._town = town
        self._work: dict[trio.CancelScope, None] = {}

    def is_ready(self, shard: int) -> bool:
        return self._town.leaders.get(shard) == self.number

    def ready_shards(self) -> Sequence[int]:
        return [shard for shard in range(self.shards_count) if self.is_ready(shard)]

    def primary(self, shard: int) -> bytes | None:
        return self.own if self.is_ready(shard) else self.hints.get(shard)

    def holders(self, shard: int) -> Sequence[bytes]:
        return [member.own for member in self._town.members]

    def members(self) -> Sequence[NodeRecord]:
        others = [member.record for member in self._town.members if member is not self]
        return [self.record, *others]

    @property
    def record(self) -> NodeRecord:
        return NodeRecord(self.own, bytes(STORE_ID_BYTES), (), 1, "", 1)

    async def ask(self, shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes:
        self.asked.append((shard, key, payload))
        with trio.move_on_after(deadline_s):
            while True:
                answer = await self._attempt(shard, key, payload)
                if answer is not None:
                    return answer
                await trio.sleep(RETRY_S)
        raise DeadlineExceeded(f"no member answered for shard {shard}")

    async def _attempt(self, shard: int, key: str, payload: bytes) -> bytes | None:
        leader = self._town.leader(shard)
        if leader is None or not self._town.hear(self, leader):
            return None
        assert leader.serve_forward is not None, f"member {leader.number} serves no requests"
        outcome = _Outcome()
        self._town.spawn(leader.work, outcome, leader.serve_forward, shard, key, payload)
        try:
            answer = await outcome.wait()
        except (Moved, ConnectionLost):
            return None
        if self._town.lost_answers:
            self._town.lost_answers -= 1
            return None
        self.hints[shard] = leader.own
        return answer

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        other = self._town.reach(self, peer)
        with trio.move_on_after(deadline_s):
            return await other.serve(kind, FakeAsked(self.own, payload, None))
        raise DeadlineExceeded(f"no answer within {deadline_s:g} s")

    @asynccontextmanager
    async def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AsyncIterator[FakeBulk]:
        if peer == self.own:
            raise UsageError("a node has its own data")
        other = self._town.reach(self, peer)
        send, receive = trio.open_memory_channel[bytes](0)
        outcome = _Outcome()
        asked = FakeAsked(self.own, payload, send, self._town.chunk_bytes)
        scope = self._town.spawn(other.work, outcome, other.serve, kind, asked)
        try:
            yield FakeBulk(receive, outcome, progress_s)
        finally:
            scope.cancel()
            receive.close()

    # -- as others see it

    async def serve(self, kind: int, asked: FakeAsked) -> bytes:
        """What ``calls`` answers, with errors as they come over a network."""
        serve = self.calls.get(kind)
        try:
            if serve is None:
                raise RequestFailed("unknown-call", f"nobody serves calls of kind {kind}")
            with trio.CancelScope() as scope:
                self._work[scope] = None
                try:
                    return await serve(asked)
                finally:
                    del self._work[scope]
            raise ConnectionLost("the member is gone")
        except ConnectionLost:
            raise
        except Golemp2pError as error:
            after_s = error.retry_after_s if isinstance(error, WorldError) else None
            raise RequestFailed(error.code, str(error)[:1024], after_s) from error
        finally:
            if asked.channel is not None:
                asked.channel.close()

    async def work(self, outcome: _Outcome, function: Callable[..., Awaitable[bytes]], *args: object) -> None:
        """Does something for another member, unless this one stops before it is done."""
        try:
            with trio.CancelScope() as scope:
                self._work[scope] = None
                try:
                    outcome.answer = await function(*args)
                finally:
                    del self._work[scope]
        except Golemp2pError as error:
            outcome.error = error
        finally:
            if outcome.answer is None and outcome.error is None:
                outcome.error = ConnectionLost("the member is gone")
            outcome.done.set()

    def stop_work(self) -> None:
        for scope in list(self._work):
            scope.cancel()


class _Outcome:
    """Of something that another member does."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: bytes | None = None
        self.error: Golemp2pError | None = None

    async def wait(self) -> bytes:
        await self.done.wait()
        return self.result()

    def result(self) -> bytes:
        if self.error is not None:
            raise self.error
        assert self.answer is not None, "it is done"
        return self.answer


class FakeAsked:
    """``ports.Asked``. ``channel``: where chunks go; ``None`` when one answer is wanted."""

    def __init__(
        self, peer: bytes, payload: bytes, channel: trio.MemorySendChannel[bytes] | None, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self.peer = peer
        self.payload = payload
        self.channel = channel
        self._chunk_bytes = chunk_bytes

    async def send(self, chunk: bytes) -> None:
        if self.channel is None:
            raise UsageError("the asker wants one answer")
        for start in range(0, len(chunk), self._chunk_bytes):
            try:
                await self.channel.send(chunk[start : start + self._chunk_bytes])
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionLost("the asker is gone") from None


class FakeBulk:
    """``ports.Bulk``."""

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes], outcome: _Outcome, progress_s: float) -> None:
        self._channel = channel
        self._outcome = outcome
        self._progress_s = progress_s

    def __aiter__(self) -> FakeBulk:
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._progress_s):
            try:
                return await self._channel.receive()
            except trio.EndOfChannel:
                await self._outcome.wait()
                raise StopAsyncIteration from None
        raise DeadlineExceeded(f"nothing came for {self._progress_s:g} s")

    @property
    def answer(self) -> bytes:
        return self._outcome.result()


class Town:
    """All members. ``leaders``: shard -> number of the member that leads it."""

    def __init__(self, nursery: trio.Nursery, count: int, shards_count: int, chunk_bytes: int) -> None:
        self.shards_count = shards_count
        self.chunk_bytes = chunk_bytes
        self.members = [FakeMesh(self, number) for number in range(count)]
        self.leaders: dict[int, int] = {}
        self.lost_answers = 0
        self._nursery = nursery
        self._cuts: set[frozenset[int]] = set()
        for shard in range(shards_count):
            self.move(shard, to=shard % count)
            for member in self.members:
                member.hints[shard] = self.members[shard % count].own

    def move(self, shard: int, *, to: int | None) -> None:
        """Nobody but the old and the new primary learns of it."""
        if to is None:
            self.leaders.pop(shard, None)
        else:
            self.leaders[shard] = to

    def leader(self, shard: int) -> FakeMesh | None:
        number = self.leaders.get(shard)
        return None if number is None else self.members[number]

    def stop(self, number: int) -> None:
        member = self.members[number]
        member.is_up = False
        member.stop_work()

    def start(self, number: int) -> None:
        self.members[number].is_up = True

    def cut(self, one: int, other: int) -> None:
        self._cuts.add(frozenset((one, other)))

    def mend(self) -> None:
        self._cuts.clear()

    def hear(self, one: FakeMesh, other: FakeMesh) -> bool:
        return one.is_up and other.is_up and frozenset((one.number, other.number)) not in self._cuts

    def reach(self, asker: FakeMesh, peer: bytes) -> FakeMesh:
        """Raises ``Unreachable``."""
        for member in self.members:
            if member.own == peer and self.hear(asker, member):
                return member
        raise Unreachable("no connection to that member", 0.1)

    def spawn(self, function: Callable[..., Awaitable[None]], *args: object) -> trio.CancelScope:
        """A task of the members' own; who started it may cancel it."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

        self._nursery.start_soon(run)
        return scope


@asynccontextmanager
async def open_meshes(count: int, *, shards_count: int = 8, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[Town]:
    """``count`` members, who lead the shards in turn. On leaving, whatever they do is cancelled."""
    async with trio.open_nursery() as nursery:
        yield Town(nursery, count, shards_count, chunk_bytes)
        nursery.cancel_scope.cancel()
