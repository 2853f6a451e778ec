"""The operator's removals, kept over restarts: a mesh that was shut down as a whole must not forget whom it had thrown out."""

from __future__ import annotations

import trio

from golemp2p.model.membership import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Removal
from golemp2p.ports import Storage
from golemp2p.wire import schema as s

REMOVALS = "removals"
"""Their name among the storage's metadata."""
KEPT_MAX = 8_192
"""830 KB. Of more, the newest: those before are known to who has run meanwhile."""
_BYTES_MAX = 1 << 20

_REMOVALS = s.array(s.record(Removal, s.exact_bytes(PUBLIC_KEY_BYTES), s.exact_bytes(SIGNATURE_BYTES)), KEPT_MAX)


class Removals:
    """``load`` comes first."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[bytes, Removal] = {}
        self._lock = trio.Lock()

    async def load(self) -> tuple[Removal, ...]:
        """All that are known, for ``Peer.start``. Raises ``DataDamaged``."""
        data = await self._storage.get_meta(REMOVALS)
        if data is not None:
            found = s.decode(_REMOVALS, data, what="removals", bytes_max=_BYTES_MAX)
            self._known = {removal.subject: removal for removal in found}
        return tuple(self._known.values())

    async def add(self, removal: Removal) -> None:
        """Of a ``Removed`` effect; durable when it returns. Repeating it changes nothing."""
        async with self._lock:
            if removal.subject in self._known:
                return
            known = {**self._known, removal.subject: removal}
            newest = tuple(known.values())[-KEPT_MAX:]
            await self._storage.put_meta(REMOVALS, s.encode(_REMOVALS, newest, bytes_max=_BYTES_MAX))
            self._known = {kept.subject: kept for kept in newest}
