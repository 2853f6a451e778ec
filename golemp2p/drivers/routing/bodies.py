"""What is too large for a message: kept where it is, named by its SHA-256 in the message, and fetched by who needs it.

    asker                                      primary
    lend(params) ── Invoke(.. Lent ..) ──────> fetch ── BODY(sha256) ──> serve, from what is lent
    fetch ── BODY(sha256) ───────────────────> serve, from storage  <── a result, which the worker's log keeps as a blob

What is lent is held in memory, as long as the request is under way: it is nobody's data yet. Nothing that is fetched is kept either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from golemp2p.errors import DataDamaged, Overloaded, PayloadTooLarge, RequestFailed, WorldError
from golemp2p.model.operations import Body, Lent
from golemp2p.ports import Asked, Mesh, Storage
from golemp2p.wire.call_kinds import BODY
from golemp2p.wire.operations import INLINE_BYTES_MAX

LENT_BYTES_MAX = 256 << 20
"""Held for requests under way: thirty of the largest that HTTP takes."""

PROGRESS_S = 10.0
"""A node that sends nothing for so long is as good as gone."""

ATTEMPTS_MAX = 3
PAUSE_S = 0.2
"""Between attempts: a connection that was replaced is there again."""

PIECE_BYTES = 256 << 10


class Bodies:
    """``serve`` answers calls of kind ``BODY``; their payload is a SHA-256."""

    def __init__(self, mesh: Mesh, storage: Storage) -> None:
        self._mesh = mesh
        self._storage = storage
        self._lent: dict[bytes, list[bytes]] = {}  # one item per borrower
        self.lent_bytes = 0

    # -- giving

    @contextmanager
    def lend(self, data: bytes) -> Iterator[Body]:
        """What to put into a message for ``data``; valid until the block is left. Raises ``Overloaded``."""
        if len(data) <= INLINE_BYTES_MAX:
            yield data
            return
        if self.lent_bytes + len(data) > LENT_BYTES_MAX:
            raise Overloaded(f"requests under way hold {self.lent_bytes} bytes of arguments, which is this node's limit", 1.0)
        sha256 = hashlib.sha256(data).digest()
        self._lent.setdefault(sha256, []).append(data)
        self.lent_bytes += len(data)
        try:
            yield Lent(sha256, len(data), self._mesh.own)
        finally:
            self.lent_bytes -= len(data)
            self._lent[sha256].pop()
            if not self._lent[sha256]:
                del self._lent[sha256]

    async def keep(self, data: bytes) -> Body:
        """What to put into an answer for ``data``, which is, or soon would be, a blob of a log here: it stays in storage."""
        if len(data) <= INLINE_BYTES_MAX:
            return data
        return Lent(await self._storage.put_blob(data), len(data), self._mesh.own)

    async def serve(self, asked: Asked) -> bytes:
        """Raises ``DataDamaged`` for what is not here."""
        sha256 = bytes(asked.payload)
        if len(sha256) != hashlib.sha256().digest_size:
            raise DataDamaged("request for a body", "not a SHA-256")
        data = await self._here(sha256)
        for start in range(0, len(data), PIECE_BYTES):
            await asked.send(data[start : start + PIECE_BYTES])
        return b""

    async def _here(self, sha256: bytes) -> bytes:
        lent = self._lent.get(sha256)
        return lent[0] if lent else await self._storage.get_blob(sha256)

    # -- taking

    async def take(self, body: Body, *, bytes_max: int, others: Sequence[bytes] = ()) -> bytes:
        """The bytes of ``body``, fetched if need be: from its holder, or from ``others`` who may have it too. Raises
        ``PayloadTooLarge`` before anything is fetched, and ``WorldError`` when nobody can be reached who has it."""
        if not isinstance(body, Lent):
            return body
        if body.size_bytes > bytes_max:
            raise PayloadTooLarge(f"{body.size_bytes} bytes, at most {bytes_max}")
        failure: WorldError = RequestFailed(DataDamaged.code, "nobody has it")
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await trio.sleep(PAUSE_S)
            for peer in dict.fromkeys((body.holder, *others)):
                try:
                    return await (self._own(body.sha256) if peer == self._mesh.own else self._fetch(body, peer))
                except WorldError as error:
                    failure = error
        raise failure

    async def _own(self, sha256: bytes) -> bytes:
        try:
            return await self._here(sha256)
        except DataDamaged as error:
            raise RequestFailed(error.code, str(error)) from error

    async def _fetch(self, body: Lent, peer: bytes) -> bytes:
        data, hasher = bytearray(), hashlib.sha256()
        async with self._mesh.fetch(peer, BODY, body.sha256, progress_s=PROGRESS_S) as chunks:
            async for chunk in chunks:
                data += chunk
                hasher.update(chunk)
                if len(data) > body.size_bytes:
                    break
        if len(data) != body.size_bytes or hasher.digest() != body.sha256:
            raise RequestFailed(DataDamaged.code, f"a body of {body.size_bytes} bytes came as something else")
        return bytes(data)
