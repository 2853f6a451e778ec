"""A WIT type as the JSON that Golem's REST API calls ``typ``: ``{"type": "List", "inner": {"type": "U64"}}``.

Golem numbers the resources of a component; ``ResourceNumbers`` does so in order of appearance in the exports. A type that
this engine cannot carry prints as ``{"type": "Unsupported", "text": ...}``, so that metadata of its component can be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from golemp2p.model.wit import (
    ComponentType,
    Enum,
    Flags,
    Handle,
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
from golemp2p.values.compiled import TYPE_DEPTH_MAX, TypeCompiler
from golemp2p.values.mismatch import Mismatch
from golemp2p.values.type_text import type_text

Typ: TypeAlias = dict[str, Any]

_TYP_NAMES: dict[PrimitiveName, str] = {
    "bool": "Bool", "s8": "S8", "s16": "S16", "s32": "S32", "s64": "S64", "u8": "U8", "u16": "U16", "u32": "U32",
    "u64": "U64", "f32": "F32", "f64": "F64", "char": "Chr", "string": "Str",
}  # fmt: skip
_PRIMITIVES: dict[str, Primitive] = {typ: Primitive(name) for name, typ in _TYP_NAMES.items()}


class ResourceNumbers:
    """Numbers for resource types, counted from 0 in order of first use, or as the exports of a component list them."""

    def __init__(self, component: ComponentType | None = None) -> None:
        self._numbers: dict[str, int] = {}
        for interface in component.exports if component is not None else ():
            for name, type in interface.types:
                if type is None:
                    self.number(f"{interface.name}#{name}")

    def number(self, resource: str) -> int:
        return self._numbers.setdefault(resource, len(self._numbers))

    @property
    def names(self) -> dict[int, str]:
        """Number -> resource (``interface#name``); what ``from_typ`` needs to read handles back."""
        return {number: name for name, number in self._numbers.items()}


def to_typ(type: Type, resources: ResourceNumbers | None = None) -> Typ:
    """The ``typ`` JSON of a type. Without ``resources``, resources are numbered as they come."""
    return _typ_of(type)(ResourceNumbers() if resources is None else resources)


def _build_typ(type: Type, child: Callable[[Type], _Typer]) -> _Typer:
    match type:
        case Primitive():
            name = _TYP_NAMES[type.name]
            return lambda resources: {"type": name}
        case ListOf(inner):
            return _with_inner("List", child(inner))
        case OptionOf(inner):
            return _with_inner("Option", child(inner))
        case TupleOf(elements):
            items = [child(element) for element in elements]
            return lambda resources: {"type": "Tuple", "items": [item(resources) for item in items]}
        case Record(fields):
            return _with_parts("Record", "fields", [(name, child(part)) for name, part in fields])
        case Variant(cases):
            return _with_parts("Variant", "cases", [(name, None if part is None else child(part)) for name, part in cases])
        case ResultOf(ok, err):
            sides = [(side, child(part)) for side, part in (("ok", ok), ("err", err)) if part is not None]
            return lambda resources: {"type": "Result", **{side: part(resources) for side, part in sides}}
        case Enum(names):
            return lambda resources: {"type": "Enum", "cases": list(names)}
        case Flags(names):
            return lambda resources: {"type": "Flags", "names": list(names)}
        case Handle(resource, owned):
            mode = "Owned" if owned else "Borrowed"
            return lambda resources: {"type": "Handle", "resource_id": resources.number(resource), "mode": mode}
        case Unsupported(text):
            return lambda resources: {"type": "Unsupported", "text": text}


_Typer: TypeAlias = Callable[[ResourceNumbers], Typ]


def _with_inner(kind: str, inner: _Typer) -> _Typer:
    return lambda resources: {"type": kind, "inner": inner(resources)}


def _with_parts(kind: str, key: str, parts: list[tuple[str, _Typer | None]]) -> _Typer:
    return lambda resources: {
        "type": kind,
        key: [{"name": name} if part is None else {"name": name, "typ": part(resources)} for name, part in parts],
    }


_typ_of: TypeCompiler[_Typer] = TypeCompiler(_build_typ)


def check_typ(declared: Type, typ: Any, path: str = "typ") -> None:
    """Raises ``ValueMismatch`` unless ``typ`` says the type that is declared.

    The number of a resource is not compared: it belongs to whoever numbered. Keys we do not know are ignored, since later
    Golem versions add some.
    """
    try:
        said = _from_typ(typ, None, 0)
    except Mismatch as mismatch:
        raise mismatch.public(path) from None
    if _without_resources(said) != _without_resources(declared):
        raise Mismatch(type_text(declared), got=type_text(said)).public(path)


def from_typ(typ: Any, resources: Mapping[int, str] | None = None, path: str = "typ") -> Type:
    """The type that ``typ`` JSON describes, without names. ``resources``: number -> ``interface#name``; others are refused,
    or, when ``resources`` is ``None``, called by their number. Raises ``ValueMismatch``."""
    try:
        return _from_typ(typ, resources, 0)
    except Mismatch as mismatch:
        raise mismatch.public(path) from None


def _from_typ(typ: Any, resources: Mapping[int, str] | None, depth: int) -> Type:
    kind = typ.get("type") if isinstance(typ, dict) else None
    if not isinstance(kind, str):
        raise Mismatch('a type ({"type": name, ...})', typ)
    if depth > TYPE_DEPTH_MAX:
        raise Mismatch(f"a type of at most {TYPE_DEPTH_MAX} levels", got="a deeper one")
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]

    def part(value: Any, step: str) -> Type:
        try:
            return _from_typ(value, resources, depth + 1)
        except Mismatch as mismatch:
            raise mismatch.at(step) from None

    def maybe(name: str) -> Type | None:
        return None if typ.get(name) is None else part(typ[name], f".{name}")

    match kind:
        case "List":
            return ListOf(part(typ.get("inner"), ".inner"))
        case "Option":
            return OptionOf(part(typ.get("inner"), ".inner"))
        case "Tuple":
            return TupleOf(tuple(part(item, f".items[{i}]") for i, item in enumerate(_array(typ, "items"))))
        case "Record":
            fields = _named(typ, "fields")
            return Record(tuple((name, part(item, f".fields[{i}].typ")) for i, (name, item) in enumerate(fields)))
        case "Variant":
            return Variant(
                tuple(
                    (name, None if item is None else part(item, f".cases[{i}].typ"))
                    for i, (name, item) in enumerate(_named(typ, "cases"))
                )
            )
        case "Result":
            return ResultOf(maybe("ok"), maybe("err"))
        case "Enum":
            return Enum(_names(typ, "cases"))
        case "Flags":
            return Flags(_names(typ, "names"))
        case "Handle":
            return _handle(typ, resources)
    raise Mismatch("the name of a type", kind).at(".type")


