"""Listings as CBOR (``model.listings``).

    asked     [1, [component, filter or null, after, count]]    [2, [after, count]]
    answer    [shards, rows, end or null, http]                 shards: a bitmap, bit n of byte m for shard 8 m + n
    filter    [0, field, comparator, value]    [1, [filter, ...]] all    [2, [filter, ...]] any    [3, filter] not

A row is bytes of its own, so that an answer is cut where it would become too large: whoever asks goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from golemp2p.model import listings as m
from golemp2p.model.worker import (
    AllOf,
    AnyOf,
    Comparator,
    FieldFilter,
    NotFilter,
    WorkerFilter,
    WorkerMetadata,
)
from golemp2p.values import cbor
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX
from golemp2p.wire.operations import COMPONENT, COUNT, HTTP, METADATA

ASKED_BYTES_MAX = 256 << 10
"""A filter has a few hundred nodes at most (``golemp2p_gateway.filters``)."""

ROWS_BYTES_MAX = 1 << 20
"""Rows of one answer; the first one comes in any case."""

ROW_BYTES_MAX = 2 << 20
ANSWER_BYTES_MAX = ROWS_BYTES_MAX + ROW_BYTES_MAX
COUNT_MAX = 10_000
FILTERS_MAX = 1_024
FILTER_DEPTH_MAX = 32
NAME_BYTES_MAX = 1 << 10
DEPTH_MAX = 8 + 3 * FILTER_DEPTH_MAX

_FIELD, _ALL, _ANY, _NOT = 0, 1, 2, 3
_COMPARATORS = frozenset(get_args(Comparator))
T = TypeVar("T")


# -- filters


def _write_filter(filter: WorkerFilter) -> list[Any]:
    match filter:
        case FieldFilter(field, comparator, value):
            return [_FIELD, field, comparator, value]
        case AllOf(filters):
            return [_ALL, [_write_filter(each) for each in filters]]
        case AnyOf(filters):
            return [_ANY, [_write_filter(each) for each in filters]]
        case NotFilter(inner):
            return [_NOT, _write_filter(inner)]


class _FilterReader:
    """Counts what it reads: a listing evaluates a filter for every worker."""

    def __init__(self) -> None:
        self._left = FILTERS_MAX

    def read(self, plain: Any, depth: int = 0) -> WorkerFilter:
        self._left -= 1
        if self._left < 0 or depth >= FILTER_DEPTH_MAX:
            raise ValueError(f"a filter of at most {FILTERS_MAX} nodes, {FILTER_DEPTH_MAX} deep")
        match plain:
            case [0, str(field), str(comparator), str(value)] if comparator in _COMPARATORS:
                return FieldFilter(field, comparator, value)  # type: ignore[arg-type]  # just looked at
            case [1, list(filters)]:
                return AllOf(tuple(self.read(each, depth + 1) for each in filters))
            case [2, list(filters)]:
                return AnyOf(tuple(self.read(each, depth + 1) for each in filters))
            case [3, inner]:
                return NotFilter(self.read(inner, depth + 1))
        raise ValueError("a filter")


_FILTER = s.converted(s.anything(), _write_filter, lambda plain: _FilterReader().read(plain))


# -- what is asked

_NAME = s.short_text(NAME_BYTES_MAX)
_COUNT = s.natural(COUNT_MAX, 1)
_ASKED = s.union(
    (1, m.ListWorkers, s.record(m.ListWorkers, COMPONENT, s.optional(_FILTER), _NAME, _COUNT)),
    (2, m.ListComponents, s.record(m.ListComponents, _NAME, _COUNT)),
)


def encode_asked(listing: m.Listing) -> bytes:
    """Raises ``MalformedRequest``, ``PayloadTooLarge``, ``ValueMismatch``: before anything is sent."""
    return s.encode_checked(_ASKED, listing, what="the listing", bytes_max=ASKED_BYTES_MAX)


def decode_asked(data: bytes) -> m.Listing:
    """Raises ``DataDamaged``."""
    listing: m.Listing = s.decode(_ASKED, data, what="listing", bytes_max=ASKED_BYTES_MAX, depth_max=DEPTH_MAX)
    return listing


# -- answers


def _to_bitmap(shards: frozenset[int]) -> bytes:
    bitmap = bytearray(max(shards, default=-1) // 8 + 1)
    for shard in shards:
        bitmap[shard // 8] |= 1 << shard % 8
    return bytes(bitmap)


def _from_bitmap(bitmap: bytes) -> frozenset[int]:
    return frozenset(8 * place + bit for place, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1)


_SHARDS = s.converted(s.short_bytes(SHARDS_MAX // 8), _to_bitmap, _from_bitmap)


def _held(kind: type, row: s.Shape) -> s.Shape:
    return s.record(kind, _SHARDS, s.array(row, COUNT_MAX), s.optional(_NAME), HTTP)


def _read_metadata(data: bytes) -> WorkerMetadata:
    metadata: WorkerMetadata = s.decode(METADATA, data, what="worker", bytes_max=ROW_BYTES_MAX)
    return metadata


_ENCODED = s.short_bytes(ROW_BYTES_MAX)
_WORKERS = _held(m.WorkersHeld, s.converted(_ENCODED, lambda encoded: encoded, _read_metadata))
"""Written from encoded rows, read as metadata."""
_COMPONENTS = _held(m.ComponentsHeld, s.row(COMPONENT, COUNT))


def _cut(rows: Sequence[T], encode: Callable[[T], bytes]) -> list[bytes]:
    """The first of ``rows``, encoded, as many as an answer has room for."""
    encoded: list[bytes] = []
    size = 0
    for row in rows:
        data = encode(row)
        size += len(data)
        if encoded and size > ROWS_BYTES_MAX:
            break
        encoded.append(data)
    return encoded


def encode_workers(held: m.WorkersHeld) -> bytes:
    """As many rows as there is room for; ``end`` is then the last of them."""
    encoded = _cut(held.rows, lambda row: s.encode(METADATA, row, bytes_max=ROW_BYTES_MAX))
    end = held.end if len(encoded) == len(held.rows) else held.rows[len(encoded) - 1].worker.name
    plain = [_SHARDS.write(held.shards), encoded, end, held.http]
    return cbor.dumps(plain)


def decode_workers(data: bytes) -> m.WorkersHeld:
    """Raises ``DataDamaged``."""
    held: m.WorkersHeld = s.decode(_WORKERS, data, what="listing", bytes_max=ANSWER_BYTES_MAX)
    return held


def encode_components(held: m.ComponentsHeld) -> bytes:
    return s.encode(_COMPONENTS, held, bytes_max=ANSWER_BYTES_MAX)


def decode_components(data: bytes) -> m.ComponentsHeld:
    """Raises ``DataDamaged``."""
    held: m.ComponentsHeld = s.decode(_COMPONENTS, data, what="listing", bytes_max=ANSWER_BYTES_MAX)
    return held
