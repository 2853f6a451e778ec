"""``/openapi.json`` (OpenAPI 3.1), made from the route declarations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from golemp2p_gateway.edge import PRIMARY, Edge, Route
from golemp2p_gateway.http import Request, Response, json_bytes
from golemp2p_gateway.schemas import SCHEMAS, TEXT, ref

TITLE = "golemp2p"
ERROR_STATUSES = {
    "400": "the request cannot be read, or its values do not fit",
    "403": "a web page that the node did not serve asked, or an order came from another machine",
    "404": "no such component, worker, function, promise, node or shard",
    "409": "it exists already, or its state forbids it",
    "413": "the body is too large",
    "500": "the worker failed, or its data is damaged",
    "503": "overloaded, shutting down, or without a majority to decide; Retry-After says when to come back",
    "507": "the disk is full",
}
PRIMARY_HEADER = {
    PRIMARY.decode(): {
        "description": "where the node that runs the worker serves HTTP, as far as this node knows; any node does as well, but this"
        " one saves the way",
        "schema": TEXT,
    }
}
"""Of answers about one worker, refusals included."""


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": "Durable WebAssembly workers on a mesh of equals."},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(route: Route) -> dict[str, Any]:
    success = "101" if route.websocket else "200"
    responses: dict[str, Any] = {success: {"description": "switching to WebSocket" if route.websocket else "OK"}}
    if route.response:
        responses[success]["content"] = {media: {"schema": schema} for media, schema in route.response.items()}
    if route.tag != "node":
        for status, description in ERROR_STATUSES.items():
            responses[status] = {
                "description": description,
                "content": {"application/json": {"schema": ref("Error")}},
            }
    if _is_about_a_worker(route):
        for response in responses.values():
            response["headers"] = PRIMARY_HEADER
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [
            {
                "name": item.name, "in": item.where, "required": item.required,
                "schema": item.schema, "description": item.doc,
            }
            for item in route.params
        ],
        "responses": responses,
    }  # fmt: skip
    if route.request:
        content = {media: {"schema": schema} for media, schema in route.request.items()}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _is_about_a_worker(route: Route) -> bool:
    return "{worker_name}" in route.template or route.tag == "invocations" or route.operation == "create-worker"


async def serve_document(edge: Edge, request: Request) -> Response:
    from golemp2p_gateway.routes import ROUTES  # noqa: PLC0415 - the table names this handler

    return Response(200, json_bytes(document(ROUTES, edge.settings.version)))
