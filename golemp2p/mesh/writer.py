"""The sending half of a connection: everything queued in a turn of the event loop leaves in one write.

    post ──> outbox ──> (the write task, woken once) ──> records ──> stream
    open ── finish(goodbye) ──> what is queued leaves, then goodbye and the end ──> over
      └──── drop ─────────────────────────────────────────────────────────────────> over: nothing can be said any more

A task that is woken runs in the turn after the one that woke it; all that was posted until then shares the write. While a write is
under way more gathers, and shares the next.
"""

from __future__ import annotations

import trio

from golemp2p.errors import ConnectionLost
from golemp2p.mesh import frames as f
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.outbox import Outbox
from golemp2p.mesh.records import Sealer


class Writer:
    """``run`` is the only one that writes to ``stream``. ``frame_bytes_max``: what the peer takes."""

    def __init__(self, stream: trio.abc.SendStream, sealer: Sealer, frame_bytes_max: int, limits: SessionLimits) -> None:
        self.over = trio.Event()
        self.writes_count = 0
        self.bytes_count = 0
        self._stream = stream
        self._sealer = sealer
        self._frame_bytes_max = frame_bytes_max
        self._limits = limits
        self._outbox = Outbox(flush_bytes=limits.flush_bytes_max, bulk_bytes=limits.bulk_flush_bytes)
        self._wake = trio.Event()
        self._room = trio.Event()
        self._finishing = False

    @property
    def is_open(self) -> bool:
        return not self._finishing and not self.over.is_set()

    @property
    def queued_bytes(self) -> int:
        return self._outbox.queued_bytes

    @property
    def records_count(self) -> int:
        return self._sealer.records_count

    def encode(self, frame: f.Frame) -> bytes:
        """Raises ``PayloadTooLarge`` above what the peer takes."""
        return f.encode_frame(frame, bytes_max=self._frame_bytes_max)

    def has_room(self, size: int = 0) -> bool:
        return self._outbox.queued_bytes + size <= self._limits.queued_bytes_max

    def post(self, data: bytes, *, bulk: bool = False) -> None:
        """An encoded frame; forgotten when the writer is not open any more."""
        if self.is_open:
            if bulk:
                self._outbox.post_bulk(data)
            else:
                self._outbox.post(data)
            self._wake.set()

    async def wait_room(self, size: int, *, bulk: bool = False) -> None:
        """Until ``size`` more bytes may be queued, for ``bulk`` until its lane is short, too; or until it is not open any more."""
        while self.is_open and (not self.has_room(size) or (bulk and self._outbox.bulk_bytes >= self._limits.bulk_flush_bytes)):
            if self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()

    def finish(self, last: f.Frame) -> None:
        """``last`` leaves after what is queued, then the end."""
        self.post(self.encode(last))
        self._finishing = True
        self._wake_all()

    def drop(self) -> None:
        self._outbox.clear()
        self.over.set()
        self._wake_all()

    async def run(self) -> ConnectionLost | None:
        """Until it is over; what went wrong."""
        outbox = self._outbox
        try:
            while not self.over.is_set():
                if outbox:
                    await self._write(self._sealer.seal(outbox.take()))
                    outbox.written()
                    self._room.set()
                elif self._finishing:
                    await self._write(self._sealer.end())
                    self.over.set()
                else:
                    self._wake = trio.Event()
                    await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return ConnectionLost("the connection broke while it was written to")
        except trio.TooSlowError:
            return ConnectionLost(f"the peer took nothing for {self._limits.write_s:g} s")
        return None

    async def _write(self, data: bytes) -> None:
        self.writes_count += 1
        self.bytes_count += len(data)
        with trio.fail_after(self._limits.write_s):
            await self._stream.send_all(data)

    def _wake_all(self) -> None:
        self._wake.set()
        self._room.set()
