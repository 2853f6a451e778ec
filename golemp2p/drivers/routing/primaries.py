"""Whoever leads the shard of a log does what is asked for: this node, or another.

    do(log, here, there) ──┬─ this node leads the log's shard ──> here() ─── Moved ─┐
                           └─ another does, or it is not known ──> there() <────────┘
    there() ──> ask(operation, key) ──> Mesh.ask ──> Forwards.serve over there ──> value, or its error raised here

On the way it is learned where nodes serve HTTP: every answer tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio

from golemp2p.errors import DataDamaged, DeadlineExceeded, Draining, Moved, RequestFailed, UsageError
from golemp2p.model import operations as o
from golemp2p.model.ids import Key, WorkerId
from golemp2p.ports import Mesh, RandomBytes
from golemp2p.wire.operations import decode_answer, encode_operation

INVOKE_S = 24 * 3600.0 - 60.0
"""Within the longest deadline that a request carries. Who waits for less cancels."""

WORK_S = 900.0
"""For what may have to compile a component first."""

CALL_S = 60.0
"""For everything else: a failover in the middle takes seconds."""

PROBE_S = 10.0
"""Whoever leads a shard answers a question within this, or the shard has no primary."""

PAUSE_S = 1.0
"""Before an invocation that was not answered in time is asked for again."""

ADDRESSES_SPARE = 16
"""Nodes that are no members any more, and whose address is still remembered."""

T = TypeVar("T")


class Primaries:
    """``http``: where this node serves HTTP, ``""`` if it does not say."""

    def __init__(self, mesh: Mesh, *, random_bytes: RandomBytes, http: Callable[[], str]) -> None:
        self._mesh = mesh
        self._random_bytes = random_bytes
        self._http = http
        self._addresses: dict[bytes, str] = {}
        self.here_total = 0
        self.asked_total = 0

    async def do(self, log: Key, here: Callable[[], Awaitable[T]], there: Callable[[], Awaitable[T]]) -> T:
        """``here()`` if this node leads the shard of ``log`` until that is done, else ``there()``, perhaps after an attempt here."""
        if self._mesh.is_ready(log.shard(self._mesh.shards_count)):
            try:
                done = await here()
            except Moved:
                pass
            except Draining:
                if len(self._mesh.members()) == 1:
                    raise
            else:
                self.here_total += 1
                return done
        return await there()

    async def do_or_ask(self, operation: o.Operation, here: Callable[[], Awaitable[Any]], *, key: str = "") -> Any:
        """The same for what is asked for as it is."""
        return await self.do(o.log_of(operation), here, lambda: self.ask(operation, key=key))

    async def ask(self, operation: o.Operation, *, key: str = "", deadline_s: float = CALL_S) -> Any:
        """The value of the answer. ``key``: the same for all tries of one request; ``""``: a random one. Raises what the primary
        refuses with, and as ``Mesh.ask``."""
        return (await self.answer(operation, key=key, deadline_s=deadline_s)).value

    async def answer(self, operation: o.Operation, *, key: str = "", deadline_s: float = CALL_S) -> o.Done:
        shard = o.log_of(operation).shard(self._mesh.shards_count)
        payload = encode_operation(operation)
        self.asked_total += 1
        data = await self._mesh.ask(shard, key or self.fresh_key(), payload, deadline_s=deadline_s)
        try:
            answer = decode_answer(type(operation), data)
        except DataDamaged as error:
            raise malformed(str(error)) from error
        if answer.node == self._mesh.primary(shard):  # nobody tells where others are
            self.learn(answer.node, answer.http)
        if isinstance(answer, o.Refused):
            raise answer.error
        return answer

    async def ask_to_invoke(self, invoke: o.Invoke) -> o.Outcome:
        """An invocation may take longer than one try. As long as its shard has a primary that answers other questions, it is asked for
        again, which is the same invocation."""
        key = invocation_key("invoke", invoke.worker, invoke.idempotency_key)
        until = trio.current_time() + INVOKE_S
        while True:
            try:
                outcome: o.Outcome = await self.ask(invoke, key=key, deadline_s=until - trio.current_time())
            except DeadlineExceeded:
                if until - trio.current_time() <= PROBE_S:
                    raise
            else:
                return outcome
            await trio.sleep(PAUSE_S)
            with suppress(UsageError):  # the answer will say what is wrong
                await self.locate(invoke.worker)

    async def locate(self, worker: WorkerId) -> None:
        """Who leads the shard of ``worker`` is known afterwards. Raises ``WorkerNotFound``, ``DeadlineExceeded``."""
        await self.ask(o.DescribeWorker(worker), deadline_s=PROBE_S)

    def fresh_key(self) -> str:
        return self._random_bytes(16).hex()

    # -- where they serve HTTP

    def http_of(self, worker: WorkerId) -> str | None:
        """Of the node that leads the worker's shard, as far as this node knows."""
        shard = worker.key.shard(self._mesh.shards_count)
        if self._mesh.is_ready(shard):
            return self._http() or None
        primary = self._mesh.primary(shard)
        return None if primary is None else self._addresses.get(primary)

    def learn(self, node: bytes, http: str) -> None:
        """``node`` serves HTTP at ``http``; ``""``: it does not say. Only of members anything is remembered."""
        if not http:
            self._addresses.pop(node, None)
            return
        self._addresses[node] = http
        if len(self._addresses) > len(self._mesh.members()) + ADDRESSES_SPARE:
            members = {member.public_key for member in self._mesh.members()}
            self._addresses = {known: address for known, address in self._addresses.items() if known in members}


def invocation_key(what: str, worker: WorkerId, idempotency_key: str) -> str:
    """The same for the same invocation, from whatever node it is asked for."""
    text = f"{what}\0{worker}\0{idempotency_key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def malformed(text: str) -> RequestFailed:
    return RequestFailed("malformed-answer", f"another node's answer cannot be used: {text}")
