"""The tree of WIT types: one description serves JSON, the journal, text, OpenAPI and the guest boundary.

Values, everywhere in golemp2p (host functions, journal, JSON codec, guest boundary), are plain Python:

    bool, s8..u64            bool, int
    f32, f64                 float (NaN and infinities included; an f32 value is exactly representable in 32 bits)
    char                     str of length 1, never a surrogate
    string                   str without surrogates
    list<u8>                 bytes
    list<T>                  list
    tuple<...>, record       tuple, in declaration order (a record's names live in its type)
    variant                  (case, payload), payload None when the case has none
    enum                     str
    flags                    tuple of str, in declaration order, no repeats
    option<T>                None, or the value; when T is itself an option, a present value is the one-tuple (value,)
    result<T, E>             ("ok", value) or ("err", value), value None when the side has no type
    own<R>, borrow<R>        int: the handle's number in the table of whoever holds it

Decoders that cannot tell lists from tuples (CBOR) may hand over a list where a tuple stands above; consumers accept both.
Equality of types is structural; the names a type carries are for people and take no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PrimitiveName: TypeAlias = Literal["bool", "s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64", "f32", "f64", "char", "string"]


@dataclass(frozen=True, slots=True)
class Primitive:
    name: PrimitiveName


@dataclass(frozen=True, slots=True)
class ListOf:
    element: Type


@dataclass(frozen=True, slots=True)
class OptionOf:
    payload: Type


@dataclass(frozen=True, slots=True)
class ResultOf:
    ok: Type | None
    err: Type | None


@dataclass(frozen=True, slots=True)
class TupleOf:
    elements: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Record:
    fields: tuple[tuple[str, Type], ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Variant:
    cases: tuple[tuple[str, Type | None], ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Enum:
    names: tuple[str, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flags:
    names: tuple[str, ...]
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Handle:
    """A resource handle. ``resource`` is ``interface#name`` (``#name`` at world level); ``owned`` is own<> against borrow<>."""

    resource: str
    owned: bool


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A type this engine cannot carry (stream, future, error-context, map). Functions that use it cannot be called."""

    text: str


Type: TypeAlias = Primitive | ListOf | OptionOf | ResultOf | TupleOf | Record | Variant | Enum | Flags | Handle | Unsupported


@dataclass(frozen=True, slots=True)
class Function:
    """A function. ``name`` is the component-model name: ``add``, ``[constructor]r``, ``[method]r.m``, ``[static]r.m``.

    A method's first parameter is ``self``.
    """

    name: str
    params: tuple[tuple[str, Type], ...]
    result: Type | None


@dataclass(frozen=True, slots=True)
class Interface:
    """An imported or exported instance. ``name`` is the full name with version, e.g. ``demo:counter/api@1.0.0``; ``""`` holds
    the functions and types that stand at world level. ``types`` are (name, type) pairs and resources (name, None)."""

    name: str
    functions: tuple[Function, ...]
    types: tuple[tuple[str, Type | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentType:
    imports: tuple[Interface, ...]
    exports: tuple[Interface, ...]
