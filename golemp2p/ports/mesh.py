"""The other nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from golemp2p.model.membership import NodeRecord


class Bulk(Protocol):
    """A bulk answer on its way: iterate over its chunks, then read ``final``. Both may raise any ``WorldError``."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    @property
    def final(self) -> bytes: ...


class Asked(Protocol):
    """A request of another node. For a bulk answer, ``send`` its chunks (it waits for the asker's credit) before the answer."""

    @property
    def peer(self) -> bytes: ...

    @property
    def payload(self) -> bytes: ...

    async def send(self, chunk: bytes) -> None: ...


class Mesh(Protocol):
    """The other nodes, as those who run workers and keep components see them. Nodes are named by their public keys (32 bytes);
    this node is one of them and may ask itself.

    * A shard has at most one primary that serves it. ``is_ready``: it is this node, and all that was committed before is in storage
      here. It may end at any moment between two awaits; what is appended then fails with ``Moved``.
    * ``ask`` finds the primary, wherever it goes meanwhile, and gives its answer once per ``key``; a payload may be executed by a node
      that dies, and be executed again by the next: what it does must depend on ``key``. Raises ``DeadlineExceeded``, ``Overloaded``,
      and ``DataDamaged`` for a shard that nobody can lead any more.
    * ``request`` and ``fetch`` go to one node. They raise ``Unreachable``, ``DeadlineExceeded``, or the error that the other raised
      (``RequestFailed`` when it is of a kind that this node does not know).
    """

    @property
    def own(self) -> bytes: ...

    @property
    def shards_count(self) -> int: ...

    def is_ready(self, shard: int) -> bool: ...

    def ready_shards(self) -> Sequence[int]: ...

    def primary(self, shard: int) -> bytes | None:
        """As far as this node knows; only a hint."""
        ...

    def holders(self, shard: int) -> Sequence[bytes]:
        """Nodes that should hold the shard's data, the likeliest first: its voters where this node knows them, else by placement."""
        ...

    def members(self) -> Sequence[NodeRecord]:
        """Of all nodes that are there, as far as this node knows, itself first."""
        ...

    async def ask(self, shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes: ...

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes: ...

    def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AbstractAsyncContextManager[Bulk]:
        """``progress_s``: how long the other may take for every next chunk."""
        ...
