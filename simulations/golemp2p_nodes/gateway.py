"""What a client's request becomes at a node: calls of the node's client, as an HTTP gateway makes them, and an answer.

Request ──> inbox ──task of the process──> MeshClient.invoke, complete_promise ──> Reply, unless the process is gone by then
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.errors import ComponentAlreadyExists, ComponentNotFound, Golemp2pError, WorkerInterrupted, WorldError
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p_nodes.workers import COMPONENT
from golemp2p_sim.node import Reply, Request

if TYPE_CHECKING:
    from golemp2p.drivers.opening import Service
    from golemp2p_nodes.machine import Life

logger = logging.getLogger(__name__)

UPLOAD_PAUSE_S = 0.25


class Gateway:
    """Of one process."""

    def __init__(self, life: Life, service: Service) -> None:
        self._life, self._service = life, service

    async def run(self, inbox: trio.MemoryReceiveChannel[Request]) -> None:
        async with trio.open_nursery() as nursery:
            async for request in inbox:
                nursery.start_soon(self._serve, request)

    async def _serve(self, request: Request) -> None:
        life, world = self._life, self._life.world
        component = world.component
        try:
            if component is None:
                reply = Reply(request.id, False, "no component yet")
            else:
                reply = Reply(request.id, True, await self._carry_out(component, request))
        except (WorldError, WorkerInterrupted) as error:
            reply = Reply(request.id, False, str(error))
        except Golemp2pError as error:
            if not life.is_dead:
                text = f"n{life.index} answered {request.key} {request.operation} of {request.worker}: {type(error).__name__}: {error}"
                world.violate("no-failure", text)
            return
        if not (reply.ok and life.machine.aimed("before-reply")) and not life.is_dead:
            world.replied(life.index, reply)

    async def _carry_out(self, component: ComponentId, request: Request) -> Any:
        worker, key = request.worker, request.key
        match request.operation:
            case ("complete", value):
                index = await self._invoke(component, worker, "open", key=f"{key}.open")
                await self._service.client.complete_promise(WorkerId(component, worker), index, str(value).encode())
                return await self._invoke(component, worker, "peek", key=f"{key}.peek") == str(value)
            case ("get",) if worker.startswith("promise"):
                found = await self._invoke(component, worker, "peek", key=key)
                return int(found) if found else None
            case ("read",):
                length, checksum = (await self._invoke(component, worker, "read", key=key)).split()
                return int(length), int(checksum)
            case ("transfer", to, amount):
                left = await self._invoke(component, worker, "transfer", to, amount, key=key)
                return left if left == "refused" else int(left)
            case (function, *params):
                return await self._invoke(component, worker, function, *params, key=key)
        raise AssertionError(f"no such operation: {request.operation!r}")

    async def _invoke(self, component: ComponentId, worker: str, function: str, *params: Any, key: str) -> Any:
        given = self._life.world.guests.params(function, key, params)
        return (await self._service.client.invoke(component, worker, function, given, idempotency_key=key)).value

    async def upload(self) -> None:
        """Until the mesh has the component; any node may do it, all may try."""
        client, world = self._service.client, self._life.world
        while world.component is None:
            try:
                world.component = (await client.add_component(COMPONENT, world.guests.wasm)).component
            except ComponentAlreadyExists:
                with_name = await client.components(COMPONENT)
                if with_name:
                    world.component = with_name[0].component
            except (WorldError, ComponentNotFound) as error:
                logger.info("not_uploaded", extra={"error": str(error)})
            await trio.sleep(UPLOAD_PAUSE_S)
