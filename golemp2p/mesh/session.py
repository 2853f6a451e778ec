"""One connection to one peer, after the hellos.

    send, request, fetch ──> Writer ──> stream                                 write task: the only one that writes
    stream ──> records ──> frames ──┬─> handler.message                        ``run`` itself: the only one that reads
                                    ├─> Asking: answers to our requests        tasks of whoever asked
                                    ├─> Serving ──> handler.serve              a task per request
                                    └─> pings                                  watch task: silence

    running ── close(reason) ──> closing: what is queued leaves, then goodbye and the end; the peer says its end ──> over
       └───── lost, silent, slow ──────────────────────────────────────────────────────────────────────────────────> over

Nonsense closes, too: the peer is told, by the code of the error, and not listened to any more. Whoever started ``run`` learns why it
ended, and requests under way fail. Times are trio's: of the clock that its loop was given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import trio

from golemp2p.errors import (
    ConnectionClosed,
    ConnectionLost,
    DeadlineExceeded,
    FrameMalformed,
    Golemp2pError,
    RemoteError,
    Unreachable,
)
from golemp2p.mesh import frames as f
from golemp2p.mesh.asking import Asking
from golemp2p.mesh.calls import Call, Download, Pending
from golemp2p.mesh.hello import Agreed
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.records import Opener, Sealer
from golemp2p.mesh.serving import Serving
from golemp2p.mesh.writer import Writer

RECEIVE_BYTES = 64 << 10


class Handler(Protocol):
    """Whom a session serves."""

    def message(self, peer: bytes, kind: int, payload: bytes) -> trio.Event | None:
        """A one-way message. ``None``: done with it; else an event that will be set when it is, until when its bytes count as
        unverified work. Raises ``RemoteError`` for nonsense: that ends the session."""
        ...

    async def serve(self, call: Call) -> bytes:
        """The answer, after any ``call.send``. A ``Golemp2pError`` becomes the peer's ``RequestFailed``. Cancelled when the asker
        cancels, when its time is over, or with the connection."""
        ...


class Channel(NamedTuple):
    """What the handshake and the hellos left behind (``opening``). ``dialled``: by this node."""

    stream: trio.abc.Stream
    peer: bytes
    dialled: bool
    sealer: Sealer
    opener: Opener
    reader: f.FrameReader
    agreed: Agreed


class SessionStatistics(NamedTuple):
    writes: int
    records_sent: int
    records_received: int
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    messages_dropped: int
    requests_sent: int
    requests_received: int
    queued_bytes: int


class Session:
    """``run`` must be running for anything to move. The other methods may be called from any task of the loop."""

    def __init__(self, channel: Channel, handler: Handler, limits: SessionLimits) -> None:
        self.peer = channel.peer
        self.dialled = channel.dialled
        self.agreed = channel.agreed
        self.error: Golemp2pError | None = None
        """Why it is ending, or ended."""
        self._channel = channel
        self._handler = handler
        self._limits = limits
        self._writer = Writer(channel.stream, channel.sealer, channel.agreed.frame_bytes_max, limits)
        self._asking = Asking(self._writer, channel.agreed.requests_max)
        self._serving = Serving(channel.peer, self._writer, handler.serve, limits, self._close_if_retired)
        self._reading = trio.CancelScope()
        self._retired = False
        self._unverified: deque[tuple[trio.Event, int]] = deque()
        self._unverified_bytes = 0
        self._stalled = False  # by unverified work: the silence is ours
        self._heard = trio.current_time()
        self._bytes_received = 0
        self._messages_sent = self._messages_received = self._messages_dropped = 0

    # -- asking and telling

    def send(self, kind: int, payload: bytes) -> bool:
        """A one-way message. ``False``: dropped, because the session is ending, too much is queued, or the peer takes no frames so
        long; ``True`` promises nothing either. Raises ``PayloadTooLarge`` for what no peer takes."""
        data = f.encode_frame(f.Message(kind, payload))
        fits = len(data) - f.LENGTH_BYTES <= self.agreed.frame_bytes_max
        if not fits or not self._writer.is_open or not self._writer.has_room(len(data)):
            self._messages_dropped += 1
            return False
        self._messages_sent += 1
        self._writer.post(data)
        return True

    async def request(self, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        """The peer's answer. When cancelled, the peer is told.

        Raises ``RequestFailed`` (the peer's answer is an error), ``DeadlineExceeded``, ``Overloaded`` (nothing was sent),
        ``Unreachable`` (the session ended; whether the peer acted is unknown), ``PayloadTooLarge``.
        """
        pending = Pending()
        number = self._ask(pending, kind, payload, deadline_s, credit=0)
        try:
            with trio.move_on_after(deadline_s):
                await pending.done.wait()
            if not pending.done.is_set():
                raise _late(deadline_s)
            return pending.result()
        finally:
            self._forget(number)

    @asynccontextmanager
    async def fetch(self, kind: int, payload: bytes, *, progress_s: float) -> AsyncIterator[Download]:
        """A bulk answer; the peer has ``progress_s`` for every next chunk. Leaving the block early cancels the transfer. Raises as
        ``request`` does, some of it from ``Download.receive``."""
        window = self._limits.window_bytes
        download = Download(window, lambda count: self._grant(number, count), lambda: _late(progress_s), progress_s)
        number = self._ask(download, kind, payload, progress_s, credit=window)
        try:
            yield download
        finally:
            self._forget(number)

    def retire(self) -> None:
        """Another connection takes over: this one closes when nothing is under way on it."""
        self._retired = True
        self._close_if_retired()

    def close(self, reason: str) -> None:
        """Say goodbye, after what is queued. ``reason``: a stable name. May be called again."""
        self._end(ConnectionClosed(f"closed by this node: {reason}"), reason)

    def statistics(self) -> SessionStatistics:
        writer = self._writer
        return SessionStatistics(
            writer.writes_count, writer.records_count, self._channel.opener.records_count, writer.bytes_count,
            self._bytes_received, self._messages_sent, self._messages_received, self._messages_dropped,
            self._asking.asked_count, self._serving.served_count, writer.queued_bytes,
        )  # fmt: skip

    def _ask(self, waiter: Pending | Download, kind: int, payload: bytes, patience_s: float, *, credit: int) -> int:
        if self.error is not None:
            raise _as_unreachable(self.error)
        return self._asking.ask(waiter, kind, payload, patience_s, credit=credit)

    def _forget(self, number: int) -> None:
        self._asking.forget(number)
        self._close_if_retired()

    def _grant(self, number: int, count: int) -> None:
        self._writer.post(self._writer.encode(f.Credit(number, count)))

    # -- life

    async def run(self) -> Golemp2pError:
        """Until the connection is over; why. ``ConnectionClosed``: we wanted it; ``ConnectionLost``: the peer did, or it broke;
        ``RemoteError``: the peer broke the protocol. The stream is closed, also when cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                with self._reading:
                    await self._read(nursery)
                self._serving.cancel_all()
                with trio.move_on_after(self._limits.close_s):
                    await self._writer.over.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._end(ConnectionClosed("this node stopped"), None)
            await trio.aclose_forcefully(self._channel.stream)
        assert self.error is not None, "it was just ended"
        return self.error

    def _end(self, error: Golemp2pError, reason: str | None) -> None:
        """The first one counts. ``reason``: what to say to the peer, which is given time to say its end; ``None``: nothing can be said
        any more."""
        if reason is None:
            self._writer.drop()
            self._reading.cancel()
        if self.error is not None:
            return
        self.error = error
        if reason is not None:
            self._writer.finish(f.Goodbye(f.short(reason, f.REASON_BYTES_MAX)))
            self._reading.deadline = trio.current_time() + self._limits.close_s
        self._asking.fail_all(lambda: _as_unreachable(error))

    def _close_if_retired(self) -> None:
        if self._retired and not self._asking and not self._serving:
            self.close("replaced")

    async def _write(self) -> None:
        error = await self._writer.run()
        if error is not None:
            self._end(error, None)

    async def _watch(self) -> None:
        """A peer that says nothing is asked, and then given up. One whom this node makes wait is shown that it is there."""
        limits = self._limits
        while True:
            await trio.sleep_until(self._heard + limits.ping_after_s)
            heard = self._heard
            if self._stalled:
                self._heard = trio.current_time()
                self._reply(f.Ping(0))
            elif trio.current_time() >= heard + limits.ping_after_s:
                self._reply(f.Ping(0))
                await trio.sleep_until(heard + limits.silence_s)
                if self._heard == heard and not self._stalled:
                    self._end(ConnectionLost(f"the peer was silent for {limits.silence_s:g} s"), None)
                    return

    # -- reading

    async def _read(self, nursery: trio.Nursery) -> None:
        channel = self._channel
        try:
            self._take_frames(nursery)
            while not channel.opener.ended:
                await self._work_off()
                data = bytes(await channel.stream.receive_some(RECEIVE_BYTES))
                if not data:
                    raise channel.opener.end_of_stream() or ConnectionLost("the peer closed")
                self._heard = trio.current_time()
                self._bytes_received += len(data)
                for payload in channel.opener.feed(data):
                    channel.reader.feed(payload)
                self._take_frames(nursery)
            self._end(ConnectionLost("the peer closed"), "closed-too")
        except RemoteError as error:
            self._end(error, error.code)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(ConnectionLost("the connection was reset"), None)
        except ConnectionLost as error:
            self._end(error, None)

    def _take_frames(self, nursery: trio.Nursery) -> None:
        for frame, size in self._channel.reader:
            if isinstance(frame, f.Message):
                self._on_message(frame, size)
            elif self.error is None or isinstance(frame, f.Goodbye):
                self._take(frame, nursery)

    def _on_message(self, frame: f.Message, size: int) -> None:
        self._messages_received += 1
        done = self._handler.message(self.peer, frame.kind, frame.payload)
        if done is not None and not done.is_set():
            self._unverified.append((done, size))
            self._unverified_bytes += size

    def _take(self, frame: f.Frame, nursery: trio.Nursery) -> None:
        match frame:
            case f.Answer() | f.Failure() | f.Chunk():
                self._asking.take(frame)
            case f.Request():
                refusal = self._serving.start(frame, nursery)
                if refusal is not None:
                    self._reply(refusal)
            case f.Cancel() | f.Credit():
                self._serving.take(frame)
            case f.Ping(number):
                self._reply(f.Pong(number))
            case f.Pong():
                pass
            case f.Goodbye(reason):
                self._end(ConnectionLost(f"closed by the peer: {reason!r}"), "closed-too")
            case f.Hello() | f.Message():
                raise FrameMalformed("a second hello")

    def _reply(self, frame: f.Frame) -> None:
        """A short frame that the peer caused: who causes more than it reads is given up."""
        if self._writer.has_room():
            self._writer.post(self._writer.encode(frame))
        else:
            self._end(ConnectionLost("the peer asks, and does not read what it is told"), None)

    async def _work_off(self) -> None:
        """Wait while more than allowed is unverified."""
        unverified = self._unverified
        while unverified and (unverified[0][0].is_set() or self._unverified_bytes > self._limits.unverified_bytes_max):
            self._stalled = True
            await unverified[0][0].wait()
            self._unverified_bytes -= unverified.popleft()[1]
        self._stalled = False


def _late(deadline_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no answer within {deadline_s:g} s")


def _as_unreachable(error: Golemp2pError) -> Unreachable:
    """What a request fails with when its connection ends because of ``error``."""
    return ConnectionClosed(str(error)) if isinstance(error, ConnectionClosed) else ConnectionLost(str(error))
