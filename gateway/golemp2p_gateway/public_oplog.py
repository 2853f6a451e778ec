"""Oplog entries as Golem 1.2's ``PublicOplogEntry`` JSON: payloads decoded and typed by the component's own types.

Where we differ:

* a host call's ``request`` is ``{"hash": hex}``: the journal holds the hash alone;
* entries that Golem does not know keep their names (``PromiseCreated``, ``PromiseCompleted``, ``PromiseDeleted``, ``Resumed``,
  ``InvocationRefused``), ``Error`` also tells ``code`` and ``retried``, ``Suspend`` its ``wakeAt``, ``Exited`` its ``status``;
* delays of retry policies are seconds; a payload whose type is not known is shown as a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from golemp2p.errors import Golemp2pError
from golemp2p.model import entries as e
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.wit import Function, Handle, Type
from golemp2p.model.worker import ComponentInfo
from golemp2p.values.cbor import loads
from golemp2p.values.check import check
from golemp2p.values.names import ResolvedFunction
from golemp2p.values.resolve import resolve
from golemp2p_gateway.shapes import time_json, worker_id_json
from golemp2p_gateway.typed import value_and_type

TEXT_CHARACTERS_MAX = 4096  # of a payload shown without its type

_FUNCTION_TYPES = {
    "read-local": "ReadLocal", "write-local": "WriteLocal", "read-remote": "ReadRemote", "write-remote": "WriteRemote",
    "write-remote-batched": "WriteRemoteBatched", "pure": "Pure",
}  # fmt: skip

_NAMES: dict[type, str] = {
    e.PendingInvocation: "PendingWorkerInvocation",
    e.CancelPendingInvocation: "CancelInvocation",
    e.Failed: "Error",
}


def text_value(value: Any) -> dict[str, Any]:
    """A value of unknown type, as a text."""
    text = repr(value)
    if len(text) > TEXT_CHARACTERS_MAX:
        text = f"{text[:TEXT_CHARACTERS_MAX]}... ({len(text)} characters)"
    return {"typ": {"type": "Str"}, "value": text}


class PublicOplog:
    """Turns entries of one worker into JSON. Entries are given in order, since a result's type is that of the invocation
    begun before it."""

    def __init__(self, worker: WorkerId, info: ComponentInfo) -> None:
        self._worker = worker
        self._info = info
        self._exports: dict[str, ResolvedFunction | None] = {}
        self._imports = {
            f"{interface.name.partition('@')[0]}::{function.name}": function
            for interface in info.type.imports
            for function in interface.functions
        }
        self._running: str | None = None
        self._special: dict[type, Callable[[Any], dict[str, Any]]] = {
            e.Create: self._create,
            e.ExportedFunctionInvoked: self._invoked,
            e.ExportedFunctionCompleted: self._completed,
            e.ImportedFunctionInvoked: self._host_call,
            e.PendingInvocation: self._pending,
            e.DescribeResource: self._describe_resource,
            e.PromiseCompleted: self._promise_completed,
            e.Jump: lambda entry: {"jump": {"start": entry.start, "end": entry.end}},
            e.ChangeRetryPolicy: lambda entry: {"newPolicy": _policy_json(entry.policy)},
            e.Suspend: lambda entry: {} if entry.wake_ns is None else {"wakeAt": time_json(entry.wake_ns)},
            e.Failed: lambda entry: {"error": entry.message, "code": entry.code, "retried": entry.retried},
            e.GrowMemory: lambda entry: {"delta": entry.delta_bytes},
            e.CreateResource: lambda entry: {"id": entry.resource, "resourceName": entry.name},
            e.DropResource: lambda entry: {"id": entry.resource},
            e.Log: lambda entry: {
                "level": entry.level.capitalize(), "context": entry.context, "message": entry.message,
            },
        }  # fmt: skip

    def running(self, function: str) -> None:
        """Tell which function was running before the first entry."""
        self._running = function

    def entry(self, entry: e.Entry) -> dict[str, Any]:
        kind = type(entry)
        special = self._special.get(kind)
        body = {"type": _NAMES.get(kind, kind.__name__), "timestamp": time_json(entry.time_ns)}
        body.update(_plain(entry) if special is None else special(entry))
        return body

    def _create(self, entry: e.Create) -> dict[str, Any]:
        body: dict[str, Any] = {
            "workerId": worker_id_json(WorkerId(ComponentId.parse(entry.component_id), entry.worker_name)),
            "componentVersion": entry.component_version,
            "args": list(entry.args),
            "env": dict(entry.env),
            "componentSize": entry.component_size,
            "initialTotalLinearMemorySize": entry.memory_initial,
            "initialActivePlugins": [],
        }
        if entry.parent is not None:
            body["parent"] = entry.parent
        return body

    def _invoked(self, entry: e.ExportedFunctionInvoked) -> dict[str, Any]:
        self._running = entry.function
        return {
            "functionName": entry.function,
            "request": self._arguments(entry.function, entry.request),
            "idempotencyKey": entry.idempotency_key,
            "traceId": "",
            "traceStates": [],
            "invocationContext": [],
        }

    def _pending(self, entry: e.PendingInvocation) -> dict[str, Any]:
        return {
            "invocation": {
                "type": "ExportedFunction",
                "idempotencyKey": entry.idempotency_key,
                "fullFunctionName": entry.function,
                "functionInput": self._arguments(entry.function, entry.request),
            }
        }

    def _completed(self, entry: e.ExportedFunctionCompleted) -> dict[str, Any]:
        resolved = None if self._running is None else self._export(self._running)
        response: dict[str, Any] | None = None
        if resolved is None:
            response = text_value(_decoded(entry.response))
        elif resolved.function is not None and resolved.function.result is not None:
            response = self._typed(resolved.function.result, entry.response)
        return {"response": response, "consumedFuel": entry.consumed_fuel}

    def _host_call(self, entry: e.ImportedFunctionInvoked) -> dict[str, Any]:
        function: Function | None = self._imports.get(entry.function)
        if function is None or function.result is None:
            response = text_value(_decoded(entry.response))
        else:
            response = self._typed(function.result, entry.response)
        return {
            "functionName": entry.function,
            "request": {"hash": entry.request_hash.hex()},
            "response": response,
            "wrappedFunctionType": {"type": _FUNCTION_TYPES.get(entry.function_type, entry.function_type)},
        }

    def _describe_resource(self, entry: e.DescribeResource) -> dict[str, Any]:
        return {
            "id": entry.resource,
            "resourceName": entry.name,
            "resourceParams": [{"typ": {"type": "Str"}, "value": text} for text in entry.params],
        }

    def _promise_completed(self, entry: e.PromiseCompleted) -> dict[str, Any]:
        data = entry.data
        shown = list(data) if isinstance(data, bytes) else _decoded(data)
        return {"promiseIndex": entry.promise_index, "data": shown}

    def _export(self, name: str) -> ResolvedFunction | None:
        """``None`` for a function that this version of the component does not have."""
        if name not in self._exports:
            try:
                self._exports[name] = resolve(name, self._info.type)
            except Golemp2pError:
                self._exports[name] = None
        return self._exports[name]

    def _arguments(self, function: str, request: e.Payload) -> list[dict[str, Any]]:
        values = _decoded(request)
        resolved = self._export(function)
        types = [] if resolved is None else _argument_types(resolved)
        if not isinstance(values, list | tuple) or len(values) != len(types):
            return [text_value(values)]
        return [self._typed_value(type, value) for type, value in zip(types, values, strict=True)]

    def _typed(self, type: Type, payload: e.Payload) -> dict[str, Any]:
        return self._typed_value(type, _decoded(payload))

    def _typed_value(self, type: Type, value: Any) -> dict[str, Any]:
        """What a host function journals need not be its result; then it is shown as it is."""
        try:
            return value_and_type(type, check(type, value), self._worker)
        except Golemp2pError:
            return text_value(value)


def _argument_types(resolved: ResolvedFunction) -> list[Type]:
    """Of what the journal holds as arguments: an indexed resource is told in the name, not as ``self``."""
    if resolved.indexed is not None:
        function = resolved.function if resolved.kind == "method" else None
        return [] if function is None else [type for _, type in function.params[1:]]
    if resolved.function is None:
        return [Handle(resolved.resource or "", owned=True)]
    return [type for _, type in resolved.function.params]


def _decoded(payload: e.Payload) -> Any:
    if isinstance(payload, e.BlobRef):
        return f"blob {payload.sha256.hex()} ({payload.size_bytes} bytes)"
    try:
        return loads(payload)
    except (Golemp2pError, ValueError):
        return payload


def _policy_json(policy: e.RetryPolicy) -> dict[str, Any]:
    return {
        "maxAttempts": policy.attempts_max,
        "minDelay": policy.delay_min_s,
        "maxDelay": policy.delay_max_s,
        "multiplier": policy.multiplier,
        "maxJitterFactor": policy.jitter,
    }


def _plain(entry: e.Entry) -> dict[str, Any]:
    """Fields under their camelCase names, for entries whose fields are numbers and texts."""
    return {_camel(name): value for name, value in zip(entry._fields, entry, strict=True) if name != "time_ns"}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
