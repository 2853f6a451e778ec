"""WAVE, the WebAssembly value encoding: WIT values as text for people and for indexed resources in function names.

    true   -7   1.5   nan   -inf   'c'   "text \\u{7f}"      [1, 2]   (1, "a")
    {name: "x", count: 1}   {:}     record; option fields may be absent
    circle(1.5)   empty             variant and enum;   {read, write}  flags
    some(1)   none   1              option; the bare form when the payload is neither option nor result
    ok(1)   ok   err("no")   1      result; the bare form means ok, under the same condition

A name spelled like a keyword gets a ``%``: ``%none``. Commas may trail, ``//`` comments run to the end of the line. Resource
handles have no text form; multi-line strings (triple quotes) are not read.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
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
from golemp2p.values.check import check
from golemp2p.values.compiled import TypeCompiler
from golemp2p.values.mismatch import Mismatch
from golemp2p.values.scalars import rounded_to_f32
from golemp2p.values.type_text import type_text
from golemp2p.values.wave_parse import parser_of
from golemp2p.values.wave_text import Cursor, label_text, quoted

Printer: TypeAlias = Callable[[Any], str]


def parse(type: Type, text: str, path: str = "value") -> Any:
    """The value ``text`` stands for, completely checked; all of the text must be consumed. Raises ``ValueMismatch``."""
    cursor = Cursor(text)
    try:
        value = parser_of(type)(cursor)
        if not cursor.at_end():
            raise Mismatch("the end of the text", got=cursor.rest())
    except Mismatch as mismatch:
        raise mismatch.public(path) from None
    return value


def print_value(type: Type, value: Any) -> str:
    """The text of a value, on one line; equal values have equal texts. Checks the value; raises ``ValueMismatch``."""
    checked = check(type, value)
    try:
        return _printer_of(type)(checked)
    except Mismatch as mismatch:
        raise mismatch.public("value") from None


def _build_printer(type: Type, child: Callable[[Type], Printer]) -> Printer:
    match type:
        case Primitive(name):
            return _PRIMITIVES.get(name, str)
        case ListOf(element):
            return _joined("[", "]", child(element))
        case TupleOf(elements):
            parts = [child(element) for element in elements]
            return lambda value: f"({', '.join(part(v) for part, v in zip(parts, value, strict=True))})"
        case Record(fields):
            return _record([(label_text(name), child(part)) for name, part in fields])
        case Variant(cases):
            return _tagged({name: (label_text(name), None if part is None else child(part)) for name, part in cases})
        case ResultOf(ok, err):
            sides = {"ok": ok, "err": err}
            return _tagged({side: (side, None if part is None else child(part)) for side, part in sides.items()})
        case OptionOf(payload):
            return _option(child(payload), isinstance(payload, OptionOf))
        case Enum():
            return label_text
        case Flags():
            return _joined("{", "}", label_text)
        case Handle() | Unsupported():
            return _without_text(type)


def _print_f64(value: float) -> str:
    if isfinite(value):
        return repr(value).removesuffix(".0")
    return "nan" if value != value else "inf" if value > 0 else "-inf"  # noqa: PLR0124 - only NaN differs from itself


def _print_f32(value: float) -> str:
    """As few digits as make the same 32-bit number again: 0.1, not 0.10000000149011612."""
    if isfinite(value):
        for digits in range(1, 9):
            short = float(f"{value:.{digits}g}")
            if rounded_to_f32(short) == value:
                return _print_f64(short)
    return _print_f64(value)


_PRIMITIVES: dict[str, Printer] = {
    "bool": lambda value: "true" if value else "false",
    "f32": _print_f32,
    "f64": _print_f64,
    "char": lambda value: quoted(value, "'"),
    "string": lambda value: quoted(value, '"'),
}


def _joined(opening: str, closing: str, part: Printer) -> Printer:
    return lambda value: f"{opening}{', '.join(map(part, value))}{closing}"


def _record(fields: list[tuple[str, Printer]]) -> Printer:
    def printed(value: Any) -> str:
        pairs = zip(fields, value, strict=True)
        return f"{{{', '.join(f'{name}: {part(v)}' for (name, part), v in pairs if v is not None) or ':'}}}"

    return printed


def _tagged(cases: dict[str, tuple[str, Printer | None]]) -> Printer:
    def printed(value: Any) -> str:
        label, part = cases[value[0]]
        return label if part is None else f"{label}({part(value[1])})"

    return printed


def _option(part: Printer, nested: bool) -> Printer:
    def printed(value: Any) -> str:
        if value is None:
            return "none"
        return f"some({part(value[0] if nested else value)})"

    return printed


def _without_text(type: Type) -> Printer:
    def printed(value: Any) -> str:
        raise Mismatch(f"a type with a text form, not {type_text(type)}", value)

    return printed


_printer_of: TypeCompiler[Printer] = TypeCompiler(_build_printer)
