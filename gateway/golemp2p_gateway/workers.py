"""Handlers of the worker calls other than invocations (Golem 1.2 ``worker-service``)."""

from __future__ import annotations

from typing import Any

from golemp2p.errors import MalformedRequest
from golemp2p.model.ids import WorkerId
from golemp2p_gateway.components import component_id, environment
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.filters import parse_filter_texts, parse_filter_tree
from golemp2p_gateway.http import Request, Response, json_response
from golemp2p_gateway.invocations import idempotency_key
from golemp2p_gateway.shapes import parse_cursor, worker_id_json, worker_json, workers_page_json

COUNT_DEFAULT = 50  # as Golem
U64_MAX = (1 << 64) - 1


def worker_id(request: Request) -> WorkerId:
    request.worker = worker = WorkerId(component_id(request), request.params["worker_name"])
    return worker


async def _json_object(edge: Edge, request: Request) -> dict[str, Any]:
    body = await request.json(edge.settings.body_bytes_max, edge.settings.json_depth_max)
    if not isinstance(body, dict):
        raise MalformedRequest("the body must be a JSON object")
    return body


def _count(edge: Edge, count: Any) -> int:
    """At least 1; more than the limit is cut to it, since pages may be short anyway."""
    if type(count) is not int or count < 1:
        raise MalformedRequest(f"count must be a number from 1 up, got {count!r:.40}")
    return min(count, edge.settings.workers_count_max)


async def list_workers(edge: Edge, request: Request) -> Response:
    filter = parse_filter_texts(request.query.get("filter", []))
    cursor, count = request.one("cursor"), request.integer("count")
    request.flag("precise")  # statuses are always precise here
    page = await edge.client.workers(
        component_id(request),
        filter=filter,
        cursor=None if cursor is None else parse_cursor(cursor),
        count=_count(edge, COUNT_DEFAULT if count is None else count),
    )
    return json_response(workers_page_json(page))


async def find_workers(edge: Edge, request: Request) -> Response:
    body = await _json_object(edge, request)
    filter, cursor, count = body.get("filter"), body.get("cursor"), body.get("count")
    page = await edge.client.workers(
        component_id(request),
        filter=None if filter is None else parse_filter_tree(filter),
        cursor=None if cursor is None else parse_cursor(cursor),
        count=_count(edge, COUNT_DEFAULT if count is None else count),
    )
    return json_response(workers_page_json(page))


async def create_worker(edge: Edge, request: Request) -> Response:
    component = component_id(request)
    body = await _json_object(edge, request)
    name, args = body.get("name"), body.get("args", [])
    if not isinstance(name, str):
        raise MalformedRequest("name: expected a text")
    if not isinstance(args, list) or not all(isinstance(arg, str) and "\0" not in arg for arg in args):
        raise MalformedRequest("args: expected a list of texts")
    env = environment(body.get("env", {}), "env")
    request.worker = worker = WorkerId(component, name)
    created = await edge.client.create_worker(worker, args=args, env=env)
    return json_response({"workerId": worker_id_json(created.worker), "componentVersion": created.component_version})


async def get_worker(edge: Edge, request: Request) -> Response:
    return json_response(worker_json(await edge.client.worker(worker_id(request))))


async def delete_worker(edge: Edge, request: Request) -> Response:
    await edge.client.delete_worker(worker_id(request))
    return json_response({})


async def interrupt_worker(edge: Edge, request: Request) -> Response:
    recover = request.flag("recovery-immediately")
    await edge.client.interrupt_worker(worker_id(request), recover_immediately=recover)
    return json_response({})


async def resume_worker(edge: Edge, request: Request) -> Response:
    await edge.client.resume_worker(worker_id(request))
    return json_response({})


async def complete_promise(edge: Edge, request: Request) -> Response:
    worker = worker_id(request)
    body = await _json_object(edge, request)
    index, numbers = body.get("oplogIdx"), body.get("data")
    if type(index) is not int or not 0 <= index <= U64_MAX:
        raise MalformedRequest("oplogIdx: expected a number from 0 up")
    if not isinstance(numbers, list):
        raise MalformedRequest("data: expected a list of bytes (numbers from 0 to 255)")
    # bytes() would take booleans for numbers
    if not all(type(number) is int and 0 <= number <= 255 for number in numbers):
        raise MalformedRequest("data: every element must be a number from 0 to 255")
    return json_response(await edge.client.complete_promise(worker, index, bytes(numbers)))


async def cancel_invocation(edge: Edge, request: Request) -> Response:
    key = idempotency_key(request.params["idempotency_key"])
    if key is None:
        raise MalformedRequest("an idempotency key is not empty")
    return json_response({"canceled": await edge.client.cancel_invocation(worker_id(request), key)})
