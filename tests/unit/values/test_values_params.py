"""Parameters of an invocation: three ways to write them, and what is wrong with those that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from golemp2p.errors import MalformedRequest, ValueMismatch, WrongArity
from golemp2p.model.wit import Function, Handle, OptionOf, Primitive, Record, Variant
from golemp2p.values.params import decode_params

U64, STRING = Primitive("u64"), Primitive("string")
ADD = Function("add", (("a", U64), ("b", STRING)), U64)
METHOD = Function("[method]cart.add", (("self", Handle("#cart", False)), ("n", U64)), None)


def with_typ(typ: str, value: Any) -> dict[str, Any]:
    return {"typ": {"type": typ}, "value": value}


@pytest.mark.parametrize(
    "params",
    [
        [1, "x"],
        [{"value": 1}, {"value": "x"}],
        [{"value": 1}, "x"],
        [with_typ("U64", 1), with_typ("Str", "x")],
    ],
)
def test_the_ways_to_write_parameters(params: Any) -> None:
    assert decode_params(ADD, params) == (1, "x")


@pytest.mark.parametrize("params", [[with_typ("U64", 1), "x"], [{"value": 1}, with_typ("Str", "x")]])
def test_typ_on_some_only_is_malformed(params: Any) -> None:
    with pytest.raises(MalformedRequest, match="either all parameters have a 'typ', or none has"):
        decode_params(ADD, params)


@pytest.mark.parametrize("params", [None, {}, "x", 1])
def test_params_must_be_an_array(params: Any) -> None:
    with pytest.raises(MalformedRequest, match="array"):
        decode_params(ADD, params)


def test_arity_names_the_parameters() -> None:
    with pytest.raises(WrongArity, match=r"^add takes 2 parameters \(a: u64, b: string\), got 1$"):
        decode_params(ADD, [1])
    with pytest.raises(WrongArity, match=r"^ping takes 0 parameters, got 1$"):
        decode_params(Function("ping", (), None), [1])


def test_typ_must_be_the_declared_one() -> None:
    with pytest.raises(ValueMismatch, match=r"^params\[0\]\.typ: expected u64, got u32$"):
        decode_params(ADD, [with_typ("U32", 1), with_typ("Str", "x")])
    with pytest.raises(ValueMismatch, match=r"^params\[1\]\.typ\.type: expected the name of a type"):
        decode_params(ADD, [with_typ("U64", 1), with_typ("Text", "x")])


def test_wrong_values_are_named_by_position() -> None:
    with pytest.raises(ValueMismatch, match=r"^params\[1\]: expected string, got 7$"):
        decode_params(ADD, [{"value": 1}, {"value": 7}])


def test_self_is_the_callers_when_asked() -> None:
    assert decode_params(METHOD, [3], skip_self=True) == (3,)
    with pytest.raises(WrongArity, match=r"\(n: u64\), got 2"):
        decode_params(METHOD, [0, 3], skip_self=True)


def test_a_parameter_that_looks_wrapped_is_read_bare_first() -> None:
    record = Function("f", (("r", Record((("value", U64),))),), None)
    assert decode_params(record, [{"value": 5}]) == ((5,),)
    assert decode_params(record, [{"value": {"value": 5}}]) == ((5,),)
    with pytest.raises(ValueMismatch, match=r'^params\[0\]\.value: expected u64, got "x"$'):
        decode_params(record, [{"value": "x"}])
    variant = Function("f", (("v", OptionOf(Variant((("value", U64), ("typ", None))))),), None)
    assert decode_params(variant, [{"value": 5}]) == (("value", 5),)
    assert decode_params(variant, [{"value": {"value": 5}}]) == (("value", 5),)


def test_a_record_of_typ_and_value_does_not_count_as_typed() -> None:
    pair = Record((("typ", STRING), ("value", U64)))
    function = Function("f", (("r", pair), ("n", U64)), None)
    assert decode_params(function, [{"typ": "a", "value": 1}, 2]) == (("a", 1), 2)
