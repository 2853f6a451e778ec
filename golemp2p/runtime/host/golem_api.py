"""golem:api/host@1.1.6: promises, the oplog, the worker's own metadata, retry policy.

Records as tuples: component-id ((high, low),); worker-id (component-id, name); promise-id (worker-id, oplog-idx), where
high and low are the halves of a UUID. Functions of the interface that are not here stay undeclared: calls fail by name.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from golemp2p.errors import GuestTrapped, UsageError
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.runtime.host.declare import PURE, READ_LOCAL, READ_REMOTE, WRITE_REMOTE, HostContext, HostInterface

HOST = HostInterface("golem:api/host")
INTERFACES = (HOST,)

U32_MAX = (1 << 32) - 1
U64_MAX = (1 << 64) - 1

UuidValue: TypeAlias = tuple[int, int]
WorkerIdValue: TypeAlias = tuple[tuple[UuidValue], str]
PromiseIdValue: TypeAlias = tuple[WorkerIdValue, int]
RetryPolicyValue: TypeAlias = tuple[int, int, int, float, float | None]
"""max-attempts, min-delay and max-delay (nanoseconds), multiplier, max-jitter-factor."""


# ------------------------------------------------------------------------------------------------------------- promises


@HOST.function("create-promise", PURE)
def create_promise(ctx: HostContext) -> PromiseIdValue:
    return (_worker_id_value(ctx.host.worker), ctx.host.promises.create())


@HOST.function("await-promise", READ_REMOTE)
async def await_promise(ctx: HostContext, promise: Any) -> bytes:
    """Waits in place, or has the worker unloaded until the promise is completed, as ``host.promises`` decides."""
    with _refusals_trap("await-promise"):
        return await ctx.host.promises.wait(*_promise_id(promise))


@HOST.function("poll-promise", READ_REMOTE)
async def poll_promise(ctx: HostContext, promise: Any) -> bytes | None:
    with _refusals_trap("poll-promise"):
        return await ctx.host.promises.poll(*_promise_id(promise))


@HOST.function("complete-promise", WRITE_REMOTE)
async def complete_promise(ctx: HostContext, promise: Any, data: bytes) -> bool:
    with _refusals_trap("complete-promise"):
        return await ctx.host.promises.complete(*_promise_id(promise), data)


@HOST.function("delete-promise", WRITE_REMOTE)
async def delete_promise(ctx: HostContext, promise: Any) -> None:
    with _refusals_trap("delete-promise"):
        await ctx.host.promises.delete(*_promise_id(promise))


# ---------------------------------------------------------------------------------------------------------------- oplog


@HOST.function("get-oplog-index", PURE)
def get_oplog_index(ctx: HostContext) -> int:
    return ctx.host.journal.mark()


@HOST.function("oplog-commit", PURE)
async def oplog_commit(ctx: HostContext, replicas: int) -> None:
    """Returns when all so far is held by a majority, whatever ``replicas`` asks: fewer would not be durable, and how
    many more there are is the mesh's business. What is replayed was committed before."""
    if not ctx.host.journal.replaying:
        await ctx.host.journal.commit()


@HOST.function("generate-idempotency-key", WRITE_REMOTE)
def generate_idempotency_key(ctx: HostContext) -> UuidValue:
    """A random UUID, durable before the guest sees it: a request repeated with it after a crash is recognized."""
    return _uuid_value(uuid.UUID(bytes=ctx.host.random_bytes(16), version=4))


# ------------------------------------------------------------------------------------------------- worker, retry policy


@HOST.function("get-self-metadata", READ_LOCAL)
def get_self_metadata(
    ctx: HostContext,
) -> tuple[WorkerIdValue, Sequence[str], Sequence[tuple[str, str]], str, int, int]:
    host = ctx.host
    return (
        _worker_id_value(host.worker),
        list(host.args),
        list(host.env),
        host.status_text.lower(),
        host.component_version,
        host.retry_count,
    )


@HOST.function("get-retry-policy", READ_LOCAL)
def get_retry_policy(ctx: HostContext) -> RetryPolicyValue:
    policy = ctx.host.retry_policy
    return (
        min(policy.attempts_max, U32_MAX),
        _nanoseconds(policy.delay_min_s),
        _nanoseconds(policy.delay_max_s),
        policy.multiplier,
        policy.jitter,
    )


@HOST.function("set-retry-policy", PURE)
def set_retry_policy(ctx: HostContext, policy: RetryPolicyValue) -> None:
    attempts_max, delay_min_ns, delay_max_ns, multiplier, jitter = policy
    for name, factor in (("multiplier", multiplier), ("max-jitter-factor", jitter)):
        if factor is not None and not (math.isfinite(factor) and factor >= 0):
            raise GuestTrapped(f"set-retry-policy: {name} must be a number of at least 0, got {factor}")
    ctx.host.set_retry_policy(RetryPolicy(attempts_max, delay_min_ns / 1e9, delay_max_ns / 1e9, multiplier, jitter))


# --------------------------------------------------------------------------------------------------------------- values


def _nanoseconds(seconds: float) -> int:
    return min(round(seconds * 1e9), U64_MAX)


def _uuid_value(value: uuid.UUID) -> UuidValue:
    return (value.int >> 64, value.int & U64_MAX)


def _worker_id_value(worker: WorkerId) -> WorkerIdValue:
    return ((_uuid_value(worker.component.uuid),), worker.name)


def _promise_id(promise: Any) -> tuple[WorkerId, int]:
    """Raises ``InvalidName`` when no worker can have that name."""
    (((high, low),), name), index = promise
    return WorkerId(ComponentId(uuid.UUID(int=high << 64 | low)), name), index


@contextmanager
def _refusals_trap(function: str) -> Iterator[None]:
    """The interface has no errors to return; what cannot be asked (an unknown promise, an impossible name) traps."""
    try:
        yield
    except UsageError as error:
        raise GuestTrapped(f"{function}: {error}") from error
