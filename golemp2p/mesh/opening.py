"""From a stream of bytes to a channel: the handshake, then a hello from both sides, within one deadline.

    dialling    first message ──>  <── second   third ──>  <── fourth    hello ──>  <── hello
    accepting   the same from the other side; its hello leaves together with the fourth message

Both sides agree on the version by themselves. Whatever fails closes the stream and raises.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from golemp2p.errors import ConnectionLost, FrameMalformed, HandshakeFailed
from golemp2p.mesh.frames import HELLO_BYTES_MAX, FrameReader, Hello, encode_frame
from golemp2p.mesh.handshake import ClientHandshake, Outcome, ServerHandshake
from golemp2p.mesh.hello import VERSION_HIGHEST, VERSION_LOWEST, agree
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.records import Opener, Sealer
from golemp2p.mesh.session import RECEIVE_BYTES, Channel
from golemp2p.wire.identity import SigningKey


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is on the wire. ``mesh_key``: 32 bytes; ``random_bytes``: strong outside of simulations; ``life``: 16 random
    bytes, new with every start; ``versions``: lowest and highest of the protocol."""

    key: SigningKey
    mesh_key: bytes
    random_bytes: Callable[[int], bytes]
    life: bytes
    versions: tuple[int, int] = (VERSION_LOWEST, VERSION_HIGHEST)


async def open_dialled(stream: trio.abc.Stream, identity: Identity, peer: bytes, limits: SessionLimits) -> Channel:
    """``peer``: public key of whom is meant. Raises ``HandshakeFailed``, ``VersionMismatch`` and other ``RemoteError``, or
    ``ConnectionLost``; then, and when cancelled, the stream is closed."""
    async with _closed_on_failure(stream):
        handshake = ClientHandshake(identity.mesh_key, identity.key, peer, identity.random_bytes)
        return await _open(stream, handshake, handshake.first_message, identity, limits)


async def open_accepted(
    stream: trio.abc.Stream, identity: Identity, limits: SessionLimits, is_welcome: Callable[[bytes], bool] = lambda _peer: True
) -> Channel:
    """As ``open_dialled``; ``is_welcome`` is asked about whoever proved its key."""
    async with _closed_on_failure(stream):
        handshake = ServerHandshake(identity.mesh_key, identity.key, identity.random_bytes, is_welcome)
        return await _open(stream, handshake, b"", identity, limits)


@asynccontextmanager
async def _closed_on_failure(stream: trio.abc.Stream) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:  # cancellation, too
        await trio.aclose_forcefully(stream)
        raise


async def _open(
    stream: trio.abc.Stream,
    handshake: ClientHandshake | ServerHandshake,
    first: bytes,
    identity: Identity,
    limits: SessionLimits,
) -> Channel:
    try:
        with trio.fail_after(limits.handshake_s):
            hello = Hello(*identity.versions, limits.frame_bytes_max, limits.requests_max, identity.life)
            outcome, sealer = await _shake(stream, handshake, first, encode_frame(hello))
            rest = handshake.rest if isinstance(handshake, ClientHandshake) else b""
            opener = Opener(outcome.receive_key)
            reader, theirs = await _greeted(stream, opener, rest)
    except trio.TooSlowError:
        raise HandshakeFailed(f"the peer did not shake hands within {limits.handshake_s:g} s") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise ConnectionLost("the connection was reset during the handshake") from error
    dialled = isinstance(handshake, ClientHandshake)
    channel = Channel(stream, outcome.peer, dialled, sealer, opener, reader, agree(hello, theirs))
    reader.bytes_max = limits.frame_bytes_max
    return channel


async def _shake(
    stream: trio.abc.Stream, handshake: ClientHandshake | ServerHandshake, first: bytes, hello: bytes
) -> tuple[Outcome, Sealer]:
    """Ends when this side has sent its last message and its hello."""
    if first:
        await stream.send_all(first)
    while True:
        data = bytes(await stream.receive_some(RECEIVE_BYTES))
        if not data:
            raise handshake.end_of_stream()
        answer = handshake.receive(data)
        outcome = handshake.outcome
        if outcome is not None:
            sealer = Sealer(outcome.send_key)
            await stream.send_all(answer + sealer.seal([hello]))
            return outcome, sealer
        if answer:
            await stream.send_all(answer)


async def _greeted(stream: trio.abc.Stream, opener: Opener, rest: bytes) -> tuple[FrameReader, Hello]:
    """The peer's hello, and the reader with what came after it. ``rest``: bytes that came together with the handshake."""
    reader = FrameReader(bytes_max=HELLO_BYTES_MAX)
    data = rest
    while True:
        for payload in opener.feed(data):
            reader.feed(payload)
        item = reader.next_frame()
        if item is not None:
            break
        if opener.ended:
            raise FrameMalformed("the peer ended before its hello")
        data = bytes(await stream.receive_some(RECEIVE_BYTES))
        if not data:
            raise ConnectionLost("the peer closed before its hello")
    hello = item[0]
    if not isinstance(hello, Hello):
        raise FrameMalformed(f"a {type(hello).__name__} before the hello")
    return reader, hello
