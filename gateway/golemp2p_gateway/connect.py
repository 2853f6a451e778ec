"""A worker's events over WebSocket: JSON text frames, one per event (shapes in ``shapes.event_json``).

    client.connect ──pump──> backlog (bounded) ──send──> socket
                                  full: close 1013, the listener was too slow

The listener has nothing to say; what it sends is read and dropped, so that its closing is noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from golemp2p.errors import UsageError
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.http import Request, Response, json_bytes
from golemp2p_gateway.shapes import event_json

CLOSE_NORMAL = 1000
CLOSE_TRY_AGAIN_LATER = 1013  # IANA registry of close codes


class UpgradeRequired(UsageError):
    code = "upgrade-required"


async def upgrade_required(edge: Edge, request: Request) -> Response:
    raise UpgradeRequired("this is a WebSocket endpoint; send an Upgrade request")


async def stream_events(
    edge: Edge, worker: WorkerId, accept: Callable[[], Awaitable[None]], send: Callable[[str], Awaitable[None]]
) -> tuple[int, str]:
    """Send events until the worker's stream ends or the listener lags. Returns the close code and reason to send.

    Errors raised before ``accept`` was called can still be told as HTTP answers.
    """
    backlog_max = edge.settings.websocket_events_max
    backlog: deque[WorkerEvent] = deque()
    wakeup = trio.Event()
    ended = lagging = False

    async def pump(events: AsyncIterator[WorkerEvent], nursery: trio.Nursery) -> None:
        nonlocal ended, lagging
        async for event in events:
            if len(backlog) >= backlog_max:
                lagging = True
                nursery.cancel_scope.cancel()
                return
            backlog.append(event)
            wakeup.set()
        ended = True
        wakeup.set()

    async with edge.client.connect(worker) as events:
        await accept()
        edge.metrics.listeners.inc()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, events, nursery)
                while True:
                    while backlog:
                        await send(json_bytes(event_json(backlog.popleft())).decode())
                    if ended:
                        break
                    await wakeup.wait()
                    wakeup = trio.Event()
        finally:
            edge.metrics.listeners.dec()
    if lagging:
        return CLOSE_TRY_AGAIN_LATER, f"lagging more than {backlog_max} events behind"
    return CLOSE_NORMAL, ""
