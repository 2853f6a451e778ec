"""Nodes in one world of memory streams: dialling, one connection per pair, backoff, manners. Under a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from mesh_pairs import A, B, C, identity
from trio.testing import MockClock

from golemp2p.core.effects import Notice
from golemp2p.errors import (
    ConnectionClosed,
    ConnectionLost,
    FrameMalformed,
    Golemp2pError,
    HandshakeFailed,
    RecordForged,
    RemoteError,
    Unreachable,
    UsageError,
)
from golemp2p.mesh import frames as f
from golemp2p.mesh.backoff import Backoff
from golemp2p.mesh.calls import Call
from golemp2p.mesh.conduct import Conduct, Penalties
from golemp2p.mesh.limits import NetworkLimits
from golemp2p.mesh.network import Network
from golemp2p.mesh.opening import Identity, open_accepted, open_dialled
from golemp2p.mesh.streams import join_address, split_address
from golemp2p.model.messages_dht import PingNode, Pong
from golemp2p.model.messages_membership import Heartbeat
from golemp2p.testing.streams import MemoryStreams
from golemp2p.wire.identity import SigningKey


class Owner:
    """Remembers what it is told; ``events`` in order, as words."""

    def __init__(self, serve: Callable[[Call], Awaitable[bytes]] | None = None) -> None:
        self.events: list[str] = []
        self.received: list[tuple[bytes, Any]] = []
        self.reasons: list[Golemp2pError] = []
        self.blamed: list[tuple[bytes | None, RemoteError]] = []
        self.notices: list[Notice] = []
        self._serve = serve

    def connected(self, peer: bytes) -> None:
        self.events.append("connected")

    def disconnected(self, peer: bytes, reason: Golemp2pError) -> None:
        self.events.append("disconnected")
        self.reasons.append(reason)

    def message(self, peer: bytes, message: Any) -> None:
        self.received.append((peer, message))

    def misbehaved(self, peer: bytes | None, what: RemoteError) -> None:
        self.blamed.append((peer, what))

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    async def serve(self, call: Call) -> bytes:
        return call.payload[::-1] if self._serve is None else await self._serve(call)


class Node:
    def __init__(self, streams: MemoryStreams, key: SigningKey, who: Identity | None = None, **more: Any) -> None:
        self.owner = Owner()
        self.key = key.public_key
        self.network = Network(who or identity(key), self.owner, streams=streams, dice=Random(key.public_key), **more)


@asynccontextmanager
async def world(*nodes: Node, listening: bool = True) -> AsyncIterator[None]:
    """All of them run, each at the address of its first letter."""
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.network.run, [address_of(node.key)] if listening else [])
        yield
        nursery.cancel_scope.cancel()


def address_of(key: bytes) -> str:
    return f"{key.hex()[:8]}:1"


def introduce(*nodes: Node) -> None:
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.network.learn(other.key, [address_of(other.key)])


def two(streams: MemoryStreams | None = None, **more: Any) -> tuple[Node, Node]:
    streams = streams or MemoryStreams()
    return Node(streams, A, **more), Node(streams, B, **more)


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_message_opens_the_connection(autojump_clock: MockClock) -> None:
    a, b = two()
    introduce(a, b)
    async with world(a, b):
        for number in range(3):
            assert a.network.send(b.key, PingNode(number))
        await settled()
        assert b.owner.received == [(a.key, PingNode(number)) for number in range(3)]
        assert b.network.send(a.key, Pong(7))
        assert b.network.send(a.key, Heartbeat(True))
        await settled()
        assert a.owner.received == [(b.key, Pong(7)), (b.key, Heartbeat(True))]
        assert a.owner.events == b.owner.events == ["connected"]
        assert (a.network.peers(), b.network.peers()) == ([b.key], [a.key])
        figures = a.network.statistics()
        assert (figures.connections, figures.dials, figures.traffic.messages_sent) == (1, 1, 3)


async def test_requests_and_bulk(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        if call.wants_chunks:
            await call.send(b"x" * 300_000)
        return call.payload[::-1]

    a, b = two()
    b.owner._serve = serve
    introduce(a, b)
    async with world(a, b):
        assert await a.network.request(b.key, 1, b"abc", deadline_s=1) == b"cba"
        async with a.network.fetch(b.key, 1, b"", progress_s=1) as download:
            assert sum([len(chunk) async for chunk in download]) == 300_000


async def test_nobody_there(autojump_clock: MockClock) -> None:
    a, b = two()
    async with world(a):
        assert not a.network.send(b.key, PingNode(1)), "no address"
        with pytest.raises(Unreachable, match="no address"):
            await a.network.request(b.key, 1, b"", deadline_s=1)
        introduce(a, b)
        assert a.network.send(b.key, PingNode(1)), "it waits for the dial"
        await settled()
        with pytest.raises(Unreachable, match="nobody listens") as caught:
            await a.network.request(b.key, 1, b"", deadline_s=1)
        assert caught.value.retry_after_s is not None
        assert 0.05 <= caught.value.retry_after_s <= 0.1
        assert not a.network.send(b.key, PingNode(2)), "it rests"
        assert a.network.statistics().messages_dropped == 3
        await trio.sleep(1)
        assert a.network.send(b.key, PingNode(3)), "and is tried again"


async def test_a_silent_address_takes_its_time_and_no_more(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams)
    streams.cut("silent:1")
    a.network.learn(b.key, ["silent:1"])
    async with world(a):
        began = trio.current_time()
        with pytest.raises(Unreachable, match="within 5 s"):
            await a.network.request(b.key, 1, b"", deadline_s=60)
        assert trio.current_time() - began == pytest.approx(NetworkLimits().dial_s)


async def test_next_address_after_a_wrong_machine(autojump_clock: MockClock) -> None:
    """Somebody else listens at the first address: neither is mistaken for B, and B is not blamed."""
    streams = MemoryStreams()
    a, b = two(streams)
    c = Node(streams, C)
    a.network.learn(b.key, [address_of(c.key), address_of(b.key)])
    async with world(a, b, c):
        assert await a.network.request(b.key, 1, b"ab", deadline_s=1) == b"ba"
        assert [peer for peer, _ in a.owner.blamed] == [None]
        assert isinstance(c.owner.blamed[0][1], HandshakeFailed)
        assert c.owner.events == []


async def test_another_mesh(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = Node(streams, A), Node(streams, B, identity(B, b"n" * 32))
    introduce(a, b)
    async with world(a, b):
        with pytest.raises(Unreachable, match="another mesh"):
            await a.network.request(b.key, 1, b"", deadline_s=1)
        assert "does not prove this mesh's key" in str(b.owner.blamed[0][1])
        assert dict(b.network.statistics().misbehaviour) == {"handshake-failed": 1}


async def test_simultaneous_dial_leaves_one_connection(autojump_clock: MockClock) -> None:
    for _ in range(20):  # trio's order of tasks is random
        a, b = two()
        introduce(a, b)
        async with world(a, b):
            a.network.send(b.key, PingNode(1))
            b.network.send(a.key, PingNode(2))
            await settled()
            assert (a.owner.received, b.owner.received) == ([(b.key, PingNode(2))], [(a.key, PingNode(1))])
            await trio.sleep(5)
            assert a.network.statistics().connections == b.network.statistics().connections == 1
            assert a.owner.events[-1] == b.owner.events[-1] == "connected"
            if a.network.statistics().dials == b.network.statistics().dials == a.network.statistics().accepted == 1:
                greater = a if a.key > b.key else b
                (session,) = greater.network._sessions
                assert session.dialled
            assert await a.network.request(b.key, 1, b"ab", deadline_s=1) == b"ba"


async def test_a_kept_peer_is_found_again(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams)
    introduce(a, b)
    a.network.keep(b.key)
    async with world(a):
        await trio.sleep(60)
        assert 5 < a.network.statistics().dials < 15, "more and more rarely"
        async with world(b):
            await trio.sleep(31)
            assert a.owner.events == ["connected"]
        await settled()
        assert a.owner.events == ["connected", "disconnected"]
        again = Node(streams, B)
        async with world(again):
            await trio.sleep(31)
            assert a.owner.events[-1] == "connected"


async def test_a_peer_that_starts_anew_replaces_its_old_connection(autojump_clock: MockClock) -> None:
    """A has not noticed yet that the old B is gone: the new B has another life."""
    streams = MemoryStreams()
    a, b = two(streams)
    introduce(a, b)
    async with world(a):
        channel = await open_dialled(await streams.open(address_of(a.key)), identity(B), A.public_key, NetworkLimits().session)
        await settled()
        assert a.owner.events == ["connected"]
        young = Node(streams, B, Identity(B, b"m" * 32, Random(1).randbytes, b"another life....", (1, 1)))
        introduce(a, young)
        async with world(young):
            assert await young.network.request(a.key, 1, b"ab", deadline_s=1) == b"ba"
            assert a.owner.events == ["connected", "connected"]
            assert a.network.send(young.key, PingNode(1))
            await settled()
            assert young.owner.received == [(a.key, PingNode(1))]
        await channel.stream.aclose()


async def test_another_life_wins_over_the_comparison_of_keys(autojump_clock: MockClock) -> None:
    """The old connection is the one that both would keep, if both ends of it were still there."""
    streams = MemoryStreams()
    high, low = sorted((A, B), key=lambda key: key.public_key, reverse=True)
    node = Node(streams, high)
    ((bound, listener),) = await streams.listen(address_of(low.public_key))
    node.network.learn(low.public_key, [bound])
    async with world(node), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: node.network.request(low.public_key, 1, b"", deadline_s=0.1))
        try:
            await open_accepted(await listener.accept(), identity(low), NetworkLimits().session)
            await settled()
            young = Identity(low, b"m" * 32, Random(1).randbytes, b"another life....", (1, 1))
            address = address_of(high.public_key)
            channel = await open_dialled(await streams.open(address), young, high.public_key, NetworkLimits().session)
            await settled()
            assert node.owner.events == ["connected", "connected"]
            assert node.network.send(low.public_key, PingNode(1))
            await settled()
            assert channel.opener.feed(bytes(await channel.stream.receive_some()))
        finally:
            nursery.cancel_scope.cancel()


async def test_a_peer_that_closes_at_once_is_no_reason_to_hurry(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams)
    ((bound, listener),) = await streams.listen(address_of(b.key))
    a.network.learn(b.key, [bound])
    a.network.keep(b.key)

    async def accept_and_close() -> None:
        while True:
            channel = await open_accepted(await listener.accept(), identity(B), NetworkLimits().session)
            await channel.stream.aclose()

    async with world(a), trio.open_nursery() as nursery:
        nursery.start_soon(accept_and_close)
        await trio.sleep(60)
        assert 5 < a.network.statistics().dials < 15
        nursery.cancel_scope.cancel()


async def test_nobody_comes_in_under_the_nodes_own_key(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, _ = two(streams)
    clone = Identity(A, b"m" * 32, Random(1).randbytes, b"another machine.", (1, 1))
    async with world(a):
        with pytest.raises(HandshakeFailed, match="does not want this one"):
            await open_dialled(await streams.open(address_of(a.key)), clone, A.public_key, NetworkLimits().session)


async def test_nonsense_is_closed_remembered_and_counted(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams)

    async def talk_nonsense() -> None:
        channel = await open_dialled(await streams.open(address_of(a.key)), identity(B), A.public_key, NetworkLimits().session)
        await channel.stream.send_all(channel.sealer.seal([f.encode_frame(f.Message(2, b"\xff nonsense"))]))
        while await channel.stream.receive_some():
            pass
        await channel.stream.aclose()

    async with world(a):
        await talk_nonsense()
        await settled()
        assert a.owner.events == ["connected", "disconnected"]
        assert a.owner.blamed[0][0] == b.key
        assert isinstance(a.owner.blamed[0][1], FrameMalformed)
        with pytest.raises(HandshakeFailed, match="does not want this one"):
            await talk_nonsense()
        await trio.sleep(1.1)
        await talk_nonsense()
        await trio.sleep(1.1)
        with pytest.raises(HandshakeFailed):
            await talk_nonsense()
        assert dict(a.network.statistics().misbehaviour)["frame-malformed"] == 2


async def test_a_peer_that_dials_again_and_again_holds_two_connections_at_most(autojump_clock: MockClock) -> None:
    """Even when each of them keeps this node busy."""
    streams = MemoryStreams()
    a, _ = two(streams)

    async def sleep(call: Call) -> bytes:
        await trio.sleep(10_000)
        return b""

    a.owner._serve = sleep
    request = f.encode_frame(f.Request(1, 1, 3_600_000, 0, b""))
    async with world(a):
        open_ones = []
        for _ in range(10):
            stream = await streams.open(address_of(a.key))
            channel = await open_dialled(stream, identity(B), A.public_key, NetworkLimits().session)
            await stream.send_all(channel.sealer.seal([request]))
            await settled()
            open_ones.append(stream)
        await trio.sleep(NetworkLimits().session.close_s + 1)
        assert a.network.statistics().connections == 2
        for stream in open_ones:
            await stream.aclose()


async def test_silent_strangers_do_not_keep_others_out(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams, limits=NetworkLimits(handshakes_max=4))
    introduce(a, b)
    async with world(a, b):
        strangers = [await streams.open(address_of(b.key)) for _ in range(10)]
        await settled()
        assert b.network.statistics().handshakes_under_way == 4
        assert await a.network.request(b.key, 1, b"ab", deadline_s=1) == b"ba"
        for stranger in strangers:
            await stranger.aclose()


async def test_no_more_connections_than_the_limit(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams, limits=NetworkLimits(connections_max=1))
    c = Node(streams, C)
    introduce(a, b, c)
    async with world(a, b, c):
        await a.network.request(b.key, 1, b"", deadline_s=1)
        with pytest.raises(Unreachable):
            await c.network.request(b.key, 1, b"", deadline_s=1)


async def test_pending_messages_are_bounded(autojump_clock: MockClock) -> None:
    a, b = two(limits=NetworkLimits(pending_bytes_max=100))
    introduce(a, b)
    async with world(a, b):
        kept = sum(a.network.send(b.key, PingNode(number)) for number in range(1_000))
        assert 0 < kept < 100
        await settled()
        assert len(b.owner.received) == kept


async def test_closing_says_goodbye(autojump_clock: MockClock) -> None:
    a, b = two()
    introduce(a, b)
    async with world(b), trio.open_nursery() as nursery:
        await nursery.start(a.network.run, [address_of(a.key)])
        await a.network.request(b.key, 1, b"", deadline_s=1)
        a.network.send(b.key, PingNode(9))
        a.network.close()
        await settled()
        assert b.owner.received == [(a.key, PingNode(9))]
        assert isinstance(a.owner.reasons[0], ConnectionClosed)
        assert isinstance(b.owner.reasons[0], ConnectionLost)
        assert "shutting-down" in str(b.owner.reasons[0])
        with pytest.raises(Unreachable):
            await a.network.request(b.key, 1, b"", deadline_s=1)


async def test_after_the_end_messages_are_dropped(autojump_clock: MockClock) -> None:
    a, b = two()
    introduce(a, b)
    async with trio.open_nursery() as nursery:
        await nursery.start(a.network.run)
        nursery.cancel_scope.cancel()
    assert not a.network.send(b.key, PingNode(9))


async def test_forgotten_peers_are_closed(autojump_clock: MockClock) -> None:
    a, b = two()
    introduce(a, b)
    async with world(a, b):
        await a.network.request(b.key, 1, b"", deadline_s=1)
        a.network.forget(b.key)
        await settled()
        assert b.owner.events == ["connected", "disconnected"]
        assert a.network.peers() == []
        assert not a.network.send(b.key, PingNode(1))


async def test_an_address_that_is_taken(autojump_clock: MockClock) -> None:
    streams = MemoryStreams()
    a, b = two(streams)
    async with world(a):
        with pytest.raises(Unreachable, match="somebody listens"):
            await b.network.run(["elsewhere:1", address_of(a.key)])
        await b.network._streams.listen("elsewhere:1")


def test_a_node_does_not_dial_itself() -> None:
    a, _ = two()
    with pytest.raises(UsageError):
        a.network.learn(a.key, ["x:1"])


# -- small parts


def test_backoff_grows_and_varies() -> None:
    backoff, dice = Backoff(first_s=0.1, max_s=10), Random(1)
    for failures, longest in ((1, 0.1), (2, 0.2), (5, 1.6), (20, 10), (10_000, 10)):
        delays = [backoff.delay_s(failures, dice) for _ in range(100)]
        assert longest / 2 <= min(delays) < max(delays) <= longest


def test_conduct() -> None:
    conduct = Conduct(Penalties(first_s=1, max_s=3, memory_s=100, peers_max=2))
    conduct.note(None, HandshakeFailed("x"), 0)
    conduct.note(b"a", RecordForged("x"), 0)
    assert conduct.is_welcome(b"a", 0), "anybody on the line can forge"
    for at, until in ((0, 1), (10, 12), (20, 23), (30, 33), (200, 201)):
        conduct.note(b"a", FrameMalformed("x"), at)
        assert conduct.shunned_until(b"a") == until
    assert not conduct.is_welcome(b"a", 200.9)
    assert conduct.is_welcome(b"a", 201)
    conduct.note(b"b", FrameMalformed("x"), 200)
    conduct.note(b"c", FrameMalformed("x"), 200)
    assert conduct.is_welcome(b"a", 200), "forgotten for want of room"
    assert conduct.counts == {"handshake-failed": 1, "record-forged": 1, "frame-malformed": 7}


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:0", "name.example:65535"])
def test_addresses(address: str) -> None:
    assert join_address(*split_address(address)) == address


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "::1:80", "host:65536", "host:x", "host:-1", "host:٣"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        split_address(address)
