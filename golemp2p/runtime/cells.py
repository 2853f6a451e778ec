"""Cells, the building blocks of ``converters``: how one value is packed, the small types, how generated code is compiled."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol

from golemp2p.model import wit
from golemp2p.runtime.ffi import address_of, string_at

CELL_BYTES = 32
MISFIT = (TypeError, ValueError, OverflowError, LookupError, AttributeError, struct.error)
"""What lowering a value of the wrong shape may raise. ``UnicodeEncodeError`` is a ``ValueError``."""

Lift = Callable[[int, "Handles"], Any]
Lower = Callable[[Any, list[Any], "Handles"], tuple[Any, ...]]

_PRIMITIVES = {
    "bool": ("?23x", 0), "s8": ("b23x", 1), "u8": ("B23x", 2), "s16": ("h22x", 3), "u16": ("H22x", 4), "s32": ("i20x", 5),
    "u32": ("I20x", 6), "s64": ("q16x", 7), "u64": ("Q16x", 8), "f32": ("f20x", 9), "f64": ("d16x", 10), "char": ("I20x", 11),
}  # fmt: skip
WORDS = struct.Struct("<QQ")


class Kind(IntEnum):
    """Byte 0 of a cell, for the types that are not in ``_PRIMITIVES``."""

    STRING = 12
    LIST = 13
    RECORD = 14
    TUPLE = 15
    VARIANT = 16
    ENUM = 17
    OPTION = 18
    RESULT = 19
    FLAGS = 20
    RESOURCE = 21


class Handles(Protocol):
    """The handles of one instance, as converters need them. Addresses are of ``wasmtime_component_resource_any_t`` boxes."""

    def lift_handle(self, box: int, handle: wit.Handle) -> int:
        """The number of the resource behind ``box``, which stays wasmtime's."""
        ...

    def lower_handle(self, number: Any, handle: wit.Handle) -> int:
        """A box for resource ``number``; it lives until the call is over."""
        ...


class Converter:
    """How one type is packed: ``format`` of the 24 payload bytes, holding ``slots`` struct values.

    ``lift`` is source text: an expression over the slots ``{0}``, ``{1}``, ... and ``handles``. ``lower`` turns a value into
    the tuple of slots; ``direct`` is source text instead, for types whose single slot is an expression over the value.
    """

    __slots__ = ("direct", "format", "kind", "lift", "lower", "names", "slots")

    def __init__(self, kind: int, payload_format: str, slots: int, lift: str) -> None:
        self.kind, self.format, self.slots, self.lift = int(kind), payload_format, slots, lift
        self.lower: Lower = _no_lower
        self.direct: str | None = None
        self.names: dict[str, Any] = {}


def _no_lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
    raise TypeError("this type cannot be lowered")


_numbers = itertools.count()


def compile_function(name: str, source: str, names: dict[str, Any]) -> Any:
    """Compile one generated function. The source is built from constants and indexes only: no text of a guest enters it."""
    scope = {"string_at": string_at, "address_of": address_of, **names}
    exec(source, scope)  # noqa: S102
    return scope[name]


def fresh_name() -> str:
    return f"c{next(_numbers)}"


def slot_names(count: int, start: int = 0) -> list[str]:
    return [f"v{index}" for index in range(start, start + count)]


def slots_of(inner: Converter, value: str, lower: str = "lower") -> str:
    """Source of the arguments that pack ``value``: the expression itself, or a starred call of its lowering."""
    return inner.direct.format(value) if inner.direct else f"*{lower}({value}, keep, handles)"


def cell_lift(inner: Converter) -> Lift:
    """(address of a cell, handles) -> value."""
    name, slots = fresh_name(), ", ".join(slot_names(inner.slots))
    source = (
        f"def {name}(at, handles):\n    ({slots},) = {name}_cell(string_at(at, {CELL_BYTES}))\n"
        f"    return {inner.lift.format(*slot_names(inner.slots))}\n"
    )
    lift: Lift = compile_function(name, source, {f"{name}_cell": struct.Struct("<8x" + inner.format).unpack, **inner.names})
    return lift


def cell_lower(inner: Converter) -> Callable[[Any, list[Any], Handles], int]:
    """(value, keep, handles) -> address of a cell."""
    pack, kind, inner_lower = struct.Struct("<B7x" + inner.format).pack, inner.kind, inner.lower

    def lower(value: Any, keep: list[Any], handles: Handles) -> int:
        image = pack(kind, *inner_lower(value, keep, handles))
        keep.append(image)
        return address_of(image)

    return lower


# --------------------------------------------------------------------------------------------------- checks while lowering


def _check_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise TypeError(f"expected bool, got {type(value).__name__}")


def _check_int(value: Any) -> int:
    if type(value) is int:
        return value
    raise TypeError(f"expected an integer, got {type(value).__name__}")


def _check_char(value: Any) -> int:
    code = ord(value)
    if 0xD800 <= code < 0xE000:
        raise ValueError("a char cannot be a surrogate")
    return code


def _check_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise TypeError(f"expected a float, got {type(value).__name__}")


def check_count(value: Any, count: int) -> Any:
    if len(value) != count or isinstance(value, (str, bytes)):
        raise ValueError(f"expected {count} items, got {value!r:.60}")
    return value


_CHECKS = {"bool": "check_bool", "f32": "check_float", "f64": "check_float", "char": "check_char"}
CHECKS: dict[str, Callable[..., Any]] = {
    "check_bool": _check_bool, "check_float": _check_float, "check_char": _check_char, "check_int": _check_int,
    "check_count": check_count,
}  # fmt: skip


# -------------------------------------------------------------------------------------------- types that hold no other types


def primitive(name: str) -> Converter:
    payload_format, kind = _PRIMITIVES[name]
    converter = Converter(kind, payload_format, 1, "chr({0})" if name == "char" else "{0}")
    check = _CHECKS.get(name, "check_int")
    converter.direct = check + "({0})"
    check_function = CHECKS[check]
    converter.lower = lambda value, keep, handles: (check_function(value),)
    return converter


def _lower_text(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
    data = value.encode()
    keep.append(data)
    return len(data), address_of(data)


def string() -> Converter:
    converter = Converter(Kind.STRING, "QQ8x", 2, "(string_at({1}, {0}).decode() if {0} else '')")
    converter.lower = _lower_text
    return converter


def _lower_bytes(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
    if isinstance(value, int):
        raise TypeError("expected bytes, got int")
    data = bytes(value)
    count = len(data)
    if not count:
        return 0, 8  # an aligned address that nobody reads: Rust wants slices non-null
    cells = bytearray(count << 5)
    cells[0::32] = b"\x02" * count
    cells[8::32] = data
    image = bytes(cells)
    keep.append(image)
    return count, address_of(image)


def list_of_bytes() -> Converter:
    converter = Converter(Kind.LIST, "QQ8x", 2, "(string_at({1}, {0} << 5)[8::32] if {0} else b'')")
    converter.lower = _lower_bytes
    return converter
