"""Two networks over real sockets of the loopback: IPv4 and IPv6, records as the kernel cuts them, connections that are reset."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio

from golemp2p.core.effects import Notice
from golemp2p.errors import ConnectionLost, Golemp2pError, HandshakeFailed, RemoteError, Unreachable
from golemp2p.mesh.calls import Call
from golemp2p.mesh.network import Network
from golemp2p.mesh.opening import Identity
from golemp2p.mesh.streams import TcpStreams, split_address
from golemp2p.model.messages_dht import PingNode
from golemp2p.wire.identity import SigningKey

MESH = b"m" * 32
BLOB = os.urandom(3_000_000)
HOSTS = ["127.0.0.1:0", "[::1]:0"]
PATIENCE_S = 20


class Owner:
    def __init__(self) -> None:
        self.received: list[Any] = []
        self.reasons: list[Golemp2pError] = []
        self.blamed: list[RemoteError] = []
        self.news = trio.Event()

    def connected(self, peer: bytes) -> None: ...

    def disconnected(self, peer: bytes, reason: Golemp2pError) -> None:
        self.reasons.append(reason)
        self.news.set()

    def message(self, peer: bytes, message: Any) -> None:
        self.received.append(message)
        self.news.set()

    def misbehaved(self, peer: bytes | None, what: RemoteError) -> None:
        self.blamed.append(what)
        self.news.set()

    def notice(self, notice: Notice) -> None: ...

    async def serve(self, call: Call) -> bytes:
        if call.wants_chunks:
            await call.send(BLOB)
        return call.payload[::-1]

    async def wait(self, what: list[Any], count: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while len(what) < count:
                self.news = trio.Event()
                await self.news.wait()


def node(seed: bytes) -> tuple[Network, Owner, bytes]:
    key = SigningKey(seed * 32)
    owner = Owner()
    identity = Identity(key, MESH, os.urandom, os.urandom(16))
    return Network(identity, owner, streams=TcpStreams(), dice=Random(seed)), owner, key.public_key


async def start(nursery: trio.Nursery, network: Network, address: str) -> str:
    try:
        (bound,) = await nursery.start(network.run, [address])
    except Unreachable:
        pytest.skip(f"nothing can listen on {address} here")
    return str(bound)


@pytest.mark.parametrize("host", HOSTS)
async def test_messages_requests_and_bulk(host: str) -> None:
    a, _, _ = node(b"a")
    b, seen_by_b, b_key = node(b"b")
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        a.learn(b_key, [await start(nursery, b, host)])
        assert await a.request(b_key, 1, b"abc", deadline_s=PATIENCE_S) == b"cba"
        before = a.statistics().traffic
        for number in range(1_000):
            assert a.send(b_key, PingNode(number))
        await seen_by_b.wait(seen_by_b.received, 1_000)
        assert seen_by_b.received == [PingNode(number) for number in range(1_000)]
        assert a.statistics().traffic.writes - before.writes == 1
        async with a.fetch(b_key, 1, b"", progress_s=PATIENCE_S) as download:
            assert b"".join([chunk async for chunk in download]) == BLOB
        b.close()
        a.close()


async def test_a_reset_is_a_lost_connection() -> None:
    """A stranger's socket that has read half a handshake and is reset; then a session of ours whose process dies."""
    a, seen_by_a, a_key = node(b"a")
    b, _, _ = node(b"b")
    async with trio.open_nursery() as nursery:
        bound = await start(nursery, a, HOSTS[0])
        b.learn(a_key, [bound])
        async with trio.open_nursery() as dying:
            await dying.start(b.run)
            assert await b.request(a_key, 1, b"ab", deadline_s=PATIENCE_S) == b"ba"
            (session,) = b._sessions
            stream = session._channel.stream
            assert isinstance(stream, trio.SocketStream)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            dying.cancel_scope.cancel()
        await seen_by_a.wait(seen_by_a.reasons, 1)
        assert isinstance(seen_by_a.reasons[0], ConnectionLost)
        assert seen_by_a.blamed == []
        nursery.cancel_scope.cancel()


async def test_a_stranger_learns_nothing() -> None:
    a, seen_by_a, _ = node(b"a")
    async with trio.open_nursery() as nursery:
        bound = await start(nursery, a, HOSTS[0])
        async with await trio.open_tcp_stream(*split_address(bound)) as stranger:
            await stranger.send_all(b"GET / HTTP/1.1\r\nHost: somewhere\r\nUser-Agent: longer than a hello\r\n\r\n")
            with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
                assert await stranger.receive_some() == b""
        await seen_by_a.wait(seen_by_a.blamed, 1)
        assert isinstance(seen_by_a.blamed[0], HandshakeFailed)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["a..b:1", "\0:1", "127.0.0.1:1"])
async def test_addresses_that_lead_nowhere(address: str) -> None:
    with pytest.raises(Unreachable):
        await TcpStreams().open(address)
