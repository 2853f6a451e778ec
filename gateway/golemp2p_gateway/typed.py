"""Typed values in answers: ``{"typ", "value"}`` pairs, and invocation results with their types printed once and kept."""

from __future__ import annotations

from typing import Any

from golemp2p.errors import ValueMismatch
from golemp2p.model.ids import WorkerId
from golemp2p.model.wit import Type
from golemp2p.model.worker import InvocationResult
from golemp2p.values.compiled import TypeCompiler
from golemp2p.values.json import encode
from golemp2p.values.typ import to_typ
from golemp2p_gateway.http import json_bytes

_typ_bytes: TypeCompiler[bytes] = TypeCompiler(lambda type, _child: json_bytes(to_typ(type)))
"""The JSON text of a type's ``typ``. Resources are numbered as they come: numbers mean nothing across answers."""

EMPTY_RESULT = b'{"result":{"typ":{"type":"Tuple","items":[]},"value":[]}}'


def value_and_type(type: Type, value: Any, worker: WorkerId | None) -> dict[str, Any]:
    """Golem's ``ValueAndType``."""
    return {"typ": to_typ(type), "value": encode(type, value, worker=worker)}


def result_bytes(result: InvocationResult, worker: WorkerId | None) -> bytes:
    """The body that answers an invocation: the result as a tuple of none or one.

    ``worker`` is whose handles the value holds. A value that does not fit its type is our mistake, not the caller's.
    """
    if result.type is None:
        return EMPTY_RESULT
    try:
        value = encode(result.type, result.value, worker=worker)
    except ValueMismatch as error:
        raise AssertionError(f"the result of an invocation does not fit its type: {error}") from error
    return b'{"result":{"typ":{"type":"Tuple","items":[%b]},"value":[%b]}}' % (
        _typ_bytes(result.type),
        _number(value) if value.__class__ is int else json_bytes(value),
    )


def _number(value: int) -> bytes:
    return b"%d" % value
