"""Operations for a shard's primary and their answers as CBOR (``model.operations``).

    operation   [number, [field, ...]]
    answer      [0, [node, http, value]] done, [1, [node, http, error]] refused
    body        bytes, or [sha256, size, holder] for what is too large to be carried
    type        the type of a component that has one function with this result (``values.cbor_types``), or null

Numbers are never used again for another operation. Sizes are checked before anything is decoded, and every operation that a caller
asks for is checked before it leaves (``encode_operation``): what the primary would not understand is the caller's mistake.
"""

from __future__ import annotations

import re
import uuid
from functools import lru_cache
from typing import Any

from golemp2p.model import operations as o
from golemp2p.model.ids import IDEMPOTENCY_KEY_BYTES_MAX, WORKER_NAME_BYTES_MAX, ComponentId, WorkerId
from golemp2p.model.membership import PUBLIC_KEY_BYTES
from golemp2p.model.messages_requests import REQUEST_BYTES_MAX
from golemp2p.model.wit import ComponentType, Function, Interface, Type
from golemp2p.model.worker import OwnedResource, WorkerMetadata, WorkerStatus
from golemp2p.values.cbor import VALUE_BYTES_MAX
from golemp2p.values.cbor_types import dump_type, load_type
from golemp2p.values.compiled import TypeCompiler
from golemp2p.wire import schema as s
from golemp2p.wire.entry import decode_entry, encode_entry
from golemp2p.wire.remote_errors import ERROR

INLINE_BYTES_MAX = 512 << 10
"""Larger bodies are lent: half of what a message carries, so that the rest of it always has room."""

BODY_BYTES_MAX = VALUE_BYTES_MAX
"""Of anything lent: arguments, promises, results."""

WASM_BYTES_MAX = 1 << 30
ENVIRONMENT_BYTES_MAX = 256 << 10
"""Of one argument or variable; all of them together have to fit into the message."""

FUNCTION_BYTES_MAX = 32 << 10
"""Names with parameters of an indexed resource; 8 Ki characters (``values.names``)."""

ITEMS_MAX = 64 << 10
"""Arguments, variables, resources in one message."""

TYPES_KEPT_MAX = 256
HTTP_BYTES_MAX = 256
COMPONENT_NAME_BYTES_MAX = 512
OPLOG_COUNT_MAX = 10_000
DEPTH_MAX = 12

_HTTP = re.compile(r"(https?://[!-~]+)?")


def _http(text: str) -> str:
    """It ends up in a header: nothing but an address."""
    if _HTTP.fullmatch(text) is None:
        raise ValueError("an HTTP address")
    return text


def _same(value: Any) -> Any:
    return value


KEY = s.exact_bytes(PUBLIC_KEY_BYTES)
COMPONENT = s.converted(
    s.exact_bytes(16), lambda component: component.uuid.bytes, lambda raw: ComponentId(uuid.UUID(bytes=raw))
)
WORKER = s.converted(
    s.row(COMPONENT, s.short_text(WORKER_NAME_BYTES_MAX)),
    lambda worker: (worker.component, worker.name),
    lambda row: WorkerId(*row),
)
HTTP = s.converted(s.short_text(HTTP_BYTES_MAX), _same, _http)
COUNT = s.natural()
_TIME = s.natural(s.INT_MAX, -s.INT_MAX)
_TEXT = s.short_text(ENVIRONMENT_BYTES_MAX)
_ARGS = s.array(_TEXT, ITEMS_MAX)
_ENV = s.array(s.row(_TEXT, _TEXT), ITEMS_MAX)
_IDEMPOTENCY_KEY = s.short_text(IDEMPOTENCY_KEY_BYTES_MAX)
_FUNCTION = s.short_text(FUNCTION_BYTES_MAX)


def _none(plain: Any) -> None:
    if plain is not None:
        raise ValueError("null")


def _lent(bytes_max: int) -> s.Shape:
    return s.converted(s.row(s.exact_bytes(32), s.natural(bytes_max), KEY), _same, lambda row: o.Lent(*row))


_INLINE, _LENT = s.short_bytes(INLINE_BYTES_MAX), _lent(BODY_BYTES_MAX)
BODY = s.Shape(
    lambda body: _LENT.write(body) if isinstance(body, o.Lent) else body,
    lambda plain: _LENT.read(plain) if plain.__class__ is list else _INLINE.read(plain),
)
_WASM = _lent(WASM_BYTES_MAX)


_dump_type: TypeCompiler[bytes] = TypeCompiler(
    lambda type, _child: dump_type(ComponentType((), (Interface("", (Function("", (), type),)),)))
)


@lru_cache(TYPES_KEPT_MAX)  # also because whoever converts values keeps its work by the identity of the type
def _load_type(data: bytes) -> Type:
    type = load_type(data)
    if len(type.imports) == 0 and len(type.exports) == 1 and len(type.exports[0].functions) == 1:
        result = type.exports[0].functions[0].result
        if result is not None:
            return result
    raise ValueError("not one type")


_TYPE = s.converted(s.short_bytes(INLINE_BYTES_MAX), _dump_type, _load_type)
_OUTCOME = s.converted(s.row(s.optional(_TYPE), BODY), _same, lambda row: o.Outcome(*row))

