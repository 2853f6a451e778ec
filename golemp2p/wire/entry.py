"""Oplog entries as CBOR: ``[KIND, field, ...]``, fields in the order of ``model.entries``.

    text, bytes, integers, booleans, floats   themselves          tuples   arrays
    BlobRef                                   [sha256, size]      so a payload is bytes, or an array of two
    RetryPolicy                               [attempts, ...]     absent   null

A segment's payload is the concatenation of its entries (a CBOR sequence, RFC 8742). Decoding checks every field against the
annotations of the entry's class, read once: bytes may come from a damaged disk or a peer.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from math import isfinite
from types import UnionType
from typing import Any, TypeAlias, get_args, get_origin

import cbor2

from golemp2p.errors import DataDamaged, PayloadTooLarge, ValueMismatch
from golemp2p.model.entries import KINDS, BlobRef, Entry, FunctionType, RetryPolicy
from golemp2p.values import cbor

ENTRY_BYTES_MAX = 256 << 10
"""Encoded size of one entry. Payloads inside are at most 64 KiB each (larger ones are blobs), texts are cut by who writes
them; what is left are arguments, environment and names of a worker."""

_DEPTH_MAX = 8

_MAY_BE_NEGATIVE = frozenset({"time_ns", "consumed_fuel", "delta_bytes", "status"})
"""Every other integer is an index, a count, a size or a number of something."""

_LENGTHS = {"request_hash": 16, "sha256": 32}
_FUNCTION_TYPES = frozenset(get_args(FunctionType))

Check: TypeAlias = Callable[[Any], Any]


class _Misfit(Exception):
    """A field holds what it cannot; its text says what was expected."""


def encode_entry(entry: Entry) -> bytes:
    """CBOR of one entry. Raises ``PayloadTooLarge``, and ``ValueMismatch`` for text that has no UTF-8 form."""
    try:
        encoded = cbor2.dumps((KINDS[entry.__class__], *entry))
    except UnicodeEncodeError as error:
        raise ValueMismatch(entry.__class__.__name__, "text without surrogates", "text with one") from error
    if len(encoded) > ENTRY_BYTES_MAX:
        raise PayloadTooLarge(f"an oplog entry has at most {ENTRY_BYTES_MAX} bytes, {entry.__class__.__name__} {len(encoded)}")
    return encoded


def encode_payload(batch: Iterable[Entry]) -> bytes:
    """The payload of a segment that holds ``batch``."""
    return b"".join(map(encode_entry, batch))


def decode_payload(payload: bytes, count: int, *, what: str = "entries") -> list[Entry]:
    """The ``count`` entries that make up all of ``payload``. Raises ``DataDamaged`` naming ``what`` and the entry."""
    if not 0 <= count <= len(payload):
        raise DataDamaged(what, f"{count} entries in {len(payload)} bytes")
    rows = cbor.loads(b"\x9a" + count.to_bytes(4, "big") + payload, what=what, depth_max=_DEPTH_MAX)
    decoded: list[Entry] = []
    try:
        for row in rows:
            decoded.append(_entry_of(row))
    except _Misfit as error:
        raise DataDamaged(what, f"entry {len(decoded)}: {error}") from None
    return decoded


def decode_entry(data: bytes, *, what: str = "entry") -> Entry:
    """The one entry in ``data``. Raises ``DataDamaged``."""
    return decode_payload(data, 1, what=what)[0]


def _entry_of(row: Any) -> Entry:
    if row.__class__ is not list or not row or row[0].__class__ is not int or row[0] not in _READERS:
        raise _Misfit("not an entry of a known kind")
    make, checks, name = _READERS[row[0]]
    if len(row) != len(checks) + 1:
        raise _Misfit(f"{name} has {len(checks)} fields, not {len(row) - 1}")
    fields = row[1:]
    for place, check in checks:
        try:
            fields[place] = check(fields[place])
        except _Misfit as error:
            raise _Misfit(f"{name}, field {place + 1}: expected {error}") from None
    return make(fields)


def _check_of(name: str, annotation: Any) -> Check:
    """The check of a field: returns the value as the class holds it, or raises ``_Misfit``."""
    if get_origin(annotation) is UnionType or get_origin(annotation) is typing.Union:
        return _one_of(name, get_args(annotation))
    if get_origin(annotation) is tuple:
        return _tuple(name, get_args(annotation))
    if annotation in (BlobRef, RetryPolicy):
        return _nested(annotation)
    if annotation is int and name not in _MAY_BE_NEGATIVE:
        return _natural
    if annotation is str and name == "function_type":
        return _function_type
    if name in _LENGTHS:
        return _bytes_of_length(_LENGTHS[name])
    if annotation is float:
        return _finite
    assert annotation in (int, str, bytes, bool), f"no way to check {name}: {annotation}"
    return _exactly(annotation)


def _exactly(kind: type) -> Check:
    def check(value: Any) -> Any:
        if value.__class__ is kind:
            return value
        raise _Misfit(kind.__name__)

    return check


def _finite(value: Any) -> Any:
    if value.__class__ is float and isfinite(value):
        return value
    raise _Misfit("a finite float")


def _natural(value: Any) -> Any:
    if value.__class__ is int and value >= 0:
        return value
    raise _Misfit("a number from 0")


def _function_type(value: Any) -> Any:
    if value.__class__ is str and value in _FUNCTION_TYPES:
        return value
    raise _Misfit("a function type")


def _bytes_of_length(length: int) -> Check:
    def check(value: Any) -> Any:
        if value.__class__ is bytes and len(value) == length:
            return value
        raise _Misfit(f"{length} bytes")

    return check


def _one_of(name: str, kinds: tuple[Any, ...]) -> Check:
    """A union of kinds that CBOR tells apart: none, and arrays against everything else."""
    optional = type(None) in kinds
    checks = [_check_of(name, kind) for kind in kinds if kind is not type(None)]

    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        for last, one in enumerate(checks, 1 - len(checks)):
            try:
                return one(value)
            except _Misfit:
                if last == 0:
                    raise
        raise AssertionError("a union has members")

    return check


def _tuple(name: str, kinds: tuple[Any, ...]) -> Check:
    if kinds[-1] is Ellipsis:
        element = _check_of(name, kinds[0])

        def check_many(value: Any) -> Any:
            if value.__class__ is not list:
                raise _Misfit("an array")
            return tuple(map(element, value))

        return check_many
    elements = [_check_of(name, kind) for kind in kinds]

    def check(value: Any) -> Any:
        if value.__class__ is not list or len(value) != len(elements):
            raise _Misfit(f"an array of {len(elements)}")
        return tuple(element(item) for element, item in zip(elements, value, strict=True))

    return check


def _nested(kind: Any) -> Check:
    hints = typing.get_type_hints(kind)
    checks = [_check_of(name, hint) for name, hint in hints.items()]

    def check(value: Any) -> Any:
        if value.__class__ is not list or len(value) != len(checks):
            raise _Misfit(kind.__name__)
        return kind._make([one(item) for one, item in zip(checks, value, strict=True)])

    return check


def _reader(kind: Any) -> tuple[Callable[[list[Any]], Entry], list[tuple[int, Check]], str]:
    hints = typing.get_type_hints(kind)
    checks = [(place, _check_of(name, hints[name])) for place, name in enumerate(kind._fields)]
    return kind._make, checks, kind.__name__


_READERS = {number: _reader(kind) for kind, number in KINDS.items()}
