"""One connection: batching, requests, bulk under flow control, endings. In memory, under a virtual clock."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from mesh_pairs import A, B, C, Recorder, channels, identity, pair
from trio.testing import MockClock

from golemp2p.errors import (
    ConnectionClosed,
    ConnectionLost,
    DeadlineExceeded,
    FrameMalformed,
    HandshakeFailed,
    InvalidState,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RecordForged,
    RemoteError,
    RequestFailed,
    UsageError,
    VersionMismatch,
)
from golemp2p.mesh import frames as f
from golemp2p.mesh.calls import Call
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.opening import open_accepted, open_dialled
from golemp2p.mesh.session import Channel, Session

SMALL = SessionLimits(
    frame_bytes_max=100_000, queued_bytes_max=200_000, requests_bytes_max=200_000, unverified_bytes_max=200_000, requests_max=4
)


# -- messages


async def test_what_is_sent_in_one_turn_is_one_record_and_one_write(autojump_clock: MockClock) -> None:
    async with pair() as both:
        before = both.a.statistics()
        for number in range(100):
            assert both.a.send(7, b"%d" % number)
        await both.seen_by_b.wait_messages(100)
        after = both.a.statistics()
        assert both.seen_by_b.messages == [(7, b"%d" % number) for number in range(100)]
        assert (after.records_sent - before.records_sent, after.writes - before.writes) == (1, 1)


async def test_tasks_of_one_turn_share_a_record(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await trio.testing.wait_all_tasks_blocked()
        before = both.a.statistics().records_sent

        async def one() -> None:
            both.a.send(1, b"x")

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        await both.seen_by_b.wait_messages(50)
        assert both.a.statistics().records_sent - before == 1


async def test_messages_of_all_sizes(autojump_clock: MockClock) -> None:
    async with pair() as both:
        sent = [(1, bytes([n]) * size) for n, size in enumerate((0, 1, 65_000, 65_536, 1_000_000, 7_000_000, 3))]
        for kind, payload in sent:
            assert both.a.send(kind, payload)
        await both.seen_by_b.wait_messages(len(sent))
        assert both.seen_by_b.messages == sent


async def test_a_message_that_the_peer_does_not_take(autojump_clock: MockClock) -> None:
    async with pair(limits=SMALL) as both:
        assert not both.a.send(1, bytes(100_000))
        assert both.a.statistics().messages_dropped == 1
        with pytest.raises(PayloadTooLarge):
            await both.a.request(1, bytes(100_000), deadline_s=1)
        with pytest.raises(PayloadTooLarge):
            both.a.send(1, bytes(f.FRAME_BYTES_MAX))


async def test_slow_reader_bounds_memory_and_is_given_up(autojump_clock: MockClock) -> None:
    """B has stopped reading: A keeps at most what it may queue, drops the rest, counts it, and gives up in time."""
    left, right = trio.testing.lockstep_stream_pair()
    to_b, _ = await channels(left, right, SMALL)
    session = Session(to_b, Recorder(), SMALL)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 0)
        sent = sum(session.send(1, bytes(1_000)) for _ in range(1_000))
        figures = session.statistics()
        assert sent * 1_000 < figures.queued_bytes <= SMALL.queued_bytes_max
        assert figures.messages_dropped == 1_000 - sent > 0
        began = trio.current_time()
        assert isinstance(error := await session.run(), ConnectionLost)
        assert "took nothing" in str(error)
        assert trio.current_time() - began == pytest.approx(SMALL.write_s)


async def test_unverified_work_stops_the_reading(autojump_clock: MockClock) -> None:
    async with pair(limits=SMALL) as both:
        both.seen_by_b.done = trio.Event()
        for _ in range(20):
            both.a.send(1, bytes(50_000))
            await trio.testing.wait_all_tasks_blocked()
        read = len(both.seen_by_b.messages)
        assert 200_000 < read * 50_010 < 350_000
        await trio.sleep(3 * SMALL.silence_s)
        assert both.ended == {}, "the silence is our own"
        both.seen_by_b.done.set()
        await both.seen_by_b.wait_messages(20)


# -- requests


async def test_requests_are_multiplexed(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await trio.sleep(10 - call.payload[0])
        return call.payload * 2

    answers: list[bytes] = []
    async with pair(serve=serve) as both:

        async def ask(number: int) -> None:
            answers.append(await both.a.request(3, bytes([number]), deadline_s=60))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, number)
    assert answers == [bytes([number]) * 2 for number in (4, 3, 2, 1, 0)]


async def test_errors_travel(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        if call.kind == 1:
            raise Overloaded("not now", retry_after_s=1.5)
        if call.kind == 2:
            raise NotFound("no such thing")
        raise KeyError("a bug")

    async with pair(serve=serve) as both:
        with pytest.raises(RequestFailed, match="not now") as caught:
            await both.a.request(1, b"", deadline_s=1)
        assert (caught.value.remote_code, caught.value.retry_after_s) == ("overloaded", 1.5)
        with pytest.raises(RequestFailed) as caught:
            await both.a.request(2, b"", deadline_s=1)
        assert (caught.value.remote_code, caught.value.retry_after_s) == ("not-found", None)
        with pytest.raises(RequestFailed, match="failed over this request") as caught:
            await both.a.request(3, b"", deadline_s=1)
        assert caught.value.remote_code == "internal"
        assert both.ended == {}


async def test_deadline_ends_both_sides(autojump_clock: MockClock) -> None:
    cancelled_at: list[float] = []

    async def serve(call: Call) -> bytes:
        assert call.left_s == pytest.approx(2)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled_at.append(trio.current_time())
            raise
        raise AssertionError

    async with pair(serve=serve) as both:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await both.a.request(1, b"", deadline_s=2)
        await trio.testing.wait_all_tasks_blocked()
        assert [at - began for at in cancelled_at] == [pytest.approx(2)]
        assert both.ended == {}


async def test_cancelling_a_request_cancels_the_work(autojump_clock: MockClock) -> None:
    cancelled: list[int] = []

    async def serve(call: Call) -> bytes:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(call.number)
            raise
        raise AssertionError

    async with pair(serve=serve) as both:
        with trio.move_on_after(1):
            await both.a.request(1, b"", deadline_s=100)
        await trio.testing.wait_all_tasks_blocked()
        assert cancelled == [1]
        assert both.b.statistics().requests_received == 1
        assert both.ended == {}


async def test_too_many_requests(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await trio.sleep(10)
        return b""

    async with pair(serve=serve, limits=SMALL) as both, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(lambda: both.a.request(1, b"", deadline_s=100))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await both.a.request(1, b"", deadline_s=100)


async def test_too_many_bytes_of_requests(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await trio.sleep(10)
        return b""

    async with pair(serve=serve, limits=SMALL) as both, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: both.a.request(1, bytes(90_000), deadline_s=100))
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RequestFailed) as caught:
            await both.a.request(1, bytes(90_000), deadline_s=100)
        assert caught.value.remote_code == "overloaded"


async def test_an_answer_larger_than_the_asker_takes(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        return bytes(200_000)

    async with pair(serve=serve, limits=SMALL) as both:
        with pytest.raises(RequestFailed, match="larger than you take"):
            await both.a.request(1, b"", deadline_s=1)


# -- bulk


BLOB = bytes(range(256)) * 20_000  # 5 MB


async def serve_blob(call: Call) -> bytes:
    await call.send(BLOB)
    return b"that was all"


async def test_bulk_arrives_whole(autojump_clock: MockClock) -> None:
    async with pair(serve=serve_blob) as both, both.a.fetch(1, b"", progress_s=5) as download:
        assert b"".join([chunk async for chunk in download]) == BLOB
        assert download.final == b"that was all"


async def test_slow_reader_of_bulk_bounds_memory(autojump_clock: MockClock) -> None:
    """Nothing is consumed: no more than the window is sent, and other requests pass."""
    limits = SessionLimits(window_bytes=200_000)
    async with pair(serve=blob_or_echo, limits=limits) as both, both.a.fetch(1, b"", progress_s=100) as download:
        await trio.testing.wait_all_tasks_blocked()
        assert 200_000 <= both.a.statistics().bytes_received < 202_000
        assert await both.a.request(2, b"hello", deadline_s=1) == b"hello"
        with pytest.raises(InvalidState):
            _ = download.final
        assert b"".join([chunk async for chunk in download]) == BLOB


async def blob_or_echo(call: Call) -> bytes:
    return await serve_blob(call) if call.wants_chunks else call.payload


async def test_leaving_a_transfer_early_stops_it(autojump_clock: MockClock) -> None:
    async with pair(serve=serve_blob) as both:
        async with both.a.fetch(1, b"", progress_s=5) as download:
            assert await download.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert both.b.statistics().bytes_sent < len(BLOB) / 2
        assert both.ended == {}
        assert both.seen_by_b.calls[0].canceled


async def test_bulk_that_does_not_go_on(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await call.send(b"first")
        await trio.sleep_forever()
        raise AssertionError

    async with pair(serve=serve) as both, both.a.fetch(1, b"", progress_s=5) as download:
        assert await download.receive() == b"first"
        with pytest.raises(DeadlineExceeded):
            await download.receive()


async def test_bulk_that_fails_midway(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await call.send(b"first")
        raise NotFound("the rest is gone")

    async with pair(serve=serve) as both, both.a.fetch(1, b"", progress_s=5) as download:
        assert await download.receive() == b"first"
        with pytest.raises(RequestFailed, match="the rest is gone"):
            await download.receive()


async def test_chunks_for_a_plain_request_are_our_own_mistake(autojump_clock: MockClock) -> None:
    async with pair(serve=serve_blob) as both:
        with pytest.raises(RequestFailed) as caught:
            await both.a.request(1, b"", deadline_s=1)
        assert caught.value.remote_code == InvalidState.code


# -- endings


async def test_close_says_goodbye_after_what_is_queued(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.a.send(1, bytes(500_000))
        both.a.close("shutting-down")
        assert not both.a.send(1, b"too late")
        await both.wait_over()
        assert len(both.seen_by_b.messages) == 1
        assert isinstance(both.ended["a"], ConnectionClosed)
        assert isinstance(both.ended["b"], ConnectionLost)
        assert "shutting-down" in str(both.ended["b"])


async def test_requests_fail_when_the_connection_ends(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    for side, expected in (("a", ConnectionClosed), ("b", ConnectionLost)):
        async with pair(serve=serve) as both, trio.open_nursery() as nursery:

            async def ask(expected: type[Exception] = expected) -> None:
                with pytest.raises(expected):
                    await both.a.request(1, b"", deadline_s=100)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            (both.a if side == "a" else both.b).close("test")
            await both.wait_over()
            with pytest.raises(expected):
                await both.a.request(1, b"", deadline_s=100)


async def test_half_open_peer(autojump_clock: MockClock) -> None:
    """The other end is gone without a word: asked after a while, given up later."""
    to_b, to_a = await channels(*trio.testing.memory_stream_pair())
    limits = SessionLimits()
    session = Session(to_b, Recorder(), limits)
    began = trio.current_time()
    error = await session.run()
    assert isinstance(error, ConnectionLost)
    assert "silent" in str(error)
    assert trio.current_time() - began == pytest.approx(limits.silence_s)
    payload = to_a.opener.feed(bytes(await to_a.stream.receive_some()))
    assert [f.decode_frame(data[4:]) for data in payload] == [f.Ping(0)]


async def test_an_idle_connection_lives(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await trio.sleep(10 * SessionLimits().silence_s)
        assert both.ended == {}
        assert both.a.statistics().records_sent < 80


async def test_retired_session_ends_when_idle(autojump_clock: MockClock) -> None:
    async def serve(call: Call) -> bytes:
        await trio.sleep(5)
        return b"done"

    async with pair(serve=serve) as both, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: both.a.request(1, b"", deadline_s=100))
        await trio.testing.wait_all_tasks_blocked()
        both.a.retire()
        both.b.retire()
        await trio.testing.wait_all_tasks_blocked()
        assert both.ended == {}
        await both.wait_over()


# -- nonsense


async def ends_with(wire: bytes | list[f.Frame], *, cut: bool = False) -> tuple[Exception, list[f.Frame]]:
    """What a session says, and to whom, that receives ``wire`` (bytes: as they are; frames: well sealed)."""
    to_b, to_a = await channels(*trio.testing.memory_stream_pair())
    session = Session(to_a, Recorder(), SessionLimits())
    said: list[f.Frame] = []

    async def hostile() -> None:
        data = wire if isinstance(wire, bytes) else to_b.sealer.seal([f.encode_frame(frame) for frame in wire])
        await to_b.stream.send_all(data)
        if cut:
            await to_b.stream.aclose()
            return
        while data := bytes(await to_b.stream.receive_some()):
            for payload in to_b.opener.feed(data):
                to_b.reader.feed(payload)
            said.extend(frame for frame, _ in to_b.reader)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hostile)
        error = await session.run()
    return error, said


HOSTILE_FRAMES: list[list[f.Frame]] = [
    [f.Hello(1, 1, 1000, 1, bytes(16))],
    [f.Answer(1, b"to nothing")],
    [f.Chunk(1, b"of nothing")],
    [f.Failure(7, "x", "", None)],
    [f.Cancel(1)],
    [f.Credit(1, 1)],
    [f.Request(2, 1, 1, 0, b""), f.Request(2, 1, 1, 0, b"")],
    [f.Request(1, 1, 1000, 0, b""), f.Credit(1, 5)],
    [f.Request(1, 1, 1000, 1, b""), f.Credit(1, f.CREDIT_MAX)],
]


@pytest.mark.parametrize("wire", HOSTILE_FRAMES, ids=lambda wire: type(wire[-1]).__name__)
async def test_well_sealed_nonsense(wire: list[f.Frame], autojump_clock: MockClock) -> None:
    error, said = await ends_with(wire)
    assert isinstance(error, FrameMalformed)
    assert said[-1] == f.Goodbye("frame-malformed"), "the peer is told"


async def test_forged_record(autojump_clock: MockClock) -> None:
    error, said = await ends_with(b"\x17" * 70_000)
    assert isinstance(error, RecordForged)
    assert said == [f.Goodbye("record-forged")]


async def test_replayed_record(autojump_clock: MockClock) -> None:
    left, right = trio.testing.memory_stream_pair()
    to_b, to_a = await channels(left, right)
    session, seen = Session(to_a, recorder := Recorder(), SessionLimits()), recorder.messages
    record = to_b.sealer.seal([f.encode_frame(f.Message(1, bytes(60_000)))])
    await to_b.stream.send_all(record + record)
    assert isinstance(await session.run(), RecordForged)
    assert len(seen) == 1


async def test_a_frame_beyond_the_limit(autojump_clock: MockClock) -> None:
    to_b, to_a = await channels(*trio.testing.memory_stream_pair(), SMALL)
    await to_b.stream.send_all(to_b.sealer.seal([(100_001).to_bytes(4, "big")]))
    assert isinstance(await Session(to_a, Recorder(), SMALL).run(), FrameMalformed)


async def test_connection_reset_in_mid_frame(autojump_clock: MockClock) -> None:
    frame = f.encode_frame(f.Message(1, bytes(100_000)))
    to_b, to_a = await channels(*trio.testing.memory_stream_pair())
    record = to_b.sealer.seal([frame])
    await to_b.stream.send_all(record[: len(record) // 2])
    await to_b.stream.aclose()
    error = await Session(to_a, recorder := Recorder(), SessionLimits()).run()
    assert isinstance(error, ConnectionLost)
    assert "cut in the middle of a record" in str(error)
    assert recorder.messages == []


async def test_chunks_beyond_their_credit(autojump_clock: MockClock) -> None:
    limits = SessionLimits(window_bytes=1_000)
    to_b, to_a = await channels(*trio.testing.memory_stream_pair(), limits)
    session = Session(to_b, Recorder(), limits)
    chunks = [f.encode_frame(f.Chunk(1, bytes(600))) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        async with session.fetch(1, b"", progress_s=5) as download:
            await to_a.stream.send_all(to_a.sealer.seal(chunks))
            assert len(await download.receive() or b"") == 600
            with pytest.raises(ConnectionLost, match="beyond their credit"):
                await download.receive()


async def test_a_handler_that_cannot_read_a_message(autojump_clock: MockClock) -> None:
    async with pair() as both:

        def refuse(peer: bytes, kind: int, payload: bytes) -> None:
            raise FrameMalformed("a message of no kind")

        both.seen_by_b.message = refuse  # type: ignore[method-assign]
        both.a.send(9, b"")
        await both.wait_over()
        assert isinstance(both.ended["b"], FrameMalformed)
        assert "frame-malformed" in str(both.ended["a"])


async def test_who_pings_and_does_not_read_is_given_up(autojump_clock: MockClock) -> None:
    limits = SMALL
    left, right = trio.testing.lockstep_stream_pair()
    to_b, to_a = await channels(left, right, limits)
    session = Session(to_a, Recorder(), limits)

    async def flood() -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await to_b.stream.send_all(to_b.sealer.seal([f.encode_frame(f.Ping(1))] * 100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        error = await session.run()
    assert "does not read" in str(error)


# -- opening


async def both_open(
    *, mesh: bytes = b"m" * 32, dialled: bytes = B.public_key, versions: tuple[int, int] = (1, 1), welcome: bool = True
) -> list[Channel | Exception]:
    """What A, who dials with these, and B come to."""
    left, right = trio.testing.memory_stream_pair()
    results: dict[int, Channel | Exception] = {}

    async def dial() -> None:
        try:
            results[0] = await open_dialled(left, identity(A, mesh, versions), dialled, SessionLimits())
        except RemoteError as error:
            results[0] = error

    async def accept() -> None:
        try:
            results[1] = await open_accepted(right, identity(B), SessionLimits(), lambda _peer: welcome)
        except RemoteError as error:
            results[1] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        nursery.start_soon(accept)
    return [results[0], results[1]]


async def test_both_sides_hear_why_it_failed(autojump_clock: MockClock) -> None:
    for cause, at_dialler, at_listener in (
        ({"mesh": b"n" * 32}, "another mesh", "does not prove this mesh's key"),
        ({"dialled": C.public_key}, "another node", "wants another node"),
        ({"welcome": False}, "does not want this one", "not welcome"),
    ):
        ours, theirs = await both_open(**cause)  # type: ignore[arg-type]
        assert isinstance(ours, HandshakeFailed)
        assert isinstance(theirs, HandshakeFailed)
        assert at_dialler in str(ours)
        assert at_listener in str(theirs)


async def test_versions(autojump_clock: MockClock) -> None:
    ours, theirs = await both_open(versions=(2, 3))
    assert isinstance(ours, VersionMismatch)
    assert isinstance(theirs, VersionMismatch)
    ours, theirs = await both_open(versions=(1, 2))
    assert isinstance(ours, Channel)
    assert isinstance(theirs, Channel)
    assert (ours.agreed.version, theirs.agreed.version) == (1, 1)
    assert (ours.agreed.life, theirs.agreed.life) == (B.public_key[:16], A.public_key[:16])


async def test_a_peer_that_only_holds_the_line(autojump_clock: MockClock) -> None:
    left, _right = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(HandshakeFailed, match="did not shake hands"):
        await open_accepted(left, identity(B), SessionLimits())
    assert trio.current_time() - began == pytest.approx(SessionLimits().handshake_s)


def test_limits_that_contradict_each_other() -> None:
    for wrong in ({"frame_bytes_max": 10}, {"queued_bytes_max": 10}, {"ping_after_s": 40.0}):
        with pytest.raises(UsageError):
            SessionLimits(**wrong)  # type: ignore[arg-type]
