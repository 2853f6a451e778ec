"""Values between Python and wasmtime, compiled once per function type.

A ``wasmtime_component_val_t`` is a cell of 32 bytes: byte 0 holds the kind, bytes 8..32 the payload, whose shape depends on
the kind. For each type this module writes a little Python with the ``struct`` formats folded in, and compiles it: a record of
ten numbers becomes a single ``unpack``, ``list<u8>`` a strided slice. Reflection happens at link time, never in a call.

    kind                         payload                          Python (golemp2p.model.wit)
    bool .. f64, char            the number itself                bool, int, float, str
    string, enum                 (size, address)                  str
    list, tuple, flags           (count, address of cells/names)  list or bytes, tuple, tuple of str
    record                       (count, address of entries)      tuple; an entry is a name and a cell: 48 bytes
    variant                      (size, address of name, cell)    (case, payload)
    option                       address of cell, or 0            None, payload, or (payload,) when options nest
    result                       is_ok, address of cell, or 0     ("ok" | "err", payload)
    own, borrow                  address of a resource box        int, through ``Handles``

Lifting copies: nothing refers to wasmtime's memory afterwards. Lowering builds the whole tree in Python-owned ``bytes``, kept
alive by ``keep``; wasmtime only reads it (call arguments) or is given one deep copy (results of host functions). Lowering is
also the last check before wasmtime: a value that does not fit raises ``TypeError``, ``ValueError``, ``OverflowError``,
``struct.error`` and the like (``MISFIT``), never reaches C (a surrogate passed as char would abort the whole process).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from golemp2p.model import wit
from golemp2p.runtime.ffi import address_of, memmove, string_at, val_clone

CELL_BYTES = 32
MISFIT = (TypeError, ValueError, OverflowError, LookupError, AttributeError, struct.error)
"""What lowering a value of the wrong shape may raise. ``UnicodeEncodeError`` is a ``ValueError``."""

Lift = Callable[[int, "Handles"], Any]
Lower = Callable[[Any, list[Any], "Handles"], tuple[Any, ...]]

_PRIMITIVES = {
    "bool": ("?23x", 0), "s8": ("b23x", 1), "u8": ("B23x", 2), "s16": ("h22x", 3), "u16": ("H22x", 4), "s32": ("i20x", 5),
    "u32": ("I20x", 6), "s64": ("q16x", 7), "u64": ("Q16x", 8), "f32": ("f20x", 9), "f64": ("d16x", 10), "char": ("I20x", 11),
}  # fmt: skip
_STRING, _LIST, _RECORD, _TUPLE, _VARIANT, _ENUM, _OPTION, _RESULT, _FLAGS, _RESOURCE = range(12, 22)
_WORDS = struct.Struct("<QQ")


class Handles(Protocol):
    """The handles of one instance, as converters need them. Addresses are of ``wasmtime_component_resource_any_t`` boxes."""

    def lift_handle(self, box: int, handle: wit.Handle) -> int:
        """The number of the resource behind ``box``, which stays wasmtime's."""
        ...

    def lower_handle(self, number: Any, handle: wit.Handle) -> int:
        """A box for resource ``number``; it lives until the call is over."""
        ...


class _Converter:
    """How one type is packed: ``format`` of the 24 payload bytes, holding ``slots`` struct values.

    ``lift`` is source text: an expression over the slots ``{0}``, ``{1}``, ... and ``handles``. ``lower`` turns a value into
    the tuple of slots; ``direct`` is source text instead, for types whose single slot is an expression over the value.
    """

    __slots__ = ("direct", "format", "kind", "lift", "lower", "names", "slots")

    def __init__(self, kind: int, payload_format: str, slots: int, lift: str) -> None:
        self.kind, self.format, self.slots, self.lift = kind, payload_format, slots, lift
        self.lower: Lower = _no_lower
        self.direct: str | None = None
        self.names: dict[str, Any] = {}


def _no_lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
    raise TypeError("this type cannot be lowered")


_numbers = itertools.count()


def _compile(name: str, source: str, names: dict[str, Any]) -> Any:
    """Compile one generated function. The source is built from constants and indexes only: no text of a guest enters it."""
    scope = {"string_at": string_at, "address_of": address_of, **names}
    exec(source, scope)  # noqa: S102
    return scope[name]


def _fresh() -> str:
    return f"c{next(_numbers)}"


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


def _check_count(value: Any, count: int) -> Any:
    if len(value) != count or isinstance(value, (str, bytes)):
        raise ValueError(f"expected {count} items, got {value!r:.60}")
    return value


