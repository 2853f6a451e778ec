"""The ASGI application: invocations as a plain callable, everything else through Quart, all from ``routes.ROUTES``.

    scope ──┬─ a hot route ──> handler          (no framework: it costs as much as an invocation; given up when the client leaves)
            └─ anything else ─> Quart ─> handler

Both ways end in ``answer``, so behaviour is one. Quart is given the path still percent-encoded: it matches whole segments,
and ``%2F`` in a name stays part of the name.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Any

import trio
from quart import Response as QuartResponse
from quart import request as quart_request
from quart import websocket as quart_websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from golemp2p.client import Client, Histories, MeshAdmin
from golemp2p.errors import MalformedRequest, PayloadTooLarge
from golemp2p_gateway.callers import Callers, ForeignOrigin, MisdirectedRequest
from golemp2p_gateway.connect import stream_events
from golemp2p_gateway.connection import DEPARTURE
from golemp2p_gateway.edge import Edge, Primary, Route, unknown_primary
from golemp2p_gateway.errors_table import MethodNotAllowed, UnknownRoute, error_response
from golemp2p_gateway.http import Request, Response, decode_segment
from golemp2p_gateway.metrics import UNMATCHED, EdgeMetrics
from golemp2p_gateway.multipart import OVERHEAD_BYTES_MAX
from golemp2p_gateway.router import Router
from golemp2p_gateway.routes import ROUTES
from golemp2p_gateway.settings import GatewaySettings
from golemp2p_gateway.workers import worker_id

logger = logging.getLogger(__name__)

CLOSE_INTERNAL_ERROR = 1011
CLIENT_LEFT = 499  # in metrics only, as nginx has it: nobody is there to be answered, or this node stops
LARGEST_OVERHEAD_BYTES = 2 * OVERHEAD_BYTES_MAX


class ClientDisconnected(Exception):
    """The client went away before its request was complete: nobody is left to answer."""


async def answer(edge: Edge, route: Route, request: Request) -> Response:
    """The response of a route's handler, or what the table of errors says; never raises but for the client's leaving."""
    started = perf_counter()
    try:
        response = await route.handler(edge, request)
    except ClientDisconnected:
        raise
    except RequestEntityTooLarge:  # Quart's body reader passed the largest limit there is
        response = error_response(PayloadTooLarge("the request body is too large"))
    except trio.Cancelled:
        edge.metrics.observe(route.method, route.template, CLIENT_LEFT, perf_counter() - started)
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: the table decides, and logs what is not ours
        response = error_response(error)
    response.headers += edge.primary_headers(request.worker)
    edge.metrics.observe(route.method, route.template, response.status, perf_counter() - started)
    return response


class EdgeApp:
    """ASGI 3."""

    def __init__(
        self,
        client: Client,
        settings: GatewaySettings,
        admin: MeshAdmin | None = None,
        primary: Primary = unknown_primary,
        histories: Histories | None = None,
    ) -> None:
        def statistics() -> dict[str, float]:
            return {**({} if histories is None else histories.statistics()), **client.statistics()}

        metrics = EdgeMetrics(statistics) if admin is None else EdgeMetrics(statistics, admin.figures)
        self.edge = Edge(client, settings, metrics, admin, primary, histories)
        self._hot = Router(route for route in ROUTES if route.hot)
        self._quart = make_quart(self.edge)
        self._callers = Callers(settings)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._quart(scope, receive, send)
            return
        raw_path: bytes = scope["raw_path"]
        try:
            self._callers.check(scope["headers"])
        except (MisdirectedRequest, ForeignOrigin) as error:
            response = error_response(error)
            self.edge.metrics.observe(UNMATCHED, UNMATCHED, response.status, 0.0)
            await _send(response, send, "websocket.http" if kind == "websocket" else "http")
            return
        if kind == "http":
            try:
                matched = self._hot.match(scope["method"], raw_path)
                if matched is None and not raw_path.startswith(b"/"):
                    raise UnknownRoute(f"no such path: {raw_path[:200].decode('latin-1')!r}")
            except (MalformedRequest, UnknownRoute) as error:
                await _send(error_response(error), send)
                return
            if matched is not None:
                await self._serve_hot(*matched, scope, receive, send)
                return
        inner: Any = {**scope, "path": raw_path.decode("latin-1")}
        await self._quart(inner, receive, send)

    async def _serve_hot(self, route: Route, params: dict[str, str], scope: Any, receive: Any, send: Any) -> None:
        request = Request(route.method, params, scope["query_string"], scope["headers"], lambda: AsgiBody(receive))
        response = None
        with trio.CancelScope() as serving:
            departure = scope.get("extensions", {}).get(DEPARTURE)
            if departure is not None:
                departure.on = serving.cancel
            try:
                response = await answer(self.edge, route, request)
            except ClientDisconnected:
                return
        if response is not None:
            await _send(response, send)


class AsgiBody:
    """The pieces of a request's body. An iterator rather than a generator: it may be left half way with nothing to close."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._more = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self._more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            self._more = message.get("more_body", False)
            body: bytes = message.get("body", b"")
            if body:
                return body
        raise StopAsyncIteration


