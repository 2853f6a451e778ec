"""wasmtime's description of a component -> ``model.wit``. Done once per component; slow, and never needed in a call.

Two things need care. Structural equality: wasmtime forgets which of two equal types a function meant, so a type takes its name
from the interface that uses it, else from the first interface that has one. Resources: identity is ``interface#name`` of the
first interface that brings the resource; every other appearance of an equal ``ResourceType`` is an alias of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import wasmtime
from wasmtime import _ffi as bindings
from wasmtime import component as wc

from golemp2p.errors import InvalidComponent
from golemp2p.model import wit
from golemp2p.runtime.additions import PAGES_PREFIX, is_addition

_PRIMITIVES: dict[type, wit.Primitive] = {
    wc.Bool: wit.Primitive("bool"), wc.S8: wit.Primitive("s8"), wc.S16: wit.Primitive("s16"), wc.S32: wit.Primitive("s32"),
    wc.S64: wit.Primitive("s64"), wc.U8: wit.Primitive("u8"), wc.U16: wit.Primitive("u16"), wc.U32: wit.Primitive("u32"),
    wc.U64: wit.Primitive("u64"), wc.F32: wit.Primitive("f32"), wc.F64: wit.Primitive("f64"), wc.Char: wit.Primitive("char"),
    wc.String: wit.Primitive("string"),
}  # fmt: skip
_UNSUPPORTED = {"StreamType": "stream", "FutureType": "future", "ErrorContext": "error-context", "MapType": "map"}

Named = dict[wit.Type, str]
_NAMEABLE = (wit.Record, wit.Variant, wit.Enum, wit.Flags)


@dataclass(slots=True)
class Reflection:
    """``resources``: every distinct imported resource with its identity; a host resource type's number is its position.
    ``exported_resources``: (interface, name), in the order of the droppers; ``sizers_count``: see ``additions``."""

    type: wit.ComponentType
    imported_resources: list[str] = field(default_factory=list)
    import_aliases: dict[tuple[str, str], str] = field(default_factory=dict)  # (interface, name) -> identity
    exported_resources: list[tuple[str, str]] = field(default_factory=list)
    sizers_count: int = 0


@dataclass(slots=True)
class _Raw:
    """One interface as wasmtime tells it."""

    name: str
    functions: list[tuple[str, Any]] = field(default_factory=list)
    types: list[tuple[str, Any]] = field(default_factory=list)
    resources: list[tuple[str, Any]] = field(default_factory=list)


class _Resources:
    """Distinct resource types and their identities. There are few, and no hash: a linear search by equality."""

    def __init__(self) -> None:
        self.known: list[tuple[Any, str]] = []

    def identity(self, resource: Any) -> str | None:
        return next((identity for other, identity in self.known if other == resource), None)

    def add(self, resource: Any, identity: str) -> tuple[str, bool]:
        """The identity it has, or is given now; and whether it is new."""
        known = self.identity(resource)
        if known is not None:
            return known, False
        self.known.append((resource, identity))
        return identity, True


def reflect(component: wc.Component, engine: wasmtime.Engine) -> Reflection:
    """Raises ``InvalidComponent`` for imports and exports that this engine cannot provide or call."""
    type_ = component.type
    exported = type_.exports(engine)
    imports = _collect(type_.imports(engine), engine, "import")
    exports = _collect(exported, engine, "export")
    resources = _Resources()
    reflection = Reflection(wit.ComponentType((), ()))
    reflection.sizers_count = sum(name.startswith(PAGES_PREFIX) for name in exported)
    for raw in imports:
        for name, resource in raw.resources:
            identity, new = resources.add(resource, f"{raw.name}#{name}")
            if new:
                reflection.imported_resources.append(identity)
            reflection.import_aliases[raw.name, name] = identity
    for raw in exports:
        for name, resource in raw.resources:
            _, new = resources.add(resource, f"{raw.name}#{name}")
            if new:
                reflection.exported_resources.append((raw.name, name))
    namer = _Namer(resources, imports + exports)
    reflection.type = wit.ComponentType(
        tuple(namer.interface(raw) for raw in imports), tuple(namer.interface(raw) for raw in exports)
    )
    return reflection


def _collect(items: dict[str, Any], engine: wasmtime.Engine, direction: Literal["import", "export"]) -> list[_Raw]:
    """Interfaces in order; what stands at world level is gathered under the name ``""``, in front."""
    world = _Raw("")
    interfaces: list[_Raw] = []
    for name, item in items.items():
        if is_addition(name):
            continue
        type_ = _type_of(item)
        if isinstance(type_, wc.ComponentInstanceType):
            interfaces.append(_collect_instance(name, type_, engine, direction))
        else:
            _collect_item(world, name, type_, direction)
    return [world, *interfaces] if world.functions or world.types or world.resources else interfaces


def _collect_instance(name: str, type_: Any, engine: wasmtime.Engine, direction: Literal["import", "export"]) -> _Raw:
    raw = _Raw(name)
    for inner_name, inner in type_.exports(engine).items():
        inner_type = _type_of(inner)
        if isinstance(inner_type, wc.ComponentInstanceType):
            raise InvalidComponent(f"{direction} {name} holds an instance inside an instance ({inner_name})")
        _collect_item(raw, inner_name, inner_type, direction)
    return raw


def _type_of(item: Any) -> Any:
    """The type of an import or export; its text when wasmtime's Python layer has no words for it (``map``)."""
    try:
        return item.ty
    except (TypeError, AttributeError) as error:
        return wit.Unsupported(str(error))


