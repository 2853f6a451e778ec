"""What other nodes ask of this one, for the shards that it leads: an operation as bytes, an answer as bytes.

    serve(shard, key, payload) ──decode──> Local ──> value or error ──encode──> answer
                                             └──> Moved, Draining: no answer; the asker comes again, or goes elsewhere

A request may be executed, and its answer be lost with the node that executed it: then the next primary executes it again, under the
same key. What that does:

    Invoke, Enqueue, CancelInvocation    nothing: the idempotency key of the invocation decides
    CreateWorker, Add-, UpdateComponent  gives what was made: the request's key is recorded with it
    Interrupt, Resume, reads,
    DeletePromise                        the same again
    DeleteWorker                         WorkerNotFound, although it was this that deleted it
    CompletePromise                      false, although it was this that completed it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from golemp2p.drivers.oplog import INLINE_BYTES_MAX, payload_field
from golemp2p.drivers.routing.bodies import Bodies
from golemp2p.drivers.routing.local import Blobs, Local
from golemp2p.errors import DataDamaged, Draining, Golemp2pError, MalformedRequest, Moved, WorldError
from golemp2p.model import entries as e
from golemp2p.model import operations as o
from golemp2p.model.ids import ComponentId
from golemp2p.ports import Mesh
from golemp2p.values.cbor import dumps
from golemp2p.wire.entry import encode_entry
from golemp2p.wire.operations import BODY_BYTES_MAX, decode_operation, encode_answer

SLICE_BYTES_MAX = 512 << 10
"""Entries in one answer; the first one comes in any case. Large payloads are fetched one by one and do not count."""

RETRY_AFTER_S = 0.2

AWAIT_S = 30.0
"""A promise without a value is asked for again after this: whoever waited may be gone."""

T = TypeVar("T")


class Forwards:
    """``component_id``: of a name, in this mesh. ``http``: where this node serves HTTP, ``""`` if nowhere that others reach."""

    def __init__(
        self,
        local: Local,
        mesh: Mesh,
        bodies: Bodies,
        blobs: Blobs,
        *,
        component_id: Callable[[str], ComponentId],
        http: Callable[[], str],
    ) -> None:
        self._local = local
        self._mesh = mesh
        self._bodies = bodies
        self._blobs = blobs
        self._component_id = component_id
        self._http = http
        self.served_total = 0
        self.refused_total = 0

    def statistics(self) -> dict[str, float]:
        return {
            "requests_served_for_others_total": float(self.served_total),
            "requests_refused_for_others_total": float(self.refused_total),
        }

    async def serve(self, shard: int, key: str, payload: bytes) -> bytes:
        """The answer to ``payload``. Raises ``Moved`` when this node does not lead ``shard``, or not any more."""
        try:
            operation = decode_operation(payload)
        except DataDamaged as error:  # a refusal is the same for whatever it was
            refusal = MalformedRequest(f"this node does not understand the request: {error.reason}")
            return encode_answer(o.CountVersions, self._refused(refusal))
        kind = type(operation)
        try:
            self._check(shard, operation)
            done = o.Done(self._mesh.own, self._http(), await self._do(operation, key))
            answer = encode_answer(kind, done)
        except (Moved, Draining) as error:
            raise Moved(str(error), error.retry_after_s) from error
        except Golemp2pError as error:
            return encode_answer(kind, self._refused(error))
        self.served_total += 1
        return answer

    def _refused(self, error: Golemp2pError) -> o.Refused:
        self.refused_total += 1
        return o.Refused(self._mesh.own, self._http(), error)

    def _check(self, shard: int, operation: o.Operation) -> None:
        if o.log_of(operation).shard(self._mesh.shards_count) != shard:
            raise MalformedRequest(f"the request is about something that does not live in shard {shard}")
        if isinstance(operation, o.AddComponent) and operation.component != self._component_id(operation.name):
            raise MalformedRequest(f"component {operation.name!r} has another id in this mesh")
        if not self._mesh.is_ready(shard):
            raise Moved(f"this node does not lead shard {shard}", RETRY_AFTER_S)

    async def _do(self, operation: o.Operation, key: str) -> Any:
        local = self._local
        match operation:
            case o.Invoke(worker, function, _, idempotency_key):
                params = await self._params(operation)
                result = await local.invoke(worker.component, worker.name, function, params, idempotency_key=idempotency_key)
                return o.Outcome(result.type, await self._bodies.keep(dumps(result.value)))
            case o.Enqueue(worker, function, _, idempotency_key):
                params = await self._params(operation)
                await local.enqueue(worker.component, worker.name, function, params, idempotency_key=idempotency_key)
                return None
            case o.CreateWorker(worker, args, env):
                return await local.create_worker(worker, args=args, env=dict(env), request_key=key)
            case o.DescribeWorker(worker):
                return await local.worker(worker)
            case o.DeleteWorker(worker):
                return await local.delete_worker(worker)
            case o.InterruptWorker(worker, recover_immediately):
                return await local.interrupt_worker(worker, recover_immediately=recover_immediately)
            case o.ResumeWorker(worker):
                return await local.resume_worker(worker)
            case o.CancelInvocation(worker, idempotency_key):
                return await local.cancel_invocation(worker, idempotency_key)
            case o.CompletePromise(worker, oplog_index, body):
                data = await _from_asker(self._bodies.take(body, bytes_max=BODY_BYTES_MAX))
                return await local.complete_promise(worker, oplog_index, data)
            case o.ReadPromise(worker, oplog_index):
                return await self._kept(await local.promise(worker, oplog_index))
            case o.AwaitPromise(worker, oplog_index):
                value: bytes | None = None
                with trio.move_on_after(AWAIT_S):
                    value = await local.awaited_promise(worker, oplog_index)
                return await self._kept(value)
            case o.DeletePromise(worker, oplog_index):
                return await local.delete_promise(worker, oplog_index)
            case o.ReadOplog():
                return await self._slice(operation)
            case o.AddComponent(_, name, lent, ephemeral, env):
                wasm = await self._wasm(lent)
                return (await local.add_component(name, wasm, ephemeral=ephemeral, env=dict(env), request_key=key)).version
            case o.UpdateComponent(component, lent, whether, pairs):
                wasm, env_or_none = await self._wasm(lent), None if pairs is None else dict(pairs)
                added = await local.update_component(component, wasm, ephemeral=whether, env=env_or_none, request_key=key)
                return added.version
            case o.CountVersions(component):
                return len(await local.component_versions(component))

    async def _kept(self, value: bytes | None) -> o.Body | None:
        return None if value is None else await self._bodies.keep(value)

    async def _params(self, operation: o.Invoke | o.Enqueue) -> Any:
        return parse_params(await _from_asker(self._bodies.take(operation.params, bytes_max=BODY_BYTES_MAX)))

    async def _wasm(self, lent: o.Lent) -> bytes:
        return await _from_asker(self._blobs.get(lent.sha256, size=lent.size_bytes, holders=[lent.holder]))

    async def _slice(self, asked: o.ReadOplog) -> o.OplogSlice:
        page = await self._local.oplog(asked.worker, first=asked.first, count=asked.count)
        entries: list[tuple[int, e.Entry]] = []
        size = 0
        next_index = page.next_index
        for index, entry in page.entries:
            outlined = _outlined(entry)
            size += len(encode_entry(outlined))
            if entries and size > SLICE_BYTES_MAX:
                next_index = index
                break
            entries.append((index, outlined))
        return o.OplogSlice(tuple(entries), next_index, page.first_index, page.last_index, page.info.version)


def _outlined(entry: e.Entry) -> e.Entry:
    """``entry`` with a large payload as a reference to the blob that it is in storage."""
    name = payload_field(entry)
    payload = None if name is None else getattr(entry, name)
    if name is None or not isinstance(payload, bytes) or len(payload) <= INLINE_BYTES_MAX:
        return entry
    return entry._replace(**{name: e.BlobRef(hashlib.sha256(payload).digest(), len(payload))})


async def _from_asker(taking: Awaitable[T]) -> T:
    """What the asker has to give. When it cannot be had, nothing was done yet: the asker, if it is still there, asks again."""
    try:
        return await taking
    except WorldError as error:
        raise Moved(f"what the request refers to cannot be fetched: {error}", RETRY_AFTER_S) from error


def params_text(params: Any) -> bytes:
    """The JSON ``params`` of an invocation as text that is parsed to the same. Raises ``MalformedRequest``."""
    try:
        return json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedRequest(f"params are no JSON value: {error}") from error


def parse_params(text: bytes) -> Any:
    """The inverse of ``params_text``. Raises ``MalformedRequest``."""
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"params cannot be read: {error}") from error
