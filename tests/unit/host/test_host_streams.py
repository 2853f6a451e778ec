"""wasi:io/streams over streams that never wait, streams that make one wait, and streams that fail."""

from __future__ import annotations

import pytest
import trio
from host_fakes import Instance, Worker

from golemp2p.errors import GuestTrapped
from golemp2p.runtime.host.streams import (
    READ_BYTES_MAX,
    InputStream,
    IoError,
    OutputStream,
    StreamClosed,
    StreamFailed,
)

IN, OUT = "wasi:io/streams.[method]input-stream.", "wasi:io/streams.[method]output-stream."


class Chunks(InputStream):
    """Gives what was put in; makes its reader wait while empty; ``None`` ends it, an ``IoError`` fails it."""

    def __init__(self, *chunks: bytes | IoError | None) -> None:
        self.chunks: list[bytes | IoError | None] = list(chunks)
        self.more = trio.Event()
        self.asked: list[int] = []
        self.closed = False

    def put(self, chunk: bytes | IoError | None) -> None:
        self.chunks.append(chunk)
        self.more.set()
        self.more = trio.Event()

    def read(self, count: int) -> bytes:
        self.asked.append(count)
        if not self.chunks or not count:
            return b""
        match self.chunks[0]:
            case None:
                raise StreamClosed
            case IoError() as error:
                raise StreamFailed(error)
            case data:
                self.chunks[:1] = [data[count:]] if data[count:] else []
                return data[:count]

    def ready(self) -> bool:
        return bool(self.chunks)

    async def wait(self) -> None:
        while not self.chunks:
            await self.more.wait()

    def close(self) -> None:
        self.closed = True


class Pipe(OutputStream):
    """Takes ``room`` bytes at a time; full until drained, which happens a second later on the clock."""

    def __init__(self, room: int) -> None:
        self.room, self.left, self.taken, self.flushes = room, room, b"", 0
        self.failure: Exception | None = None

    def check_write(self) -> int:
        if self.failure is not None:
            raise self.failure
        return self.left

    def write(self, data: bytes) -> None:
        assert len(data) <= self.left
        self.left -= len(data)
        self.taken += data

    def flush(self) -> None:
        self.flushes += 1
        self.left = 0

    def ready(self) -> bool:
        return self.left > 0 or self.failure is not None

    async def wait(self) -> None:
        if not self.ready():
            await trio.sleep(1)
            self.left = self.room


@pytest.fixture
async def instance() -> Instance:
    return Worker().start()


# ---------------------------------------------------------------------------------------------------------------- input


async def test_read_gives_what_is_there(autojump_clock: object, instance: Instance) -> None:
    handle = instance.resources.push(Chunks(b"hello", None))
    assert await instance.call(IN + "read", handle, 2) == ("ok", b"he")
    assert await instance.call(IN + "skip", handle, 2) == ("ok", 2)
    assert await instance.call(IN + "blocking-skip", handle, 9) == ("ok", 1)
    assert await instance.call(IN + "read", handle, 2) == ("err", ("closed", None))
    assert await instance.call(IN + "blocking-read", handle, 2) == ("err", ("closed", None))
    assert await instance.call(IN + "skip", handle, 2) == ("err", ("closed", None))
    assert await instance.call(IN + "blocking-skip", handle, 2) == ("err", ("closed", None))


async def test_read_of_nothing_yet_is_empty_and_blocking_read_waits(
    autojump_clock: object, instance: Instance, nursery: trio.Nursery
) -> None:
    stream = Chunks()
    handle = instance.resources.push(stream)
    assert await instance.call(IN + "read", handle, 4) == ("ok", b"")

    async def put_later() -> None:
        await trio.sleep(2)
        stream.put(b"late")

    nursery.start_soon(put_later)
    assert await instance.call(IN + "blocking-read", handle, 3) == ("ok", b"lat")
    assert trio.current_time() == pytest.approx(2)


async def test_blocking_read_of_zero_bytes_does_not_wait(autojump_clock: object, instance: Instance) -> None:
    assert await instance.call(IN + "blocking-read", instance.resources.push(Chunks()), 0) == ("ok", b"")