def _collect_item(raw: _Raw, name: str, type_: Any, direction: Literal["import", "export"]) -> None:
    where = f"{raw.name}#{name}" if raw.name else name
    if isinstance(type_, wc.FuncType):
        if bindings.wasmtime_component_func_type_async(type_.ptr()):
            raise InvalidComponent(
                f"{direction} {where} is an async function (component-model async, WASI 0.3): "
                "compile the component for WASI 0.2, with synchronous functions"
            )
        raw.functions.append((name, type_))
    elif isinstance(type_, wc.ResourceType):
        raw.resources.append((name, type_))
    elif isinstance(type_, (wc.ComponentType, wc.ModuleType)) or (
        direction == "import" and not isinstance(type_, (wc.ValType, wit.Unsupported))
    ):
        if direction == "import":
            raise InvalidComponent(f"import {where} is a {type(type_).__name__}: only functions, types and resources are given")
    else:
        raw.types.append((name, type_))


class _Namer:
    """Turns raw interfaces into ``wit.Interface`` with every named type named."""

    def __init__(self, resources: _Resources, raws: list[_Raw]) -> None:
        self._resources = resources
        self._everywhere: Named = {}
        self._local: dict[int, Named] = {}
        self._plain: dict[int, list[tuple[str, wit.Type]]] = {}
        for raw in raws:
            plain = [(name, self._convert(type_)) for name, type_ in raw.types]
            local: Named = {}
            for name, type_ in plain:
                if isinstance(type_, _NAMEABLE):
                    local.setdefault(type_, name)
                    self._everywhere.setdefault(type_, name)
            self._plain[id(raw)], self._local[id(raw)] = plain, local

    def interface(self, raw: _Raw) -> wit.Interface:
        local = self._local[id(raw)]
        functions = tuple(self._function(name, type_, local) for name, type_ in raw.functions)
        types: list[tuple[str, wit.Type | None]] = [(name, None) for name, _ in raw.resources]
        for name, type_ in self._plain[id(raw)]:
            named = self._name(type_, local)
            types.append((name, replace(named, name=name) if isinstance(named, _NAMEABLE) else named))
        return wit.Interface(raw.name, functions, tuple(types))

    def _function(self, name: str, type_: Any, local: Named) -> wit.Function:
        try:
            params = tuple((param, self._name(self._convert(each), local)) for param, each in type_.params)
            result = type_.result
        except TypeError:  # wasmtime's Python layer has no words for one of the types
            unsupported = wit.Unsupported("map")
            return wit.Function(name, (("unsupported", unsupported),), None)
        return wit.Function(name, params, None if result is None else self._name(self._convert(result), local))

    def _convert(self, type_: Any) -> wit.Type:
        """One value type, without names."""
        primitive = _PRIMITIVES.get(type(type_))
        if primitive is not None:
            return primitive
        try:
            return self._convert_compound(type_)
        except TypeError as error:
            return wit.Unsupported(str(error))

    def _convert_compound(self, type_: Any) -> wit.Type:
        convert = self._convert
        match type_:
            case wc.ListType():
                return wit.ListOf(convert(type_.element))
            case wc.RecordType():
                return wit.Record(tuple((name, convert(each)) for name, each in type_.fields))
            case wc.TupleType():
                return wit.TupleOf(tuple(convert(each) for each in type_.elements))
            case wc.VariantType():
                return wit.Variant(tuple((name, None if each is None else convert(each)) for name, each in type_.cases))
            case wc.EnumType():
                return wit.Enum(tuple(type_.names))
            case wc.FlagsType():
                return wit.Flags(tuple(type_.names))
            case wc.OptionType():
                return wit.OptionOf(convert(type_.payload))
            case wc.ResultType():
                ok, err = type_.ok, type_.err
                return wit.ResultOf(None if ok is None else convert(ok), None if err is None else convert(err))
            case wc.OwnType() | wc.BorrowType():
                identity = self._resources.identity(type_.ty)
                if identity is None:
                    return wit.Unsupported("a resource that no interface names")
                return wit.Handle(identity, isinstance(type_, wc.OwnType))
            case wit.Unsupported():
                return type_
            case _:
                return wit.Unsupported(_UNSUPPORTED.get(type(type_).__name__, type(type_).__name__))

    def _name(self, type_: wit.Type, local: Named) -> wit.Type:
        """The same type with names put on, inside out."""
        match type_:
            case wit.ListOf():
                return wit.ListOf(self._name(type_.element, local))
            case wit.OptionOf():
                return wit.OptionOf(self._name(type_.payload, local))
            case wit.ResultOf():
                ok, err = (None if side is None else self._name(side, local) for side in (type_.ok, type_.err))
                return wit.ResultOf(ok, err)
            case wit.TupleOf():
                return wit.TupleOf(tuple(self._name(each, local) for each in type_.elements))
            case wit.Record():
                fields = tuple((name, self._name(each, local)) for name, each in type_.fields)
                return wit.Record(fields, self._find(type_, local))
            case wit.Variant():
                cases = tuple((name, None if each is None else self._name(each, local)) for name, each in type_.cases)
                return wit.Variant(cases, self._find(type_, local))
            case wit.Enum() | wit.Flags():
                return replace(type_, name=self._find(type_, local))
            case _:
                return type_

    def _find(self, type_: wit.Type, local: Named) -> str | None:
        return local.get(type_) or self._everywhere.get(type_)


def unsupported_in(function: wit.Function) -> str | None:
    """Text of a type in the signature that cannot be carried, or ``None``."""
    types = [each for _, each in function.params] + ([] if function.result is None else [function.result])
    return next((found for each in types for found in _unsupported(each)), None)


def _unsupported(type_: wit.Type) -> Iterator[str]:
    match type_:
        case wit.Unsupported():
            yield type_.text
        case wit.ListOf():
            yield from _unsupported(type_.element)
        case wit.OptionOf():
            yield from _unsupported(type_.payload)
        case wit.ResultOf():
            for side in (type_.ok, type_.err):
                if side is not None:
                    yield from _unsupported(side)
        case wit.TupleOf():
            for each in type_.elements:
                yield from _unsupported(each)
        case wit.Record():
            for _, each in type_.fields:
                yield from _unsupported(each)
        case wit.Variant():
            for _, payload in type_.cases:
                if payload is not None:
                    yield from _unsupported(payload)
