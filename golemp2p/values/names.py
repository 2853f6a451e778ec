"""Names of functions, as Golem writes them: ``pkg:ns/iface@1.0.0.{fn}``, and what they mean for a component.

    name       = interface ".{" inner "}" | inner           interface may be short: iface, iface@1.0.0, pkg:ns/iface
    inner      = label                                      a function
               | "[constructor]" r | "[drop]" r
               | "[method]" r "." m | "[static]" r "." m
               | r "." m                                    a method or static; r.new, r.drop when there is none called so
               | r "(" WAVE, ... ")." (m | "new" | "drop")  the resource made with just these parameters, made if needed

A short name must fit one function only. The canonical name, as written in the journal, has the interface in full, brackets
(``[method]r.m``), and parameters as canonical WAVE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from golemp2p.errors import InvalidName
from golemp2p.model.wit import Function

NAME_CHARS_MAX = 8192
"""Longest function name, parameters of an indexed resource included."""

_LABEL = r"%?[A-Za-z][A-Za-z0-9-]*"
_PLAIN = re.compile(_LABEL)
_BRACKETED = re.compile(rf"\[(constructor|drop|method|static)\]({_LABEL})(?:\.({_LABEL}))?")
_DOTTED = re.compile(rf"({_LABEL})\.({_LABEL})")
_INDEXED = re.compile(rf"({_LABEL})\((.*)\)\.({_LABEL})", re.DOTALL)
_INTERFACE = re.compile(rf"(?:{_LABEL}(?::{_LABEL})*/)*{_LABEL}(?:/{_LABEL})*(?:@[0-9A-Za-z.+-]+)?")

Kind: TypeAlias = Literal["function", "constructor", "method", "static", "drop", "member"]


@dataclass(frozen=True, slots=True)
class ParsedFunctionName:
    """A name taken apart, not yet compared with a component.

    ``interface`` as written, ``None`` when absent. ``resource`` is ``None`` for plain functions. ``member`` is the function's,
    method's or static's name, ``None`` for constructor and drop. Kind ``member`` means ``r.m`` without brackets. ``params`` are
    the WAVE texts of an indexed resource, ``None`` when it is not indexed.
    """

    interface: str | None
    kind: Kind
    resource: str | None
    member: str | None
    params: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class IndexedResource:
    """A resource addressed by its constructor parameters. ``params`` are canonical WAVE texts, equal for equal ``args``."""

    resource: str
    params: tuple[str, ...]
    args: tuple[Any, ...]
    constructor: Function


@dataclass(frozen=True, slots=True)
class ResolvedFunction:
    """What a name means for one component. ``function`` is ``None`` for drop. ``canonical`` is the name for the journal.

    ``resource`` is ``interface#name`` for everything that belongs to a resource. With ``indexed``, a method's ``self`` (or what
    is dropped) is that resource, to be made by its constructor if it does not exist yet; ``kind`` constructor then means just
    this making. Callers pass ``skip_self`` to ``decode_params`` for an indexed method.
    """

    interface: str
    kind: Literal["function", "constructor", "method", "static", "drop"]
    function: Function | None
    canonical: str
    resource: str | None = None
    indexed: IndexedResource | None = None


def parse_name(text: str) -> ParsedFunctionName:
    """Raises ``InvalidName`` for what breaks the grammar."""
    if len(text) > NAME_CHARS_MAX:
        raise InvalidName(f"a function name has at most {NAME_CHARS_MAX} characters, got {len(text)}")
    interface, separator, inner = text.partition(".{")
    if not separator or not _INTERFACE.fullmatch(interface):  # the separator may stand inside of a parameter
        return _parse_inner(None, text, text)
    if not inner.endswith("}"):
        raise _invalid(text)
    return _parse_inner(interface, inner[:-1], text)


def _parse_inner(interface: str | None, inner: str, text: str) -> ParsedFunctionName:
    if _PLAIN.fullmatch(inner):
        return ParsedFunctionName(interface, "function", None, inner)
    if match := _BRACKETED.fullmatch(inner):
        kind, resource, member = match.groups()
        if (member is not None) == (kind in ("method", "static")):
            return ParsedFunctionName(interface, kind, resource, member)  # type: ignore[arg-type]
    elif match := _DOTTED.fullmatch(inner):
        return ParsedFunctionName(interface, "member", match[1], match[2])
    elif match := _INDEXED.fullmatch(inner):
        return ParsedFunctionName(interface, "member", match[1], match[3], _split_params(match[2], text))
    raise _invalid(text)


def _invalid(text: str) -> InvalidName:
    shown = text if len(text) <= 200 else text[:200] + "…"
    return InvalidName(f"{shown!r} is not a function name; write pkg:ns/interface@1.0.0.{{function}}, api.{{add}} or add")


def _split_params(text: str, name: str) -> tuple[str, ...]:
    """The WAVE texts between commas that stand outside of brackets, strings and characters."""
    parts: list[str] = []
    depth, start, place = 0, 0, 0
    while place < len(text):
        char = text[place]
        if char in "\"'":
            place = _closing_quote(text, place, name)
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                raise _invalid(name)
        elif char == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
        place += 1
    if depth != 0:
        raise _invalid(name)
    last = text[start:].strip()
    if last or parts:
        parts.append(last)
    if not all(parts):
        raise _invalid(name)
    return tuple(parts)


def _closing_quote(text: str, place: int, name: str) -> int:
    quote = text[place]
    place += 1
    while place < len(text) and text[place] != quote:
        place += 2 if text[place] == "\\" else 1
    if place >= len(text):
        raise _invalid(name)
    return place
