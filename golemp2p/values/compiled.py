"""Work done once per type: a WIT type is turned into a closure, and closures are found again by the type's identity.

    type tree --build--> closure tree --called once per value--> result

Walking a type with ``match`` for every value costs several microseconds per node; a closure costs a call. Closures are
kept by *identity* of the type object, not by equality: hashing a type walks all of it, and equal types may carry
different names, which error messages show. The types of a component live as long as the component, so identity hits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from golemp2p.errors import InvalidComponent
from golemp2p.model.wit import Type

T = TypeVar("T")

TYPE_DEPTH_MAX = 100
"""Nesting of a type; wasm tools refuse deeper ones. It bounds our recursion, as values are walked along their type."""

CACHED_TYPES_MAX = 16_384
"""Types kept per cache before it is emptied: some hundred components' worth, a few MB."""


class TypeCompiler(Generic[T]):
    """``compiler(type)`` is the closure for a type. ``build(type, child)`` makes one, asking ``child(part)`` for its
    parts.

    Raises ``InvalidComponent`` for types nested deeper than ``TYPE_DEPTH_MAX``.
    """

    def __init__(self, build: Callable[[Type, Callable[[Type], T]], T]) -> None:
        self._build = build
        # id -> (the type, kept so that its id is not given away; its closure; its height). Heights, because a cached part
        # is not walked again: without them, types compiled in steps could grow deeper than any compiled at once.
        self._ready: dict[int, tuple[Type, T, int]] = {}

    def __call__(self, type: Type) -> T:
        found = self._ready.get(id(type))
        return found[1] if found is not None else self._compile(type, 0)[1]

    def _compile(self, type: Type, depth: int) -> tuple[Type, T, int]:
        found = self._ready.get(id(type))
        if found is not None:
            return found
        height = 0

        def child(part: Type) -> T:
            nonlocal height
            _, closure, part_height = self._compile(part, depth + 1)
            height = max(height, part_height + 1)
            return closure

        if depth <= TYPE_DEPTH_MAX:
            built = self._build(type, child)
        if max(depth, height) > TYPE_DEPTH_MAX:
            raise InvalidComponent(f"a type is nested deeper than {TYPE_DEPTH_MAX} levels")
        if len(self._ready) >= CACHED_TYPES_MAX:
            self._ready.clear()
        self._ready[id(type)] = result = (type, built, height)
        return result
