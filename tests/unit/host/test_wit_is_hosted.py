"""The WIT in ``wit/`` and the declared host functions are the same set, function by function, resource by resource."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from golemp2p.runtime.host.declare import HostInterface
from golemp2p.runtime.host.registry import host_interfaces

WIT = Path(__file__).parents[3] / "wit"
FUNCTION = re.compile(r"%?([a-z0-9-]+): func\(([^)]*)\)")


def read_wit() -> dict[str, tuple[dict[str, int], set[str]]]:
    """Interface name without version -> (function -> number of parameters with self, resources)."""
    found: dict[str, tuple[dict[str, int], set[str]]] = {}
    for path in sorted((WIT / "deps").glob("*.wit")):
        text = re.sub(r"//.*", "", path.read_text())
        package = re.search(r"package ([a-z:-]+)", text)
        assert package is not None, path
        for interface, body in blocks(text, "interface"):
            functions: dict[str, int] = {}
            free = body
            for resource, methods in blocks(body, "resource"):
                free = free.replace(methods, "")
                functions |= {f"[method]{resource}.{name}": count + 1 for name, count in signatures(methods)}
            names = set(re.findall(r"\bresource ([a-z0-9-]+)", body))
            found[f"{package[1]}/{interface}"] = (functions | dict(signatures(free)), names)
    return found


def blocks(text: str, keyword: str) -> list[tuple[str, str]]:
    """(name, body) of every ``keyword name { body }`` in ``text``; braces nest."""
    found = []
    for start in re.finditer(rf"\b{keyword} ([a-z0-9-]+) \{{", text):
        depth, end = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append((start[1], text[start.end() : end - 1]))
    return found


def signatures(text: str) -> list[tuple[str, int]]:
    return [(match[1], match[2].count(":")) for match in FUNCTION.finditer(text)]


HOSTED: dict[str, HostInterface] = {face.name: face for face in host_interfaces()}


def test_the_world_imports_every_interface() -> None:
    imports = re.findall(r"import ([a-z:/-]+)(?:@[0-9.]+)?;", (WIT / "host.wit").read_text())
    assert sorted(imports) == sorted(HOSTED)
    assert set(read_wit()) == set(imports)


@pytest.mark.parametrize("name", sorted(HOSTED))
def test_an_interface_is_hosted_in_full_and_with_nothing_extra(name: str) -> None:
    functions, resources = read_wit()[name]
    face = HOSTED[name]
    assert set(face.functions) == set(functions)
    assert set(face.resources) == resources
    for function, count in functions.items():
        parameters = list(inspect.signature(face.functions[function].body).parameters.values())[1:]
        if parameters and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        assert len(parameters) == count, function


def test_no_interface_is_declared_twice() -> None:
    names = [face.name for face in host_interfaces()]
    assert len(names) == len(set(names))
