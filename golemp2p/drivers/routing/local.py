"""What those who route requests need of their own node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from golemp2p.client import Client
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import ComponentInfo, WorkerMetadata


class Local(Client, Protocol):
    """``Client``, served by this node for the shards that it leads; for what lives in another shard everything raises ``Moved``. In
    particular:

    * ``component`` with a version, and ``component_file``: wherever the component's log is; what this node does not have it fetches.
    * ``workers`` and ``components``: what this node's shards hold. A page of workers ends with a cursor that is a worker's name.
    * ``connect``: cancelling the wait for the next event loses none. The events end when the worker leaves this node.
    * ``compilation``, ``node_info`` and ``statistics`` are about this node.

    ``request_key``: names one request, however often and wherever it is tried. What is made under a key is recorded with it, and
    making it again under the same key gives what is there, instead of ``AlreadyExists`` or a second one. ``""``: no such name.
    """

    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None, request_key: str = ""
    ) -> WorkerMetadata: ...

    async def add_component(
        self, name: str, wasm: bytes, *, ephemeral: bool = False, env: dict[str, str] | None = None, request_key: str = ""
    ) -> ComponentInfo: ...

    async def update_component(
        self,
        component: ComponentId,
        wasm: bytes,
        *,
        ephemeral: bool | None = None,
        env: dict[str, str] | None = None,
        request_key: str = "",
    ) -> ComponentInfo: ...

    async def promise(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        """The value of a promise, ``None`` while it has none. Raises ``PromiseNotFound``."""
        ...

    async def awaited_promise(self, worker: WorkerId, oplog_index: int) -> bytes:
        """The same, waited for."""
        ...

    async def delete_promise(self, worker: WorkerId, oplog_index: int) -> None: ...


class Blobs(Protocol):
    """Blobs that nodes keep for good: components."""

    async def put(self, data: bytes, *, shard: int | None = None) -> bytes:
        """Durable when it returns, here and, with ``shard``, at a majority of its replicas. Returns the SHA-256."""
        ...

    async def get(self, sha256: bytes, *, size: int, holders: Sequence[bytes]) -> bytes:
        """From here or from one of ``holders``. Raises ``WorldError`` while nobody who has it can be reached, ``DataDamaged``."""
        ...
