"""The ``params`` of an invocation, from JSON to a tuple of checked WIT values.

Each element may be a bare value, Golem's ``{"value": v}``, or ``{"typ": t, "value": v}``; either all have ``typ`` or none. An
object with exactly these keys is the wrapped form. Only for a parameter whose own JSON could look so (a record with no
other fields than ``value`` and ``typ``, or a variant with a case ``value``, possibly inside options) is it first read as a
bare value, and as wrapped if that does not fit.
"""

from __future__ import annotations

from typing import Any

from golemp2p.errors import MalformedRequest, ValueMismatch, WrongArity
from golemp2p.model.ids import WorkerId
from golemp2p.model.wit import Function, OptionOf, Record, Type, Variant
from golemp2p.values.json import decode
from golemp2p.values.typ import check_typ
from golemp2p.values.type_text import type_text

_VALUE = frozenset({"value"})
_TYP_AND_VALUE = frozenset({"typ", "value"})


def decode_params(
    function: Function, params: Any, *, skip_self: bool = False, worker: WorkerId | None = None
) -> tuple[Any, ...]:  # fmt: skip
    """The arguments for ``function``. ``skip_self``: the caller supplies a method's ``self``, and ``params`` lacks it.

    ``worker`` is whose resource handles are acceptable. Raises ``MalformedRequest`` (not a list, or ``typ`` on some only),
    ``WrongArity``, ``ValueMismatch``.
    """
    if params.__class__ is not list:
        raise MalformedRequest("params must be an array")
    declared = function.params[1:] if skip_self else function.params
    if len(params) != len(declared):
        raise WrongArity(_arity_text(function, declared, len(params)))
    args: list[Any] = []
    typed: list[bool] = []
    for (_, type), param in zip(declared, params, strict=True):
        path = f"params[{len(args)}]"
        if param.__class__ is not dict or (param.keys() != _VALUE and param.keys() != _TYP_AND_VALUE):
            args.append(decode(type, param, path, worker=worker))
            typed.append(False)
            continue
        value, with_typ = _wrapped(type, param, path, worker)
        args.append(value)
        typed.append(with_typ)
    if any(typed) and not all(typed):
        raise MalformedRequest("either all parameters have a 'typ', or none has")
    return tuple(args)


def _wrapped(type: Type, param: dict[str, Any], path: str, worker: WorkerId | None) -> tuple[Any, bool]:
    """The value of a parameter that has the keys of the wrapped form, and whether a ``typ`` came with it."""
    if not _looks_wrapped(type):
        return _unwrapped(type, param, path, worker)
    try:
        return decode(type, param, path, worker=worker), False
    except ValueMismatch as bare:
        try:
            return _unwrapped(type, param, path, worker)
        except ValueMismatch:
            raise bare from None


def _unwrapped(type: Type, param: dict[str, Any], path: str, worker: WorkerId | None) -> tuple[Any, bool]:
    if "typ" in param:
        check_typ(type, param["typ"], f"{path}.typ")
    return decode(type, param["value"], path, worker=worker), "typ" in param


def _looks_wrapped(type: Type) -> bool:
    while isinstance(type, OptionOf):
        type = type.payload
    match type:
        case Record(fields):
            return {name for name, _ in fields} <= _TYP_AND_VALUE
        case Variant(cases):
            return any(name == "value" for name, _ in cases)
    return False


def _arity_text(function: Function, declared: tuple[tuple[str, Type], ...], got: int) -> str:
    listed = ", ".join(f"{name}: {type_text(type)}" for name, type in declared)
    plural = "" if len(declared) == 1 else "s"
    return f"{function.name} takes {len(declared)} parameter{plural}{f' ({listed})' if listed else ''}, got {got}"