def _array(typ: Typ, key: str) -> list[Any]:
    value = typ.get(key)
    if not isinstance(value, list):
        raise Mismatch("an array", value).at(f".{key}")
    return value


def _names(typ: Typ, key: str) -> tuple[str, ...]:
    names = _array(typ, key)
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise Mismatch("a name", name).at(f".{key}[{i}]")
    return tuple(names)


def _named(typ: Typ, key: str) -> list[tuple[str, Any]]:
    parts = _array(typ, key)
    for i, item in enumerate(parts):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Mismatch('{"name": name, "typ": type}', item).at(f".{key}[{i}]")
    return [(item["name"], item.get("typ")) for item in parts]


def _handle(typ: Typ, resources: Mapping[int, str] | None) -> Handle:
    number, mode = typ.get("resource_id"), typ.get("mode")
    if number.__class__ is not int or (resources is not None and number not in resources):
        raise Mismatch("the number of a resource", number).at(".resource_id")
    if mode not in ("Owned", "Borrowed"):
        raise Mismatch('"Owned" or "Borrowed"', mode).at(".mode")
    return Handle(f"#{number}" if resources is None else resources[number], mode == "Owned")


def _without_resources(type: Type) -> Type:
    match type:
        case Handle():
            return Handle("#", type.owned)
        case ListOf(inner):
            return ListOf(_without_resources(inner))
        case OptionOf(inner):
            return OptionOf(_without_resources(inner))
        case TupleOf(elements):
            return TupleOf(tuple(_without_resources(element) for element in elements))
        case ResultOf(ok, err):
            return ResultOf(*(None if side is None else _without_resources(side) for side in (ok, err)))
        case Record(fields):
            return Record(tuple((name, _without_resources(part)) for name, part in fields))
        case Variant(cases):
            return Variant(tuple((name, None if part is None else _without_resources(part)) for name, part in cases))
    return type
