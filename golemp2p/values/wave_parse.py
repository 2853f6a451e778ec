"""WAVE text to WIT values; the reading half of ``golemp2p.values.wave``, compiled per type."""

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
from golemp2p.values.mismatch import Mismatch, show
from golemp2p.values.scalars import INTEGER_RANGES, is_char, is_scalar_text, rounded_to_f32
from golemp2p.values.type_text import type_text
from golemp2p.values.wave_text import KEYWORDS, Cursor

Parser: TypeAlias = Callable[[Cursor], Any]
Child: TypeAlias = Callable[[Type], Parser]


def _build_parser(type: Type, child: Child) -> Parser:
    match type:
        case Primitive():
            return _primitive(type)
        case ListOf(Primitive("u8") as element):
            items = _sequence(child(element))
            return lambda cursor: bytes(items(cursor))
        case ListOf(element):
            return _sequence(child(element))
        case TupleOf(elements):
            return _tuple(type, [child(element) for element in elements])
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
        case Handle() | Unsupported():
            return _without_text(type)


def _primitive(type: Primitive) -> Parser:
    if type.name in INTEGER_RANGES:
        return _integer(type)
    return {"bool": _bool, "string": _string, "char": _char, "f32": _float, "f64": _float}[type.name](type)


def _integer(type: Primitive) -> Parser:
    low, high = INTEGER_RANGES[type.name]

    def parse(cursor: Cursor) -> int:
        text = cursor.take_number()
        if text is None:
            raise Mismatch(type, got=cursor.rest())
        # 20 digits and a sign hold every 64-bit number; longer ones need not be computed to be out of range
        if not text.lstrip("-").isdigit() or len(text) > 21 or not low <= int(text) <= high:
            raise Mismatch(type, got=show(text)[1:-1])
        return int(text)

    return parse


def _float(type: Primitive) -> Parser:
    def parse(cursor: Cursor) -> float:
        text = cursor.take_number()
        if text is not None:
            value = rounded_to_f32(float(text)) if type.name == "f32" else float(text)
            if value is None or value in (float("inf"), float("-inf")):
                raise Mismatch(type, got=show(text)[1:-1])
            return value
        negative = cursor.take("-")
        word = cursor.take_label()
        if word == "inf":
            return float("-inf") if negative else float("inf")
        if word == "nan" and not negative:
            return float("nan")
        raise Mismatch(type, got=cursor.rest() if word is None else word)

    return parse


def _bool(type: Primitive) -> Parser:
    def parse(cursor: Cursor) -> bool:
        word = cursor.take_label()
        if word in ("true", "false"):
            return word == "true"
        raise Mismatch(type, got=cursor.rest() if word is None else word)

    return parse


def _string(type: Primitive) -> Parser:
    def parse(cursor: Cursor) -> str:
        text = cursor.take_quoted('"')
        if text is None:
            raise Mismatch(type, got=cursor.rest())
        if not is_scalar_text(text):
            raise Mismatch(type, got=f"text with a surrogate: {show(text)}")
        return text

    return parse


def _char(type: Primitive) -> Parser:
    def parse(cursor: Cursor) -> str:
        text = cursor.take_quoted("'")
        if text is None:
            raise Mismatch(type, got=cursor.rest())
        if not is_char(text):
            raise Mismatch("one character", text)
        return text

    return parse


def _sequence(element: Parser) -> Parser:
    def parse(cursor: Cursor) -> list[Any]:
        cursor.expect("[")
        items: list[Any] = []
        while not cursor.take("]"):
            try:
                items.append(element(cursor))
            except Mismatch as mismatch:
                raise mismatch.at(f"[{len(items)}]") from None
            _next(cursor, "]")
        return items

    return parse


def _next(cursor: Cursor, closing: str) -> None:
    """After an item: a comma (which may be the last), or the closing bracket, left for the caller."""
    if not cursor.take(",") and not cursor.text.startswith(closing, cursor.place):
        raise Mismatch(f"',' or '{closing}'", got=cursor.rest())


def _tuple(type: TupleOf, elements: list[Parser]) -> Parser:
    def parse(cursor: Cursor) -> tuple[Any, ...]:
        cursor.expect("(")
        items: list[Any] = []
        for index, element in enumerate(elements):
            try:
                items.append(element(cursor))
            except Mismatch as mismatch:
                raise mismatch.at(f"[{index}]") from None
            _next(cursor, ")")
        if not cursor.take(")"):
            raise Mismatch(type, got=f"more than {len(elements)} elements")
        return tuple(items)

    return parse


