"""JSON of values: Golem's forms, ours where Golem's lose information, and errors that say where and what."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from golemp2p.errors import InvalidComponent, ValueMismatch
from golemp2p.model.ids import ComponentId, WorkerId
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
from golemp2p.values.json import decode, encode

U8, U64, S8 = Primitive("u8"), Primitive("u64"), Primitive("s8")
F32, F64, BOOL, CHAR, STRING = (Primitive(name) for name in ("f32", "f64", "bool", "char", "string"))
ITEM = Record((("sku", STRING), ("price", F32), ("note", OptionOf(STRING))), "item")
SHAPE = Variant((("circle", F64), ("empty", None), ("named", OptionOf(STRING))), "shape")
COLOR = Enum(("red", "green"), "color")
RIGHTS = Flags(("read", "write", "run"), "rights")
CART = Handle("demo:shop/api@1.0.0#cart", True)
WORKER = WorkerId(ComponentId.parse("6a2c9a5e-4c3b-5f0e-9d5a-0f7f3a1b2c3d"), "w-1")
URN = f"urn:worker:{WORKER}/7"

FORMS: list[tuple[Type, Any, Any]] = [
    (BOOL, True, True),
    (U64, 2**64 - 1, 2**64 - 1),
    (S8, -128, -128),
    (F64, 1.5, 1.5),
    (F32, 0.5, 0.5),
    (CHAR, 0x1F600, "😀"),
    (STRING, "a\0é", "a\0é"),
    (ListOf(U8), [0, 255], b"\x00\xff"),
    (ListOf(U64), [1, 2], [1, 2]),
    (ListOf(CHAR), [97], ["a"]),
    (TupleOf((U64, STRING)), [1, "x"], (1, "x")),
    (TupleOf(()), [], ()),
    (ITEM, {"sku": "s", "price": 1.5, "note": None}, ("s", 1.5, None)),
    (SHAPE, {"circle": 1.0}, ("circle", 1.0)),
    (SHAPE, {"empty": None}, ("empty", None)),
    (SHAPE, {"named": None}, ("named", None)),
    (COLOR, "red", "red"),
    (RIGHTS, ["read", "run"], ("read", "run")),
    (OptionOf(U64), None, None),
    (OptionOf(U64), 3, 3),
    (OptionOf(OptionOf(U64)), None, None),
    (OptionOf(OptionOf(U64)), {"some": None}, (None,)),
    (OptionOf(OptionOf(U64)), {"some": 3}, (3,)),
    (OptionOf(OptionOf(OptionOf(U64))), {"some": {"some": 3}}, ((3,),)),
    (ResultOf(U64, STRING), {"ok": 1}, ("ok", 1)),
    (ResultOf(None, STRING), {"ok": None}, ("ok", None)),
    (ResultOf(None, STRING), {"err": "no"}, ("err", "no")),
]


@pytest.mark.parametrize(("type", "json_value", "value"), FORMS)
def test_forms(type: Type, json_value: Any, value: Any) -> None:
    assert decode(type, json_value) == value
    assert encode(type, value) == json_value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("type", [F32, F64])
def test_floats_that_json_lacks_are_text(type: Type, text: str) -> None:
    value = decode(type, text)
    assert str(value) == str(float(text.replace("Infinity", "inf")))
    assert encode(type, value) == text


def test_minus_zero_keeps_its_sign_through_json_text() -> None:
    for type in (F32, F64):
        value = decode(type, json.loads(json.dumps(encode(type, -0.0))))
        assert math.copysign(1, value) == -1


def test_what_is_understood_besides_what_is_written() -> None:
    assert decode(CHAR, "é") == "é"
    assert decode(F64, 2) == 2.0
    assert isinstance(decode(F64, 2), float)
    assert decode(ITEM, {"sku": "s", "price": 1}) == ("s", 1.0, None)
    assert decode(SHAPE, "empty") == ("empty", None)
    assert decode(ListOf(U8), {"base64": "AP8="}) == b"\x00\xff"
    assert decode(RIGHTS, ["run", "read"]) == ("read", "run")
    assert decode(F32, 0.1) == 0.10000000149011612


MISFITS: list[tuple[Type, Any, str]] = [
    (BOOL, 1, "v: expected bool, got 1"),
    (BOOL, None, "v: expected bool, got null"),
    (U64, True, "v: expected u64, got true"),
    (U64, -1, "v: expected u64, got -1"),
    (U64, 2**64, f"v: expected u64, got {2**64}"),
    (U64, 1.0, "v: expected u64, got 1.0"),
    (U64, "1", 'v: expected u64, got "1"'),
    (U64, 10**5000, "v: expected u64, got an integer of 16610 bits"),
    (S8, 128, "v: expected s8, got 128"),
    (F32, 1e39, "v: expected f32, got 1e+39"),
    (F32, "a", 'v: expected f32, got "a"'),
    (F64, 10**400, "v: expected f64, got an integer of 1329 bits"),
    (F64, True, "v: expected f64, got true"),
    (F64, "nan", 'v: expected f64, got "nan"'),
    (CHAR, 0xD800, "v: expected char (a code point other than a surrogate), got 55296"),
    (CHAR, 0x110000, "v: expected char (a code point other than a surrogate), got 1114112"),
    (CHAR, "ab", 'v: expected char (a code point other than a surrogate), got "ab"'),
    (CHAR, "\udfff", 'v: expected char (a code point other than a surrogate), got "\\udfff"'),
    (STRING, "a\ud800", 'v: expected string, got text with a surrogate: "a\\ud800"'),
    (STRING, 5, "v: expected string, got 5"),
    (ListOf(U8), [1, 256], "v[1]: expected u8, got 256"),
    (ListOf(U8), [1, True], "v[1]: expected u8, got true"),
    (ListOf(U8), "AP8=", 'v: expected list<u8> (an array of numbers, or {"base64": text}), got "AP8="'),
    (ListOf(U8), {"base64": "*"}, 'v.base64: expected base64 text, got "*"'),
    (ListOf(U64), {}, "v: expected list<u64>, got an empty object"),
    (ListOf(ITEM), [{"sku": "a", "price": 1}, {"sku": "b", "price": "x"}], 'v[1].price: expected f32, got "x"'),
    (TupleOf((U64, STRING)), [1], "v: expected tuple<u64, string>, got an array of 1"),
    (TupleOf((U64, STRING)), [1, 2], "v[1]: expected string, got 2"),
    (
        ITEM,
        {"sku": "s"},
        "v: expected record item { sku: string, price: f32, note: option<string> }, "
        'got an object with "sku", without field "price"',
    ),
    (
        ITEM,
        {"sku": "s", "price": 1, "prise": 2},
        'v: expected record item { sku: string, price: f32, note: option<string> }, got unknown field "prise"',
    ),
    (SHAPE, {"round": 1}, 'v: expected variant shape { circle(f64), empty, named(option<string>) }, got unknown case "round"'),
    (SHAPE, {"circle": "x"}, 'v.circle: expected f64, got "x"'),
    (SHAPE, {"empty": 1}, "v.empty: expected null (the case has no payload), got 1"),
    (
        SHAPE,
        "circle",
        'v: expected variant shape { circle(f64), empty, named(option<string>) }, got case "circle" without its payload',
    ),
    (COLOR, "blue", 'v: expected enum color { red, green }, got "blue"'),
    (COLOR, ["red"], "v: expected enum color { red, green }, got an array of 1"),
    (RIGHTS, ["read", "fly"], 'v[1]: expected flags rights { read, write, run }, got "fly"'),
    (RIGHTS, ["read", "read"], 'v[1]: expected flags rights { read, write, run }, got "read" a second time'),
    (RIGHTS, [["read"]], "v[0]: expected flags rights { read, write, run }, got an array of 1"),
    (OptionOf(U64), "x", 'v: expected u64, got "x"'),
    (OptionOf(OptionOf(U64)), 3, 'v: expected option<option<u64>> (null or {"some": value}), got 3'),
    (OptionOf(OptionOf(U64)), {"some": "x"}, 'v.some: expected u64, got "x"'),
    (
        ResultOf(U64, None),
        {"ok": 1, "err": 2},
        'v: expected result<u64> ({"ok": value} or {"err": value}), got an object with "ok", "err"',
    ),
    (ResultOf(U64, None), {"err": 2}, "v.err: expected null, got 2"),
    (Unsupported("stream<u8>"), 1, "v: expected a type that can be carried, not stream<u8>, got 1"),
]


@pytest.mark.parametrize(("type", "json_value", "message"), MISFITS, ids=[str(i) for i in range(len(MISFITS))])
def test_misfits_say_where_and_what(type: Type, json_value: Any, message: str) -> None:
    with pytest.raises(ValueMismatch) as caught:
        decode(type, json_value, "v")
    assert str(caught.value) == message


def test_the_path_of_the_example_in_the_docs() -> None:
    order = Record((("items", ListOf(ITEM)),), "order")
    with pytest.raises(ValueMismatch, match=r'^params\[0\]\.items\[2\]\.price: expected f32, got "a"$'):
        decode(order, {"items": [{"sku": "s", "price": 1}] * 2 + [{"sku": "s", "price": "a"}]}, "params[0]")


def test_messages_stay_short_for_any_value() -> None:
    wide = Record(tuple((f"field-{i}", STRING) for i in range(1000)), "wide")
    with pytest.raises(ValueMismatch) as caught:
        decode(wide, {"x" * 100_000: "y" * 100_000})
    assert len(str(caught.value)) < 400


def test_handles_belong_to_a_worker() -> None:
    assert encode(CART, 7, worker=WORKER) == URN
    assert decode(CART, URN, worker=WORKER) == 7
    other = WorkerId(WORKER.component, "w-2")
    for wrong in (
        URN.replace("w-1", "w-2"),
        URN + "x",
        URN.replace("/7", "/007"),
        URN.replace("/7", "/4294967296"),
        7,
        "urn:worker:7",
    ):
        with pytest.raises(ValueMismatch, match="a handle of cart"):
            decode(CART, wrong, worker=WORKER)
    with pytest.raises(ValueMismatch):
        decode(CART, URN, worker=other)
    with pytest.raises(ValueMismatch):
        decode(CART, URN)
    with pytest.raises(ValueMismatch):
        encode(CART, 7)


def test_a_value_that_cannot_be_encoded_is_named() -> None:
    with pytest.raises(ValueMismatch, match=r"value\.price: expected f32"):
        encode(ITEM, ("s", "x", None))
    with pytest.raises(ValueMismatch, match="value: expected record item"):
        encode(ITEM, ("s",))
    with pytest.raises(ValueMismatch, match='case "round"'):
        encode(SHAPE, ("round", 1))


def test_types_and_values_too_deep_do_not_exhaust_the_stack() -> None:
    deep: Type = U64
    for _ in range(101):
        deep = ListOf(deep)
    with pytest.raises(InvalidComponent, match="deeper than 100"):
        decode(deep, [])
    step: Type = U64
    for _ in range(100):  # compiled one level at a time, each on top of a cached one
        step = ListOf(step)
        assert decode(step, []) in ([], b"")
    with pytest.raises(InvalidComponent, match="deeper than 100"):
        decode(ListOf(step), [])
    bomb: Any = []
    for _ in range(100_000):
        bomb = [bomb]
    with pytest.raises(ValueMismatch):
        decode(ListOf(U64), bomb)


def test_types_that_share_parts_are_compiled_once_per_part() -> None:
    shared: Type = U8
    for _ in range(60):
        shared = TupleOf((shared, shared))  # 2**60 nodes if unfolded
    with pytest.raises(ValueMismatch, match="got 1"):
        decode(shared, 1)
