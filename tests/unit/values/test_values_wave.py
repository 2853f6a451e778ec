"""WAVE text: how values read and print, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from golemp2p.errors import ValueMismatch
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
    Variant,
)
from golemp2p.values import wave

U8, U64, S32, F32, F64 = (Primitive(n) for n in ("u8", "u64", "s32", "f32", "f64"))
BOOL, CHAR, STRING = (Primitive(n) for n in ("bool", "char", "string"))
ITEM = Record((("name", STRING), ("count", OptionOf(U64))))
SHAPE = Variant((("circle", F64), ("empty", None), ("none", None), ("pair", TupleOf((U8, U8)))))
RIGHTS = Flags(("read", "write"))

PRINTED: list[tuple[Type, str, Any]] = [
    (BOOL, "true", True),
    (U64, "18446744073709551615", 2**64 - 1),
    (S32, "-7", -7),
    (F64, "1.5", 1.5),
    (F64, "-0", -0.0),
    (F64, "inf", float("inf")),
    (F64, "-inf", float("-inf")),
    (F64, "1e+300", 1e300),
    (F32, "0.1", 0.10000000149011612),
    (CHAR, "'x'", "x"),
    (CHAR, r"'\''", "'"),
    (CHAR, r"'\u{0}'", "\0"),
    (STRING, r'"a\"b\\ \n\t é \u{7f}"', 'a"b\\ \n\t é \x7f'),
    (ListOf(U8), "[1, 255]", b"\x01\xff"),
    (ListOf(STRING), "[]", []),
    (TupleOf((U64, STRING)), '(1, "a")', (1, "a")),
    (TupleOf(()), "()", ()),
    (ITEM, '{name: "x", count: some(1)}', ("x", 1)),
    (ITEM, '{name: "x"}', ("x", None)),
    (Record((("none", OptionOf(U8)),)), "{:}", (None,)),
    (Record((("none", OptionOf(U8)),)), "{%none: some(1)}", (1,)),
    (SHAPE, "circle(2)", ("circle", 2.0)),
    (SHAPE, "empty", ("empty", None)),
    (SHAPE, "%none", ("none", None)),
    (SHAPE, "pair((1, 2))", ("pair", (1, 2))),
    (Enum(("ok", "a-b")), "%ok", "ok"),
    (RIGHTS, "{read, write}", ("read", "write")),
    (RIGHTS, "{}", ()),
    (OptionOf(U64), "none", None),
    (OptionOf(OptionOf(U64)), "some(none)", (None,)),
    (OptionOf(OptionOf(U64)), "some(some(1))", (1,)),
    (ResultOf(U64, STRING), "ok(1)", ("ok", 1)),
    (ResultOf(None, STRING), "ok", ("ok", None)),
    (ResultOf(U64, STRING), 'err("no")', ("err", "no")),
]


@pytest.mark.parametrize(("type", "text", "value"), PRINTED)
def test_printed_form(type: Type, text: str, value: Any) -> None:
    assert wave.print_value(type, value) == text
    assert repr(wave.parse(type, text)) == repr(value)


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (ListOf(U8), " [ 1 ,2, ] // two\n", b"\x01\x02"),
        (TupleOf((U64,)), "(1,)", (1,)),
        (ITEM, '{count: 1, name: "x",}', ("x", 1)),
        (OptionOf(STRING), '"x"', "x"),
        (OptionOf(SHAPE), "%none", ("none", None)),
        (OptionOf(SHAPE), "none", None),
        (ResultOf(U64, STRING), "5", ("ok", 5)),
        (ListOf(OptionOf(U64)), "[1, none, some(2)]", [1, None, 2]),
        (RIGHTS, "{write, read}", ("read", "write")),
        (F64, "1e2", 100.0),
        (F32, "-1.5E-1", -0.15000000596046448),
        (STRING, r'"\u{1F600}"', "😀"),
    ],
)
def test_other_ways_to_write(type: Type, text: str, value: Any) -> None:
    assert wave.parse(type, text) == value


@pytest.mark.parametrize(
    ("type", "text", "message"),
    [
        (U64, "", "v: expected u64, got the end"),
        (U64, "1 2", 'v: expected the end of the text, got "2"'),
        (U64, "1.0", "v: expected u64, got 1.0"),
        (U64, "007", 'v: expected u64, got "007"'),
        (U64, "-1", "v: expected u64, got -1"),
        (U8, "256", "v: expected u8, got 256"),
        (U64, "9" * 5000, f"v: expected u64, got {'9' * 60}…"),
        (F32, "1e39", "v: expected f32, got 1e39"),
        (F64, "1e999", "v: expected f64, got 1e999"),
        (F64, "-nan", "v: expected f64, got nan"),
        (BOOL, "yes", "v: expected bool, got yes"),
        (CHAR, "'ab'", 'v: expected one character, got "ab"'),
        (CHAR, r"'\u{d800}'", r"v: expected a Unicode scalar value, got \u{d800}"),
        (STRING, '"a', 'v: expected a closing ", got the end of the line'),
        (STRING, '"a\nb"', 'v: expected a closing ", got the end of the line'),
        (STRING, r'"\x"', r'v: expected an escape (\\ \' \" \t \n \r \u{...}), got "\\x\""'),
        (ListOf(U8), "[1 2]", "v: expected ',' or ']', got \"2]\""),
        (ListOf(U64), "[1, x]", 'v[1]: expected u64, got "x]"'),
        (TupleOf((U64,)), "(1, 2)", "v: expected tuple<u64>, got more than 1 elements"),
        (ITEM, "{count: 1}", 'v: expected record { name: string, count: option<u64> }, got no field "name"'),
        (ITEM, "{:}", 'v: expected record { name: string, count: option<u64> }, got no field "name"'),
        (ITEM, '{nam: "x"}', 'v: expected record { name: string, count: option<u64> }, got unknown field "nam"'),
        (
            ITEM,
            '{name: "x", name: "y"}',
            'v: expected record { name: string, count: option<u64> }, got field "name" a second time',
        ),
        (ITEM, "{name: 1}", 'v.name: expected string, got "1}"'),
        (SHAPE, "none", "v: expected variant { circle(f64), empty, none, pair(tuple<u8, u8>) }, got none"),
        (SHAPE, "circle", "v: expected '(', got the end"),
        (SHAPE, "circle(x)", "v.circle: expected f64, got x"),
        (RIGHTS, "{read, read}", "v: expected flags { read, write }, got read"),
        (OptionOf(OptionOf(U64)), "1", 'v: expected option<option<u64>> (some(...) or none), got "1"'),
        (ResultOf(None, U64), "1", 'v: expected result<_, u64> (ok, ok(...), err or err(...)), got "1"'),
        (Handle("#r", True), "1", 'v: expected a type with a text form, not r, got "1"'),
    ],
    ids=range(31),
)
def test_misfits_say_where_and_what(type: Type, text: str, message: str) -> None:
    with pytest.raises(ValueMismatch) as caught:
        wave.parse(type, text, "v")
    assert str(caught.value) == message


def test_printing_checks() -> None:
    with pytest.raises(ValueMismatch, match="expected u8, got 300"):
        wave.print_value(U8, 300)
    with pytest.raises(ValueMismatch, match="text form"):
        wave.print_value(Handle("#r", True), 1)