def _record(type: Record, child: Child) -> Parser:
    fields = {name: child(part) for name, part in type.fields}
    optional = {name for name, part in type.fields if isinstance(part, OptionOf)}

    def parse(cursor: Cursor) -> tuple[Any, ...]:
        cursor.expect("{")
        given: dict[str, Any] = {}
        if cursor.take(":"):
            cursor.expect("}")
        else:
            while not cursor.take("}"):
                name = _field(cursor, given)
                try:
                    given[name] = fields[name](cursor)
                except Mismatch as mismatch:
                    raise mismatch.at(f".{name}") from None
                _next(cursor, "}")
        for name in fields:
            if name not in given and name not in optional:
                raise Mismatch(type, got=f"no field {show(name)}")
        return tuple(given.get(name) for name in fields)

    def _field(cursor: Cursor, given: dict[str, Any]) -> str:
        label = cursor.take_label()
        name = None if label is None else label.removeprefix("%")
        if name is None or name not in fields:
            raise Mismatch(type, got=cursor.rest() if name is None else f"unknown field {show(name)}")
        if name in given:
            raise Mismatch(type, got=f"field {show(name)} a second time")
        cursor.expect(":")
        return name

    return parse


def _variant(type: Variant, child: Child) -> Parser:
    cases = {name: None if part is None else child(part) for name, part in type.cases}

    def parse(cursor: Cursor) -> tuple[str, Any]:
        name = _case(cursor, type, cases)
        payload = cases[name]
        return name, None if payload is None else _in_parentheses(cursor, payload, name)

    return parse


def _case(cursor: Cursor, type: Type, names: object) -> str:
    label = cursor.take_label()
    if label is None:
        raise Mismatch(type, got=cursor.rest())
    name = label.removeprefix("%")
    if label in KEYWORDS or name not in names:  # type: ignore[operator]
        raise Mismatch(type, got=label)
    return name


def _in_parentheses(cursor: Cursor, payload: Parser, step: str) -> Any:
    cursor.expect("(")
    try:
        value = payload(cursor)
    except Mismatch as mismatch:
        raise mismatch.at(f".{step}") from None
    cursor.expect(")")
    return value


def _enum(type: Enum) -> Parser:
    names = frozenset(type.names)
    return lambda cursor: _case(cursor, type, names)


def _flags(type: Flags) -> Parser:
    names = frozenset(type.names)

    def parse(cursor: Cursor) -> tuple[str, ...]:
        cursor.expect("{")
        given: set[str] = set()
        while not cursor.take("}"):
            label = cursor.take_label()
            name = None if label is None else label.removeprefix("%")
            if name is None or name not in names or name in given:
                raise Mismatch(type, got=cursor.rest() if label is None else label)
            given.add(name)
            _next(cursor, "}")
        return tuple(name for name in type.names if name in given)

    return parse


def _option(type: OptionOf, child: Child) -> Parser:
    payload = child(type.payload)
    nested = isinstance(type.payload, OptionOf)
    flat = not isinstance(type.payload, OptionOf | ResultOf)

    def parse(cursor: Cursor) -> Any:
        start = cursor.place
        label = cursor.take_label()
        if label == "none":
            return None
        if label == "some":
            value = _in_parentheses(cursor, payload, "some")
            return (value,) if nested else value
        cursor.place = start
        if not flat:
            raise Mismatch(f"{type_text(type)} (some(...) or none)", got=cursor.rest())
        return payload(cursor)

    return parse


def _result(type: ResultOf, child: Child) -> Parser:
    sides = {
        "ok": None if type.ok is None else child(type.ok),
        "err": None if type.err is None else child(type.err),
    }
    flat = type.ok is not None and not isinstance(type.ok, OptionOf | ResultOf)

    def parse(cursor: Cursor) -> tuple[str, Any]:
        start = cursor.place
        label = cursor.take_label()
        if label in ("ok", "err"):
            side = sides[label]
            return label, None if side is None else _in_parentheses(cursor, side, label)
        cursor.place = start
        bare = sides["ok"]
        if not flat or bare is None:
            raise Mismatch(f"{type_text(type)} (ok, ok(...), err or err(...))", got=cursor.rest())
        return "ok", bare(cursor)

    return parse


def _without_text(type: Type) -> Parser:
    def parse(cursor: Cursor) -> Any:
        raise Mismatch(f"a type with a text form, not {type_text(type)}", got=cursor.rest())

    return parse


parser_of: TypeCompiler[Parser] = TypeCompiler(_build_parser)
