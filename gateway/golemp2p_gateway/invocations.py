"""Handlers of invocations: the hot path. They run as bare ASGI, beside Quart (``app``)."""

from __future__ import annotations

from typing import Any

from golemp2p.errors import InvalidName, MalformedRequest
from golemp2p.model.ids import IDEMPOTENCY_KEY_BYTES_MAX, ComponentId, WorkerId
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.http import Request, Response, json_response
from golemp2p_gateway.typed import result_bytes

IDEMPOTENCY_KEY = b"idempotency-key"


async def _invocation(edge: Edge, request: Request) -> tuple[ComponentId, str | None, str, Any, str | None]:
    """(component, worker name, function, params, idempotency key) of an invocation request."""
    settings = edge.settings
    component = ComponentId.parse(request.params["component_id"])
    worker = request.params.get("worker_name")
    function = request.required("function")
    key = idempotency_key(request.header(IDEMPOTENCY_KEY))
    body = await request.json(settings.body_bytes_max, settings.json_depth_max)
    params = body.get("params") if type(body) is dict else None
    if type(params) is not list:
        raise MalformedRequest('the body must be an object with a list "params"')
    if worker is not None:
        request.worker = WorkerId(component, worker)
    return component, worker, function, params, key


def idempotency_key(key: str | None) -> str | None:
    """Empty counts as not given."""
    if key is not None and len(key.encode()) > IDEMPOTENCY_KEY_BYTES_MAX:
        raise InvalidName(f"an idempotency key has at most {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
    return key or None


async def invoke_and_await(edge: Edge, request: Request) -> Response:
    component, worker, function, params, key = await _invocation(edge, request)
    result = await edge.client.invoke(component, worker, function, params, idempotency_key=key)
    if worker is None:
        request.worker = result.worker
    return Response(200, result_bytes(result, request.worker))


async def invoke(edge: Edge, request: Request) -> Response:
    component, worker, function, params, key = await _invocation(edge, request)
    request.worker = await edge.client.enqueue(component, worker, function, params, idempotency_key=key)
    return json_response({})
