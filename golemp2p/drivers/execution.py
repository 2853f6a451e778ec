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
from golemp2p.drivers.components import LoadedComponent
from golemp2p.drivers.journal import WorkerJournal
from golemp2p.drivers.oplog import inline_payload
from golemp2p.drivers.worker_host import ExecutionHost
from golemp2p.errors import Divergence, ValueMismatch
from golemp2p.model import entries as e
from golemp2p.ports import GuestInstance
from golemp2p.values.cbor import dumps, loads
from golemp2p.values.names import IndexedResource, ResolvedFunction

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker


class Execution:
    """``cursor`` reads the log as it was when the execution began; ``worker`` appends to it."""

    __slots__ = ("_component", "_cursor", "_host", "_instance", "_worker")

    def __init__(
        self, worker: Worker, component: LoadedComponent, instance: GuestInstance, host: ExecutionHost, cursor: Cursor
    ) -> None:
        self._worker = worker
        self._component = component
        self._instance = instance
        self._host = host
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
            response = dumps(value)
            if cursor.replaying:
                self._compare(cursor.take(e.ExportedFunctionCompleted), response)
            else:
                self._worker.complete(invoked.function, value, response)

    async def run(self, function: str, request: e.Payload) -> tuple[Any, bytes]:
        """Call ``function`` live. Returns the value and its encoding."""
        assert not self._cursor.replaying, "live work before the replay has ended"
        value = await self._call(function, request)
        return value, dumps(value)

    # -- calls ----------------------------------------------------------------------------------------------------------

    async def _call(self, function: str, request: e.Payload) -> Any:
        if type(request) is e.BlobRef:
            request = await self._worker.node.blob(self._worker.id, request)
        assert isinstance(request, bytes)
        resolved = self._component.function(function)
        args = loads(request)
        if resolved.indexed is not None:
            return await self._call_indexed(resolved, resolved.indexed, args)
        if resolved.kind == "drop":
            await self._instance.drop_resource(args[0])
            return None
        assert resolved.function is not None
        return await self._instance.call(resolved.interface, resolved.function.name, args)

    async def _call_indexed(self, resolved: ResolvedFunction, indexed: IndexedResource, args: list[Any]) -> Any:
        """A method of an indexed resource ``r("a", 1)``, which is made on first use with those constructor arguments."""
        assert resolved.resource is not None
        key = (resolved.resource, indexed.params)
        handle = self._host.indexed.get(key)
        if handle is None:
            handle = await self._instance.call(resolved.interface, indexed.constructor.name, indexed.args)
            self._host.indexed[key] = handle
            self._host.journal.note(e.DescribeResource(self._worker.now_ns(), handle, *key))
        if resolved.kind == "constructor":
            return handle
        if resolved.kind == "drop":
            await self._instance.drop_resource(handle)
            self._host.indexed.pop(key, None)
            return None
        assert resolved.function is not None
        return await self._instance.call(resolved.interface, resolved.function.name, [handle, *args])

    def _compare(self, recorded: e.ExportedFunctionCompleted, response: bytes) -> None:
        if recorded.response != response:
            raise Divergence(self._cursor.index, f"the result {_short(recorded.response)}", f"for {_short(response)}")

    def _refuse_unless_recorded(self, key: str, error: ValueMismatch) -> None:
        running = self._worker.state.running
        if running is not None and running.key == key:
            self._worker.refuse(key, error)


def _short(response: e.Payload) -> str:
    """A recorded or recomputed result, cut for an error message."""
    text = repr(loads(response)) if isinstance(response, bytes) else f"blob {response.sha256.hex()}"
    return text if len(text) <= 200 else text[:200] + "..."
