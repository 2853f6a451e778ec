"""Hypothesis strategies: WIT types of every shape, values that fit them, and components made of them."""

from __future__ import annotations

import struct
from typing import Any, get_args

from hypothesis import strategies as st

from golemp2p.model.wit import (
    ComponentType,
    Enum,
    Flags,
    Function,
    Handle,
    Interface,
    ListOf,
    OptionOf,
    Primitive,
    PrimitiveName,
    Record,
    ResultOf,
    TupleOf,
    Type,
    Unsupported,
    Variant,
)
from golemp2p.values.scalars import INTEGER_RANGES

KEYWORD_LIKE = ["none", "some", "ok", "err", "true", "inf", "nan", "list", "record", "value", "typ"]
labels = st.one_of(st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z][a-z0-9]{0,4})?", fullmatch=True), st.sampled_from(KEYWORD_LIKE))
type_names = st.none() | labels
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
primitives = st.sampled_from([Primitive(name) for name in get_args(PrimitiveName)])


def unique_labels(min_size: int = 1, max_size: int = 4) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(labels, min_size=min_size, max_size=max_size, unique=True).map(tuple)


def _named(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
    return unique_labels().flatmap(lambda names: st.tuples(*[st.tuples(st.just(name), parts) for name in names]))


def _composites(parts: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    return st.one_of(
        st.builds(ListOf, parts),
        st.builds(OptionOf, parts),
        st.builds(ResultOf, st.none() | parts, st.none() | parts),
        st.lists(parts, max_size=3).map(tuple).map(TupleOf),
        st.builds(Record, _named(parts), type_names),
        st.builds(Variant, _named(st.none() | parts), type_names),
    )


_leaves: st.SearchStrategy[Type] = st.one_of(
    primitives,
    st.just(ListOf(Primitive("u8"))),
    st.builds(Enum, unique_labels(), type_names),
    st.builds(Flags, unique_labels(0, 9), type_names),
)
wit_types: st.SearchStrategy[Type] = st.recursive(_leaves, _composites, max_leaves=8)
"""Types whose values have every form: JSON, CBOR and text."""

handles = st.builds(Handle, st.sampled_from(["demo:shop/api@1.0.0#cart", "#thing"]), st.booleans())
all_types: st.SearchStrategy[Type] = st.recursive(
    _leaves | handles | st.builds(Unsupported, st.sampled_from(["stream<u8>", "error-context"])), _composites, max_leaves=8
)


def values_of(type: Type) -> st.SearchStrategy[Any]:
    """Values of a type, canonical as ``model.wit`` describes."""
    match type:
        case Primitive():
            return _scalars(type.name)
        case ListOf(Primitive("u8")):
            return st.binary(max_size=12)
        case ListOf(element):
            return st.lists(values_of(element), max_size=3)
        case TupleOf(elements):
            return st.tuples(*map(values_of, elements))
        case Record(fields):
            return st.tuples(*[values_of(part) for _, part in fields])
        case Variant(cases):
            return st.one_of([_case(name, part) for name, part in cases])
        case ResultOf(ok, err):
            return _case("ok", ok) | _case("err", err)
        case Enum(names):
            return st.sampled_from(names)
        case Flags(names):
            chosen = st.sets(st.sampled_from(names)) if names else st.just(set())
            return chosen.map(lambda given: tuple(name for name in names if name in given))
        case OptionOf(OptionOf() as inner):
            return st.none() | st.tuples(values_of(inner))
        case OptionOf(payload):
            return st.none() | values_of(payload)
        case Handle():
            return st.integers(0, (1 << 32) - 1)
    raise AssertionError(f"no values of {type}")


def _case(name: str, part: Type | None) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(name), st.none() if part is None else values_of(part))


def _scalars(name: str) -> st.SearchStrategy[Any]:
    if name in INTEGER_RANGES:
        return st.integers(*INTEGER_RANGES[name])
    return {
        "bool": st.booleans(),
        "f32": st.floats(width=32),
        "f64": st.floats(),
        "char": st.characters(exclude_categories=["Cs"]),
        "string": texts,
    }[name]


typed_values: st.SearchStrategy[tuple[Type, Any]] = wit_types.flatmap(lambda type: st.tuples(st.just(type), values_of(type)))

functions = st.builds(Function, labels, _named(all_types), st.none() | all_types)
interfaces = st.builds(
    Interface,
    st.sampled_from(["", "demo:shop/api@1.0.0", "demo:shop/other", "a:b/c@0.2.3-rc.1"]),
    st.lists(functions, max_size=2).map(tuple),
    st.lists(st.tuples(labels, st.none() | all_types), max_size=2).map(tuple),
)
components = st.builds(ComponentType, st.lists(interfaces, max_size=2).map(tuple), st.lists(interfaces, max_size=2).map(tuple))


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1 from True and 1.0, -0.0 from 0.0, and finds NaN equal to NaN."""
    if left.__class__ is not right.__class__:
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left != left or struct.pack("d", left) == struct.pack("d", right)
    return bool(left == right)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(labels | st.sampled_from(["some", "ok"]), parts, max_size=3),
    max_leaves=6,
)
"""Any JSON at all, lone surrogates included."""
