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

import struct
from collections.abc import Callable, Sequence
from typing import Any

from golemp2p.model import wit
from golemp2p.runtime.cells import (
    CELL_BYTES,
    CHECKS,
    MISFIT,
    WORDS,
    Converter,
    Handles,
    Kind,
    Lift,
    cell_lift,
    cell_lower,
    check_count,
    compile_function,
    fresh_name,
    list_of_bytes,
    primitive,
    slot_names,
    slots_of,
    string,
)
from golemp2p.runtime.ffi import address_of, memmove, string_at, val_clone

__all__ = ["MISFIT", "Handles", "Lift", "is_plain", "params_lifter", "params_lowerer", "result_lifter", "result_writer"]

# ------------------------------------------------------------------------------------------------------------ type by type


def _converter(type_: wit.Type) -> Converter:
    match type_:
        case wit.Primitive():
            return string() if type_.name == "string" else primitive(type_.name)
        case wit.ListOf():
            return list_of_bytes() if type_.element == wit.Primitive("u8") else _list(type_.element)
        case wit.Record():
            return _product(Kind.RECORD, [field for _, field in type_.fields], [name for name, _ in type_.fields])
        case wit.TupleOf():
            return _product(Kind.TUPLE, list(type_.elements), None)
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


def _list(element: wit.Type) -> Converter:
    inner = _converter(element)
    converter = Converter(Kind.LIST, "QQ8x", 2, "")
    name, slots = fresh_name(), slot_names(inner.slots)
    names = {f"{name}_cells": struct.Struct("<8x" + inner.format).iter_unpack, **inner.names}
    source = (
        f"def {name}(count, at, handles):\n"
        f"    return [{inner.lift.format(*slots)} for ({', '.join(slots)},) in {name}_cells(string_at(at, count << 5))]\n"
    )
    converter.names = {name: compile_function(name, source, names)}
    converter.lift = f"({name}({{0}}, {{1}}, handles) if {{0}} else [])"
    pack = struct.Struct("<B7x" + inner.format).pack
    each = compile_function(
        "each",
        f"def each(value, keep, handles):\n    return [pack({inner.kind}, {slots_of(inner, 'item')}) for item in value]\n",
        {"pack": pack, "lower": inner.lower, **CHECKS},
    )

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        image = b"".join(each(value, keep, handles))
        keep.append(image)
        return len(value), address_of(image) if image else 8

    converter.lower = lower
    return converter


def _product(kind: int, types: list[wit.Type], field_names: list[str] | None) -> Converter:
    """Records and tuples: their cells lie side by side and are packed at once; a record's cell follows its name."""
    converter = Converter(kind, "QQ8x", 2, "")
    inners = [_converter(each) for each in types]
    name, stride = fresh_name(), 48 if field_names is not None else CELL_BYTES
    skip, head = ("24x", "QQB7x") if field_names is not None else ("8x", "B7x")
    unpack = struct.Struct("<" + "".join(skip + inner.format for inner in inners)).unpack
    pack = struct.Struct("<" + "".join(head + inner.format for inner in inners)).pack
    lift_names: dict[str, Any] = {f"{name}_cells": unpack}
    lower_names: dict[str, Any] = {"pack": pack, **CHECKS}
    lifted, lowered, position = [], [], 0
    for index, inner in enumerate(inners):
        lifted.append(inner.lift.format(*slot_names(inner.slots, position)))
        position += inner.slots
        lift_names |= inner.names
        if field_names is not None:
            label = field_names[index].encode()
            lower_names[f"label{index}"] = label  # keeps the name alive for as long as its address is in the code
            lowered += [str(len(label)), str(address_of(label))]
        lower_names[f"lower{index}"] = inner.lower
        lowered += [str(inner.kind), slots_of(inner, f"value[{index}]", f"lower{index}")]
    count = len(inners)
    if not count:
        converter.lift = "()"
        converter.lower = lambda value, keep, handles: (len(check_count(value, 0)), 8)
        return converter
    lift_source = (
        f"def {name}(at, handles):\n"
        f"    ({', '.join(slot_names(position))},) = {name}_cells(string_at(at, {stride * count}))\n"
        f"    return ({', '.join(lifted)},)\n"
    )
    converter.names = {name: compile_function(name, lift_source, lift_names)}
    converter.lift = f"{name}({{1}}, handles)"
    converter.lower = compile_function(
        "lower_product",
        "def lower_product(value, keep, handles):\n"
        f"    check_count(value, {count})\n"
        f"    image = pack({', '.join(lowered)})\n"
        "    keep.append(image)\n"
        f"    return {count}, address_of(image)\n",
        lower_names,
    )
    return converter


