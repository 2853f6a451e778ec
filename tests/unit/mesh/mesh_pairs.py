"""Two sessions joined by memory streams, and the parts of them that tests replace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing

from golemp2p.errors import Golemp2pError
from golemp2p.mesh.calls import Call
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.opening import Identity, open_accepted, open_dialled
from golemp2p.mesh.session import Channel, Session
from golemp2p.wire.identity import SigningKey

MESH = b"m" * 32
A = SigningKey(b"a" * 32)
B = SigningKey(b"b" * 32)
C = SigningKey(b"c" * 32)


def identity(key: SigningKey, mesh: bytes = MESH, versions: tuple[int, int] = (1, 1)) -> Identity:
    return Identity(key, mesh, Random(key.public_key).randbytes, key.public_key[:16], versions)


class Recorder:
    """A handler that remembers; what it serves and how long a message is work can be replaced."""

    def __init__(self, serve: Callable[[Call], Awaitable[bytes]] | None = None) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.calls: list[Call] = []
        self.news = trio.Event()
        self.done: trio.Event | None = None
        self._serve = serve

    def message(self, peer: bytes, kind: int, payload: bytes) -> trio.Event | None:
        self.messages.append((kind, payload))
        self.news.set()
        return self.done

    async def serve(self, call: Call) -> bytes:
        self.calls.append(call)
        return call.payload if self._serve is None else await self._serve(call)

    async def wait_messages(self, count: int) -> None:
        while len(self.messages) < count:
            self.news = trio.Event()
            await self.news.wait()


async def channels(
    left: trio.abc.Stream, right: trio.abc.Stream, limits: SessionLimits | None = None
) -> tuple[Channel, Channel]:
    """A dialled B."""
    limits = limits or SessionLimits()
    made: dict[str, Channel] = {}

    async def accept() -> None:
        made["b"] = await open_accepted(right, identity(B), limits)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        made["a"] = await open_dialled(left, identity(A), B.public_key, limits)
    return made["a"], made["b"]


class Pair:
    """``ended``: why each session's ``run`` ended, once it did."""

    def __init__(self, a: Session, b: Session, seen_by_a: Recorder, seen_by_b: Recorder) -> None:
        self.a, self.b = a, b
        self.seen_by_a, self.seen_by_b = seen_by_a, seen_by_b
        self.ended: dict[str, Golemp2pError] = {}
        self.over = {"a": trio.Event(), "b": trio.Event()}

    async def run(self, name: str) -> None:
        self.ended[name] = await (self.a if name == "a" else self.b).run()
        self.over[name].set()

    async def wait_over(self, *names: str) -> None:
        for name in names or ("a", "b"):
            await self.over[name].wait()


@asynccontextmanager
async def pair(
    *,
    limits: SessionLimits | None = None,
    streams: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    serve: Callable[[Call], Awaitable[bytes]] | None = None,
) -> AsyncIterator[Pair]:
    """Running until the block is left. ``serve``: of B."""
    limits = limits or SessionLimits()
    left, right = streams or trio.testing.memory_stream_pair()
    to_b, to_a = await channels(left, right, limits)
    seen_by_a, seen_by_b = Recorder(), Recorder(serve)
    both = Pair(Session(to_b, seen_by_a, limits), Session(to_a, seen_by_b, limits), seen_by_a, seen_by_b)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(both.run, "a")
        nursery.start_soon(both.run, "b")
        yield both
        nursery.cancel_scope.cancel()
