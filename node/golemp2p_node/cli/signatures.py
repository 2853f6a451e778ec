"""Functions of a component in one line each, from the types in its metadata (Golem's ``typ`` JSON)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PRIMITIVES = {
    "Bool": "bool", "S8": "s8", "S16": "s16", "S32": "s32", "S64": "s64", "U8": "u8", "U16": "u16", "U32": "u32",
    "U64": "u64", "F32": "f32", "F64": "f64", "Chr": "char", "Str": "string",
}  # fmt: skip
DEPTH_MAX = 5  # deeper types print as …; `--wit` has all of them


def functions(exports: list[Any]) -> Iterator[str]:
    """``demo:counter/api@1.0.0.{add}(n: u64) -> u64``: the name is what `worker invoke` takes."""
    for export in exports:
        if export["type"] == "Instance":
            for function in export["functions"]:
                yield f"{export['name']}.{{{function['name']}}}{signature(function)}"
        else:
            yield f"{export['name']}{signature(export)}"


def signature(function: Any) -> str:
    params = ", ".join(f"{parameter['name']}: {type_text(parameter['typ'])}" for parameter in function["parameters"])
    results = function.get("results") or []
    arrow = f" -> {type_text(results[0]['typ'])}" if results else ""
    return f"({params}){arrow}"


def type_text(typ: Any, depth: int = 0) -> str:
    """WIT notation; types whose names the metadata does not tell are opened up in place."""
    if depth > DEPTH_MAX:
        return "…"

    def inner(part: Any) -> str:
        return type_text(part, depth + 1)

    match typ:
        case {"type": str(name)} if name in PRIMITIVES:
            return PRIMITIVES[name]
        case {"type": "List" | "Option" as name, "inner": part}:
            return f"{name.lower()}<{inner(part)}>"
        case {"type": "Tuple", "items": items}:
            return f"tuple<{', '.join(map(inner, items))}>"
        case {"type": "Record", "fields": fields}:
            listed = (f"{field['name']}: {inner(field['typ'])}" for field in fields)
            return f"record {{ {', '.join(listed)} }}"
        case {"type": "Variant", "cases": cases}:
            return f"variant {{ {', '.join(case_text(case, inner) for case in cases)} }}"
        case {"type": "Enum", "cases": names}:
            return f"enum {{ {', '.join(names)} }}"
        case {"type": "Flags", "names": names}:
            return f"flags {{ {', '.join(names)} }}"
        case {"type": "Result"}:
            return result_text(typ, inner)
        case {"type": "Handle", "mode": mode}:
            return "resource" if mode == "Owned" else "borrow<resource>"
        case {"type": "Unsupported", "text": text}:
            return str(text)
    return "…"


def case_text(case: Any, inner: Any) -> str:
    return f"{case['name']}({inner(case['typ'])})" if case.get("typ") else str(case["name"])


def result_text(typ: Any, inner: Any) -> str:
    ok, err = typ.get("ok"), typ.get("err")
    if ok is None and err is None:
        return "result"
    left = "_" if ok is None else inner(ok)
    return f"result<{left}>" if err is None else f"result<{left}, {inner(err)}>"