_CHECKS = {"bool": "check_bool", "f32": "check_float", "f64": "check_float", "char": "check_char"}
_CHECK_NAMES: dict[str, Callable[..., Any]] = {
    "check_bool": _check_bool, "check_float": _check_float, "check_char": _check_char, "check_int": _check_int,
    "check_count": _check_count,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ type by type


def _converter(type_: wit.Type) -> _Converter:
    match type_:
        case wit.Primitive():
            return _string() if type_.name == "string" else _primitive(type_.name)
        case wit.ListOf():
            return _bytes() if type_.element == wit.Primitive("u8") else _list(type_.element)
        case wit.Record():
            return _product(_RECORD, [field for _, field in type_.fields], [name for name, _ in type_.fields])
        case wit.TupleOf():
            return _product(_TUPLE, list(type_.elements), None)
        case wit.Variant():
            return _variant(type_)
        case wit.Enum():
            return _enum(type_)
        case wit.Flags():
            return _flags(type_)
        case wit.OptionOf():
            return _option(type_)
        case wit.ResultOf():
            return _result(type_)
        case wit.Handle():
            return _handle(type_)
        case wit.Unsupported():
            raise TypeError(f"values of type {type_.text} cannot be carried")


def _primitive(name: str) -> _Converter:
    payload_format, kind = _PRIMITIVES[name]
    converter = _Converter(kind, payload_format, 1, "chr({0})" if name == "char" else "{0}")
    check = _CHECKS.get(name, "check_int")
    converter.direct = check + "({0})"
    check_function = _CHECK_NAMES[check]
    converter.lower = lambda value, keep, handles: (check_function(value),)
    return converter


def _lower_text(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
    data = value.encode()
    keep.append(data)
    return len(data), address_of(data)


def _string() -> _Converter:
    converter = _Converter(_STRING, "QQ8x", 2, "(string_at({1}, {0}).decode() if {0} else '')")
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


def _bytes() -> _Converter:
    converter = _Converter(_LIST, "QQ8x", 2, "(string_at({1}, {0} << 5)[8::32] if {0} else b'')")
    converter.lower = _lower_bytes
    return converter


def _slot_names(count: int, start: int = 0) -> list[str]:
    return [f"v{index}" for index in range(start, start + count)]


def _list(element: wit.Type) -> _Converter:
    inner = _converter(element)
    converter = _Converter(_LIST, "QQ8x", 2, "")
    name, slots = _fresh(), _slot_names(inner.slots)
    names = {f"{name}_cells": struct.Struct("<8x" + inner.format).iter_unpack, **inner.names}
    source = (
        f"def {name}(count, at, handles):\n"
        f"    return [{inner.lift.format(*slots)} for ({', '.join(slots)},) in {name}_cells(string_at(at, count << 5))]\n"
    )
    converter.names = {name: _compile(name, source, names)}
    converter.lift = f"({name}({{0}}, {{1}}, handles) if {{0}} else [])"
    pack = struct.Struct("<B7x" + inner.format).pack
    each = _compile(
        "each",
        f"def each(value, keep, handles):\n    return [pack({inner.kind}, {_slots_of(inner, 'item')}) for item in value]\n",
        {"pack": pack, "lower": inner.lower, **_CHECK_NAMES},
    )

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        image = b"".join(each(value, keep, handles))
        keep.append(image)
        return len(value), address_of(image) if image else 8

    converter.lower = lower
    return converter


def _slots_of(inner: _Converter, value: str, lower: str = "lower") -> str:
    """Source of the arguments that pack ``value``: the expression itself, or a starred call of its lowering."""
    return inner.direct.format(value) if inner.direct else f"*{lower}({value}, keep, handles)"


def _product(kind: int, types: list[wit.Type], field_names: list[str] | None) -> _Converter:
    """Records and tuples: their cells lie side by side and are packed at once; a record's cell follows its name."""
    converter = _Converter(kind, "QQ8x", 2, "")
    inners = [_converter(each) for each in types]
    name, stride = _fresh(), 48 if field_names is not None else CELL_BYTES
    skip, head = ("24x", "QQB7x") if field_names is not None else ("8x", "B7x")
    unpack = struct.Struct("<" + "".join(skip + inner.format for inner in inners)).unpack
    pack = struct.Struct("<" + "".join(head + inner.format for inner in inners)).pack
    lift_names: dict[str, Any] = {f"{name}_cells": unpack}
    lower_names: dict[str, Any] = {"pack": pack, **_CHECK_NAMES}
    lifted, lowered, position = [], [], 0
    for index, inner in enumerate(inners):
        lifted.append(inner.lift.format(*_slot_names(inner.slots, position)))
        position += inner.slots
        lift_names |= inner.names
        if field_names is not None:
            label = field_names[index].encode()
            lower_names[f"label{index}"] = label  # keeps the name alive for as long as its address is in the code
            lowered += [str(len(label)), str(address_of(label))]
        lower_names[f"lower{index}"] = inner.lower
        lowered += [str(inner.kind), _slots_of(inner, f"value[{index}]", f"lower{index}")]
    count = len(inners)
    if not count:
        converter.lift = "()"
        converter.lower = lambda value, keep, handles: (len(_check_count(value, 0)), 8)
        return converter
    lift_source = (
        f"def {name}(at, handles):\n"
        f"    ({', '.join(_slot_names(position))},) = {name}_cells(string_at(at, {stride * count}))\n"
        f"    return ({', '.join(lifted)},)\n"
    )
    converter.names = {name: _compile(name, lift_source, lift_names)}
    converter.lift = f"{name}({{1}}, handles)"
    converter.lower = _compile(
        "lower_product",
        "def lower_product(value, keep, handles):\n"
        f"    check_count(value, {count})\n"
        f"    image = pack({', '.join(lowered)})\n"
        "    keep.append(image)\n"
        f"    return {count}, address_of(image)\n",
        lower_names,
    )
    return converter


def _cell_lift(inner: _Converter) -> Lift:
    """(address of a cell, handles) -> value."""
    name, slots = _fresh(), ", ".join(_slot_names(inner.slots))
    source = (
        f"def {name}(at, handles):\n    ({slots},) = {name}_cell(string_at(at, {CELL_BYTES}))\n"
        f"    return {inner.lift.format(*_slot_names(inner.slots))}\n"
    )
    lift: Lift = _compile(name, source, {f"{name}_cell": struct.Struct("<8x" + inner.format).unpack, **inner.names})
    return lift


def _cell_lower(inner: _Converter) -> Callable[[Any, list[Any], Handles], int]:
    """(value, keep, handles) -> address of a cell."""
    pack, kind, inner_lower = struct.Struct("<B7x" + inner.format).pack, inner.kind, inner.lower

    def lower(value: Any, keep: list[Any], handles: Handles) -> int:
        image = pack(kind, *inner_lower(value, keep, handles))
        keep.append(image)
        return address_of(image)

    return lower


def _variant(type_: wit.Variant) -> _Converter:
    converter = _Converter(_VARIANT, "QQQ", 3, "")
    lifts: dict[bytes, tuple[str, Lift | None]] = {}
    lowers: dict[str, tuple[bytes, Callable[[Any, list[Any], Handles], int] | None]] = {}
    for case, payload in type_.cases:
        label, inner = case.encode(), None if payload is None else _converter(payload)
        lifts[label] = (case, _cell_lift(inner) if inner is not None else None)
        lowers[case] = (label, _cell_lower(inner) if inner is not None else None)

    def lift(size: int, at: int, cell: int, handles: Handles) -> tuple[str, Any]:
        case, inner = lifts[string_at(at, size)]
        return case, inner(cell, handles) if inner is not None else None

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        case, payload = value
        label, inner = lowers[case]
        if inner is not None:
            return len(label), address_of(label), inner(payload, keep, handles)
        if payload is not None:
            raise ValueError(f"case {case} has no payload")
        return len(label), address_of(label), 0

    name = _fresh()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1}, {2}, handles)", lower
    return converter


