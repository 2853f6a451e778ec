"""Function names: the grammar, short forms, resources by their parameters, and helpful refusals."""

from __future__ import annotations

import pytest

from golemp2p.errors import FunctionNotFound, InvalidName, ValueMismatch, WrongArity
from golemp2p.model.wit import ComponentType, Function, Handle, Interface, ListOf, Primitive
from golemp2p.values.names import NAME_CHARS_MAX, ParsedFunctionName, parse_name
from golemp2p.values.resolve import function_names, resolve

U64, STRING = Primitive("u64"), Primitive("string")
API, OTHER = "demo:shop/api@1.0.0", "demo:other/admin"
OWN, BORROW = Handle(f"{API}#cart", True), Handle(f"{API}#cart", False)
SHOP = ComponentType(
    (),
    (
        Interface(
            API,
            (
                Function("add", (("a", U64), ("b", U64)), U64),
                Function("status", (), STRING),
                Function("[constructor]cart", (("user", STRING), ("sizes", ListOf(U64))), OWN),
                Function("[method]cart.add", (("self", BORROW), ("sku", STRING)), None),
                Function("[static]cart.merge", (("a", OWN), ("b", OWN)), OWN),
            ),
            (("cart", None), ("bag", None)),
        ),
        Interface("", (Function("ping", (), STRING), Function("status", (), STRING))),
        Interface(OTHER, (Function("reset", (), None), Function("list", (), OWN)), (("cart", None),)),
        Interface("demo:more/admin@2.0.0", (Function("reset", (), None),)),
    ),
)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("add", ParsedFunctionName(None, "function", None, "add")),
        ("api.{add}", ParsedFunctionName("api", "function", None, "add")),
        ("a:b/c@1.0.0-rc.1+x.{add-2}", ParsedFunctionName("a:b/c@1.0.0-rc.1+x", "function", None, "add-2")),
        ("i.{[constructor]r}", ParsedFunctionName("i", "constructor", "r", None)),
        ("i.{[drop]r}", ParsedFunctionName("i", "drop", "r", None)),
        ("i.{[method]r.m}", ParsedFunctionName("i", "method", "r", "m")),
        ("i.{[static]r.m}", ParsedFunctionName("i", "static", "r", "m")),
        ("i.{r.m}", ParsedFunctionName("i", "member", "r", "m")),
        ("[method]r.m", ParsedFunctionName(None, "method", "r", "m")),
        ("i.{r().m}", ParsedFunctionName("i", "member", "r", "m", ())),
        (
            "i.{r(\"a,)}\", {x: [1, (2)]}, ',').m}",
            ParsedFunctionName("i", "member", "r", "m", ('"a,)}"', "{x: [1, (2)]}", "','")),
        ),
        (r'i.{r("\"", 1).drop}', ParsedFunctionName("i", "member", "r", "drop", (r'"\""', "1"))),
    ],
)
def test_grammar(name: str, parsed: ParsedFunctionName) -> None:
    assert parse_name(name) == parsed


@pytest.mark.parametrize(
    "name",
    [
        "", " add", "a b", ".{add}", "i.{}", "i.{add", "i.{add}x", "{add}", "i.add.b", "a/b/.{x}", "i.{[constructor]r.m}",
        "i.{[method]r}", "i.{[other]r}", "i.{r(1.m}", "i.{r(1)).m}", "i.{r(1,).m}", "i.{r(,1).m}", 'i.{r("x).m}', "i.{r(]).m}",
        "i.{r(1)}", "i.{r(1).}", "i@.{x}", "é", "add\n", "i.{add\n}",
    ],
)  # fmt: skip
def test_names_that_break_the_grammar(name: str) -> None:
    with pytest.raises(InvalidName, match="is not a function name"):
        parse_name(name)


def test_a_parameter_may_look_like_the_rest_of_the_grammar() -> None:
    parsed = ParsedFunctionName(None, "member", "cart", "add", ('"x.{y}"', "[]"))
    assert parse_name('cart("x.{y}", []).add') == parsed
    assert resolve('cart("x.{y}", []).add', SHOP).canonical == f'{API}.{{cart("x.{{y}}", []).add}}'


def test_length_is_limited() -> None:
    with pytest.raises(InvalidName, match="at most"):
        parse_name("a" * (NAME_CHARS_MAX + 1))