def _variant(type_: wit.Variant) -> Converter:
    converter = Converter(Kind.VARIANT, "QQQ", 3, "")
    lifts: dict[bytes, tuple[str, Lift | None]] = {}
    lowers: dict[str, tuple[bytes, Callable[[Any, list[Any], Handles], int] | None]] = {}
    for case, payload in type_.cases:
        label, inner = case.encode(), None if payload is None else _converter(payload)
        lifts[label] = (case, cell_lift(inner) if inner is not None else None)
        lowers[case] = (label, cell_lower(inner) if inner is not None else None)

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

    name = fresh_name()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1}, {2}, handles)", lower
    return converter


def _enum(type_: wit.Enum) -> Converter:
    converter = Converter(Kind.ENUM, "QQ8x", 2, "string_at({1}, {0}).decode()")
    labels = {name: name.encode() for name in type_.names}
    slots = {name: (len(label), address_of(label)) for name, label in labels.items()}

    def lower(value: Any, keep: list[Any], handles: Handles, alive: object = labels) -> tuple[Any, ...]:
        return slots[value]

    converter.lower = lower
    return converter


def _flags(type_: wit.Flags) -> Converter:
    converter = Converter(Kind.FLAGS, "QQ8x", 2, "")
    labels = {name: name.encode() for name in type_.names}
    order = type_.names

    def lift(count: int, at: int) -> tuple[str, ...]:
        cells = WORDS.iter_unpack(string_at(at, 16 * count)) if count else ()
        present = {string_at(address, size).decode() for size, address in cells}
        return tuple(name for name in order if name in present)

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes)) or len(set(value)) != len(value):
            raise ValueError(f"expected distinct flag names, got {value!r:.60}")
        chosen = [labels[name] for name in value]
        image = b"".join([WORDS.pack(len(label), address_of(label)) for label in chosen])
        keep.append(image)
        return len(chosen), address_of(image) if image else 8

    name = fresh_name()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1})", lower
    return converter


def _option(type_: wit.OptionOf) -> Converter:
    inner = _converter(type_.payload)
    converter = Converter(Kind.OPTION, "Q16x", 1, "")
    inner_lift, inner_lower, nested = cell_lift(inner), cell_lower(inner), isinstance(type_.payload, wit.OptionOf)

    def lower(value: Any, keep: list[Any], handles: Handles) -> tuple[Any, ...]:
        if value is None:
            return (0,)
        return (inner_lower(check_count(value, 1)[0] if nested else value, keep, handles),)

    name = fresh_name()
    converter.names, converter.lower = {name: inner_lift}, lower
    present = f"({name}({{0}}, handles),)" if nested else f"{name}({{0}}, handles)"
    converter.lift = f"({present} if {{0}} else None)"
    return converter


def _result(type_: wit.ResultOf) -> Converter:
    converter = Converter(Kind.RESULT, "B7xQ8x", 2, "")
    ok, err = (None if side is None else _converter(side) for side in (type_.ok, type_.err))
    ok_lift, err_lift = (cell_lift(inner) if inner is not None else None for inner in (ok, err))
    lowers = {
        "ok": (1, cell_lower(ok) if ok is not None else None),
        "err": (0, cell_lower(err) if err is not None else None),
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

    name = fresh_name()
    converter.names, converter.lift, converter.lower = {name: lift}, name + "({0}, {1}, handles)", lower
    return converter


def _handle(type_: wit.Handle) -> Converter:
    name = fresh_name()
    converter = Converter(Kind.RESOURCE, "Q16x", 1, f"handles.lift_handle({{0}}, {name})")
    converter.names = {name: type_}
    converter.lower = lambda value, keep, handles: (handles.lower_handle(value, type_),)
    return converter


# ------------------------------------------------------------------------------------------------------ whole signatures


def params_lifter(types: Sequence[wit.Type]) -> Callable[[int, Handles], tuple[Any, ...]]:
    """(address of n cells, handles) -> tuple of n values."""
    if not types:
        return lambda at, handles: ()
    inner = _product(Kind.TUPLE, list(types), None)
    lift: Callable[[int, Handles], tuple[Any, ...]]
    (lift,) = inner.names.values()
    return lift


def params_lowerer(types: Sequence[wit.Type]) -> list[Callable[[Any, list[Any], Handles], bytes]]:
    """One function per parameter: (value, keep, handles) -> image of its cell. Join them for the array of arguments."""
    return [_image(_converter(each)) for each in types]


def _image(inner: Converter) -> Callable[[Any, list[Any], Handles], bytes]:
    pack, kind, lower = struct.Struct("<B7x" + inner.format).pack, inner.kind, inner.lower
    return lambda value, keep, handles: pack(kind, *lower(value, keep, handles))


def result_lifter(type_: wit.Type) -> Lift:
    """(address of a cell, handles) -> value. The cell is wasmtime's still, and must be deleted unless ``is_plain``."""
    return cell_lift(_converter(type_))


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