def _enum(type_: wit.Enum) -> _Converter:
    converter = _Converter(_ENUM, "QQ8x", 2, "string_at({1}, {0}).decode()")
    labels = {name: name.encode() for name in type_.names}
    slots = {name: (len(label), address_of(label)) for name, label in labels.items()}

    def lower(value: Any, keep: list[Any], handles: Handles, alive: object = labels) -> tuple[Any, ...]:
        return slots[value]

    converter.lower = lower
    return converter


def _flags(type_: wit.Flags) -> _Converter:
    converter = _Converter(_FLAGS, "QQ8x", 2, "")
    labels = {name: name.encode() for name in type_.names}
    order = type_.names

    def lift(count: int, at: int) -> tuple[str, ...]:
        cells = _WORDS.iter_unpack(string_at(at, 16 * count)) if count else ()
        present = {string_at(address, size).decode() for size, address in cells}
        return tuple(name for name in order if name in present)

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes)) or len(set(value)) != len(value):
            raise ValueError(f"expected distinct flag names, got {value!r:.60}")
        chosen = [labels[name] for name in value]
        image = b"".join([_WORDS.pack(len(label), address_of(label)) for label in chosen])
        keep.append(image)
        return len(chosen), address_of(image) if image else 8

    name = _fresh()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1})", lower
    return converter


