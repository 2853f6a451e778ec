"""What every handler is given, and the declaration every route is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from golemp2p.client import Client, Histories, MeshAdmin
from golemp2p.model.ids import WorkerId
from golemp2p_gateway.http import Request, Response
from golemp2p_gateway.metrics import EdgeMetrics
from golemp2p_gateway.settings import GatewaySettings

Schema: TypeAlias = dict[str, Any]  # a JSON schema; {"$ref": "#/components/schemas/X"} for named ones


PRIMARY = b"x-golemp2p-primary"
"""Names, in answers about a worker, the address of the node that runs it: a client may go there itself."""

Primary: TypeAlias = Callable[[WorkerId], str | None]
"""Where the node that runs a worker serves HTTP (``http://host:port``), as far as is known."""


def unknown_primary(worker: WorkerId) -> str | None:
    """Of a node that does not know the others."""
    return None


@dataclass(frozen=True, slots=True)
class Edge:
    """``admin`` and ``histories`` are ``None`` for a client that stands in no mesh: an application's own."""

    client: Client
    settings: GatewaySettings
    metrics: EdgeMetrics
    admin: MeshAdmin | None = None
    primary: Primary = unknown_primary
    histories: Histories | None = None

    def primary_headers(self, worker: WorkerId | None) -> list[tuple[bytes, bytes]]:
        """What an answer about ``worker`` says of the node that runs it."""
        address = None if worker is None else self.primary(worker)
        return [] if not address else [(PRIMARY, address.encode("ascii", "ignore"))]


Handler: TypeAlias = Callable[[Edge, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, header or path segment, as OpenAPI and the reader see it; handlers do the checking."""

    name: str
    where: Literal["path", "query", "header"]
    schema: Schema
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. ``template``: path with ``{name}`` segments. ``hot``: served by the bare-ASGI path beside Quart.

    ``request``: media type -> schema of the body; ``response``: media type -> schema of the 200 answer.
    ``websocket``: the handler is found in ``connect`` and speaks WebSocket instead.
    """

    method: str
    template: str
    operation: str
    summary: str
    handler: Handler
    tag: str
    params: tuple[Parameter, ...] = ()
    request: dict[str, Schema] = field(default_factory=dict)
    response: dict[str, Schema] = field(default_factory=dict)
    hot: bool = False
    websocket: bool = False
