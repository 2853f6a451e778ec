"""The check of Python values: everything that would harm native code is refused, lists where tuples stand are not."""

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
    Unsupported,
    Variant,
)
from golemp2p.values.check import check

U8, U32, F32, F64, CHAR, STRING, BOOL = (Primitive(n) for n in ("u8", "u32", "f32", "f64", "char", "string", "bool"))
POINT = Record((("x", U32), ("y", U32)), "point")
CHOICE = Variant((("num", U32), ("flag", BOOL), ("none", None)), "choice")
RIGHTS = Flags(("read", "write"), "rights")


def test_lists_become_tuples_where_the_convention_says_tuple() -> None:
    type = Record((("points", ListOf(POINT)), ("pair", TupleOf((U8, CHOICE))), ("rights", RIGHTS)))
    assert check(type, [[[1, 2]], [3, ["num", 4]], ["read"]]) == ([(1, 2)], (3, ("num", 4)), ("read",))
    assert check(OptionOf(OptionOf(U8)), [None]) == (None,)
    assert check(ResultOf(POINT, None), ["ok", [1, 2]]) == ("ok", (1, 2))


WRONG: list[tuple[Type, Any, str]] = [
    (U32, -1, "v"),
    (U32, 2**32, "v"),
    (U32, True, "v"),
    (U32, 1.0, "v"),
    (BOOL, 1, "v"),
    (F64, 1, "v"),
    (F32, 0.1, "v"),
    (F32, 1e39, "v"),
    (CHAR, "\ud800", "v"),
    (CHAR, "", "v"),
    (CHAR, 97, "v"),
    (STRING, "\udfff", "v"),
    (STRING, b"x", "v"),
    (ListOf(U8), [1, 2], "v"),
    (ListOf(U8), bytearray(b"x"), "v"),
    (ListOf(U32), (1,), "v"),
    (ListOf(U32), [1, -1], "v[1]"),
    (POINT, (1,), "v"),
    (POINT, (1, -2), "v.y"),
    (POINT, {"x": 1, "y": 2}, "v"),
    (TupleOf((U8, U8)), (1, 256), "v[1]"),
    (CHOICE, ("num", True), "v.num"),
    (CHOICE, ("none", 0), "v.none"),
    (CHOICE, ("other", 0), "v"),
    (CHOICE, (["num"], 0), "v"),
    (CHOICE, "num", "v"),
    (Enum(("a",)), "b", "v"),
    (Enum(("a",)), ["a"], "v"),
    (RIGHTS, ("write", "read"), "v[1]"),
    (RIGHTS, ("read", "read"), "v[1]"),
    (RIGHTS, ("fly",), "v[0]"),
    (RIGHTS, "read", "v"),
    (OptionOf(U8), 256, "v"),
    (OptionOf(OptionOf(U8)), 1, "v"),
    (OptionOf(OptionOf(U8)), (256,), "v.some"),
    (ResultOf(None, None), ("ok", 1), "v.ok"),
    (ResultOf(U8, U8), ("maybe", 1), "v"),
    (Handle("#r", True), -1, "v"),
    (Handle("#r", True), 2**32, "v"),
    (Unsupported("future"), None, "v"),
]


@pytest.mark.parametrize(("type", "value", "path"), WRONG)
def test_wrong_values_are_refused_with_their_path(type: Type, value: Any, path: str) -> None:
    with pytest.raises(ValueMismatch) as caught:
        check(type, value, "v")
    assert caught.value.path == path


def test_floats_of_every_kind_pass() -> None:
    for value in (float("inf"), -0.0, 0.5):
        assert check(F32, value) == value
    assert str(check(F32, float("nan"))) == "nan"
    assert check(F64, 1e300) == 1e300
