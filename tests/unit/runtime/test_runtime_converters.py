"""Values of every WIT type, through guest memory and back, both as arguments and as results of host functions."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_wat import echo_component, inline_guests, load

from golemp2p.errors import ValueMismatch, WrongArity
from golemp2p.model import wit
from golemp2p.runtime.host.declare import HostContext, HostInterface
from golemp2p.testing.hosts import MemoryWorkerHost

P = wit.Primitive
U8, U32, U64, F32, F64, STRING, CHAR, BOOL = (P(n) for n in ("u8", "u32", "u64", "f32", "f64", "string", "char", "bool"))
POINT = wit.Record((("x", P("s32")), ("y", F64), ("label", STRING)))
SHAPE = wit.Variant((("circle", F64), ("named", POINT), ("bytes", wit.ListOf(U8)), ("nothing", None)))
COLOR = wit.Enum(("red", "dark-green", "blue"))
RIGHTS = wit.Flags(("read", "write", "execute"))
MANY = wit.Record(tuple((f"f{i}", U64) for i in range(20)))

CASES: list[tuple[wit.Type, list[Any]]] = [
    (BOOL, [True, False]),
    (P("s8"), [-128, 0, 127]),
    (U8, [0, 255]),
    (P("s16"), [-(2**15), 2**15 - 1]),
    (P("u16"), [0, 2**16 - 1]),
    (P("s32"), [-(2**31), 2**31 - 1]),
    (U32, [0, 2**32 - 1]),
    (P("s64"), [-(2**63), -1, 2**63 - 1]),
    (U64, [0, 2**53 + 1, 2**64 - 1]),
    (F32, [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan]),
    (F64, [0.1, -1e300, 5e-324, math.inf, -math.inf, math.nan]),
    (CHAR, ["a", "\0", "é", "\ud7ff", "\ue000", "\U0010ffff"]),
    (STRING, ["", "x", "nul \0 inside", "grüße 🦀", "a" * 100_000]),
    (wit.ListOf(U8), [b"", b"\0\xff", bytes(range(256)) * 4096]),
    (wit.ListOf(U64), [[], [1], list(range(10_000))]),
    (wit.ListOf(STRING), [[], ["", "a"], ["x" * 1000] * 100]),
    (wit.ListOf(wit.ListOf(wit.ListOf(U8))), [[], [[]], [[b"", b"ab"], []]]),
    (wit.TupleOf((U8, STRING, BOOL)), [(1, "z", True)]),
    (POINT, [(-1, 2.5, "here")]),
    (wit.ListOf(POINT), [[], [(1, math.inf, ""), (2, 0.5, "b")]]),
    (MANY, [tuple(range(2**60, 2**60 + 20))]),
    (SHAPE, [("circle", 1.5), ("named", (1, 2.0, "p")), ("bytes", b"xyz"), ("nothing", None)]),
    (COLOR, ["red", "dark-green", "blue"]),
    (RIGHTS, [(), ("read",), ("read", "write", "execute")]),
    (wit.Flags(tuple(f"b{i}" for i in range(32))), [tuple(f"b{i}" for i in range(0, 32, 3))]),
    (wit.OptionOf(U32), [None, 0, 7]),
    (wit.OptionOf(wit.OptionOf(STRING)), [None, (None,), ("",), ("x",)]),
    (wit.OptionOf(wit.OptionOf(wit.OptionOf(BOOL))), [None, (None,), ((None,),), ((True,),)]),
    (wit.ResultOf(None, None), [("ok", None), ("err", None)]),
    (wit.ResultOf(STRING, None), [("ok", "fine"), ("err", None)]),
    (wit.ResultOf(None, COLOR), [("ok", None), ("err", "blue")]),
    (wit.ResultOf(wit.ListOf(SHAPE), STRING), [("ok", [("nothing", None), ("circle", 0.0)]), ("err", "no")]),
    (wit.OptionOf(wit.ResultOf(wit.OptionOf(U8), F32)), [None, ("ok", None), ("ok", 3), ("err", 0.5)]),
]


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN, zeros have signs, and True is not 1."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


async def echo_all(folder: Path, cases: list[tuple[wit.Type, list[Any]]]) -> None:
    """Send every value around; compare what the host function saw and what came back."""
    seen: list[Any] = []
    world = HostInterface("")

    def body(ctx: HostContext, value: Any) -> Any:
        seen.append(value)
        return value

    for index in range(len(cases)):
        world.function(f"h{index}")(body)
    async with inline_guests(folder, world) as guests:
        component = await load(guests, folder, echo_component([type_ for type_, _ in cases]))
        instance = await component.instantiate(MemoryWorkerHost())
        for index, (type_, values) in enumerate(cases):
            for value in values:
                returned = await instance.call("", f"e{index}", [value])
                assert same(seen.pop(), value), f"the host saw something else than {value!r:.100} of {type_}"
                assert same(returned, value), f"{value!r:.100} of {type_} came back as {returned!r:.100}"
        instance.close()


async def test_every_type_survives_both_ways(tmp_path: Path) -> None:
    await echo_all(tmp_path, CASES)


# ------------------------------------------------------------------------------------------------------- any type at all

_NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,2})?", fullmatch=True), min_size=1, max_size=4, unique=True)
_LEAVES = st.sampled_from(
    [P(n) for n in ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string")]
)


def _compounds(inner: st.SearchStrategy[wit.Type]) -> st.SearchStrategy[wit.Type]:
    maybe = st.none() | inner
    return st.one_of(
        inner.map(wit.ListOf),
        inner.map(wit.OptionOf),
        st.builds(wit.ResultOf, maybe, maybe),
        st.lists(inner, min_size=1, max_size=4).map(lambda types: wit.TupleOf(tuple(types))),
        _NAMES.flatmap(
            lambda names: st.tuples(*[inner for _ in names]).map(lambda ts: wit.Record(tuple(zip(names, ts, strict=True))))
        ),
        _NAMES.flatmap(
            lambda names: st.tuples(*[maybe for _ in names]).map(lambda ts: wit.Variant(tuple(zip(names, ts, strict=True))))
        ),
        _NAMES.map(lambda names: wit.Enum(tuple(names))),
        _NAMES.map(lambda names: wit.Flags(tuple(names))),
    )


_TYPES = st.recursive(_LEAVES, _compounds, max_leaves=12)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_RANGES = {f"{sign}{bits}": bits for sign in "su" for bits in (8, 16, 32, 64)}

_PRIMITIVE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "f32": st.floats(width=32),
    "f64": st.floats(),
    "bool": st.booleans(),
    "string": _TEXT,
    "char": st.characters(exclude_categories=["Cs"]),
}


def values_of(type_: wit.Type | None) -> st.SearchStrategy[Any]:
    match type_:
        case None:
            return st.none()
        case wit.Primitive(name):
            if name in _RANGES:
                bits = _RANGES[name]
                low, high = (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
                return st.integers(low, high)
            return _PRIMITIVE_VALUES[name]
        case wit.ListOf():
            return st.binary(max_size=9) if type_.element == U8 else st.lists(values_of(type_.element), max_size=3)
        case wit.OptionOf():
            inner = values_of(type_.payload)
            nested = isinstance(type_.payload, wit.OptionOf)
            return st.none() | (inner.map(lambda value: (value,)) if nested else inner)
        case wit.ResultOf():
            return st.tuples(st.just("ok"), values_of(type_.ok)) | st.tuples(st.just("err"), values_of(type_.err))
        case wit.TupleOf():
            return st.tuples(*map(values_of, type_.elements))
        case wit.Record():
            return st.tuples(*(values_of(each) for _, each in type_.fields))
        case wit.Variant():
            return st.one_of([st.tuples(st.just(case), values_of(payload)) for case, payload in type_.cases])
        case wit.Enum():
            return st.sampled_from(type_.names)
        case wit.Flags(names):
            return st.sets(st.sampled_from(names)).map(lambda chosen: tuple(n for n in names if n in chosen))
    raise AssertionError(type_)


_CASE = _TYPES.flatmap(lambda type_: st.tuples(st.just(type_), st.lists(values_of(type_), min_size=1, max_size=3)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(case=_CASE)
def test_any_type_survives_both_ways(tmp_path: Path, case: tuple[wit.Type, list[Any]]) -> None:
    trio.run(echo_all, tmp_path, [case])


# ------------------------------------------------------------------------------------------------- values that do not fit


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (CHAR, "\ud800"),  # would abort the whole process in wasmtime
        (CHAR, "ab"),
        (CHAR, ""),
        (STRING, "\udfff"),
        (STRING, b"bytes"),
        (STRING, None),
        (U8, 256),
        (U8, -1),
        (U32, True),
        (U32, 1.0),
        (P("s64"), 2**63),
        (BOOL, 1),
        (F32, 1e300),
        (F32, "1"),
        (F64, True),
        (wit.ListOf(U8), [256]),
        (wit.ListOf(U8), 5),
        (wit.ListOf(U32), "12"),
        (wit.ListOf(U32), {1: 2}),
        (POINT, (1, 2.0)),
        (POINT, (1, 2.0, "a", "b")),
        (wit.TupleOf((STRING,)), "x"),
        (SHAPE, ("square", 1.0)),
        (SHAPE, ("circle",)),
        (SHAPE, ("nothing", 1)),
        (SHAPE, None),
        (COLOR, "green"),
        (COLOR, ["red"]),
        (RIGHTS, ("fly",)),
        (RIGHTS, ("read", "read")),
        (RIGHTS, "read"),
        (wit.OptionOf(wit.OptionOf(U8)), 3),
        (wit.OptionOf(wit.OptionOf(U8)), (1, 2)),
        (wit.ResultOf(None, STRING), ("ok", 1)),
        (wit.ResultOf(None, STRING), ("no", 1)),
    ],
)
async def test_misfits_are_refused_before_the_guest_runs(tmp_path: Path, type_: wit.Type, value: Any) -> None:
    world = HostInterface("")
    world.function("h0")(lambda ctx, value: value)
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, echo_component([type_]))
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(ValueMismatch) as caught:
            await instance.call("", "e0", [value])
        assert caught.value.path == "params[0]"
        with pytest.raises(WrongArity):
            await instance.call("", "e0", [])
        instance.close()


async def test_an_instance_lives_on_after_a_misfit(tmp_path: Path) -> None:
    world = HostInterface("")
    world.function("h0")(lambda ctx, value: value)
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, echo_component([U32]))
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(ValueMismatch):
            await instance.call("", "e0", [-1])
        assert await instance.call("", "e0", [1]) == 1
        instance.close()


async def test_a_host_function_that_answers_nonsense_stops_the_worker(tmp_path: Path) -> None:
    world = HostInterface("")
    world.function("h0")(lambda ctx, value: "seven")
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, echo_component([U32]))
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(AssertionError, match="::h0 answered 'seven'"):
            await instance.call("", "e0", [7])
        instance.close()


async def test_lists_stand_for_tuples_when_lowering(tmp_path: Path) -> None:
    """What a journal gives back: CBOR has no tuples."""
    world = HostInterface("")
    cases = [(POINT, [1, 2.0, "a"]), (SHAPE, ["named", [1, 2.0, "a"]]), (RIGHTS, ["read"]), (wit.ResultOf(U8, None), ["ok", 1])]
    for index in range(len(cases)):
        world.function(f"h{index}")(lambda ctx, value: [*value])
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, echo_component([type_ for type_, _ in cases]))
        instance = await component.instantiate(MemoryWorkerHost())
        for index, (_, value) in enumerate(cases):
            returned = await instance.call("", f"e{index}", [value])
            assert list(returned)[:1] == value[:1]
        instance.close()


async def test_thousands_of_calls_leak_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    world = HostInterface("")
    world.function("h0")(lambda ctx, value: value)
    type_ = wit.ListOf(wit.TupleOf((STRING, wit.OptionOf(SHAPE), RIGHTS)))
    value = [("x" * 2000, ("named", (1, 2.0, "y" * 2000)), ("read", "write"))] * 20
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, echo_component([type_]))
        instance = await component.instantiate(MemoryWorkerHost())
        for _ in range(50):
            await instance.call("", "e0", [value])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(500):  # some 40 MB of values each way, were they kept
            await instance.call("", "e0", [value])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000
        instance.close()
