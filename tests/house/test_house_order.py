"""Cores never go through a set: its order differs from process to process, and a seed would not decide everything any more.

Found by syntax alone: displays, comprehensions and calls that make sets, what operators make of them, and names or attributes that are
annotated as sets or assigned one. A dictionary with ``None`` for values keeps its order. Asking a set is fine, and so is sorting it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from house import python_files, tree

CORES = python_files("golemp2p/core/", "golemp2p/model/")
MAKERS = {"set", "frozenset"}
METHODS = {"union", "intersection", "difference", "symmetric_difference"}
INDIFFERENT = {"sorted", "set", "frozenset", "len", "min", "max", "sum", "any", "all", "isdisjoint", "issubset", "issuperset"}
"""Callables whose result does not depend on the order of what they are given."""
WALKERS = {
    "list",
    "tuple",
    "iter",
    "next",
    "enumerate",
    "map",
    "filter",
    "zip",
    "reversed",
    "fromkeys",
    "extend",
    "join",
    "deque",
    "dict",
}


def name_of(node: ast.expr | None) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return name_of(value)
    return ""


def is_set_type(annotation: ast.expr | None) -> bool:
    return name_of(annotation) in {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}


class Sets:
    """The set expressions of one module. ``attributes``: names of attributes that hold sets anywhere in the cores."""

    def __init__(self, module: ast.AST, attributes: frozenset[str] = frozenset()) -> None:
        self.attributes = attributes
        self.names: dict[str, None] = {}
        for node in ast.walk(module):
            match node:
                case ast.AnnAssign(target=target, annotation=annotation) if is_set_type(annotation):
                    self.names[name_of(target)] = None
                case ast.arg(arg=name, annotation=annotation) if is_set_type(annotation):
                    self.names[name] = None
                case ast.Assign(targets=[target], value=value) if self.holds(value):
                    self.names[name_of(target)] = None

    def holds(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id=name)):
                return name in MAKERS
            case ast.Call(func=ast.Attribute(attr=name, value=value)):
                return name in METHODS or (name == "copy" and self.holds(value))
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return self.holds(left) or self.holds(right)
            case ast.IfExp(body=body, orelse=orelse):
                return self.holds(body) or self.holds(orelse)
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(attr=name):
                return name in self.attributes
        return False


def walks(node: ast.AST) -> list[ast.expr]:
    """What ``node`` goes through, one by one, in an order that shows."""
    match node:
        case ast.For(iter=walked):
            return [walked]
        case (
            ast.ListComp(generators=generators) | ast.DictComp(generators=generators) | ast.GeneratorExp(generators=generators)
        ):
            return [generator.iter for generator in generators]
        case ast.Starred(value=walked) | ast.YieldFrom(value=walked):
            return [walked]
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=walked):
            return [walked]
        case ast.Call(func=func, args=arguments) if name_of(func) in WALKERS:
            return arguments
    return []


def indifferent(module: ast.AST) -> Iterator[ast.AST]:
    """Comprehensions and unpackings whose order is lost at once."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=func, args=arguments) if name_of(func) in INDIFFERENT:
                yield from arguments
            case ast.Set(elts=elements):
                yield from elements


def strays(module: ast.AST, attributes: frozenset[str] = frozenset()) -> list[int]:
    sets = Sets(module, attributes)
    excused = list(indifferent(module))
    return [walked.lineno for node in ast.walk(module) if node not in excused for walked in walks(node) if sets.holds(walked)]


def set_attributes() -> frozenset[str]:
    bodies = [node.body for path in CORES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    fields = [line for body in bodies for line in body if isinstance(line, ast.AnnAssign) and is_set_type(line.annotation)]
    assigned = [
        node.target
        for path in CORES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute) and is_set_type(node.annotation)
    ]
    return frozenset(map(name_of, (*(line.target for line in fields), *assigned)))


def test_cores_never_go_through_a_set() -> None:
    attributes = set_attributes()
    assert [f"{path}:{line}" for path in CORES for line in strays(tree(path), attributes)] == []


def test_what_the_search_finds() -> None:
    found = """
for x in {1, 2}: pass
[x for x in set(y)]
held: set[int] = make()
list(held)
{x: 1 for x in held | other}
(*held, 3)
other = frozenset(y)
first, second = other
tuple(self.members)
",".join(a.union(b))
"""
    fine = """
for x in sorted({1, 2}): pass
held: set[int] = make()
3 in held, len(held), sorted(held), any(x > 1 for x in held), {*held, 3}, {x for x in held}
for x in {"a": 1}: pass
for x in [1]: pass
self.members <= held
"""
    lines = strays(ast.parse(found), frozenset({"members"}))
    assert sorted(lines) == [2, 3, 5, 6, 7, 9, 10, 11]
    assert strays(ast.parse(fine), frozenset({"members"})) == []
