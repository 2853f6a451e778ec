"""WIT text of a single type, as it stands inside a signature or in an error message.

type_text   point, list<point>, result<_, string>      named types by name
definition  record point { x: s32, y: s32 }            the type opened up one level, parts by name
"""

from __future__ import annotations

from golemp2p.model.wit import (
    Enum,
    Flags,
    Handle,
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

DEPTH_MAX = 6
"""Anonymous types nested deeper than this print as ``_``: the text is for people, and must stay short for any type."""


def type_text(type: Type, depth: int = 0) -> str:
    """The type as used in a signature. A type without a name is opened up in place."""
    if depth > DEPTH_MAX:
        return "_"
    deeper = depth + 1
    match type:
        case Primitive():
            return type.name
        case ListOf(element):
            return f"list<{type_text(element, deeper)}>"
        case OptionOf(payload):
            return f"option<{type_text(payload, deeper)}>"
        case TupleOf(elements):
            return f"tuple<{', '.join(type_text(element, deeper) for element in elements)}>"
        case ResultOf(ok, err):
            return _result_text(ok, err, deeper)
        case Handle(resource, owned):
            name = resource.rpartition("#")[2]
            return name if owned else f"borrow<{name}>"
        case Unsupported(text):
            return text
        case Record() | Variant() | Enum() | Flags():
            return type.name if type.name is not None else definition(type, deeper)


def definition(type: Type, depth: int = 0) -> str:
    """The type opened up: ``record point { x: s32, y: s32 }``. Types that have no body print as in ``type_text``."""
    match type:
        case Record():
            parts = [f"{name}: {type_text(part, depth + 1)}" for name, part in type.fields]
            keyword = "record"
        case Variant():
            parts = [name if part is None else f"{name}({type_text(part, depth + 1)})" for name, part in type.cases]
            keyword = "variant"
        case Enum():
            parts, keyword = list(type.names), "enum"
        case Flags():
            parts, keyword = list(type.names), "flags"
        case _:
            return type_text(type, depth)
    head = keyword if type.name is None else f"{keyword} {type.name}"
    return f"{head} {{ {', '.join(parts)} }}" if parts else f"{head} {{}}"


def _result_text(ok: Type | None, err: Type | None, depth: int) -> str:
    if err is None:
        return "result" if ok is None else f"result<{type_text(ok, depth)}>"
    return f"result<{'_' if ok is None else type_text(ok, depth)}, {type_text(err, depth)}>"
