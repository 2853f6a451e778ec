"""CBOR of values and of component types: fixed bytes, and refusal of everything we never write."""

from __future__ import annotations

import cbor2
import pytest

from golemp2p.errors import DataDamaged, InvalidComponent, ValueMismatch
from golemp2p.model.wit import ComponentType, Function, Interface, ListOf, Primitive, Record, TupleOf, Type
from golemp2p.values.cbor import VALUE_DEPTH_MAX, dumps, loads
from golemp2p.values.cbor_types import dump_type, load_type

U8 = Primitive("u8")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "f6"),
        (True, "f5"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-(2**63), "3b7fffffffffffffff"),
        (-0.0, "fb8000000000000000"),
        (float("nan"), "f97e00"),
        (b"ab", "426162"),
        ("é", "62c3a9"),
        ((1, [b""], ("ok", None)), "8301814082626f6bf6"),
    ],
)
def test_golden_bytes(value: object, encoded: str) -> None:
    assert dumps(value).hex() == encoded


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "not valid CBOR"),
        ("00f6", "bytes after the end"),
        ("0000", "bytes after the end"),
        ("82", "not valid CBOR"),
        ("9bffffffffffffffff", "not valid CBOR"),
        ("5b7fffffffffffffff", "not valid CBOR"),
        ("9f00ff", "not valid CBOR"),
        ("5f4161ff", "not valid CBOR"),
        ("ff", "not valid CBOR"),
        ("62c328", "not valid CBOR"),
        ("63eda080", "not valid CBOR"),
        ("c249010000000000000000", "not valid CBOR"),
        ("d81c00", "not valid CBOR"),
        ("d82364282b2b29", "not valid CBOR"),
        ("1c", "not valid CBOR"),
        ("a1810001" * 2, "bytes after the end"),
    ],
)
def test_hostile_bytes(encoded: str, reason: str) -> None:
    with pytest.raises(DataDamaged, match=f"^value: {reason}"):
        loads(bytes.fromhex(encoded))


def test_no_tag_is_ever_followed() -> None:
    """Also tags that a newer CBOR library may learn to turn into objects."""
    for tag in [*range(1100), 22098, 43000, 55799, 2**32, 2**63]:
        encoded = bytearray(cbor2.dumps(tag))
        encoded[0] |= 0xC0
        for content in (b"\x00", b"\x41\x00", b"\x61\x30", b"\x82\x01\x02", b"\xa0"):
            with pytest.raises(DataDamaged):
                loads(bytes(encoded) + content)


def test_depth_and_size_are_limited() -> None:
    assert loads(b"\x81" * (VALUE_DEPTH_MAX - 1) + b"\x80")
    for depth in (VALUE_DEPTH_MAX + 1, 3_000_000):
        with pytest.raises(DataDamaged, match="depth"):
            loads(b"\x81" * depth + b"\x80")
    with pytest.raises(DataDamaged, match=r"^thing: 5 bytes, more than 4$"):
        loads(b"\x44abcd", what="thing", bytes_max=4)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(ValueMismatch, match="surrogates"):
        dumps(["\ud800"])
    with pytest.raises(ValueMismatch):
        dumps([object()])


def test_a_type_that_unfolds_to_a_giant_is_refused_both_ways() -> None:
    giant: Type = U8
    for _ in range(20):
        giant = TupleOf((giant, giant))
    component = ComponentType((), (Interface("", (Function("f", (("x", giant),), None),)),))
    with pytest.raises(InvalidComponent, match="more than 100000 parts"):
        dump_type(component)
    rows = [["primitive", "u8"], *[["tuple", [i, i]] for i in range(20)]]
    with pytest.raises(DataDamaged, match="more than 100000 parts"):
        load_type(dumps([1, rows, [], []]))


def test_a_type_that_is_too_deep_is_refused_both_ways() -> None:
    deep: Type = U8
    for _ in range(150):
        deep = ListOf(deep)
    with pytest.raises(InvalidComponent, match="deeper than 100"):
        dump_type(ComponentType((), (Interface("", (Function("f", (("x", deep),), None),)),)))
    with pytest.raises(DataDamaged, match="deeper than 100"):
        load_type(dumps([1, [["primitive", "u8"], *[["list", i] for i in range(150)]], [], []]))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        [2, [], [], []],
        [1, [["list", 0]], [], []],
        [1, [["list", -1]], [], []],
        [1, [["list", True]], [], []],
        [1, [["primitive", "u128"]], [], []],
        [1, [["record", 5, []]], [], []],
        [1, [["enum", None, [1]]], [], []],
        [1, [["tuple", 5]], [], []],
        [1, [[]], [], []],
        [1, [5], [], []],
        [1, [], [["x", [], []], 5], []],
        [1, [], [[b"x", [], []]], []],
        [1, [], [["x", [["f", [["a", 0]], None]], []]], []],
        [1, {}, [], []],
    ],
)
def test_malformed_component_types(document: object) -> None:
    with pytest.raises(DataDamaged, match=r"^component type: "):
        load_type(dumps(document))


def test_equal_types_of_different_names_stay_apart() -> None:
    first, second = Record((("x", U8),), "first"), Record((("x", U8),), "second")
    component = ComponentType((), (Interface("", (Function("f", (("a", first), ("b", second)), None),)),))
    loaded = load_type(dump_type(component)).exports[0].functions[0].params
    assert [type.name for _, type in loaded if isinstance(type, Record)] == ["first", "second"]