_RESOURCE = s.converted(
    s.row(COUNT, _TIME, _TEXT, s.optional(_ARGS)),
    lambda pair: (pair[0], *pair[1]),
    lambda row: (row[0], OwnedResource(*row[1:])),
)
_STATUS = s.converted(s.short_text(32), lambda status: status.value, WorkerStatus)
METADATA = s.record(
    WorkerMetadata, WORKER, _ARGS, _ENV, _STATUS, COUNT, COUNT, COUNT, _TIME, s.optional(_TEXT), COUNT, COUNT,
    s.array(_RESOURCE, ITEMS_MAX),
)  # fmt: skip

_ENTRY = s.converted(s.short_bytes(INLINE_BYTES_MAX), encode_entry, decode_entry)
_SLICE = s.converted(
    s.row(s.array(s.row(COUNT, _ENTRY), OPLOG_COUNT_MAX), s.optional(COUNT), COUNT, COUNT, COUNT),
    _same,
    lambda row: o.OplogSlice(*row),
)
_NOTHING = s.converted(s.anything(), _same, _none)

_INVOCATION = (WORKER, _FUNCTION, BODY, _IDEMPOTENCY_KEY)

_TABLE: tuple[tuple[int, type, s.Shape, s.Shape], ...] = (
    (1, o.Invoke, s.record(o.Invoke, *_INVOCATION), _OUTCOME),
    (2, o.Enqueue, s.record(o.Enqueue, *_INVOCATION), _NOTHING),
    (3, o.CreateWorker, s.record(o.CreateWorker, WORKER, _ARGS, _ENV), METADATA),
    (4, o.DescribeWorker, s.record(o.DescribeWorker, WORKER), METADATA),
    (5, o.DeleteWorker, s.record(o.DeleteWorker, WORKER), _NOTHING),
    (6, o.InterruptWorker, s.record(o.InterruptWorker, WORKER, s.flag()), _NOTHING),
    (7, o.ResumeWorker, s.record(o.ResumeWorker, WORKER), _NOTHING),
    (8, o.CancelInvocation, s.record(o.CancelInvocation, WORKER, _IDEMPOTENCY_KEY), s.flag()),
    (9, o.CompletePromise, s.record(o.CompletePromise, WORKER, COUNT, BODY), s.flag()),
    (10, o.ReadOplog, s.record(o.ReadOplog, WORKER, COUNT, s.natural(OPLOG_COUNT_MAX, 1)), _SLICE),
    (
        11,
        o.AddComponent,
        s.record(o.AddComponent, COMPONENT, s.short_text(COMPONENT_NAME_BYTES_MAX), _WASM, s.flag(), _ENV),
        COUNT,
    ),
    (
        12,
        o.UpdateComponent,
        s.record(o.UpdateComponent, COMPONENT, _WASM, s.optional(s.flag()), s.optional(_ENV)),
        COUNT,
    ),
    (13, o.CountVersions, s.record(o.CountVersions, COMPONENT), COUNT),
    (14, o.ReadPromise, s.record(o.ReadPromise, WORKER, COUNT), s.optional(BODY)),
    (15, o.AwaitPromise, s.record(o.AwaitPromise, WORKER, COUNT), s.optional(BODY)),
    (16, o.DeletePromise, s.record(o.DeletePromise, WORKER, COUNT), _NOTHING),
)
"""Number, class, its shape, and the shape of its answer's value."""

_OPERATION = s.union(*[(number, kind, shape) for number, kind, shape, _ in _TABLE])
_REFUSED = s.converted(s.row(KEY, HTTP, ERROR), _same, lambda row: o.Refused(*row))


def _answer_shape(value: s.Shape) -> s.Shape:
    done = s.converted(s.row(KEY, HTTP, value), _same, lambda row: o.Done(*row))
    return s.union((0, o.Done, done), (1, o.Refused, _REFUSED))


_ANSWERS = {kind: _answer_shape(value) for _, kind, _, value in _TABLE}


def encode_operation(operation: o.Operation) -> bytes:
    """Raises ``MalformedRequest``, ``PayloadTooLarge``, ``ValueMismatch``: before anything is sent."""
    return s.encode_checked(_OPERATION, operation, what="the request", bytes_max=REQUEST_BYTES_MAX)


def decode_operation(data: bytes) -> o.Operation:
    """Raises ``DataDamaged``."""
    operation: o.Operation = s.decode(_OPERATION, data, what="operation", bytes_max=REQUEST_BYTES_MAX, depth_max=DEPTH_MAX)
    return operation


def encode_answer(operation: type, answer: o.Answer) -> bytes:
    """``operation``: the class of what is answered; for ``Refused`` any will do. Raises ``PayloadTooLarge``."""
    return s.encode(_ANSWERS[operation], answer, bytes_max=REQUEST_BYTES_MAX)


def decode_answer(operation: type, data: bytes) -> o.Answer:
    """Raises ``DataDamaged``, also for what would answer something else."""
    answer: o.Answer = s.decode(_ANSWERS[operation], data, what="answer", bytes_max=REQUEST_BYTES_MAX, depth_max=DEPTH_MAX)
    return answer
