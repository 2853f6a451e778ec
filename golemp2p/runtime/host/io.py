"""wasi:io: error, poll and streams, as guests call them. What happens behind is in ``poll`` and ``streams``.

Stream calls are re-executed on replay; asking what is ready is a question to the world and journalled. Failures of a
stream reach the guest as ``stream-error``: ``closed``, or ``last-operation-failed`` with a handle to the ``IoError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from golemp2p.errors import GuestTrapped
from golemp2p.runtime.host.declare import READ_LOCAL, HostContext, HostInterface
from golemp2p.runtime.host.poll import Pollable, wait_any
from golemp2p.runtime.host.streams import (
    READ_BYTES_MAX,
    InputStream,
    IoError,
    OutputStream,
    StreamClosed,
    StreamFailed,
)

ERROR = HostInterface("wasi:io/error")
POLL = HostInterface("wasi:io/poll")
STREAMS = HostInterface("wasi:io/streams")
INTERFACES = (ERROR, POLL, STREAMS)

BLOCKING_WRITE_BYTES_MAX = 4096
"""The interface promises room for this much in the calls that write and flush in one go, and no more."""

Result: TypeAlias = tuple[str, Any]

ERROR.resource("error")
POLL.resource("pollable")
STREAMS.resource("input-stream", lambda stream: stream.close())
STREAMS.resource("output-stream", lambda stream: stream.close())


@ERROR.function("[method]error.to-debug-string")
def to_debug_string(ctx: HostContext, error: int) -> str:
    return ctx.resources.get(error, IoError).to_debug_string()


# ----------------------------------------------------------------------------------------------------------------- poll


@POLL.function("[method]pollable.ready", READ_LOCAL)
def pollable_ready(ctx: HostContext, pollable: int) -> bool:
    return ctx.resources.get(pollable, Pollable).ready()


@POLL.function("[method]pollable.block", READ_LOCAL)
async def pollable_block(ctx: HostContext, pollable: int) -> None:
    await wait_any(ctx.host, [ctx.resources.get(pollable, Pollable)])


@POLL.function("poll", READ_LOCAL)
async def poll(ctx: HostContext, pollables: Sequence[int]) -> list[int]:
    if not pollables:
        raise GuestTrapped("poll: the list of pollables is empty, it would never return")
    return await wait_any(ctx.host, [ctx.resources.get(pollable, Pollable) for pollable in pollables])


# ---------------------------------------------------------------------------------------------------------------- input


def _refusal(ctx: HostContext, end: StreamClosed | StreamFailed) -> Result:
    if isinstance(end, StreamFailed):
        return ("err", ("last-operation-failed", ctx.resources.push(end.error)))
    return ("err", ("closed", None))


@STREAMS.function("[method]input-stream.read")
def read(ctx: HostContext, stream: int, length: int) -> Result:
    try:
        return ("ok", ctx.resources.get(stream, InputStream).read(min(length, READ_BYTES_MAX)))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)


@STREAMS.function("[method]input-stream.blocking-read")
async def blocking_read(ctx: HostContext, stream: int, length: int) -> Result:
    try:
        return ("ok", await ctx.resources.get(stream, InputStream).blocking_read(min(length, READ_BYTES_MAX)))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)


@STREAMS.function("[method]input-stream.skip")
def skip(ctx: HostContext, stream: int, length: int) -> Result:
    try:
        return ("ok", len(ctx.resources.get(stream, InputStream).read(min(length, READ_BYTES_MAX))))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)


@STREAMS.function("[method]input-stream.blocking-skip")
async def blocking_skip(ctx: HostContext, stream: int, length: int) -> Result:
    try:
        return ("ok", len(await ctx.resources.get(stream, InputStream).blocking_read(min(length, READ_BYTES_MAX))))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)


@STREAMS.function("[method]input-stream.subscribe")
def input_subscribe(ctx: HostContext, stream: int) -> int:
    return ctx.resources.push(ctx.resources.get(stream, InputStream).subscribe())


# --------------------------------------------------------------------------------------------------------------- output


def _check_room(stream: OutputStream, length: int) -> None:
    """The interface makes it the guest's duty to ask first, and lets the host trap when it did not."""
    permitted = stream.check_write()
    if length > permitted:
        raise GuestTrapped(f"output-stream: a write of {length} bytes where check-write permits {permitted}")


