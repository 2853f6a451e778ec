"""One execution of a worker: an instance of its component, from replay to its end.

    start: instantiate (journalled calls included) -> replay: invocation by invocation, results compared
                                                   -> run: live, one invocation at a time -> close

When the journal ends in the middle of an invocation, that invocation simply goes on live: this is how a crashed one resumes.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.core.replay import Cursor
from golemp2p.drivers.calling import Caller
from golemp2p.drivers.components import LoadedComponent
from golemp2p.drivers.journal import WorkerJournal
from golemp2p.drivers.oplog import inline_payload
from golemp2p.drivers.worker_host import ExecutionHost
from golemp2p.errors import Divergence, LimitExceeded, ValueMismatch, WorkerInterrupted
from golemp2p.model import entries as e
from golemp2p.ports import GuestInstance
from golemp2p.values.cbor import VALUE_BYTES_MAX, dumps, loads

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker


class Execution:
    """``cursor`` reads the log as it was when the execution began; ``worker`` appends to it."""

    __slots__ = ("_caller", "_cursor", "_instance", "_worker")

    def __init__(
        self, worker: Worker, component: LoadedComponent, instance: GuestInstance, host: ExecutionHost, cursor: Cursor
    ) -> None:
        self._worker = worker
        self._instance = instance
        self._caller = Caller(component.function, instance, host)
        self._cursor = cursor

    @classmethod
    async def start(cls, worker: Worker, component: LoadedComponent, entries: list[e.Entry]) -> Execution:
        """Instantiate over ``entries``, the whole log (for an ephemeral worker: nothing to replay)."""
        if worker.create.ephemeral:
            cursor = Cursor(())
        else:
            blobs, shard = worker.node.blobs, worker.shard
            cursor = Cursor([await inline_payload(blobs, shard, entry) for entry in entries], worker.state.skipped)
            cursor.take(e.Create)
        if component.uses_files and worker.files_root.exists():
            await trio.to_thread.run_sync(shutil.rmtree, worker.files_root)
        host = ExecutionHost(worker, WorkerJournal(worker, cursor))
        instance = await component.guest.instantiate(host)
        return cls(worker, component, instance, host, cursor)

    @property
    def memory_bytes(self) -> int:
        return self._instance.memory_bytes

    def close(self) -> None:
        self._instance.close()

    async def replay(self) -> None:
        """Go through the recorded invocations. The last may be unfinished: it is finished live and completed."""
        cursor = self._cursor
        while cursor.replaying:
            invoked = cursor.take(e.ExportedFunctionInvoked)
            self._worker.current_key = invoked.idempotency_key
            try:
                value = await self._call(invoked.function, invoked.request)
            except ValueMismatch as error:
                self._refuse_unless_recorded(invoked.idempotency_key, error)
                continue
            response = _encoded(value)
            if cursor.replaying:
                self._compare(cursor.take(e.ExportedFunctionCompleted), response)
            else:
                self._worker.complete(invoked.function, value, response)

    async def run(self, function: str, request: e.Payload) -> tuple[Any, bytes]:
        """Call ``function`` live. Returns the value and its encoding."""
        assert not self._cursor.replaying, "live work before the replay has ended"
        value = await self._call(function, request)
        return value, _encoded(value)

    async def _call(self, function: str, request: e.Payload) -> Any:
        if type(request) is e.BlobRef:
            request = await self._worker.node.blob(self._worker.id, request)
        assert isinstance(request, bytes)
        return await self._caller.call(function, request)

    def _compare(self, recorded: e.ExportedFunctionCompleted, response: bytes) -> None:
        if recorded.response != response:
            raise Divergence(self._cursor.index, f"the result {_short(recorded.response)}", f"for {_short(response)}")

    def _refuse_unless_recorded(self, key: str, error: ValueMismatch) -> None:
        running = self._worker.state.running
        if running is not None and running.key == key:
            self._worker.refuse(key, error)


def _encoded(value: Any) -> bytes:
    """Raises ``LimitExceeded`` for a result that nobody could read."""
    data = dumps(value)
    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded("result_bytes_max", f"the result has {len(data)} bytes; {VALUE_BYTES_MAX} is the most")
    return data


def end_ephemeral_execution(worker: Worker) -> None:
    """After loading: an execution of an ephemeral worker that the log does not end is over. Its invocation fails; or, if it had not
    begun, what was recorded before it is parted from what comes now."""
    if worker.create.ephemeral and worker.state.running is not None:
        worker.refuse(worker.state.running.key, WorkerInterrupted("the node stopped while the ephemeral worker ran"))
    elif worker.create.ephemeral and worker.state.pending:
        worker.append(e.Restart(worker.now_ns()))


def _short(response: e.Payload) -> str:
    """A recorded or recomputed result, cut for an error message."""
    text = repr(loads(response)) if isinstance(response, bytes) else f"blob {response.sha256.hex()}"
    return text if len(text) <= 200 else text[:200] + "..."
