"""Serving: sockets in, ``Connection``s out, and a shutdown that drains.

serve ── listeners ── accept (at most connections_max) ── Connection.run
  │
  └─ shutdown set: stop accepting, close idle connections, let the others finish until drain_timeout_s, cancel the rest
"""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import repr_socket_addr

from golemp2p.client import Client, Histories, MeshAdmin
from golemp2p_gateway.app import EdgeApp
from golemp2p_gateway.connection import Connection, EdgeConfig, cancel_left, close_idle
from golemp2p_gateway.edge import Primary, unknown_primary
from golemp2p_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

LEFT_CHECK_S = 2.0
"""So often it is looked whether the clients of long requests are still there. A request that one of these looks finds under way, and
the next one too, is given up when its client has closed its end."""


def hypercorn_config(settings: GatewaySettings) -> EdgeConfig:
    config = EdgeConfig()
    config.errorlog = logger
    config.accesslog = None  # metrics count requests; workers log invocations, at level debug
    config.include_server_header = False
    config.h11_max_incomplete_size = settings.header_bytes_max
    config.h2_max_header_list_size = settings.header_bytes_max
    config.keep_alive_timeout = settings.keep_alive_timeout_s
    config.keep_alive_max_requests = sys.maxsize
    config.header_timeout = settings.header_timeout_s
    config.body_timeout = settings.read_timeout_s
    config.write_timeout = settings.write_timeout_s
    config.websocket_ping_interval = settings.websocket_ping_s
    config.websocket_max_message_size = settings.websocket_message_bytes_max
    return config


async def serve(
    client: Client,
    settings: GatewaySettings,
    *,
    admin: MeshAdmin | None = None,
    primary: Primary = unknown_primary,
    histories: Histories | None = None,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``client``, and ``admin`` and ``histories`` under ``/v1/mesh``, over HTTP until ``shutdown`` is set (then drain and return)
    or the task is cancelled.

    ``primary``: where the node that runs a worker serves HTTP, for answers about that worker to tell.

    Reports the bound addresses (``http://host:port``) through ``task_status``. Raises ``OSError`` when one cannot be bound.
    """
    app = EdgeApp(client, settings, admin, primary, histories)
    await serve_app(app, settings, shutdown=shutdown, task_status=task_status)


async def serve_app(
    app: Any,
    settings: GatewaySettings,
    *,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As ``serve``, for any ASGI app without lifespan."""
    config = hypercorn_config(settings)
    wrapped = ASGIWrapper(app)
    context = WorkerContext(None)
    connections: set[Connection] = set()
    slots = trio.Semaphore(settings.connections_max)

    async def handle(stream: trio.SocketStream) -> None:
        connection = Connection(wrapped, config, context, stream)
        connections.add(connection)
        try:
            await connection.run()
        except Exception:
            logger.exception("connection_failed")
        finally:
            connections.discard(connection)
            slots.release()

    listeners = [LimitedListener(listener, slots) for listener in open_listeners(settings)]
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(_accept_loop, listener, handle, nursery)
            accepting.start_soon(_look_after, connections)
            task_status.started([f"http://{listener.address}" for listener in listeners])
            await (trio.Event() if shutdown is None else shutdown).wait()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        close_idle(connections)
        logger.info("draining", extra={"connections": len(connections)})
        nursery.cancel_scope.deadline = trio.current_time() + settings.drain_timeout_s


async def _look_after(connections: set[Connection]) -> None:
    while True:
        await trio.sleep(LEFT_CHECK_S)
        cancel_left(list(connections))


async def _accept_loop(listener: LimitedListener, handle: Any, nursery: trio.Nursery) -> None:
    await trio.serve_listeners(handle, [listener], handler_nursery=nursery)


def open_listeners(settings: GatewaySettings) -> list[trio.SocketListener]:
    """All or none: when one address cannot be bound, those bound before are closed. Raises ``OSError``."""
    sockets: list[socket.socket] = []
    try:
        for bind in settings.binds:
            sockets.append(_bound(bind, settings.backlog))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return [trio.SocketListener(trio.socket.from_stdlib_socket(bound)) for bound in sockets]


def _bound(bind: str, backlog: int) -> socket.socket:
    """A listening socket at ``host:port`` or ``unix:PATH``. A socket file left by a dead process is replaced."""
    address: Any
    if bind.startswith("unix:"):
        family, address = socket.AF_UNIX, bind.removeprefix("unix:")
        path = Path(address)
        if path.is_socket():
            path.unlink()
    else:
        host, _, port = bind.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        family, address = (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


class LimitedListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts only while a slot is free; whoever is handed the stream releases the slot."""

    def __init__(self, listener: trio.SocketListener, slots: trio.Semaphore) -> None:
        self._listener = listener
        self._slots = slots

    @property
    def address(self) -> str:
        bound = self._listener.socket
        return str(repr_socket_addr(bound.family, bound.getsockname()))

    async def accept(self) -> trio.SocketStream:
        await self._slots.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self._slots.release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()