def _option(type_: wit.OptionOf) -> _Converter:
    inner = _converter(type_.payload)
    converter = _Converter(_OPTION, "Q16x", 1, "")
    inner_lift, inner_lower, nested = _cell_lift(inner), _cell_lower(inner), isinstance(type_.payload, wit.OptionOf)

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if value is None:
            return (0,)
        return (inner_lower(_check_count(value, 1)[0] if nested else value, keep, handles),)

    name = _fresh()
    converter.names, converter.lower = {name: inner_lift}, lower
    present = f"({name}({{0}}, handles),)" if nested else f"{name}({{0}}, handles)"
    converter.lift = f"({present} if {{0}} else None)"
    return converter


def _result(type_: wit.ResultOf) -> _Converter:
    converter = _Converter(_RESULT, "B7xQ8x", 2, "")
    ok, err = (None if side is None else _converter(side) for side in (type_.ok, type_.err))
    ok_lift, err_lift = (_cell_lift(inner) if inner is not None else None for inner in (ok, err))
    lowers = {
        "ok": (1, _cell_lower(ok) if ok is not None else None),
        "err": (0, _cell_lower(err) if err is not None else None),
    }

    def lift(is_ok: int, cell: int, handles: Handles) -> tuple[str, Any]:
        if is_ok:
            return "ok", ok_lift(cell, handles) if ok_lift is not None else None
        return "err", err_lift(cell, handles) if err_lift is not None else None

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        side, payload = value
        is_ok, inner = lowers[side]
        if inner is not None:
            return is_ok, inner(payload, keep, handles)
        if payload is not None:
            raise ValueError(f"this result has no {side} value")
        return is_ok, 0

    name = _fresh()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1}, handles)", lower
    return converter


def _handle(type_: wit.Handle) -> _Converter:
    name = _fresh()
    converter = _Converter(_RESOURCE, "Q16x", 1, f"handles.lift_handle({{0}}, {name})")
    converter.names = {name: type_}
    converter.lower = lambda value, keep, handles: (handles.lower_handle(value, type_),)
    return converter


# ------------------------------------------------------------------------------------------------------ whole signatures


def params_lifter(types: Sequence[wit.Type]) -> Callable[[int, Handles], tuple[Any, ...]]:
    """(address of n cells, handles) -> tuple of n values."""
    if not types:
        return lambda at, handles: ()
    inner = _product(_TUPLE, list(types), None)
    lift: Callable[[int, Handles], tuple[Any, ...]]
    (lift,) = inner.names.values()
    return lift


def params_lowerer(types: Sequence[wit.Type]) -> list[Callable[[Any, list[Any], Handles], bytes]]:
    """One function per parameter: (value, keep, handles) -> image of its cell. Join them for the array of arguments."""
    return [_image(_converter(each)) for each in types]


def _image(inner: _Converter) -> Callable[[Any, list[Any], Handles], bytes]:
    pack, kind, lower = struct.Struct("<B7x" + inner.format).pack, inner.kind, inner.lower
    return lambda value, keep, handles: pack(kind, *lower(value, keep, handles))


def result_lifter(type_: wit.Type) -> Lift:
    """(address of a cell, handles) -> value. The cell is wasmtime's still, and must be deleted unless ``is_plain``."""
    return _cell_lift(_converter(type_))


def is_plain(type_: wit.Type | None) -> bool:
    """Cells of this type own no memory."""
    return type_ is None or (isinstance(type_, wit.Primitive) and type_.name != "string")


def result_writer(type_: wit.Type | None) -> Callable[[Any, int, Handles], None]:
    """(value, address of a cell, handles): fill a cell that wasmtime owns from then on."""
    if type_ is None:
        return _write_nothing
    image = _image(_converter(type_))
    if is_plain(type_):

        def write_plain(value: Any, at: int, handles: Handles) -> None:
            memmove(at, image(value, (), handles), CELL_BYTES)  # type: ignore[arg-type]  # a plain cell keeps nothing

        return write_plain

    def write(value: Any, at: int, handles: Handles) -> None:
        keep: list[Any] = []
        cell = image(value, keep, handles)
        val_clone(address_of(cell), at)

    return write


def _write_nothing(value: Any, at: int, handles: Handles) -> None:
    if value is not None:
        raise ValueError(f"a function without result returned {value!r:.60}")
