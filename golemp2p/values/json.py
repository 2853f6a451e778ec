"""WIT values as JSON, as Golem 1.2 writes them, except where Golem's form loses information.

    bool, integers      true, 7 (64-bit ones too as plain numbers; 7.0 and 7e0 are not integers)
    f32, f64            number, -0.0 keeps its sign; * "NaN", "Infinity", "-Infinity"; f32 is rounded, too large refused
    char                number: the code point (a one-character string is understood too)
    string              string
    list<u8>            array of numbers; * {"base64": text} is understood too, for the sake of size
    list<T>, tuple      array
    record              object; a missing field of type option is none, any other missing or unknown field is an error
    variant             {"case": payload}; {"case": null} without payload (* or just "case")
    enum                string
    flags               array of names
    option<T>           null or the bare value
    option<option<T>>   * null or {"some": value}: Golem writes none and some(none) alike
    result              {"ok": value} or {"err": value}; null for a side without type
    own<R>, borrow<R>   "urn:worker:<component-id>/<worker>/<n>"

Lines marked * are ours. Decoding checks everything (exact types, ranges, lengths, surrogates), since what it returns
goes on to native code. Its recursion follows the type, never the data, so deep JSON cannot exhaust the stack. Work
that depends on the type alone is done once per type (``compiled``).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, isnan
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
from golemp2p.values.check import check
from golemp2p.values.compiled import TypeCompiler
from golemp2p.values.handles import handle_text
from golemp2p.values.json_decode import decoder_of
from golemp2p.values.mismatch import Mismatch

Encoder: TypeAlias = Callable[[Any, WorkerId | None], Any]


def decode(type: Type, json_value: Any, path: str = "value", *, worker: WorkerId | None = None) -> Any:
    """The WIT value that ``json_value`` (as from ``json.loads``) stands for, completely checked.

    ``worker`` is whose handles are acceptable; ``None``: nobody's. Raises ``ValueMismatch`` naming the place below
    ``path``.
    """
    try:
        return decoder_of(type)(json_value, worker)
    except Mismatch as mismatch:
        raise mismatch.public(path) from None


def encode(type: Type, value: Any, *, worker: WorkerId | None = None) -> Any:
    """The JSON form of a WIT value, ready for ``json.dumps``. ``worker`` is whose handles the value holds.

    Values from a peer must have passed ``check``; here only what cannot be encoded at all raises ``ValueMismatch``.
    May share lists with ``value``.
    """
    try:
        return encoder_of(type)(value, worker)
    except Mismatch as mismatch:
        raise mismatch.public("value") from None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        check(type, value)  # says precisely what is wrong
        raise


def _build_encoder(type: Type, child: Callable[[Type], Encoder]) -> Encoder:
    match type:
        case Primitive(name):
            return {"f32": _float, "f64": _float, "char": _char}.get(name, _unchanged)
        case ListOf(element):
            return _list(element, child)
        case TupleOf(elements):
            parts = [child(element) for element in elements]
            return lambda value, worker: [part(v, worker) for part, v in zip(parts, value, strict=True)]
        case Record(fields):
            named = [(name, child(part)) for name, part in fields]
            return lambda value, worker: {name: part(v, worker) for (name, part), v in zip(named, value, strict=True)}
        case Variant(cases):
            return _tagged({name: None if part is None else child(part) for name, part in cases})
        case ResultOf(ok, err):
            return _tagged({"ok": None if ok is None else child(ok), "err": None if err is None else child(err)})
        case OptionOf(payload):
            return _option(payload, child(payload))
        case Enum():
            return _unchanged
        case Flags():
            return lambda value, worker: list(value)
        case Handle():
            return handle_text
        case Unsupported(text):
            return _unsupported(text)


def _unchanged(value: Any, worker: WorkerId | None) -> Any:
    return value


def _float(value: Any, worker: WorkerId | None) -> Any:
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _char(value: Any, worker: WorkerId | None) -> int:
    return ord(value)


def _list(element: Type, child: Callable[[Type], Encoder]) -> Encoder:
    part = child(element)
    if part is _unchanged:
        return lambda value, worker: list(value)  # also bytes: numbers
    return lambda value, worker: [part(v, worker) for v in value]


def _tagged(sides: dict[str, Encoder | None]) -> Encoder:
    def encode(value: Any, worker: WorkerId | None) -> dict[str, Any]:
        name, payload = value
        side = sides[name]
        return {name: None if side is None else side(payload, worker)}

    return encode


def _option(payload: Type, part: Encoder) -> Encoder:
    if not isinstance(payload, OptionOf):
        return lambda value, worker: None if value is None else part(value, worker)
    return lambda value, worker: None if value is None else {"some": part(value[0], worker)}


def _unsupported(text: str) -> Encoder:
    def encode(value: Any, worker: WorkerId | None) -> Any:
        raise Mismatch(f"a type that can be carried, not {text}", value)

    return encode


encoder_of: TypeCompiler[Encoder] = TypeCompiler(_build_encoder)
