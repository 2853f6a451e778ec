"""Where a log ends, and what is to be believed of what its newest segment's description says."""

from __future__ import annotations

from typing import NamedTuple

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead
from golemp2p.storage.limits import IDENTITY_BYTES_MAX, KIND_BYTES_MAX
from golemp2p.wire.description import Description, decode_description


class End(NamedTuple):
    """``tail``, ``hash``: as of the newest segment; ``description``: the segment's, empty for none."""

    shard: int
    log: Key
    tail: int
    hash: bytes
    description: bytes

    def described(self) -> Description | None:
        """``None`` for a description that cannot be taken: nobody signed it, and it may come from a hostile node."""
        if not self.description:
            return None
        try:
            said = decode_description(self.description, self.log)
        except DataDamaged:
            return None
        fits = said.kind and len(said.kind.encode()) <= KIND_BYTES_MAX and len(said.identity.encode()) <= IDENTITY_BYTES_MAX
        return said if fits else None

    def head(self) -> LogHead:
        said = self.described()
        if said is None:
            return LogHead(self.log, "", "", self.shard, self.tail, self.hash, False, None, b"")
        kind, identity, has_open_work, wake_ns, summary = said
        return LogHead(self.log, kind, identity, self.shard, self.tail, self.hash, has_open_work, wake_ns, summary)
