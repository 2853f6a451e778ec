"""Handlers about the node itself: health, version, metrics, compilations."""

from __future__ import annotations

from golemp2p.errors import MalformedRequest, NotFound
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.http import Request, Response, json_response
from golemp2p_gateway.metrics import CONTENT_TYPE
from golemp2p_gateway.shapes import compilation_json, node_json

SHA256_BYTES = 32


class CompilationNotFound(NotFound):
    """Nothing is known of it in this process: it was never asked for, or was ready before the node started."""

    code = "compilation-not-found"


async def healthcheck(edge: Edge, request: Request) -> Response:
    return json_response({})


async def version(edge: Edge, request: Request) -> Response:
    return json_response({"version": edge.settings.version})


async def metrics(edge: Edge, request: Request) -> Response:
    return Response(200, edge.metrics.render(), [(b"content-type", CONTENT_TYPE)])


async def node(edge: Edge, request: Request) -> Response:
    return json_response(node_json(edge.client.node_info()))


async def compilation(edge: Edge, request: Request) -> Response:
    text = request.params["sha256"]
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != SHA256_BYTES:
        raise MalformedRequest(f"a SHA-256 has {2 * SHA256_BYTES} hexadecimal digits, got {text[:80]!r}")
    state = edge.client.compilation(digest)
    if state is None:
        raise CompilationNotFound(f"nothing is known of a compilation of {text}")
    return json_response(compilation_json(state))
