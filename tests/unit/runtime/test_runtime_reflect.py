"""What is known of a component: names of types, identities of resources, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from runtime_wat import inline_guests, load

from golemp2p.errors import GuestTrapped, InvalidComponent
from golemp2p.model import wit
from golemp2p.runtime.additions import DROPPER_PREFIX
from golemp2p.testing.hosts import MemoryWorkerHost

NAMES = r"""(component
  (import "demo:geo/types@1.0.0" (instance $types
    (type $p (record (field "x" u32)))
    (export "point" (type (eq $p)))
    (export "place" (type (sub resource)))))
  (alias export $types "point" (type $point))
  (alias export $types "place" (type $place))
  (import "demo:geo/places@1.0.0" (instance $places
    (alias outer 1 $place (type $outer)) (export "site" (type $site (eq $outer)))
    (alias outer 1 $point (type $outer-point)) (export "position" (type $position (eq $outer-point)))
    (export "where" (func (param "s" (borrow $site)) (param "all" (list $position)) (result $position)))))
  (import "demo:geo/more@1.0.0" (instance $more
    (alias outer 1 $point (type $outer-point)) (export "dot" (type $dot (eq $outer-point)))
    (type $c (enum "a" "b")) (export "color" (type $color (eq $c)))
    (export "paint" (func (param "d" (option $dot)) (param "c" $color)))))
  (type $o (result (error string)))
  (import "find" (func (param "s" (own $place)) (result $o)))
)"""


async def test_types_are_named_by_the_interface_that_uses_them(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, NAMES)
    world, types, places, more = component.type.imports
    assert [each.name for each in (world, types, places, more)] == [
        "", "demo:geo/types@1.0.0", "demo:geo/places@1.0.0", "demo:geo/more@1.0.0",
    ]  # fmt: skip
    point = wit.Record((("x", wit.Primitive("u32")),))
    assert types.types == (("place", None), ("point", point))
    (where,) = places.functions
    site = "demo:geo/types@1.0.0#place"
    assert where.params == (("s", wit.Handle(site, owned=False)), ("all", wit.ListOf(point)))
    assert isinstance(where.result, wit.Record)
    assert where.result.name == "position"
    (paint,) = more.functions
    option, color = (type_ for _, type_ in paint.params)
    assert isinstance(option, wit.OptionOf)
    assert option.payload.name == "dot"  # type: ignore[union-attr]
    assert color == wit.Enum(("a", "b"))
    assert color.name == "color"  # type: ignore[union-attr]
    assert world.functions == (
        wit.Function("find", (("s", wit.Handle(site, owned=True)),), wit.ResultOf(None, wit.Primitive("string"))),
    )
    assert component.reflection.imported_resources == [site]
    assert component.reflection.import_aliases["demo:geo/places@1.0.0", "site"] == site


async def test_exported_resources_and_no_sign_of_droppers(tmp_path: Path) -> None:
    text = """(component
      (type $r (resource (rep i32)))
      (core func $new (canon resource.new $r))
      (core module $m (import "" "new" (func $new (param i32) (result i32)))
        (func (export "make") (result i32) (call $new (i32.const 1))))
      (core instance $m (instantiate $m (with "" (instance (export "new" (func $new))))))
      (export $out "thing" (type $r))
      (func (export "make") (result (own $out)) (canon lift (core func $m "make"))))"""
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, text)
    (world,) = component.type.exports
    assert world.types == (("thing", None),)
    assert world.functions == (wit.Function("make", (), wit.Handle("#thing", owned=True)),)
    assert DROPPER_PREFIX not in repr(component.type)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(component (import "f" (func async (param "x" u32))))', "async"),
        ('(component (import "wasi:x/y@0.3.0" (instance (export "f" (func async)))))', "async"),
        ('(component (import "c" (component)))', "component imports are not supported"),
        ('(component (import "m" (core module)))', "import m is a ModuleType"),
        ('(component (import "a:b/c" (instance (export "d:e/f" (instance)))))', "instance inside an instance"),
        (
            """(component (core module $m (func (export "f") (result i32) (i32.const 0))
               (func (export "cb") (param i32 i32 i32) (result i32) (i32.const 0)))
               (core instance $m (instantiate $m))
               (func (export "f") async (canon lift (core func $m "f") async (callback (core func $m "cb")))))""",
            "async",
        ),
    ],
)
async def test_what_cannot_be_provided_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    async with inline_guests(tmp_path) as guests:
        with pytest.raises(InvalidComponent, match=message):
            await load(guests, tmp_path, text)


async def test_functions_with_types_that_cannot_be_carried(tmp_path: Path) -> None:
    """They load and show; only calling them fails."""
    text = """(component
      (import "send" (func $send (param "s" (stream u8))))
      (core func $send (canon lower (func $send)))
      (core module $m (import "" "send" (func $send (param i32)))
        (func (export "take") (param i32)) (func (export "try") (call $send (i32.const 0))))
      (core instance $m (instantiate $m (with "" (instance (export "send" (func $send))))))
      (func (export "try") (canon lift (core func $m "try")))
      (func (export "take") (param "s" (stream u8)) (canon lift (core func $m "take"))))"""
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, text)
        (imported,), (exported,) = component.type.imports, component.type.exports
        assert imported.functions[0].params == (("s", wit.Unsupported("stream")),)
        assert [function.name for function in exported.functions] == ["try", "take"]
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(GuestTrapped, match="stream"):
            await instance.call("", "take", [1])
        with pytest.raises(GuestTrapped):
            await instance.call("", "try", [])
        instance.close()
