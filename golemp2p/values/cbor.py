"""Values as CBOR (RFC 8949): what the journal holds.

Encoding is deterministic for equal values (shortest integers, definite lengths, 64-bit floats, one NaN), which request
hashes rely on. It does not walk types: callers ``check`` what may be foreign before or after. Decoding refuses what encoding
never makes, so hostile bytes cannot conjure objects: tags (dates, big numbers, shared references, regular expressions),
indefinite lengths, deep nesting, trailing bytes.

Tuples come back as lists, which every consumer of values accepts.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

import cbor2

from golemp2p.errors import DataDamaged, ValueMismatch
from golemp2p.values.compiled import TYPE_DEPTH_MAX

VALUE_BYTES_MAX = 64 << 20
"""Encoded size of one value. A guest's memory holds 1 GiB at most by default, and Python's form of a value is many times
larger than its CBOR."""

VALUE_DEPTH_MAX = 2 * TYPE_DEPTH_MAX + 16
"""Nesting: a level of type makes at most two levels of arrays (a variant with an option inside), plus what wraps a value."""

_KNOWN_TAGS = (*range(6), 25, 28, 29, 30, 35, 36, 37, 43000, 52, 54, 100, 256, 258, 260, 261, 1004, 55799)
"""Tags that the library would turn into objects by itself."""


def _refuse_tag(*_: Any) -> NoReturn:
    raise ValueError("tags are not used here")


_TAG_REFUSALS = dict.fromkeys(_KNOWN_TAGS, _refuse_tag)

_END = os.urandom(16)
"""Decoding reads ``[data, _END]``: if the second item is another, the data was not exactly one item. Unguessable, since who
knew it could hide bytes behind it. Several times cheaper than a decoder object that tells its position."""

_END_ENCODED = cbor2.dumps(_END)


def dumps(value: Any) -> bytes:
    """CBOR of any value of ``model.wit``. Raises ``ValueMismatch`` for what is no such value (a surrogate, an object)."""
    try:
        return cbor2.dumps(value)
    except UnicodeEncodeError as error:
        raise ValueMismatch("value", "text without surrogates", "text with one") from error
    except (cbor2.CBOREncodeError, RecursionError) as error:
        raise ValueMismatch("value", "a WIT value", f"{type(value).__name__} ({error})") from error


def loads(data: bytes, *, what: str = "value", bytes_max: int = VALUE_BYTES_MAX, depth_max: int = VALUE_DEPTH_MAX) -> Any:
    """The one value in ``data``. ``what`` names it in the error.

    Raises ``DataDamaged`` for everything ``dumps`` could not have made of null, booleans, 64-bit integers, floats, text,
    bytes and arrays; maps pass (the types of values have none, so ``check`` refuses them).
    """
    if len(data) > bytes_max:
        raise DataDamaged(what, f"{len(data)} bytes, more than {bytes_max}")
    try:
        pair = cbor2.loads(
            b"\x82" + data + _END_ENCODED,
            tag_hook=_refuse_tag,
            semantic_decoders=_TAG_REFUSALS,
            max_depth=depth_max + 1,
            allow_indefinite=False,
        )
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataDamaged(what, f"not valid CBOR: {error}") from error
    if pair[1] != _END:
        raise DataDamaged(what, "bytes after the end")
    return pair[0]