async def test_the_guest_does_not_decide_how_much_the_host_reads(autojump_clock: object, instance: Instance) -> None:
    stream = Chunks(b"x")
    handle = instance.resources.push(stream)
    for function in ("read", "blocking-read", "skip", "blocking-skip"):
        stream.chunks = [b"x"]
        await instance.call(IN + function, handle, 2**64 - 1)
    assert stream.asked == [READ_BYTES_MAX] * 4


async def test_a_failure_comes_as_a_handle_that_tells_why(autojump_clock: object, instance: Instance) -> None:
    handle = instance.resources.push(Chunks(IoError("the disk is on fire")))
    result = await instance.call(IN + "read", handle, 1)
    assert result[0] == "err"
    assert result[1][0] == "last-operation-failed"
    text = await instance.call("wasi:io/error.[method]error.to-debug-string", result[1][1])
    assert text == "the disk is on fire"


async def test_subscribe_follows_the_stream(autojump_clock: object, instance: Instance, nursery: trio.Nursery) -> None:
    stream = Chunks()
    pollable = await instance.call(IN + "subscribe", instance.resources.push(stream))
    assert await instance.call("wasi:io/poll.[method]pollable.ready", pollable) is False
    nursery.start_soon(_put_after, 1, stream)
    assert await instance.call("wasi:io/poll.poll", [pollable]) == [0]
    assert trio.current_time() == pytest.approx(1)


async def _put_after(seconds: float, stream: Chunks) -> None:
    await trio.sleep(seconds)
    stream.put(b"!")


async def test_dropping_a_stream_closes_it_and_its_pollable_lives_on(autojump_clock: object, instance: Instance) -> None:
    stream = Chunks(b"x")
    handle = instance.resources.push(stream)
    pollable = await instance.call(IN + "subscribe", handle)
    instance.drop(handle, "input-stream")
    assert stream.closed
    assert await instance.call("wasi:io/poll.[method]pollable.ready", pollable) is True


async def test_an_output_stream_cannot_be_read(autojump_clock: object, instance: Instance) -> None:
    with pytest.raises(GuestTrapped):
        await instance.call(IN + "read", instance.resources.push(Pipe(1)), 1)


# --------------------------------------------------------------------------------------------------------------- output


async def test_write_within_what_check_write_permits(autojump_clock: object, instance: Instance) -> None:
    pipe = Pipe(5)
    handle = instance.resources.push(pipe)
    assert await instance.call(OUT + "check-write", handle) == ("ok", 5)
    assert await instance.call(OUT + "write", handle, b"abc") == ("ok", None)
    assert await instance.call(OUT + "write-zeroes", handle, 2) == ("ok", None)
    assert pipe.taken == b"abc\0\0"
    assert await instance.call(OUT + "check-write", handle) == ("ok", 0)
    for function, argument in (("write", b"x"), ("write-zeroes", 1), ("write-zeroes", 2**64 - 1)):
        with pytest.raises(GuestTrapped, match="check-write permits 0"):
            await instance.call(OUT + function, handle, argument)
    assert pipe.taken == b"abc\0\0"


@pytest.mark.parametrize(
    ("function", "argument", "taken"),
    [("blocking-write-and-flush", b"abcdefgh", b"abcdefgh"), ("blocking-write-zeroes-and-flush", 8, bytes(8))],
)
async def test_blocking_writes_wait_for_room_and_flush(
    autojump_clock: object, instance: Instance, function: str, argument: object, taken: bytes
) -> None:
    pipe = Pipe(3)
    assert await instance.call(OUT + function, instance.resources.push(pipe), argument) == ("ok", None)
    assert (pipe.taken, pipe.flushes) == (taken, 1)
    assert trio.current_time() == pytest.approx(3)  # twice for room, once for the flush


async def test_blocking_writes_have_the_limit_of_the_interface(autojump_clock: object, instance: Instance) -> None:
    handle = instance.resources.push(Pipe(10_000))
    await instance.call(OUT + "blocking-write-and-flush", handle, bytes(4096))
    for function, argument in (("write-and-flush", bytes(4097)), ("write-zeroes-and-flush", 2**64 - 1)):
        with pytest.raises(GuestTrapped, match="4096"):
            await instance.call(f"{OUT}blocking-{function}", handle, argument)


