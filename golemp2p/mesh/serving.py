"""What a peer asks over one connection: a task for every request, until it is answered, cancelled or late.

    Request ──> Call ──> handler.serve ──> Answer or Failure, after any chunks
    Cancel, the deadline, the end of the connection ──> the task is cancelled

More requests, or bytes of them, than the limits allow are refused as ``overloaded``, at once and without a task.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from golemp2p.errors import DeadlineExceeded, FrameMalformed, Golemp2pError, Overloaded, PayloadTooLarge, WorldError
from golemp2p.mesh import frames as f
from golemp2p.mesh.calls import Call
from golemp2p.mesh.limits import SessionLimits
from golemp2p.mesh.writer import Writer

logger = logging.getLogger(__name__)

Serve = Callable[[Call], Awaitable[bytes]]


class Serving:
    """``on_idle``: called when a request was answered and none is left."""

    def __init__(self, peer: bytes, writer: Writer, serve: Serve, limits: SessionLimits, on_idle: Callable[[], None]) -> None:
        self.served_count = 0
        self._peer = peer
        self._writer = writer
        self._serve = serve
        self._limits = limits
        self._on_idle = on_idle
        self._calls: dict[int, Call] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def cancel_all(self) -> None:
        for call in self._calls.values():
            call.cancel()

    def start(self, request: f.Request, nursery: trio.Nursery) -> f.Failure | None:
        """Starts a task for it in ``nursery``, or returns the refusal. Raises ``FrameMalformed``."""
        if request.number <= self.served_count:
            raise FrameMalformed("request numbers do not rise")
        self.served_count = request.number
        size = len(request.payload)
        if len(self._calls) >= self._limits.requests_max or self._bytes + size > self._limits.requests_bytes_max:
            return f.Failure(request.number, Overloaded.code, "too many requests of yours are under way", None)
        call = Call(
            peer=self._peer, number=request.number, kind=request.kind, payload=request.payload, credit=request.credit,
            patience_s=request.deadline_ms / 1_000, post_chunk=self._post_chunk,
        )  # fmt: skip
        self._calls[call.number] = call
        self._bytes += size
        nursery.start_soon(self._run, call)
        return None

    def take(self, frame: f.Cancel | f.Credit) -> None:
        """Raises ``FrameMalformed``."""
        if not 0 < frame.number <= self.served_count:
            raise FrameMalformed(f"a word about request {frame.number}, which was never asked")
        call = self._calls.get(frame.number)
        if call is None:
            return
        if isinstance(frame, f.Credit):
            call.grant(frame.count)
        else:
            call.cancel()

    async def _run(self, call: Call) -> None:
        frame: f.Frame = f.Failure(call.number, DeadlineExceeded.code, "not done in time", None)
        with call.scope:
            frame = await self._result(call)
        if not call.canceled:
            data = self._encoded(frame, call.number)
            await self._writer.wait_room(len(data))
            self._writer.post(data, bulk=call.wants_chunks)  # behind its chunks
        del self._calls[call.number]
        self._bytes -= len(call.payload)
        if not self._calls:
            self._on_idle()

    async def _result(self, call: Call) -> f.Answer | f.Failure:
        try:
            return f.Answer(call.number, await self._serve(call))
        except Golemp2pError as error:
            after_s = error.retry_after_s if isinstance(error, WorldError) else None
            after_ms = None if after_s is None else min(round(after_s * 1_000), f.DEADLINE_MS_MAX)
            return f.Failure(
                call.number, f.short(error.code, f.CODE_BYTES_MAX), f.short(str(error), f.TEXT_BYTES_MAX), after_ms
            )
        except Exception:  # a bug of ours in one request: the peer gets an answer, we the traceback
            logger.exception("request-crashed", extra={"kind": call.kind})
            return f.Failure(call.number, Golemp2pError.code, "the node failed over this request", None)

    def _encoded(self, frame: f.Frame, number: int) -> bytes:
        try:
            return self._writer.encode(frame)
        except PayloadTooLarge as error:
            return self._writer.encode(f.Failure(number, error.code, "the answer is larger than you take", None))

    async def _post_chunk(self, number: int, chunk: bytes) -> None:
        data = self._writer.encode(f.Chunk(number, chunk))
        await self._writer.wait_room(len(data), bulk=True)
        self._writer.post(data, bulk=True)
