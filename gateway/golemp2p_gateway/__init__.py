"""The HTTP edge of a golemp2p node: ``serve(client, settings)``.

server ─ connection ─ app ─┬─ invocations                    hot path, bare ASGI
                           └─ Quart ─ components, workers, oplogs, connect, node, mesh
routes declares them all; errors_table maps errors; shapes and public_oplog make the JSON
"""

from golemp2p_gateway.server import serve, serve_app
from golemp2p_gateway.settings import GatewaySettings

__all__ = ["GatewaySettings", "serve", "serve_app"]
