"""From a parsed function name to the function of a component that it means (``values.names`` has the grammar)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from golemp2p.errors import FunctionNotFound, WrongArity
from golemp2p.model.wit import ComponentType, Function, Interface, Type
from golemp2p.values.names import IndexedResource, ParsedFunctionName, ResolvedFunction, parse_name
from golemp2p.values.type_text import type_text
from golemp2p.values.wave import parse, print_value
from golemp2p.values.wit_interface import resource_owner

LISTED_MAX = 10
"""Names listed in an error."""


def resolve(name: str | ParsedFunctionName, component: ComponentType) -> ResolvedFunction:
    """The function of ``component`` that ``name`` means.

    Raises ``InvalidName`` (grammar), ``FunctionNotFound`` (none, or several: the message lists them), ``WrongArity`` and
    ``ValueMismatch`` (parameters of an indexed resource).
    """
    parsed = parse_name(name) if isinstance(name, str) else name
    interfaces = _interfaces(parsed.interface, component)
    found = [resolved for interface in interfaces for resolved in _resolve_in(interface, parsed)]
    if len(found) > 1 and parsed.interface is None:
        found = [resolved for resolved in found if resolved.interface == ""] or found
    if len(found) == 1:
        return found[0] if parsed.params is None else _with_index(found[0], parsed.params, interfaces)
    if found:
        raise FunctionNotFound(f"{_written(parsed)} is ambiguous; it may be {_listed([f.canonical for f in found])}")
    raise FunctionNotFound(_not_found_text(parsed, interfaces, component))


def function_names(component: ComponentType) -> list[str]:
    """Canonical names of all that can be invoked, drops included, in order of export."""
    return [name for interface in component.exports for name in _names_in(interface)]


def canonical_name(interface: str, inner: str) -> str:
    """``interface.{inner}``; at world level just ``inner``."""
    return f"{interface}.{{{inner}}}" if interface else inner


def _interfaces(wanted: str | None, component: ComponentType) -> list[Interface]:
    """Exports that an interface as written may mean. An exact name means only itself."""
    if wanted is None:
        return list(component.exports)
    exact = [interface for interface in component.exports if interface.name == wanted]
    return exact or [interface for interface in component.exports if wanted in _short_names(interface.name)]


def _short_names(full: str) -> set[str]:
    """``pkg:ns/iface@1.0.0`` may be called ``pkg:ns/iface``, ``iface@1.0.0`` and ``iface``."""
    unversioned, _, version = full.partition("@")
    last = unversioned.rpartition("/")[2]
    return {unversioned, last, f"{last}@{version}"} if version else {unversioned, last}


def _resolve_in(interface: Interface, parsed: ParsedFunctionName) -> Iterator[ResolvedFunction]:
    """What the name means in one interface: nothing or one thing."""
    functions = {function.name: function for function in interface.functions}
    resource, member = _plain(parsed.resource), _plain(parsed.member)
    if resource is None:
        if member in functions:
            yield _resolved(interface, "function", functions[member], None)
        return
    if resource not in _resources(interface):
        return
    method, static = f"[method]{resource}.{member}", f"[static]{resource}.{member}"
    constructor = f"[constructor]{resource}"
    kind = parsed.kind
    if kind in ("method", "member") and method in functions:
        yield _resolved(interface, "method", functions[method], resource)
    elif (kind == "static" or (kind == "member" and parsed.params is None)) and static in functions:
        yield _resolved(interface, "static", functions[static], resource)
    elif (kind == "constructor" or (kind == "member" and member == "new")) and constructor in functions:
        yield _resolved(interface, "constructor", functions[constructor], resource)
    elif kind == "drop" or (kind == "member" and member == "drop"):
        yield ResolvedFunction(
            interface.name,
            "drop",
            None,
            canonical_name(interface.name, f"[drop]{resource}"),
            f"{interface.name}#{resource}",
        )


def _plain(label: str | None) -> str | None:
    return None if label is None else label.removeprefix("%")


def _resolved(interface: Interface, kind: str, function: Function, resource: str | None) -> ResolvedFunction:
    return ResolvedFunction(
        interface.name,
        kind,  # type: ignore[arg-type]
        function,
        canonical_name(interface.name, function.name),
        None if resource is None else f"{interface.name}#{resource}",
    )


def _resources(interface: Interface) -> set[str]:
    """Resources an interface defines: those with functions, and those it lists and does not take from another."""
    named = {name for name, type in interface.types if type is None and resource_owner(interface, name) == interface.name}
    for function in interface.functions:
        bracket, _, rest = function.name.partition("]")
        if bracket in ("[constructor", "[method", "[static"):
            named.add(rest.partition(".")[0])
    return named


def _with_index(found: ResolvedFunction, texts: tuple[str, ...], interfaces: list[Interface]) -> ResolvedFunction:
    """The same function, of the resource that was, or will be, constructed with these parameters."""
    assert found.resource is not None, "only resources have parameters in their name"
    resource = found.resource.rpartition("#")[2]
    interface = next(i for i in interfaces if i.name == found.interface)
    constructor = next((f for f in interface.functions if f.name == f"[constructor]{resource}"), None)
    if constructor is None:
        raise FunctionNotFound(f"resource {resource} of {found.interface or 'the component'} has no constructor")
    args = tuple(
        parse(type, text, f"{resource}({param})")
        for (param, type), text in zip(_constructor_params(constructor, resource, len(texts)), texts, strict=True)
    )
    pairs = zip(constructor.params, args, strict=True)
    indexed = IndexedResource(resource, tuple(print_value(type, arg) for (_, type), arg in pairs), args, constructor)
    member = found.function.name.partition(".")[2] if found.kind == "method" and found.function is not None else ""
    member = member or {"constructor": "new", "drop": "drop"}[found.kind]
    canonical = canonical_name(found.interface, f"{resource}({', '.join(indexed.params)}).{member}")
    return replace(found, canonical=canonical, indexed=indexed)


def _constructor_params(constructor: Function, resource: str, got: int) -> tuple[tuple[str, Type], ...]:
    if len(constructor.params) != got:
        listed = ", ".join(f"{name}: {type_text(type)}" for name, type in constructor.params)
        raise WrongArity(f"{resource}({listed}) takes {len(constructor.params)} parameters, got {got}")
    return constructor.params


def _names_in(interface: Interface) -> Iterator[str]:
    for function in interface.functions:
        yield canonical_name(interface.name, function.name)
    for resource in sorted(_resources(interface)):
        yield canonical_name(interface.name, f"[drop]{resource}")


def _written(parsed: ParsedFunctionName) -> str:
    member = parsed.member or ""
    if parsed.resource is None:
        inner = member
    elif parsed.kind == "member":
        inner = f"{parsed.resource}{'' if parsed.params is None else '(…)'}.{member}"
    else:
        inner = f"[{parsed.kind}]{parsed.resource}{'.' if member else ''}{member}"
    return inner if parsed.interface is None else f"{parsed.interface}.{{{inner}}}"


def _not_found_text(parsed: ParsedFunctionName, interfaces: list[Interface], component: ComponentType) -> str:
    if not interfaces:
        exports = [interface.name for interface in component.exports if interface.name]
        return f"no exported interface is called {parsed.interface}; there are {_listed(exports)}"
    names = [name for interface in interfaces for name in _names_in(interface)]
    close = _close_matches(parsed, names)
    if close:
        return f"no function {_written(parsed)}; did you mean {_listed(close)}?"
    return f"no function {_written(parsed)}; there are {_listed(names)}"


def _close_matches(parsed: ParsedFunctionName, names: list[str]) -> list[str]:
    """Names whose last part is like the one asked for."""
    wanted = parsed.member or parsed.resource or ""
    by_end: dict[str, list[str]] = {}
    for name in names:
        inner = name.removesuffix("}").rpartition("{")[2].rpartition("]")[2]
        by_end.setdefault(inner.rpartition(".")[2], []).append(name)
    return [name for end in difflib.get_close_matches(wanted, list(by_end), n=3) for name in by_end[end]]


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = len(names) - LISTED_MAX
    return ", ".join(names[:LISTED_MAX]) + (f" and {more} more" if more > 0 else "")
