"""How types are shown: WIT text, Golem's typ and export trees, JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest

from golemp2p.errors import ValueMismatch
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
    Record,
    ResultOf,
    TupleOf,
    Type,
    Unsupported,
    Variant,
)
from golemp2p.values.analysed import analysed_exports, json_schema, result_typ
from golemp2p.values.typ import ResourceNumbers, check_typ, from_typ, to_typ
from golemp2p.values.wit_text import wit_text

U8, U64, STRING, F32 = (Primitive(n) for n in ("u8", "u64", "string", "f32"))
API = "demo:shop/api@1.0.0"
OWN, BORROW = Handle(f"{API}#cart", True), Handle(f"{API}#cart", False)
ITEM = Record((("name", STRING), ("price", F32), ("note", OptionOf(OptionOf(STRING)))), "item")
KIND = Variant((("new", None), ("used", TupleOf((U8, U64)))), "kind")
SHOP = ComponentType(
    (Interface("wasi:clocks/wall-clock@0.2.0", (Function("now", (), Record((("seconds", U64),), "datetime")),)),),
    (
        Interface(
            API,
            (
                Function("list", (("kinds", ListOf(KIND)),), ListOf(ITEM)),
                Function("[constructor]cart", (("user", STRING),), OWN),
                Function("[method]cart.add", (("self", BORROW), ("item", ITEM)), ResultOf(None, STRING)),
                Function("[static]cart.merge", (("a", OWN), ("type", BORROW)), OWN),
            ),
            (("cart", None), ("item", ITEM), ("items", ListOf(ITEM)), ("color", Enum(("red", "own")))),
        ),
        Interface("", (Function("ping", (), None), Function("rights", (), Flags(("r", "w"), "rights")))),
        Interface("demo:shop/admin@1.0.0", (Function("latest", (), ResultOf(OWN, None)),), (("cart", None),)),
        Interface("inline", (Function("go", (), None),)),
    ),
)

WIT = """\
package root:component;

world root {
  import wasi:clocks/wall-clock@0.2.0;
  export demo:shop/api@1.0.0;
  flags rights {
    r,
    w,
  }
  export ping: func();
  export rights: func() -> rights;
  export demo:shop/admin@1.0.0;
  export inline: interface {
    go: func();
  }
}

package wasi:clocks@0.2.0 {
  interface wall-clock {
    record datetime {
      seconds: u64,
    }

    now: func() -> datetime;
  }
}

package demo:shop@1.0.0 {
  interface api {
    resource cart {
      constructor(user: string);
      add: func(item: item) -> result<_, string>;
      merge: static func(a: cart, %type: borrow<cart>) -> cart;
    }
    record item {
      name: string,
      price: f32,
      note: option<option<string>>,
    }
    type items = list<item>;
    enum color {
      red,
      %own,
    }
    variant kind {
      new,
      used(tuple<u8, u64>),
    }

    %list: func(kinds: list<kind>) -> list<item>;
  }
}