def _check_blocking_length(length: int) -> None:
    if length > BLOCKING_WRITE_BYTES_MAX:
        raise GuestTrapped(f"output-stream: a blocking write of {length} bytes; {BLOCKING_WRITE_BYTES_MAX} is the most")


async def _flush(stream: OutputStream) -> None:
    stream.flush()
    await stream.wait()
    stream.check_write()  # tells how the write and the flush went


async def _write_and_flush(stream: OutputStream, data: bytes) -> None:
    while data:
        permitted = stream.check_write()
        if permitted:
            stream.write(data[:permitted])
            data = data[permitted:]
        else:
            await stream.wait()
    await _flush(stream)


@STREAMS.function("[method]output-stream.check-write")
def check_write(ctx: HostContext, stream: int) -> Result:
    try:
        return ("ok", ctx.resources.get(stream, OutputStream).check_write())
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)


@STREAMS.function("[method]output-stream.write")
def write(ctx: HostContext, stream: int, contents: bytes) -> Result:
    output = ctx.resources.get(stream, OutputStream)
    try:
        _check_room(output, len(contents))
        output.write(contents)
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.blocking-write-and-flush")
async def blocking_write_and_flush(ctx: HostContext, stream: int, contents: bytes) -> Result:
    _check_blocking_length(len(contents))
    try:
        await _write_and_flush(ctx.resources.get(stream, OutputStream), contents)
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.flush")
def flush(ctx: HostContext, stream: int) -> Result:
    try:
        ctx.resources.get(stream, OutputStream).flush()
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.blocking-flush")
async def blocking_flush(ctx: HostContext, stream: int) -> Result:
    try:
        await _flush(ctx.resources.get(stream, OutputStream))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.subscribe")
def output_subscribe(ctx: HostContext, stream: int) -> int:
    return ctx.resources.push(ctx.resources.get(stream, OutputStream).subscribe())


@STREAMS.function("[method]output-stream.write-zeroes")
def write_zeroes(ctx: HostContext, stream: int, length: int) -> Result:
    output = ctx.resources.get(stream, OutputStream)
    try:
        _check_room(output, length)
        output.write(bytes(length))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.blocking-write-zeroes-and-flush")
async def blocking_write_zeroes_and_flush(ctx: HostContext, stream: int, length: int) -> Result:
    _check_blocking_length(length)
    try:
        await _write_and_flush(ctx.resources.get(stream, OutputStream), bytes(length))
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", None)


@STREAMS.function("[method]output-stream.splice")
def splice(ctx: HostContext, stream: int, source: int, length: int) -> Result:
    """Moves what can be moved now: as much as is there, as fits, and at most ``length``."""
    output, incoming = ctx.resources.get(stream, OutputStream), ctx.resources.get(source, InputStream)
    try:
        count = min(length, output.check_write(), READ_BYTES_MAX)
        data = incoming.read(count) if count else b""
        if data:
            output.write(data)
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", len(data))


@STREAMS.function("[method]output-stream.blocking-splice")
async def blocking_splice(ctx: HostContext, stream: int, source: int, length: int) -> Result:
    """As ``splice``, waiting until there is room and until something is there."""
    output, incoming = ctx.resources.get(stream, OutputStream), ctx.resources.get(source, InputStream)
    try:
        while not (permitted := output.check_write()):
            await output.wait()
        data = await incoming.blocking_read(min(length, permitted, READ_BYTES_MAX))
        if data:
            output.write(data)
    except (StreamClosed, StreamFailed) as end:
        return _refusal(ctx, end)
    return ("ok", len(data))
