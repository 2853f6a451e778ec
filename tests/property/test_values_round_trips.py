"""Every codec of values gives back what it was given, and never lets a wrong value through."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, ValueMismatch
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.wit import ComponentType, Function, OptionOf, Record, Type, Variant
from golemp2p.values import cbor, wave
from golemp2p.values.analysed import analysed_exports, json_schema
from golemp2p.values.cbor_types import dump_type, load_type
from golemp2p.values.check import check
from golemp2p.values.json import decode, encode
from golemp2p.values.params import decode_params
from golemp2p.values.typ import ResourceNumbers, check_typ, from_typ, to_typ
from golemp2p.values.wit_text import wit_text
from tests.property.wit_strategies import (
    all_types,
    components,
    json_values,
    same,
    typed_values,
    wit_types,
)

WORKER = WorkerId(ComponentId.parse("6a2c9a5e-4c3b-5f0e-9d5a-0f7f3a1b2c3d"), "w-1")


@given(typed_values)
def test_json_round_trip_through_text(typed: tuple[Type, Any]) -> None:
    type, value = typed
    text = json.dumps(encode(type, value), allow_nan=False)
    assert same(decode(type, json.loads(text)), value)


@given(typed_values)
def test_cbor_round_trip_through_the_check(typed: tuple[Type, Any]) -> None:
    type, value = typed
    assert same(check(type, cbor.loads(cbor.dumps(value))), value)


@given(typed_values)
def test_json_may_be_encoded_from_what_cbor_returns(typed: tuple[Type, Any]) -> None:
    type, value = typed
    assert json.dumps(encode(type, cbor.loads(cbor.dumps(value)))) == json.dumps(encode(type, value))


@given(typed_values)
def test_wave_round_trip(typed: tuple[Type, Any]) -> None:
    type, value = typed
    text = wave.print_value(type, value)
    assert "\n" not in text
    assert same(wave.parse(type, text), value)


@given(typed_values, st.booleans())
def test_params_round_trip_bare_and_wrapped(typed: tuple[Type, Any], with_typ: bool) -> None:
    type, value = typed
    function = Function("f", (("x", type),), None)
    encoded = encode(type, value)
    wrapped = {"typ": to_typ(type), "value": encoded} if with_typ else {"value": encoded}
    if not _all_json_looks_wrapped(type):
        assert same(decode_params(function, [wrapped]), (value,))
    if not isinstance(encoded, dict) or encoded.keys() not in ({"value"}, {"typ", "value"}):
        assert same(decode_params(function, [encoded]), (value,))


def _all_json_looks_wrapped(type: Type) -> bool:
    """Types for which the wrapped form of one value may also be the bare form of another."""
    while isinstance(type, OptionOf):
        type = type.payload
    match type:
        case Record(fields):
            return {"value"} <= {name for name, _ in fields} <= {"value", "typ"}
        case Variant(cases):
            return any(name == "value" for name, _ in cases)
    return False


@given(wit_types, json_values)
def test_whatever_json_decodes_passes_the_check(type: Type, value: Any) -> None:
    try:
        decoded = decode(type, value, "params[0]")
    except ValueMismatch as mismatch:
        text = str(mismatch)
        text.encode()  # can be printed and sent, whatever was in the value
        if not text.startswith("params[0]"):
            raise
    else:
        assert same(check(type, decoded), decoded)


@given(typed_values, wit_types)
def test_a_value_of_another_type_is_refused_or_fits(typed: tuple[Type, Any], other: Type) -> None:
    _, value = typed
    try:
        fitting = check(other, value)
    except ValueMismatch:
        return
    assert same(check(other, fitting), fitting)
    json.dumps(encode(other, fitting), allow_nan=False)


@given(st.binary(max_size=60))
def test_hostile_cbor_raises_only_data_damaged(data: bytes) -> None:
    try:
        value = cbor.loads(data)
    except DataDamaged:
        return
    _assert_plain(value)


def _assert_plain(value: Any) -> None:
    match value:
        case list() | tuple():
            for item in value:
                _assert_plain(item)
        case dict():
            for key, item in value.items():
                _assert_plain(key)
                _assert_plain(item)
        case None | bool() | int() | float() | str() | bytes():
            pass
        case _:
            assert type(value).__name__ in ("undefined_type", "UndefinedType", "CBORSimpleValue", "frozendict"), type(value)


@given(st.text(max_size=40), wit_types)
def test_hostile_wave_raises_only_value_mismatch(text: str, type: Type) -> None:
    try:
        wave.parse(type, text)
    except ValueMismatch as mismatch:
        str(mismatch).encode()


@given(typed_values, st.data())
def test_damaged_wave_never_yields_an_invalid_value(typed: tuple[Type, Any], data: st.DataObject) -> None:
    type, value = typed
    text = wave.print_value(type, value)
    place = data.draw(st.integers(0, len(text)))
    changed = text[:place] + data.draw(st.sampled_from(["", "(", "}", '"', "1", "\\", "-"])) + text[place + 1 :]
    try:
        parsed = wave.parse(type, changed)
    except ValueMismatch:
        return
    assert same(check(type, parsed), parsed)


@given(all_types)
def test_typ_round_trip(type: Type) -> None:
    numbers = ResourceNumbers()
    typ = json.loads(json.dumps(to_typ(type, numbers)))
    if "Unsupported" in json.dumps(typ):
        return
    assert from_typ(typ, numbers.names) == type
    check_typ(type, typ)


@given(wit_types, wit_types)
def test_typ_of_another_type_is_refused(type: Type, other: Type) -> None:
    try:
        check_typ(type, to_typ(other))
    except ValueMismatch:
        assert type != other
    else:
        assert type == other


@given(json_values, wit_types)
def test_hostile_typ_raises_only_value_mismatch(typ: Any, type: Type) -> None:
    with suppress(ValueMismatch):
        check_typ(type, typ)


@given(components)
def test_component_types_round_trip_with_names(component: ComponentType) -> None:
    data = dump_type(component)
    loaded = load_type(data)
    assert loaded == component
    assert repr(loaded) == repr(component)  # names take no part in equality
    assert dump_type(loaded) == data


@given(components, st.data())
def test_damaged_component_types_raise_only_data_damaged(component: ComponentType, data: st.DataObject) -> None:
    encoded = bytearray(dump_type(component))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        loaded = load_type(bytes(encoded))
    except DataDamaged:
        return
    assert load_type(dump_type(loaded)) == loaded


@given(components)
def test_every_component_prints(component: ComponentType) -> None:
    assert wit_text(component, imports=True).startswith("package root:component;\n")
    json.dumps(analysed_exports(component))


@given(all_types)
def test_every_type_has_a_schema(type: Type) -> None:
    json.dumps(json_schema(type))
