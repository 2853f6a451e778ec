"""What a component exports, as JSON: Golem's ``AnalysedExport`` trees for its metadata, and JSON schemas for OpenAPI."""

from __future__ import annotations

from typing import Any

from golemp2p.model.wit import (
    ComponentType,
    Enum,
    Flags,
    Function,
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
from golemp2p.values.compiled import TYPE_DEPTH_MAX
from golemp2p.values.scalars import INTEGER_RANGES
from golemp2p.values.typ import ResourceNumbers, to_typ
from golemp2p.values.type_text import type_text

Schema = dict[str, Any]


def analysed_exports(component: ComponentType) -> list[dict[str, Any]]:
    """``metadata.exports`` of a component: functions at world level first, then one ``Instance`` per interface."""
    resources = ResourceNumbers(component)
    functions: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for interface in component.exports:
        analysed = [analysed_function(function, resources) for function in interface.functions]
        if interface.name == "":
            functions.extend({"type": "Function", **function} for function in analysed)
        else:
            instances.append({"type": "Instance", "name": interface.name, "functions": analysed})
    return functions + instances


def analysed_function(function: Function, resources: ResourceNumbers | None = None) -> dict[str, Any]:
    """``{"name", "parameters": [{"name", "typ"}], "results": [{"name": null, "typ"}]}``."""
    numbers = ResourceNumbers() if resources is None else resources
    results = [] if function.result is None else [{"name": None, "typ": to_typ(function.result, numbers)}]
    return {
        "name": function.name,
        "parameters": [{"name": name, "typ": to_typ(type, numbers)} for name, type in function.params],
        "results": results,
    }


def result_typ(result: Type | None, resources: ResourceNumbers | None = None) -> dict[str, Any]:
    """``typ`` of an invocation's result, which Golem always wraps in a tuple of none or one."""
    return {"type": "Tuple", "items": [] if result is None else [to_typ(result, resources)]}


def json_schema(type: Type) -> Schema:
    """JSON Schema (2020-12, as OpenAPI 3.1 uses) of a type's JSON form. Everything it admits that the type refuses is
    refused when decoding; it is documentation."""
    return _schema(type, 0)


def _schema(type: Type, depth: int) -> Schema:
    if depth > TYPE_DEPTH_MAX:
        return {}
    deeper = depth + 1
    schema: Schema
    match type:
        case Primitive():
            return _primitive_schema(type.name)
        case ListOf(element):
            return {"type": "array", "items": _schema(element, deeper)}
        case TupleOf(elements):
            return _tuple_schema([_schema(element, deeper) for element in elements])
        case Record(fields):
            schema = _object_schema({name: _schema(part, deeper) for name, part in fields})
            schema["required"] = [name for name, part in fields if not isinstance(part, OptionOf)]
        case Variant(cases):
            schema = _one_of({name: None if part is None else _schema(part, deeper) for name, part in cases})
        case ResultOf(ok, err):
            sides = {"ok": ok, "err": err}
            return _one_of({side: None if part is None else _schema(part, deeper) for side, part in sides.items()})
        case Enum(names):
            schema = {"type": "string", "enum": list(names)}
        case Flags(names):
            schema = {"type": "array", "items": {"type": "string", "enum": list(names)}, "uniqueItems": True}
        case OptionOf(OptionOf() as inner):
            present = {**_object_schema({"some": _schema(inner, deeper)}), "required": ["some"]}
            return {"oneOf": [{"type": "null"}, present]}
        case OptionOf(payload):
            return {"anyOf": [_schema(payload, deeper), {"type": "null"}]}
        case Handle():
            return {"type": "string", "pattern": "^urn:worker:[^/]+/[^/]+/[0-9]+$", "description": type_text(type)}
        case Unsupported(text):
            return {"not": {}, "description": f"{text} cannot be carried"}
    if type.name is not None:
        schema["title"] = type.name
    return schema


def _primitive_schema(name: str) -> Schema:
    if name in INTEGER_RANGES:
        low, high = INTEGER_RANGES[name]
        return {"type": "integer", "minimum": low, "maximum": high}
    if name in ("f32", "f64"):
        number = {"type": "number", "format": "float" if name == "f32" else "double"}
        return {"anyOf": [number, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
    if name == "char":
        return {"type": "integer", "minimum": 0, "maximum": 0x10FFFF, "description": "Unicode code point"}
    return {"type": "boolean" if name == "bool" else "string"}


def _tuple_schema(items: list[Schema]) -> Schema:
    if not items:
        return {"type": "array", "maxItems": 0}
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _object_schema(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _one_of(sides: dict[str, Schema | None]) -> Schema:
    return {
        "oneOf": [
            {**_object_schema({name: {"type": "null"} if part is None else part}), "required": [name]}
            for name, part in sides.items()
        ]
    }
