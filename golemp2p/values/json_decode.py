"""JSON (as ``json.loads`` gives it) to WIT values; the checks of ``golemp2p.values.json``, compiled per type."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeAlias

from golemp2p.model.ids import WorkerId
from golemp2p.model.wit import (
    Enum,
    Flags,
    Handle,
    ListOf,
    OptionOf,
    Primitive,
    Record,
    ResultOf,
    TupleOf,
    Type,
    Unsupported,
    Variant,
)
from golemp2p.values.compiled import TypeCompiler
from golemp2p.values.handles import parse_handle
from golemp2p.values.mismatch import Mismatch, show
from golemp2p.values.scalars import INTEGER_RANGES, is_char, is_code_point, is_scalar_text, rounded_to_f32
from golemp2p.values.type_text import type_text

Decoder: TypeAlias = Callable[[Any, WorkerId | None], Any]
Child: TypeAlias = Callable[[Type], Decoder]

NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def build_decoder(type: Type, child: Child) -> Decoder:
    match type:
        case Primitive():
            return _primitive(type)
        case ListOf(Primitive("u8")):
            return _byte_list(type)
        case ListOf():
            return _list(type, child)
        case TupleOf():
            return _tuple(type, child)
        case Record():
            return _record(type, child)
        case Variant():
            return _variant(type, child)
        case Enum():
            return _enum(type)
        case Flags():
            return _flags(type)
        case OptionOf():
            return _option(type, child)
        case ResultOf():
            return _result(type, child)
        case Handle():
            return _handle(type)
        case Unsupported():
            return _unsupported(type)


def _primitive(type: Primitive) -> Decoder:
    if type.name in INTEGER_RANGES:
        return _integer(type)
    return {"bool": _bool, "string": _string, "char": _char, "f32": _f32, "f64": _f64}[type.name](type)


def _integer(type: Primitive) -> Decoder:
    low, high = INTEGER_RANGES[type.name]

    def decode(value: Any, worker: WorkerId | None) -> int:
        if value.__class__ is int and low <= value <= high:
            return value
        raise Mismatch(type, value)

    return decode


def _bool(type: Primitive) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> bool:
        if value is True or value is False:
            return value is True
        raise Mismatch(type, value)

    return decode


def _string(type: Primitive) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> str:
        if value.__class__ is not str:
            raise Mismatch(type, value)
        if not is_scalar_text(value):
            raise Mismatch(type, got=f"text with a surrogate: {show(value)}")
        return value

    return decode


def _char(type: Primitive) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> str:
        if value.__class__ is int and is_code_point(value):
            return chr(value)
        if value.__class__ is str and is_char(value):
            return value
        raise Mismatch("char (a code point other than a surrogate)", value)

    return decode


def _f64(type: Primitive) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> float:
        if value.__class__ is float:
            return value
        if value.__class__ is int:
            try:
                return float(value)
            except OverflowError:
                raise Mismatch(type, value) from None
        if value.__class__ is str and value in NON_FINITE:
            return NON_FINITE[value]
        raise Mismatch(type, value)

    return decode


def _f32(type: Primitive) -> Decoder:
    wide = _f64(type)

    def decode(value: Any, worker: WorkerId | None) -> float:
        rounded = rounded_to_f32(wide(value, worker))
        if rounded is None:
            raise Mismatch(type, value)
        return rounded

    return decode


def _byte_list(type: ListOf) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> bytes:
        if value.__class__ is list:
            return _bytes_of_numbers(type.element, value)
        if value.__class__ is dict and len(value) == 1 and value.get("base64").__class__ is str:
            try:
                return base64.b64decode(value["base64"], validate=True)
            except (binascii.Error, ValueError):
                raise Mismatch("base64 text", value["base64"]).at(".base64") from None
        raise Mismatch('list<u8> (an array of numbers, or {"base64": text})', value)

    return decode


def _bytes_of_numbers(element: Type, value: list[Any]) -> bytes:
    try:
        if set(map(_class_of, value)) <= _ONLY_INT:
            return bytes(value)
    except ValueError:
        pass  # one is out of range: the loop finds which
    index, wrong = next((i, x) for i, x in enumerate(value) if x.__class__ is not int or not 0 <= x <= 255)
    raise Mismatch(element, wrong).at(f"[{index}]")


def _class_of(value: Any) -> Any:
    return value.__class__


_ONLY_INT = frozenset({int})


def _list(type: ListOf, child: Child) -> Decoder:
    element = child(type.element)

    def decode(value: Any, worker: WorkerId | None) -> list[Any]:
        if value.__class__ is not list:
            raise Mismatch(type, value)
        decoded: list[Any] = []
        append = decoded.append
        try:
            for item in value:
                append(element(item, worker))
        except Mismatch as mismatch:
            raise mismatch.at(f"[{len(decoded)}]") from None
        return decoded

    return decode


def _tuple(type: TupleOf, child: Child) -> Decoder:
    elements = [child(element) for element in type.elements]
    count = len(elements)

    def decode(value: Any, worker: WorkerId | None) -> tuple[Any, ...]:
        if value.__class__ is not list or len(value) != count:
            raise Mismatch(type, value)
        decoded: list[Any] = []
        try:
            for element, item in zip(elements, value, strict=True):
                decoded.append(element(item, worker))
        except Mismatch as mismatch:
            raise mismatch.at(f"[{len(decoded)}]") from None
        return tuple(decoded)

    return decode


def _record(type: Record, child: Child) -> Decoder:
    fields = [(name, child(part), isinstance(part, OptionOf)) for name, part in type.fields]
    names = {name for name, _ in type.fields}

    def decode(value: Any, worker: WorkerId | None) -> tuple[Any, ...]:
        if value.__class__ is not dict:
            raise Mismatch(type, value)
        decoded: list[Any] = []
        found = 0
        for name, field, optional in fields:
            if name in value:
                found += 1
                try:
                    decoded.append(field(value[name], worker))
                except Mismatch as mismatch:
                    raise mismatch.at(f".{name}") from None
            elif optional:
                decoded.append(None)
            else:
                raise Mismatch(type, got=f"{show(value)}, without field {show(name)}")
        if found != len(value):
            unknown = next(name for name in value if name not in names)
            raise Mismatch(type, got=f"unknown field {show(unknown)}")
        return tuple(decoded)

    return decode


def _variant(type: Variant, child: Child) -> Decoder:
    cases = {name: None if part is None else child(part) for name, part in type.cases}

    def decode(value: Any, worker: WorkerId | None) -> tuple[str, Any]:
        if value.__class__ is dict and len(value) == 1:
            ((name, payload),) = value.items()
        elif value.__class__ is str:
            name, payload = value, None
        else:
            raise Mismatch(type, value)
        if name not in cases:
            raise Mismatch(type, got=f"unknown case {show(name)}")
        decoder = cases[name]
        if decoder is None:
            if payload is not None:
                raise Mismatch("null (the case has no payload)", payload).at(f".{name}")
            return name, None
        if value.__class__ is str:
            raise Mismatch(type, got=f"case {show(name)} without its payload")
        try:
            return name, decoder(payload, worker)
        except Mismatch as mismatch:
            raise mismatch.at(f".{name}") from None

    return decode


def _enum(type: Enum) -> Decoder:
    names = frozenset(type.names)

    def decode(value: Any, worker: WorkerId | None) -> str:
        if value.__class__ is str and value in names:
            return value
        raise Mismatch(type, value)

    return decode


def _flags(type: Flags) -> Decoder:
    names = frozenset(type.names)

    def decode(value: Any, worker: WorkerId | None) -> tuple[str, ...]:
        if value.__class__ is not list:
            raise Mismatch(type, value)
        given: set[str] = set()
        for index, name in enumerate(value):
            if name.__class__ is not str or name not in names:
                raise Mismatch(type, name).at(f"[{index}]")
            if name in given:
                raise Mismatch(type, got=f"{show(name)} a second time").at(f"[{index}]")
            given.add(name)
        return tuple(name for name in type.names if name in given)

    return decode


def _option(type: OptionOf, child: Child) -> Decoder:
    payload = child(type.payload)

    def decode(value: Any, worker: WorkerId | None) -> Any:
        return None if value is None else payload(value, worker)

    def decode_nested(value: Any, worker: WorkerId | None) -> tuple[Any] | None:
        if value is None:
            return None
        if value.__class__ is not dict or len(value) != 1 or "some" not in value:
            raise Mismatch(f'{type_text(type)} (null or {{"some": value}})', value)
        try:
            return (payload(value["some"], worker),)
        except Mismatch as mismatch:
            raise mismatch.at(".some") from None

    return decode_nested if isinstance(type.payload, OptionOf) else decode


def _result(type: ResultOf, child: Child) -> Decoder:
    sides = {
        "ok": None if type.ok is None else child(type.ok),
        "err": None if type.err is None else child(type.err),
    }

    def decode(value: Any, worker: WorkerId | None) -> tuple[str, Any]:
        if value.__class__ is not dict or len(value) != 1:
            raise Mismatch(f'{type_text(type)} ({{"ok": value}} or {{"err": value}})', value)
        ((side, payload),) = value.items()
        if side not in sides:
            raise Mismatch(f'{type_text(type)} ({{"ok": value}} or {{"err": value}})', value)
        decoder = sides[side]
        if decoder is None:
            if payload is not None:
                raise Mismatch("null", payload).at(f".{side}")
            return side, None
        try:
            return side, decoder(payload, worker)
        except Mismatch as mismatch:
            raise mismatch.at(f".{side}") from None

    return decode


def _handle(type: Handle) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> int:
        return parse_handle(type, value, worker)

    return decode


def _unsupported(type: Unsupported) -> Decoder:
    def decode(value: Any, worker: WorkerId | None) -> Any:
        raise Mismatch(f"a type that can be carried, not {type.text}", value)

    return decode


decoder_of: TypeCompiler[Decoder] = TypeCompiler(build_decoder)
