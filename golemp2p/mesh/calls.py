"""Requests from both ends of one connection: what this node asked, and what it is asked.

    asking   Pending   answer or error             Download   chunks, at most a window of them, then the answer
    asked    Call      payload, time left, and for bulk ``send``, which waits for credit and for room in the outbox

Credit: the asker grants ``window`` bytes with the request, and what it has consumed anew when half of the window is gone. A peer that
sends more than it was granted breaks the protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from golemp2p.errors import FrameMalformed, Golemp2pError, InvalidState
from golemp2p.mesh.frames import CHUNK_BYTES_MAX, CREDIT_MAX


class Pending:
    """One request of this node's: wait for ``done``, then ``result``."""

    __slots__ = ("_answer", "_error", "done")

    def __init__(self) -> None:
        self.done = trio.Event()
        self._answer = b""
        self._error: Golemp2pError | None = None

    def answer(self, payload: bytes) -> None:
        self._answer = payload
        self.done.set()

    def fail(self, error: Golemp2pError) -> None:
        self._error = error
        self.done.set()

    def chunk(self, _payload: bytes) -> None:
        raise FrameMalformed("a chunk for a request that wanted one answer")

    def result(self) -> bytes:
        """Raises what it failed with."""
        if self._error is not None:
            raise self._error
        return self._answer


class Download:
    """A bulk answer on its way: iterate over it, then read ``answer``.

    ``grant``: sends credit. ``progress_s``: the peer has so long for every next chunk. Memory: ``window`` bytes.
    """

    def __init__(self, window: int, grant: Callable[[int], None], late: Callable[[], Golemp2pError], progress_s: float) -> None:
        self._chunks: deque[bytes] = deque()
        self._credit = window
        self._window = window
        self._consumed = 0
        self._grant = grant
        self._late = late
        self._progress_s = progress_s
        self._news = trio.Event()
        self._pending = Pending()

    @property
    def done(self) -> trio.Event:
        return self._pending.done

    def chunk(self, payload: bytes) -> None:
        self._credit -= len(payload)
        if self._credit < 0:
            raise FrameMalformed("chunks beyond their credit")
        self._chunks.append(payload)
        self._news.set()

    def answer(self, payload: bytes) -> None:
        self._pending.answer(payload)
        self._news.set()

    def fail(self, error: Golemp2pError) -> None:
        self._pending.fail(error)
        self._news.set()

    @property
    def final(self) -> bytes:
        """Payload of the answer that ended it. Raises ``InvalidState`` before the end."""
        if self._chunks or not self._pending.done.is_set():
            raise InvalidState("the transfer is not over")
        return self._pending.result()

    async def receive(self) -> bytes | None:
        """The next chunk, or ``None`` after the last. Raises what the transfer failed with, and ``DeadlineExceeded``. Cancelling it
        loses nothing."""
        while not self._chunks:
            if self._pending.done.is_set():
                self._pending.result()
                return None
            self._news = trio.Event()
            with trio.move_on_after(self._progress_s) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                raise self._late()
        chunk = self._chunks.popleft()
        self._consumed += len(chunk)
        if 2 * self._consumed >= self._window:
            self._credit += self._consumed
            self._grant(self._consumed)
            self._consumed = 0
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self.receive()) is not None:
            yield chunk


class Call:
    """One request of the peer's. ``kind`` and ``payload`` are its own; ``wants_chunks``: ``send`` may be used."""

    def __init__(
        self,
        *,
        peer: bytes,
        number: int,
        kind: int,
        payload: bytes,
        credit: int,
        patience_s: float,
        post_chunk: Callable[[int, bytes], Awaitable[None]],
    ) -> None:
        self.peer = peer
        self.number = number
        self.kind = kind
        self.payload = payload
        self.wants_chunks = credit > 0
        self.scope = trio.CancelScope(deadline=trio.current_time() + patience_s)
        self.canceled = False
        self._patience_s = patience_s
        self._credit = credit
        self._granted = trio.Event()
        self._post_chunk = post_chunk

    @property
    def left_s(self) -> float:
        """How long the asker still waits; for bulk: for the next credit."""
        return max(0.0, self.scope.deadline - trio.current_time())

    def cancel(self) -> None:
        self.canceled = True
        self.scope.cancel()

    def grant(self, count: int) -> None:
        """The asker takes more. Raises ``FrameMalformed`` if that makes no sense."""
        self._credit += count
        if not self.wants_chunks or self._credit > CREDIT_MAX:
            raise FrameMalformed("credit that no transfer has")
        self.scope.deadline = trio.current_time() + self._patience_s
        self._granted.set()

    async def send(self, data: bytes) -> None:
        """Bytes of a bulk answer, as long as you like; waits until the asker and the connection take them. Raises ``InvalidState`` if
        the asker wanted one answer. Cancelled midway: part of it was sent."""
        if not self.wants_chunks:
            raise InvalidState("the peer wants one answer")
        at = 0
        while at < len(data):
            while self._credit == 0:
                self._granted = trio.Event()
                await self._granted.wait()
            chunk = data[at : at + min(CHUNK_BYTES_MAX, self._credit)]
            self._credit -= len(chunk)
            at += len(chunk)
            await self._post_chunk(self.number, chunk)