@pytest.mark.parametrize(
    ("name", "kind", "canonical"),
    [
        ("add", "function", f"{API}.{{add}}"),
        ("api.{add}", "function", f"{API}.{{add}}"),
        ("api@1.0.0.{add}", "function", f"{API}.{{add}}"),
        ("demo:shop/api.{add}", "function", f"{API}.{{add}}"),
        (f"{API}.{{add}}", "function", f"{API}.{{add}}"),
        ("ping", "function", "ping"),
        ("status", "function", "status"),
        ("api.{%add}", "function", f"{API}.{{add}}"),
        ("api.{[constructor]cart}", "constructor", f"{API}.{{[constructor]cart}}"),
        ("cart.new", "constructor", f"{API}.{{[constructor]cart}}"),
        ("cart.add", "method", f"{API}.{{[method]cart.add}}"),
        ("api.{cart.merge}", "static", f"{API}.{{[static]cart.merge}}"),
        ("[drop]cart", "drop", f"{API}.{{[drop]cart}}"),
        ("cart.drop", "drop", f"{API}.{{[drop]cart}}"),
        ("bag.drop", "drop", f"{API}.{{[drop]bag}}"),
    ],
)
def test_resolution(name: str, kind: str, canonical: str) -> None:
    resolved = resolve(name, SHOP)
    assert (resolved.kind, resolved.canonical) == (kind, canonical)
    assert (resolved.function is None) == (kind == "drop")
    assert resolve(canonical, SHOP) == resolved
    assert (resolved.resource is None) == (kind == "function")


@pytest.mark.parametrize(
    ("name", "kind", "canonical"),
    [
        ('api.{cart("p",[1,2]).add}', "method", f'{API}.{{cart("p", [1, 2]).add}}'),
        ('cart( "p" , [ 1, 2, ] ).add', "method", f'{API}.{{cart("p", [1, 2]).add}}'),
        ('api.{cart("p", []).drop}', "drop", f'{API}.{{cart("p", []).drop}}'),
        (r'api.{cart("\u{70}", []).new}', "constructor", f'{API}.{{cart("p", []).new}}'),
    ],
)
def test_indexed_resources(name: str, kind: str, canonical: str) -> None:
    resolved = resolve(name, SHOP)
    assert (resolved.kind, resolved.canonical) == (kind, canonical)
    assert resolved.indexed is not None
    assert resolved.indexed.resource == "cart"
    assert resolved.indexed.args[0] == "p"
    assert resolved.indexed.params[0] == '"p"'
    assert resolved.indexed.constructor.name == "[constructor]cart"
    assert resolve(canonical, SHOP) == resolved


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("reset", FunctionNotFound, "reset is ambiguous; it may be demo:other/admin.{reset}, demo:more/admin@2.0.0.{reset}"),
        ("admin.{reset}", FunctionNotFound, "admin.{reset} is ambiguous"),
        ("ad", FunctionNotFound, "no function ad; did you mean demo:shop/api@1.0.0.{add}"),
        ("api.{zzz}", FunctionNotFound, "no function api.{zzz}; there are demo:shop/api@1.0.0.{add}, "),
        ("apx.{add}", FunctionNotFound, "no exported interface is called apx; there are demo:shop/api@1.0.0, demo:other/admin"),
        ("demo:shop/api@2.0.0.{add}", FunctionNotFound, "no exported interface is called demo:shop/api@2.0.0"),
        ("cart.remove", FunctionNotFound, "no function cart.remove"),
        ("bag.new", FunctionNotFound, "no function bag.new"),
        ("bag(1).drop", FunctionNotFound, "resource bag of demo:shop/api@1.0.0 has no constructor"),
        ('cart("p", []).merge', FunctionNotFound, "no function cart(…).merge"),
        ('cart("p").add', WrongArity, "cart(user: string, sizes: list<u64>) takes 2 parameters, got 1"),
        ('cart("p", [x]).add', ValueMismatch, "cart(sizes)[0]: expected u64"),
        ("add {", InvalidName, "'add {' is not a function name"),
    ],
)
def test_refusals_help(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        resolve(name, SHOP)
    assert message in str(caught.value)


def test_every_listed_name_resolves_to_itself() -> None:
    names = function_names(SHOP)
    assert len(names) == len(set(names)) == 12
    assert [resolve(name, SHOP).canonical for name in names] == names


def test_a_component_without_exports_says_so() -> None:
    with pytest.raises(FunctionNotFound, match="there are none"):
        resolve("add", ComponentType((), ()))
