"""WIT text of one interface: its types, resources and functions, as lines without outer indentation."""

from __future__ import annotations

from collections.abc import Iterator

from golemp2p.model.wit import (
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
from golemp2p.values.type_text import definition

INDENT = "  "

KEYWORDS = frozenset(
    {
        "as", "async", "bool", "borrow", "char", "constructor", "enum", "export", "f32", "f64", "flags", "from",
        "func", "future", "import", "include", "interface", "list", "option", "own", "package", "record",
        "resource", "result", "s16", "s32", "s64", "s8", "static", "stream", "string", "tuple", "type", "u16",
        "u32", "u64", "u8", "use", "variant", "with", "world",
    }
)  # fmt: skip
"""Words of WIT itself; a name spelled like one gets a ``%``."""


def identifier(name: str) -> str:
    return f"%{name}" if name in KEYWORDS else name


class InterfacePrinter:
    """Prints one interface. Types go by the name the interface lists them under, else by the name they carry."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._used = list(_used_types(interface))
        self._resources = _resource_functions(interface)
        listed = [(name, type) for name, type in interface.types if isinstance(type, Record | Variant | Enum | Flags)]
        self._names: dict[Type, str] = {type: name for name, type in reversed(listed)}
        self._listed = set(listed)

    def body(self) -> Iterator[str]:
        types = list(self.types())
        yield from types
        functions = [function for function in self._interface.functions if not function.name.startswith("[")]
        if types and functions:
            yield ""
        for function in functions:
            yield f"{self.function(function)};"

    def types(self) -> Iterator[str]:
        """Listed types first, then resources and named types that are only used."""
        declared: set[str] = set()
        for name, type in self._interface.types:
            declared.add(name)
            yield from self._resource(name) if type is None else self._declaration(name, type)
        for name in self._resources:
            if name not in declared:
                declared.add(name)
                yield from self._resource(name)
        for type in self._used:
            match type:
                case Record() | Variant() | Enum() | Flags():
                    named = self._name_of(type)
                    if named is not None and named not in declared:
                        declared.add(named)
                        yield from self._declaration(named, type)
                case Handle(resource):
                    name = resource.rpartition("#")[2]
                    if name not in declared:
                        declared.add(name)
                        yield from self._resource(name)

    def function(self, function: Function) -> str:
        """``name: func(...) -> ...``, without a semicolon."""
        return f"{identifier(function.name)}: {self._signature(function, 0)}"

    def _name_of(self, type: Record | Variant | Enum | Flags) -> str | None:
        if type.name is not None and (type.name, type) in self._listed:
            return type.name
        return self._names.get(type, type.name)

    def _declaration(self, name: str, type: Type) -> Iterator[str]:
        match type:
            case Record(fields):
                items = [f"{identifier(key)}: {self._type(part)}" for key, part in fields]
                yield from _block("record", name, items)
            case Variant(cases):
                items = [identifier(key) + ("" if part is None else f"({self._type(part)})") for key, part in cases]
                yield from _block("variant", name, items)
            case Enum(names):
                yield from _block("enum", name, [identifier(key) for key in names])
            case Flags(names):
                yield from _block("flags", name, [identifier(key) for key in names])
            case _:
                yield f"type {identifier(name)} = {self._type(type)};"

    def _resource(self, name: str) -> Iterator[str]:
        owner = resource_owner(self._interface, name)
        functions = self._resources.get(name, [])
        if owner != self._interface.name and not functions:
            yield f"use {owner}.{{{identifier(name)}}};" if owner else f"// {name} is a resource of the world"
        elif not functions:
            yield f"resource {identifier(name)};"
        else:
            yield f"resource {identifier(name)} {{"
            for function in functions:
                yield f"{INDENT}{self._resource_function(function, name)};"
            yield "}"

    def _resource_function(self, function: Function, resource: str) -> str:
        kind, _, rest = function.name.partition("]")
        member = identifier(rest.partition(".")[2])
        if kind == "[method":
            return f"{member}: {self._signature(function, 1)}"
        if kind == "[static":
            return f"{member}: static {self._signature(function, 0)}"
        match function.result:
            case Handle(name, True) if name.rpartition("#")[2] == resource:  # implied
                return f"constructor{self._params(function, 0)}"
            case None:
                return f"constructor{self._params(function, 0)}"
            case result:  # a constructor that may fail
                return f"constructor{self._params(function, 0)} -> {self._type(result)}"

    def _signature(self, function: Function, skipped: int) -> str:
        result = "" if function.result is None else f" -> {self._type(function.result)}"
        return f"func{self._params(function, skipped)}{result}"

    def _params(self, function: Function, skipped: int) -> str:
        listed = (f"{identifier(name)}: {self._type(type)}" for name, type in function.params[skipped:])
        return f"({', '.join(listed)})"

    def _type(self, type: Type) -> str:
        match type:
            case Primitive():
                return type.name
            case ListOf(element):
                return f"list<{self._type(element)}>"
            case OptionOf(payload):
                return f"option<{self._type(payload)}>"
            case TupleOf(elements):
                return f"tuple<{', '.join(map(self._type, elements))}>"
            case ResultOf(ok, err):
                return self._result(ok, err)
            case Handle(resource, owned):
                name = identifier(resource.rpartition("#")[2])
                return name if owned else f"borrow<{name}>"
            case Unsupported(text):
                return text
            case Record() | Variant() | Enum() | Flags():
                name_here = self._name_of(type)
                return definition(type) if name_here is None else identifier(name_here)

    def _result(self, ok: Type | None, err: Type | None) -> str:
        if err is None:
            return "result" if ok is None else f"result<{self._type(ok)}>"
        return f"result<{'_' if ok is None else self._type(ok)}, {self._type(err)}>"


def resource_owner(interface: Interface, resource: str) -> str:
    """Name of the interface that defines what ``interface`` calls ``resource``, as the handles it uses tell."""
    for type in _used_types(interface):
        if isinstance(type, Handle) and type.resource.rpartition("#")[2] == resource:
            return type.resource.rpartition("#")[0]
    return interface.name


def _used_types(interface: Interface) -> Iterator[Type]:
    """All types reachable from an interface, parts before wholes, each object once."""
    seen: set[int] = set()
    for _, type in interface.types:
        if type is not None:
            yield from _reachable(type, seen)
    for function in interface.functions:
        for type in (*(type for _, type in function.params), function.result):
            if type is not None:
                yield from _reachable(type, seen)


def _reachable(type: Type, seen: set[int]) -> Iterator[Type]:
    if id(type) in seen:
        return
    seen.add(id(type))
    for part in _parts(type):
        yield from _reachable(part, seen)
    yield type


def _parts(type: Type) -> list[Type]:
    match type:
        case ListOf(part) | OptionOf(part):
            return [part]
        case TupleOf(parts):
            return list(parts)
        case ResultOf(ok, err):
            return [part for part in (ok, err) if part is not None]
        case Record(fields):
            return [part for _, part in fields]
        case Variant(cases):
            return [part for _, part in cases if part is not None]
    return []


def _block(keyword: str, name: str, items: list[str]) -> Iterator[str]:
    if not items:
        yield f"{keyword} {identifier(name)} {{}}"
        return
    yield f"{keyword} {identifier(name)} {{"
    yield from (f"{INDENT}{item}," for item in items)
    yield "}"


def _resource_functions(interface: Interface) -> dict[str, list[Function]]:
    owned: dict[str, list[Function]] = {}
    for function in interface.functions:
        if function.name.startswith("["):
            resource = function.name.partition("]")[2].partition(".")[0]
            owned.setdefault(resource, []).append(function)
    return owned
