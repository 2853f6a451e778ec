"""The kitchen's own canonical ABI: what goes in comes out, and what it computes is right."""

from __future__ import annotations

import math
from typing import Any

import pytest
from stock_wasmtime import StockGuest
from wasmtime import WasmtimeError
from wasmtime.component import Record, Variant

pytestmark = pytest.mark.guests


@pytest.fixture
def kitchen() -> StockGuest:
    return StockGuest("kitchen")


def record(**fields: Any) -> Record:
    made = Record()
    vars(made).update(fields)
    return made


def point(x: int, y: int) -> Record:
    return record(x=x, y=y)


def person(name: str, age: int, tags: tuple[str, ...] = (), home: Record | None = None) -> Record:
    return record(name=name, age=age, tags=list(tags), home=home)


def plain(value: Any) -> Any:
    """Records as dicts, so that values compare."""
    match value:
        case Record():
            return {name: plain(item) for name, item in vars(value).items()}
        case list() | tuple():
            return type(value)(plain(item) for item in value)
        case Variant():
            return (value.tag, plain(value.payload))
    return value


SHAPES: list[Any] = [1.5, (2.0, 3.0), person("Ada", 36, ("a", "bc"), point(-1, 2)), person("", 0), "green", None]

ECHOES = [
    ("echo-bool", [False, True]),
    ("echo-s8", [-128, 127]),
    ("echo-s16", [-(2**15), 2**15 - 1]),
    ("echo-s32", [-(2**31), 2**31 - 1]),
    ("echo-s64", [-(2**63), 2**63 - 1]),
    ("echo-u8", [0, 255]),
    ("echo-u16", [65535]),
    ("echo-u32", [2**32 - 1]),
    ("echo-u64", [2**64 - 1]),
    ("echo-f32", [1.5, -math.inf]),
    ("echo-f64", [0.1, math.inf]),
    ("echo-char", ["a", "€", "\U0001f600", "\0"]),
    ("echo-string", ["", "grüße \U0001f600", "x" * 200_000]),
    ("echo-bytes", [b"", bytes(range(256)), b"y" * 100_000]),
    ("echo-enum", ["red", "blue"]),
    ("echo-flags", [set(), {"read", "exec"}]),
    ("echo-days", [set(), {"monday", "holiday", "leap-day"}]),
    ("echo-point", [point(-5, 7)]),
    ("echo-person", [person("Ada", 36, ("x", "yz"), point(1, 2)), person("", 255)]),
    ("echo-shape", SHAPES),
    ("echo-shapes", [[], SHAPES]),
    ("echo-tuple", [("text", 7, True)]),
    ("echo-option", [None, 0, 255]),
    ("echo-nested-option", [Variant("none"), Variant("some", None), Variant("some", "text")]),
    ("echo-result", [Variant("ok", 255), Variant("err", 2**64 - 1)]),
    ("echo-bare-result", [Variant("ok"), Variant("err")]),
    ("echo-list", [[], [-1, 2**63 - 1]]),
    ("echo-points", [[point(1, 2), point(3, 4)]]),
    ("echo-strings", [["", "a", "bc"]]),
    ("echo-deep", [[], [("a", None), ("b", []), ("c", [1.5, (2.0, 3.0), person("Ada", 1)])]]),
]


@pytest.mark.parametrize(("function", "values"), ECHOES, ids=[name for name, _ in ECHOES])
def test_echoes(kitchen: StockGuest, function: str, values: list[Any]) -> None:
    for value in values:
        assert plain(kitchen.call(function, value)) == plain(value)


def test_many_parameters_come_back_as_a_record(kitchen: StockGuest) -> None:
    names = "a-u64 a-f32 a-f64 a-char a-bool a-string some-bytes maybe hue may a-s8 a-s64 pair".split()  # noqa: SIM905
    values = [2**64 - 1, 0.5, 0.1, "ß", True, "text", b"\x00\xff", 7, "blue", {"exec"}, -8, -(2**63), (255, -32768)]
    answer = kitchen.call("echo-many", *values)
    assert vars(answer) == dict(zip(names, values, strict=True))


def test_it_sees_the_values_it_is_given(kitchen: StockGuest) -> None:
    def call(function: str, *args: Any) -> Any:
        return plain(kitchen.call(function, *args))

    assert [call("area", shape) for shape in SHAPES] == [
        pytest.approx(2.25 * math.pi),
        6.0,
        "Ada",
        "",
        "a color has no area",
        0.0,
    ]
    assert call("bounds", []) is None
    assert call("bounds", [point(1, 9), point(-3, 4), point(2, 5)]) == ({"x": -3, "y": 4}, {"x": 2, "y": 9})
    assert call("next-color", "blue") == "red"
    assert call("reverse", b"abcde") == b"edcba"
    assert call("sum", [2**62, 2**62 - 1, -5]) == 2**63 - 6
    assert (call("check", True), call("check", False)) == (None, "it is not")
    assert call("nothing") is None


def test_resources_live_until_they_are_dropped(kitchen: StockGuest) -> None:
    def call(function: str, *args: Any) -> Any:
        return kitchen.call(function, *args)

    a, b = call("[constructor]tally", 10), call("[constructor]tally", 5)
    assert call("[method]tally.add", a, 7) == 17
    merged = call("[static]tally.merge", a, b)
    assert call("[method]tally.value", merged) == 22
    assert call("alive") == 2
    several = call("make-tallies", [1, 2, 3])
    assert call("total", several) == 6
    assert (call("maybe-value", None), call("maybe-value", b)) == (None, 5)
    assert call("consume", several[0]) == 1
    assert call("alive") == 4


def test_a_crash_is_a_trap(kitchen: StockGuest) -> None:
    with pytest.raises(WasmtimeError, match="unreachable"):
        kitchen.call("crash")