async def test_flush_starts_and_blocking_flush_finishes(autojump_clock: object, instance: Instance) -> None:
    pipe = Pipe(3)
    handle = instance.resources.push(pipe)
    assert await instance.call(OUT + "flush", handle) == ("ok", None)
    assert trio.current_time() == 0
    assert await instance.call(OUT + "blocking-flush", handle) == ("ok", None)
    assert trio.current_time() == pytest.approx(1)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("check-write", ()),
        ("write", (b"x",)),
        ("blocking-write-and-flush", (b"x",)),
        ("blocking-flush", ()),
        ("write-zeroes", (1,)),
        ("blocking-write-zeroes-and-flush", (1,)),
    ],
)
async def test_every_write_tells_the_end_and_failures(
    autojump_clock: object, instance: Instance, function: str, arguments: tuple[object, ...]
) -> None:
    pipe = Pipe(3)
    handle = instance.resources.push(pipe)
    pipe.failure = StreamClosed()
    assert await instance.call(OUT + function, handle, *arguments) == ("err", ("closed", None))
    pipe.failure = StreamFailed(IoError("gone"))
    case, error = (await instance.call(OUT + function, handle, *arguments))[1]
    assert case == "last-operation-failed"
    assert instance.resources.get(error, IoError).to_debug_string() == "gone"


async def test_output_subscribe_waits_for_room(autojump_clock: object, instance: Instance) -> None:
    pipe = Pipe(3)
    pipe.left = 0
    pollable = await instance.call(OUT + "subscribe", instance.resources.push(pipe))
    await instance.call("wasi:io/poll.[method]pollable.block", pollable)
    assert trio.current_time() == pytest.approx(1)


# --------------------------------------------------------------------------------------------------------------- splice


async def test_splice_moves_what_is_there_and_fits(autojump_clock: object, instance: Instance) -> None:
    pipe, chunks = Pipe(4), Chunks(b"abcdef", None)
    out, source = instance.resources.push(pipe), instance.resources.push(chunks)
    assert await instance.call(OUT + "splice", out, source, 3) == ("ok", 3)
    assert await instance.call(OUT + "splice", out, source, 2**64 - 1) == ("ok", 1)
    assert await instance.call(OUT + "splice", out, source, 9) == ("ok", 0)
    assert pipe.taken == b"abcd"
    assert await instance.call(OUT + "blocking-splice", out, source, 9) == ("ok", 2)
    assert pipe.taken == b"abcdef"
    assert await instance.call(OUT + "splice", out, source, 9) == ("err", ("closed", None))
    assert await instance.call(OUT + "blocking-splice", out, source, 9) == ("err", ("closed", None))


async def test_blocking_splice_waits_for_room_then_for_bytes(
    autojump_clock: object, instance: Instance, nursery: trio.Nursery
) -> None:
    pipe, chunks = Pipe(4), Chunks()
    pipe.left = 0
    nursery.start_soon(_put_after, 5, chunks)
    out, source = instance.resources.push(pipe), instance.resources.push(chunks)
    assert await instance.call(OUT + "blocking-splice", out, source, 9) == ("ok", 1)
    assert pipe.taken == b"!"
    assert trio.current_time() == pytest.approx(5)


async def test_numbers_of_handles_are_the_same_in_every_execution(autojump_clock: object) -> None:
    async def story(instance: Instance) -> list[object]:
        stdout = await instance.call("wasi:cli/stdout.get-stdout")
        timer = await instance.call("wasi:clocks/monotonic-clock.subscribe-duration", 1)
        instance.drop(stdout, "output-stream")
        stdin = await instance.call("wasi:cli/stdin.get-stdin")
        failing = instance.resources.push(Chunks(IoError("no")))
        return [stdout, timer, stdin, failing, await instance.call(IN + "read", failing, 1)]

    worker = Worker()
    assert await story(worker.start()) == await story(worker.start())
