"""Shapes of messages as data: one description writes CBOR-ready values and reads them back, checking everything.

    shape = record(Ping, natural(), array(UPDATE, UPDATES_MAX))        a class: an array of its fields, in order
    MESSAGES = union(("ping", shape), ...)                              one of several: [tag, fields...]
    encode(MESSAGES, value, bytes_max) -> bytes                         decode(MESSAGES, data, what, bytes_max) -> value

What comes from peers is hostile: the size is checked before anything is decoded, every type exactly (a boolean is no integer), every
length and number against its limit, and no class is made before all its fields are well.

Messages are many and small, so the functions of rows and records are written out field by field when they are defined, as
``dataclasses`` writes ``__init__``: what CBOR holds as it is, is tested in place, which takes half the time of a call for each field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from golemp2p.errors import DataDamaged, Golemp2pError, MalformedRequest, PayloadTooLarge
from golemp2p.values import cbor

DEPTH_MAX = 8
INT_MAX = (1 << 63) - 1


class _Misfit(Exception):
    """A value is not of its shape; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``write``: value -> what CBOR holds. ``read``: the way back; raises ``_Misfit``. ``test``: where CBOR holds values as they are,
    an expression that is true for exactly those that ``read`` takes, with ``{0}`` for the value; else ""."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    test: str = ""


def natural(highest: int = INT_MAX, lowest: int = 0) -> Shape:
    """An integer, ``lowest`` to ``highest`` inclusive."""

    def read(value: Any) -> int:
        if value.__class__ is int and lowest <= value <= highest:
            return int(value)
        raise _Misfit(f"an integer from {lowest} to {highest}")

    return Shape(_same, read, f"({{0}}.__class__ is int and {lowest} <= {{0}} <= {highest})")


def exact_bytes(*lengths: int) -> Shape:
    """Bytes of one of these lengths."""

    def read(value: Any) -> bytes:
        if value.__class__ is bytes and len(value) in lengths:
            return bytes(value)
        raise _Misfit(f"bytes of length {lengths}")

    return Shape(_same, read, f"({{0}}.__class__ is bytes and len({{0}}) in {lengths})")


def short_bytes(bytes_max: int) -> Shape:
    def read(value: Any) -> bytes:
        if value.__class__ is bytes and len(value) <= bytes_max:
            return bytes(value)
        raise _Misfit(f"at most {bytes_max} bytes")

    return Shape(_same, read, f"({{0}}.__class__ is bytes and len({{0}}) <= {bytes_max})")


def short_text(bytes_max: int) -> Shape:
    """Text of at most ``bytes_max`` bytes of UTF-8."""

    def read(value: Any) -> str:
        if value.__class__ is str and len(value) <= bytes_max and len(value.encode()) <= bytes_max:
            return str(value)
        raise _Misfit(f"text of at most {bytes_max} bytes")

    return Shape(_same, read)


def flag() -> Shape:
    def read(value: Any) -> bool:
        if value.__class__ is bool:
            return bool(value)
        raise _Misfit("a boolean")

    return Shape(_same, read, "({0}.__class__ is bool)")


def choice(kind: type[IntEnum]) -> Shape:
    """A member of an enumeration, as its number."""
    known = {int(member): member for member in kind}

    def read(value: Any) -> IntEnum:
        if value.__class__ is int and value in known:
            return known[value]
        raise _Misfit(f"a {kind.__name__}")

    return Shape(int, read)


def optional(item: Shape) -> Shape:
    return Shape(
        lambda value: None if value is None else item.write(value),
        lambda value: None if value is None else item.read(value),
        f"({{0}} is None or {item.test})" if item.test else "",
    )


def either(*items: Shape) -> Shape:
    """A value that one of ``items`` takes, the first that does; all of them hold what CBOR holds as it is."""

    def read(value: Any) -> Any:
        expected: list[str] = []
        for item in items:
            try:
                return item.read(value)
            except _Misfit as error:
                expected.append(str(error))
        raise _Misfit(" or ".join(expected))

    return Shape(_same, read)


def array(item: Shape, count_max: int) -> Shape:
    """A tuple of up to ``count_max`` items of one shape. Writing raises ``PayloadTooLarge``: no reader would take more."""

    def write(values: Any) -> list[Any]:
        if len(values) > count_max:
            raise PayloadTooLarge(f"{len(values)} items, at most {count_max}")
        return [item.write(value) for value in values]

    def read(value: Any) -> tuple[Any, ...]:
        if value.__class__ is list and len(value) <= count_max:
            return tuple([item.read(each) for each in value])
        raise _Misfit(f"an array of at most {count_max}")

    return Shape(write, read)


def row(*items: Shape) -> Shape:
    """A tuple of items of different shapes."""
    return Shape(_writer(items, None), _reader(items, "({})"))


def record(kind: type, *items: Shape) -> Shape:
    """A frozen dataclass as the array of its fields, in order."""
    names = tuple(field.name for field in fields(kind))
    assert len(names) == len(items), f"{kind.__name__} has {len(names)} fields"
    return Shape(_writer(items, names), _reader(items, "kind({})", kind=kind))


