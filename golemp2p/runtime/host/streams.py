"""Byte streams as the host sees them (wasi:io/streams): what files, standard output and later HTTP bodies subclass.

    InputStream   read ◄─ bytes, b"" for "nothing yet", StreamClosed at the end, StreamFailed(IoError)
    OutputStream  check_write ─► n;  write(at most n bytes);  flush;  check_write == 0 while it must be waited for

Stream calls are re-executed on replay: a stream whose bytes come from outside the worker must journal them itself, in
``read`` and ``blocking_read``. No call here blocks except ``wait`` and ``blocking_*``, and those return without a
checkpoint when there is nothing to wait for.
"""

from __future__ import annotations

from golemp2p.runtime.host.poll import Pollable, Ready

READ_BYTES_MAX = 1 << 20
"""A read gives at most this much, whatever the guest asks for: its argument must not decide what the host allocates."""

WRITE_BYTES_MAX = 1 << 20
"""What ``check_write`` permits by default."""


class IoError:
    """The resource ``wasi:io/error.error``: why the last operation failed. Subclass it to say more (an error code)."""

    def __init__(self, message: str) -> None:
        self.message = message

    def to_debug_string(self) -> str:
        """For people; part of what a guest sees, so the same on replay (no paths or errno of this machine)."""
        return self.message


class StreamClosed(Exception):
    """The stream has ended (reading), or takes no more (writing)."""


class StreamFailed(Exception):
    """The last operation failed; ``error`` becomes the guest's handle."""

    def __init__(self, error: IoError) -> None:
        super().__init__(error.message)
        self.error = error


class InputStream:
    """Bytes a guest reads. The defaults are those of a stream that never makes its reader wait."""

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes (0 <= count <= READ_BYTES_MAX); ``b""`` when none are there yet, or ``count`` is 0.

        Raises ``StreamClosed`` once nothing will ever follow, ``StreamFailed``.
        """
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether a read would give bytes, an end or a failure."""
        return True

    async def wait(self) -> None:
        """Returns when ``ready()``."""
        return

    async def blocking_read(self, count: int) -> bytes:
        """As ``read``, waiting for the first byte. ``b""`` only when ``count`` is 0."""
        while not (data := self.read(count)) and count:
            await self.wait()
        return data

    def subscribe(self) -> Pollable:
        return StreamPollable(self)

    def close(self) -> None:
        """The guest dropped its handle. Called once."""


class OutputStream:
    """Bytes a guest writes. The defaults are those of a stream that never makes its writer wait."""

    def check_write(self) -> int:
        """How many bytes the next ``write`` may bring; 0: wait first. Raises ``StreamClosed``, ``StreamFailed``, which
        is also how a failure of an earlier write or flush is told."""
        return WRITE_BYTES_MAX

    def write(self, data: bytes) -> None:
        """Take all of ``data``, of at most ``check_write()`` bytes. Raises ``StreamClosed``, ``StreamFailed``."""
        raise NotImplementedError

    def flush(self) -> None:
        """Start sending what was written on its way; ``ready()`` says when it is done."""

    def ready(self) -> bool:
        """Whether ``check_write`` would give more than 0, an end or a failure."""
        return True

    async def wait(self) -> None:
        """Returns when ``ready()``."""
        return

    def subscribe(self) -> Pollable:
        return StreamPollable(self)

    def close(self) -> None:
        """The guest dropped its handle; bytes written stay written. Called once."""


class StreamPollable(Pollable):
    """Ready when its stream is. Stays usable after the stream's handle was dropped."""

    __slots__ = ("stream",)

    def __init__(self, stream: InputStream | OutputStream) -> None:
        self.stream = stream

    def ready(self) -> bool:
        return self.stream.ready()

    async def wait(self) -> None:
        await self.stream.wait()


__all__ = [
    "READ_BYTES_MAX",
    "WRITE_BYTES_MAX",
    "InputStream",
    "IoError",
    "OutputStream",
    "Pollable",
    "Ready",
    "StreamClosed",
    "StreamFailed",
    "StreamPollable",
]