async def _send(response: Response, send: Any, kind: str = "http") -> None:
    await send({"type": f"{kind}.response.start", "status": response.status, "headers": response.all_headers()})
    await send({"type": f"{kind}.response.body", "body": response.body, "more_body": False})


# ---------------------------------------------------------------------------------------------------------------- Quart


def make_quart(edge: Edge) -> QuartTrio:
    app = QuartTrio(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # names may be odd, but they are what was asked for
    app.config["MAX_CONTENT_LENGTH"] = (
        max(edge.settings.component_bytes_max, edge.settings.body_bytes_max) + LARGEST_OVERHEAD_BYTES
    )
    app.config["RESPONSE_TIMEOUT"] = None  # invocations and downloads take what they take; the server times stalls
    app.config["BODY_TIMEOUT"] = None
    for route in ROUTES:
        rule = route.template.replace("{", "<").replace("}", ">")
        if route.websocket:
            app.add_websocket(rule, route.operation, _websocket_view(edge, route))
        app.add_url_rule(
            rule, f"{route.operation}.http", _view(edge, route), methods=[route.method],
            provide_automatic_options=False,
        )  # fmt: skip
    app.register_error_handler(HTTPException, _refusal(edge))
    return app


def _view(edge: Edge, route: Route) -> Callable[..., Any]:
    async def view(**segments: str) -> QuartResponse:
        try:
            params = {name: decode_segment(value) for name, value in segments.items()}
        except MalformedRequest as error:
            return _quart_response(error_response(error))
        scope = quart_request.scope
        headers = list(scope["headers"])
        client = scope.get("client")
        request = Request(
            route.method, params, scope["query_string"], headers, lambda: aiter(quart_request.body),
            client=client[0] if client else None,
        )  # fmt: skip
        return _quart_response(await answer(edge, route, request))

    return view


def _quart_response(response: Response) -> QuartResponse:
    body = response.body if response.stream is None else response.stream
    quart_response = QuartResponse(body, response.status)
    quart_response.headers.clear()
    for name, value in response.all_headers():
        quart_response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return quart_response


def _refusal(edge: Edge) -> Callable[[HTTPException], Any]:
    """What Quart itself refuses: unknown paths and methods."""

    async def refuse(error: HTTPException) -> QuartResponse:
        method, path = quart_request.method, quart_request.path
        match error:
            case WerkzeugNotFound():
                ours: Exception = UnknownRoute(f"no such path: {path[:200]!r}")
            case WerkzeugMethodNotAllowed():
                allowed = sorted(set(error.valid_methods or ()))
                ours = MethodNotAllowed(method[:20], path[:200], tuple(allowed))
            case RequestEntityTooLarge():
                ours = PayloadTooLarge("the request body is too large")
            case _:
                ours = MalformedRequest(error.description or error.name)
        response = error_response(ours)
        edge.metrics.observe(UNMATCHED, UNMATCHED, response.status, 0.0)
        return _quart_response(response)

    return refuse


def _websocket_view(edge: Edge, route: Route) -> Callable[..., Any]:
    async def view(**segments: str) -> QuartResponse | None:
        accepted = False

        async def accept() -> None:
            nonlocal accepted
            headers = {name.decode(): value.decode() for name, value in edge.primary_headers(request.worker)}
            await quart_websocket.accept(headers=headers)
            accepted = True
            nursery.start_soon(_discard)

        async with trio.open_nursery() as nursery:
            code, reason = CLOSE_INTERNAL_ERROR, ""
            request = Request("GET", segments, b"", (), lambda: AsgiBody(None))
            try:
                request.params = {name: decode_segment(value) for name, value in segments.items()}
                code, reason = await stream_events(edge, worker_id(request), accept, quart_websocket.send)
            except Exception as error:
                response = error_response(error)
                response.headers += edge.primary_headers(request.worker)
                if not accepted:
                    edge.metrics.observe(route.method, route.template, response.status, 0.0)
                    return _quart_response(response)
                logger.exception("event_stream_failed")
            nursery.cancel_scope.cancel()
        await quart_websocket.close(code, reason)
        return None

    return view


async def _discard() -> None:
    while True:
        await quart_websocket.receive()