def _reader(items: Sequence[Shape], made: str, **known: Any) -> Callable[[Any], Any]:
    """From a list with one item of each shape to what the expression ``made`` makes of the items."""
    places = [f"item{place}" for place in range(len(items))]
    lines = [f"if value.__class__ is not list or len(value) != {len(items)}: raise misfit('an array of {len(items)}')"]
    if items:
        lines.append(f"{', '.join(places)}, = value")
    for place, item in zip(places, items, strict=True):
        known[f"read_{place}"] = item.read
        unless = f"if not {item.test.format(place)}: " if item.test else ""
        lines.append(f"{unless}{place} = read_{place}({place})")
    return _defined([*lines, f"return {made.format(''.join(f'{place}, ' for place in places))}"], misfit=_Misfit, **known)


def _writer(items: Sequence[Shape], names: Sequence[str] | None) -> Callable[[Any], Any]:
    """To such a list: from the attributes of these names, or from a tuple."""
    places = [f"item{place}" for place in range(len(items))]
    lines = [] if names is not None or not items else [f"{', '.join(places)}, = value"]
    known: dict[str, Any] = {}
    parts = places if names is None else [f"value.{name}" for name in names]
    for number, item in enumerate(items):
        if item.write is not _same:
            known[f"write_{places[number]}"] = item.write
            parts[number] = f"write_{places[number]}({parts[number]})"
    return _defined([*lines, f"return [{', '.join(parts)}]"], **known)


def _defined(lines: Sequence[str], **known: Any) -> Callable[[Any], Any]:
    """The function of ``value`` with these lines, which name nothing else but what is ``known``. Made of shapes alone, which are
    written in this program."""
    exec("def function(value):\n" + "\n".join(f"    {line}" for line in lines), known)  # noqa: S102
    function: Callable[[Any], Any] = known["function"]
    return function


def union(*cases: tuple[int, type, Shape]) -> Shape:
    """One of several classes: ``[number, fields]``. Numbers are part of the format and never used again for another class."""
    by_class = {kind: (number, shape) for number, kind, shape in cases}
    by_number = {number: shape for number, _, shape in cases}
    assert len(by_class) == len(by_number) == len(cases), "classes and numbers are different"

    def write(value: Any) -> list[Any]:
        number, shape = by_class[value.__class__]
        return [number, shape.write(value)]

    def read(value: Any) -> Any:
        if value.__class__ is not list or len(value) != 2 or value[0].__class__ is not int or value[0] not in by_number:
            raise _Misfit("one of the known kinds")
        return by_number[value[0]].read(value[1])

    return Shape(write, read)


def converted(item: Shape, write: Callable[[Any], Any], read: Callable[[Any], Any]) -> Shape:
    """What ``read`` makes of an item, and ``write`` turns back into one. What ``read`` refuses, with any error of ours or with
    ``ValueError``, does not fit."""

    def read_item(plain: Any) -> Any:
        value = item.read(plain)
        try:
            return read(value)
        except (Golemp2pError, ValueError) as error:
            raise _Misfit(f"something else: {error}") from None

    return Shape(lambda value: item.write(write(value)), read_item)


def short(text: str, bytes_max: int) -> str:
    """``text``, cut so that it has at most ``bytes_max`` bytes of UTF-8; what UTF-8 cannot hold is replaced."""
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


def anything() -> Shape:
    """Whatever CBOR holds, for ``converted`` to look at."""
    return Shape(_same, _same)


def encode_checked(shape: Shape, value: Any, *, what: str, bytes_max: int) -> bytes:
    """As ``encode``, of what a caller asked for: what no reader would take is refused here. Raises ``MalformedRequest`` naming
    ``what``, ``PayloadTooLarge``, and ``ValueMismatch`` for text that has no UTF-8 form."""
    plain = shape.write(value)
    data = cbor.dumps(plain)
    if len(data) > bytes_max:
        raise PayloadTooLarge(f"{what}: {len(data)} bytes, at most {bytes_max}")
    try:
        shape.read(plain)
    except _Misfit as error:
        raise MalformedRequest(f"{what}: expected {error}") from None
    return data


def encode(shape: Shape, value: Any, *, bytes_max: int) -> bytes:
    """CBOR of ``value``. Raises ``PayloadTooLarge``."""
    data = cbor.dumps(shape.write(value))
    if len(data) > bytes_max:
        raise PayloadTooLarge(f"a {type(value).__name__} of {len(data)} bytes, at most {bytes_max}")
    return data


def decode(shape: Shape, data: bytes, *, what: str, bytes_max: int, depth_max: int = DEPTH_MAX) -> Any:
    """The value in ``data``. Raises ``DataDamaged`` naming ``what``."""
    return read(shape, cbor.loads(data, what=what, bytes_max=bytes_max, depth_max=depth_max), what=what)


def read(shape: Shape, plain: Any, *, what: str) -> Any:
    """The value of ``shape`` that CBOR ``plain`` stands for. Raises ``DataDamaged`` naming ``what``."""
    try:
        return shape.read(plain)
    except _Misfit as error:
        raise DataDamaged(what, f"malformed: expected {error}") from None


def _same(value: Any) -> Any:
    return value
