"""Whatever a peer sends, in whatever order, a session ends in an orderly way: an error that says why, and no exception."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_pairs import A, B, Recorder, channels, identity
from trio.testing import MockClock

from golemp2p.errors import Golemp2pError, RemoteError, WorldError
from golemp2p.mesh import frames as f
from golemp2p.mesh.calls import Call
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.opening import open_accepted, open_dialled
from golemp2p.mesh.outbox import Outbox
from golemp2p.mesh.session import Session

number = st.integers(0, 6)
payload = st.binary(max_size=40)
plausible = st.one_of(
    st.builds(f.Message, st.integers(0, 3), payload),
    st.builds(f.Request, number, st.integers(0, 3), st.integers(0, 3_000), st.sampled_from([0, 1, 30, f.CREDIT_MAX]), payload),
    st.builds(f.Answer, number, payload),
    st.builds(f.Failure, number, st.text(max_size=4), st.text(max_size=4), st.none() | st.integers(0, 9)),
    st.builds(f.Cancel, number),
    st.builds(f.Chunk, number, st.binary(min_size=1, max_size=40)),
    st.builds(f.Credit, number, st.sampled_from([1, 30, f.CREDIT_MAX])),
    st.builds(f.Ping, number),
    st.builds(f.Pong, number),
    st.builds(f.Goodbye, st.text(max_size=4)),
    st.builds(f.Hello, st.just(1), st.just(1), st.just(1 << 20), st.just(1), st.binary(min_size=16, max_size=16)),
)
LIMITS = SessionLimits(requests_max=2)


async def serve(call: Call) -> bytes:
    if call.kind == 1:
        await trio.sleep(1)
    if call.kind == 2 and call.wants_chunks:
        await call.send(bytes(200))
    if call.kind == 3:
        raise KeyError("a bug")
    return call.payload


async def attacked(steps: Sequence[f.Frame | bytes], *, sealed: bool) -> Golemp2pError:
    """How a session ends that asks three things itself while a peer sends ``steps`` and closes."""
    to_b, to_a = await channels(*trio.testing.memory_stream_pair(), LIMITS)
    session = Session(to_a, Recorder(serve), LIMITS)

    async def ask() -> None:
        with suppress(WorldError):
            await session.request(1, b"x", deadline_s=2)

    async def fetch() -> None:
        with suppress(WorldError):
            async with session.fetch(1, b"x", progress_s=2) as download:
                while await download.receive():
                    pass

    async def attack() -> None:
        await trio.testing.wait_all_tasks_blocked()
        for step in steps:
            data = step if isinstance(step, bytes) else f.encode_frame(step)
            try:
                await to_b.stream.send_all(to_b.sealer.seal([data]) if sealed else data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            await trio.sleep(0.1)
        await to_b.stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        nursery.start_soon(fetch)
        nursery.start_soon(attack)
        error = await session.run()
    assert session.statistics().queued_bytes < 100_000
    return error


def run(steps: Sequence[f.Frame | bytes], *, sealed: bool) -> Golemp2pError:
    async def main() -> Golemp2pError:
        return await attacked(steps, sealed=sealed)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(st.lists(plausible, max_size=12))
def test_frames_in_any_order(steps: list[f.Frame]) -> None:
    assert isinstance(run(steps, sealed=True), RemoteError | WorldError)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_bytes(steps: list[bytes], sealed: bool) -> None:
    assert isinstance(run(steps, sealed=sealed), RemoteError | WorldError)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_bytes_instead_of_a_handshake(data: bytes, dials: bool) -> None:
    async def main() -> None:
        left, right = trio.testing.memory_stream_pair()
        await right.send_all(data)
        await right.send_eof()
        try:
            if dials:
                await open_dialled(left, identity(A), B.public_key, LIMITS)
            else:
                await open_accepted(left, identity(A), LIMITS)
        except (RemoteError, WorldError):
            return
        raise AssertionError("nobody proved anything")

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50))), st.integers(1, 99), st.integers(1, 99))
def test_outbox(frames: list[tuple[bool, int]], flush: int, bulk: int) -> None:
    """Order within a lane, nothing lost, bytes counted, bulk never starved."""
    outbox = Outbox(flush_bytes=flush, bulk_bytes=bulk)
    lanes: dict[bool, list[bytes]] = {False: [], True: []}
    for at, (is_bulk, size) in enumerate(frames):
        frame = (b"%d" % is_bulk + b"%d" % at).ljust(size + 8)
        lanes[is_bulk].append(frame)
        if is_bulk:
            outbox.post_bulk(frame)
        else:
            outbox.post(frame)
    taken: list[bytes] = []
    while outbox:
        had_bulk = outbox.bulk_bytes > 0
        write = outbox.take()
        assert write
        assert any(frame.startswith(b"1") for frame in write) == had_bulk
        taken += write
        outbox.written()
    assert outbox.queued_bytes == outbox.bulk_bytes == 0
    assert [frame for frame in taken if frame.startswith(b"0")] == lanes[False]
    assert [frame for frame in taken if frame.startswith(b"1")] == lanes[True]
