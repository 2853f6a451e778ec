"""The complete check of values that are already Python: from the journal, from a peer, from a host function.

The same strictness as JSON decoding has (``values.json``), over the value convention of ``model.wit``. It must stand
between any value that crossed a wire and native code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

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
from golemp2p.values.handles import HANDLE_MAX
from golemp2p.values.mismatch import Mismatch, show
from golemp2p.values.scalars import INTEGER_RANGES, is_char, is_scalar_text, rounded_to_f32

Checker: TypeAlias = Callable[[Any], Any]
Child: TypeAlias = Callable[[Type], Checker]

_SEQUENCES = frozenset({list, tuple})


def check(type: Type, value: Any, path: str = "value") -> Any:
    """The value in canonical form (tuples where ``model.wit`` says tuple, though lists are accepted there), or
    ``ValueMismatch``.

    Handles are only checked to be 32-bit numbers: whether they exist is for the table that holds them.
    """
    try:
        return checker_of(type)(value)
    except Mismatch as mismatch:
        raise mismatch.public(path) from None


def _build_checker(type: Type, child: Child) -> Checker:
    match type:
        case Primitive():
            return _primitive(type)
        case ListOf(Primitive("u8")):
            return _exactly(bytes, type)
        case ListOf():
            return _list(type, child)
        case TupleOf(elements):
            return _sequence(type, [(f"[{i}]", child(element)) for i, element in enumerate(elements)])
        case Record(fields):
            return _sequence(type, [(f".{name}", child(part)) for name, part in fields])
        case Variant(cases):
            return _tagged(type, {name: None if part is None else child(part) for name, part in cases})
        case ResultOf(ok, err):
            return _tagged(type, {"ok": None if ok is None else child(ok), "err": None if err is None else child(err)})
        case Enum(names):
            return _enum(type, frozenset(names))
        case Flags():
            return _flags(type)
        case OptionOf():
            return _option(type, child)
        case Handle():
            return _integer(type, 0, HANDLE_MAX)
        case Unsupported():
            return _unsupported(type)


def _primitive(type: Primitive) -> Checker:
    match type.name:
        case "bool":
            return _exactly(bool, type)
        case "f64":
            return _exactly(float, type)
        case "f32":
            return _f32(type)
        case "char":
            return _text(type, is_char)
        case "string":
            return _text(type, is_scalar_text)
        case _:
            return _integer(type, *INTEGER_RANGES[type.name])


def _exactly(kind: type, type: Type) -> Checker:
    def checked(value: Any) -> Any:
        if value.__class__ is kind:
            return value
        raise Mismatch(type, value)

    return checked


def _integer(type: Type, low: int, high: int) -> Checker:
    def checked(value: Any) -> Any:
        if value.__class__ is int and low <= value <= high:
            return value
        raise Mismatch(type, value)

    return checked


def _f32(type: Primitive) -> Checker:
    def checked(value: Any) -> Any:
        if value.__class__ is float and (value != value or rounded_to_f32(value) == value):  # noqa: PLR0124 - NaN
            return value
        raise Mismatch(type, value)

    return checked


def _text(type: Primitive, fits: Callable[[str], bool]) -> Checker:
    def checked(value: Any) -> Any:
        if value.__class__ is str and fits(value):
            return value
        raise Mismatch(type, value)

    return checked


def _list(type: ListOf, child: Child) -> Checker:
    element = child(type.element)

    def checked(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise Mismatch(type, value)
        items: list[Any] = []
        append = items.append
        try:
            for item in value:
                append(element(item))
        except Mismatch as mismatch:
            raise mismatch.at(f"[{len(items)}]") from None
        return items

    return checked


def _sequence(type: Type, parts: list[tuple[str, Checker]]) -> Checker:
    count = len(parts)

    def checked(value: Any) -> tuple[Any, ...]:
        if value.__class__ not in _SEQUENCES or len(value) != count:
            raise Mismatch(type, value)
        items: list[Any] = []
        for (step, part), item in zip(parts, value, strict=True):
            try:
                items.append(part(item))
            except Mismatch as mismatch:
                raise mismatch.at(step) from None
        return tuple(items)

    return checked


def _tagged(type: Type, sides: dict[str, Checker | None]) -> Checker:
    def checked(value: Any) -> tuple[str, Any]:
        if value.__class__ not in _SEQUENCES or len(value) != 2:
            raise Mismatch(type, value)
        name, payload = value
        if name.__class__ is not str or name not in sides:
            raise Mismatch(type, got=f"case {show(name)}")
        side = sides[name]
        if side is None:
            if payload is not None:
                raise Mismatch("null (the case has no payload)", payload).at(f".{name}")
            return name, None
        try:
            return name, side(payload)
        except Mismatch as mismatch:
            raise mismatch.at(f".{name}") from None

    return checked


def _enum(type: Enum, names: frozenset[str]) -> Checker:
    def checked(value: Any) -> Any:
        if value.__class__ is str and value in names:
            return value
        raise Mismatch(type, value)

    return checked


def _flags(type: Flags) -> Checker:
    order = {name: place for place, name in enumerate(type.names)}

    def checked(value: Any) -> tuple[str, ...]:
        if value.__class__ not in _SEQUENCES:
            raise Mismatch(type, value)
        last = -1
        for index, name in enumerate(value):
            place = order.get(name, -1) if name.__class__ is str else -1
            if place <= last:
                raise Mismatch(f"{type.name or 'flags'} in declaration order, each once", name).at(f"[{index}]")
            last = place
        return tuple(value)

    return checked


def _option(type: OptionOf, child: Child) -> Checker:
    payload = child(type.payload)

    def checked(value: Any) -> Any:
        return None if value is None else payload(value)

    def checked_nested(value: Any) -> Any:
        if value is None:
            return None
        if value.__class__ not in _SEQUENCES or len(value) != 1:
            raise Mismatch(type, value)
        try:
            return (payload(value[0]),)
        except Mismatch as mismatch:
            raise mismatch.at(".some") from None

    return checked_nested if isinstance(type.payload, OptionOf) else checked


def _unsupported(type: Unsupported) -> Checker:
    def checked(value: Any) -> Any:
        raise Mismatch(f"a type that can be carried, not {type.text}", value)

    return checked


checker_of: TypeCompiler[Checker] = TypeCompiler(_build_checker)