package demo:shop@1.0.0 {
  interface admin {
    use demo:shop/api@1.0.0.{cart};

    latest: func() -> result<cart>;
  }
}
"""


def test_wit_text_of_a_component() -> None:
    assert wit_text(SHOP, imports=True) == WIT


def test_wit_text_leaves_imports_out_unless_asked() -> None:
    text = wit_text(SHOP)
    assert "wasi:" not in text
    assert "export demo:shop/api@1.0.0;" in text


def test_wit_text_prints_deeply_nested_types_whole() -> None:
    deep: Type = U8
    for _ in range(40):
        deep = ListOf(deep)
    text = wit_text(ComponentType((), (Interface("", (Function("f", (("x", deep),), None),)),)))
    assert "list<" * 40 + "u8" + ">" * 40 in text


TYPS: list[tuple[Type, dict[str, Any]]] = [
    (Primitive("bool"), {"type": "Bool"}),
    (Primitive("char"), {"type": "Chr"}),
    (STRING, {"type": "Str"}),
    (Primitive("s16"), {"type": "S16"}),
    (ListOf(U8), {"type": "List", "inner": {"type": "U8"}}),
    (OptionOf(U8), {"type": "Option", "inner": {"type": "U8"}}),
    (TupleOf((U8, STRING)), {"type": "Tuple", "items": [{"type": "U8"}, {"type": "Str"}]}),
    (Record((("a", U8),), "r"), {"type": "Record", "fields": [{"name": "a", "typ": {"type": "U8"}}]}),
    (Variant((("a", U8), ("b", None))), {"type": "Variant", "cases": [{"name": "a", "typ": {"type": "U8"}}, {"name": "b"}]}),
    (Enum(("a", "b")), {"type": "Enum", "cases": ["a", "b"]}),
    (Flags(("a", "b")), {"type": "Flags", "names": ["a", "b"]}),
    (ResultOf(U8, None), {"type": "Result", "ok": {"type": "U8"}}),
    (ResultOf(None, None), {"type": "Result"}),
    (OWN, {"type": "Handle", "resource_id": 0, "mode": "Owned"}),
    (BORROW, {"type": "Handle", "resource_id": 0, "mode": "Borrowed"}),
]


@pytest.mark.parametrize(("type", "typ"), TYPS)
def test_typ_and_back(type: Type, typ: dict[str, Any]) -> None:
    numbers = ResourceNumbers(SHOP)
    assert to_typ(type, numbers) == typ
    assert from_typ(typ, numbers.names) == type
    check_typ(type, typ)


@pytest.mark.parametrize(
    ("typ", "message"),
    [
        (None, 'typ: expected a type ({"type": name, ...}), got null'),
        ({"type": ["List"]}, 'typ: expected a type ({"type": name, ...}), got an object with "type"'),
        ({"type": "U128"}, 'typ.type: expected the name of a type, got "U128"'),
        ({"type": "List"}, 'typ.inner: expected a type ({"type": name, ...}), got null'),
        ({"type": "Tuple", "items": {}}, "typ.items: expected an array, got an empty object"),
        ({"type": "Record", "fields": [1]}, 'typ.fields[0]: expected {"name": name, "typ": type}, got 1'),
        ({"type": "Record", "fields": [{"name": "a"}]}, 'typ.fields[0].typ: expected a type ({"type": name, ...}), got null'),
        ({"type": "Enum", "cases": [1]}, "typ.cases[0]: expected a name, got 1"),
        (
            {"type": "Handle", "resource_id": True, "mode": "Owned"},
            "typ.resource_id: expected the number of a resource, got true",
        ),
        ({"type": "Handle", "resource_id": 0, "mode": []}, 'typ.mode: expected "Owned" or "Borrowed", got an array of 0'),
    ],
)
def test_malformed_typ(typ: Any, message: str) -> None:
    with pytest.raises(ValueMismatch) as caught:
        from_typ(typ)
    assert str(caught.value) == message


def test_typ_bombs_are_refused() -> None:
    typ: Any = {"type": "U8"}
    for _ in range(5000):
        typ = {"type": "List", "inner": typ}
    with pytest.raises(ValueMismatch, match="at most 100 levels"):
        check_typ(U8, typ)


def test_unknown_resources_are_refused_when_known_ones_are_given() -> None:
    with pytest.raises(ValueMismatch, match="number of a resource"):
        from_typ({"type": "Handle", "resource_id": 9, "mode": "Owned"}, {0: f"{API}#cart"})


def test_exports_as_golem_lists_them() -> None:
    exports = analysed_exports(SHOP)
    assert [(export["type"], export["name"]) for export in exports] == [
        ("Function", "ping"),
        ("Function", "rights"),
        ("Instance", API),
        ("Instance", "demo:shop/admin@1.0.0"),
        ("Instance", "inline"),
    ]
    assert exports[2]["functions"][1] == {
        "name": "[constructor]cart",
        "parameters": [{"name": "user", "typ": {"type": "Str"}}],
        "results": [{"name": None, "typ": {"type": "Handle", "resource_id": 0, "mode": "Owned"}}],
    }
    assert exports[0] == {"type": "Function", "name": "ping", "parameters": [], "results": []}


def test_results_are_wrapped_in_a_tuple() -> None:
    assert result_typ(U64) == {"type": "Tuple", "items": [{"type": "U64"}]}
    assert result_typ(None) == {"type": "Tuple", "items": []}


def test_schemas() -> None:
    assert json_schema(ITEM) == {
        "title": "item",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "price": {"anyOf": [{"type": "number", "format": "float"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
            "note": {
                "oneOf": [
                    {"type": "null"},
                    {
                        "type": "object",
                        "properties": {"some": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
                        "additionalProperties": False,
                        "required": ["some"],
                    },
                ]
            },
        },
        "additionalProperties": False,
        "required": ["name", "price"],
    }
    assert json_schema(U8) == {"type": "integer", "minimum": 0, "maximum": 255}
    assert json_schema(TupleOf((U8,)))["minItems"] == 1
    assert json_schema(ResultOf(None, STRING))["oneOf"][1]["properties"] == {"err": {"type": "string"}}
    assert json_schema(Unsupported("stream"))["not"] == {}
