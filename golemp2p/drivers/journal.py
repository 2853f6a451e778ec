"""One execution's view of its oplog: replaying first, then live (``ports.Journal``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golemp2p.core.replay import Cursor
from golemp2p.errors import Divergence, LimitExceeded
from golemp2p.model import entries as e
from golemp2p.values.cbor import VALUE_BYTES_MAX

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker

_HostCall = e.ImportedFunctionInvoked


class WorkerJournal:
    """Binds a ``Cursor`` to the worker whose log it reads. One per execution; useless once that has ended."""

    __slots__ = ("_cursor", "_worker")

    def __init__(self, worker: Worker, cursor: Cursor) -> None:
        self._worker = worker
        self._cursor = cursor

    @property
    def replaying(self) -> bool:
        return self._cursor.replaying

    @property
    def last_index(self) -> int:
        return self._cursor.index if self._cursor.replaying else self._worker.state.tail - 1

    def take(self, function: str, request_hash: bytes) -> bytes:
        response = self._cursor.take_host_call(function, request_hash)
        assert type(response) is bytes, "blobs are read in before a replay"
        return response

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        if len(response) > VALUE_BYTES_MAX:
            raise LimitExceeded(
                "response_bytes_max", f"{function} answered {len(response)} bytes; {VALUE_BYTES_MAX} is the most"
            )
        worker = self._worker
        return worker.append(_HostCall(worker.now_ns(), function, function_type, request_hash, response))

    def mark(self) -> int:
        return self.control(e.NoOp(self._worker.now_ns()))

    def note(self, entry: e.Entry) -> None:
        if not self._cursor.is_repeated(entry):
            self._worker.append(entry)

    def control(self, entry: e.Entry) -> int:
        cursor = self._cursor
        if not cursor.replaying:
            return self._worker.append(entry)
        recorded = cursor.take(type(entry))
        if recorded[1:] != entry[1:]:
            raise Divergence(cursor.index, repr(recorded), repr(entry))
        return cursor.index

    async def commit(self) -> None:
        if not self._cursor.replaying:
            await self._worker.commit_for_effect()

    def flush_nowait(self) -> None:
        if not self._cursor.replaying:
            self._worker.writer.flush_nowait()
