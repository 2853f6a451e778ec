"""WIT text of a component: what it exports and, if asked, imports.

    package root:component;

    world root {
      import wasi:clocks/wall-clock@0.2.0;
      export demo:counter/api@1.0.0;
      export ping: func() -> string;
    }

    package demo:counter@1.0.0 {
      interface api {
        ...
      }
    }

A binary does not say what its package and world were called, nor carries comments; aliases of equal types are printed as
types of their own. A type that has a name but is not listed by its interface is declared where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from golemp2p.model.wit import ComponentType, Interface
from golemp2p.values.wit_interface import InterfacePrinter, identifier

INDENT = "  "


def wit_text(component: ComponentType, *, imports: bool = False) -> str:
    """WIT of the exports (and ``imports``), ending with a newline."""
    lines = ["package root:component;", "", "world root {"]
    if imports:
        lines += _world_items("import", component.imports)
    lines += _world_items("export", component.exports)
    lines.append("}")
    shown = (*(component.imports if imports else ()), *component.exports)
    printed: set[str] = set()
    for interface in shown:
        if ":" in interface.name and interface.name not in printed:
            printed.add(interface.name)
            lines += ["", *_package(interface)]
    return "\n".join(lines) + "\n"


def _world_items(keyword: str, interfaces: tuple[Interface, ...]) -> Iterator[str]:
    for interface in interfaces:
        printer = InterfacePrinter(interface)
        if ":" in interface.name:
            yield f"{INDENT}{keyword} {interface.name};"
        elif interface.name:
            yield f"{INDENT}{keyword} {identifier(interface.name)}: interface {{"
            yield from _indented(printer.body(), 2)
            yield f"{INDENT}}}"
        else:
            yield from _indented(printer.types(), 1)
            for function in interface.functions:
                if not function.name.startswith("["):
                    yield f"{INDENT}{keyword} {printer.function(function)};"


def _package(interface: Interface) -> Iterator[str]:
    """The interface inside a package block of its own."""
    path, at, version = interface.name.partition("@")
    package, _, name = path.rpartition("/")
    yield f"package {package}{at}{version} {{"
    yield f"{INDENT}interface {identifier(name)} {{"
    yield from _indented(InterfacePrinter(interface).body(), 2)
    yield f"{INDENT}}}"
    yield "}"


def _indented(lines: Iterable[str], levels: int) -> Iterator[str]:
    return (f"{INDENT * levels}{line}" if line else line for line in lines)
