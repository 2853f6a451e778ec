"""A worker's history as a file that anybody can check, from whichever nodes hold it."""

from __future__ import annotations

from golemp2p_gateway.edge import Edge
from golemp2p_gateway.errors_table import NotSupported
from golemp2p_gateway.http import Request, Response
from golemp2p_gateway.workers import worker_id

HISTORY_TYPE = (b"content-type", b"application/vnd.golemp2p.history")


async def export_worker(edge: Edge, request: Request) -> Response:
    """Its length is not known before its end; a file that was cut off says so by itself."""
    if edge.histories is None:
        raise NotSupported("this server stands in no mesh")
    worker, without = worker_id(request), request.flag("without-component")
    pieces = await edge.histories.export_worker(worker, with_component=not without)
    return Response(headers=[HISTORY_TYPE, (b"cache-control", b"no-store")], stream=pieces)
