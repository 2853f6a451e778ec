"""What a replica gives to others that catch up: pages of its manifest, and segments of its logs, as of its base.

The base stands still between compactions, so a manifest is read in pages without copying it. Who asks for an older base is offered
the new one, if this replica is the primary; else its next offer comes from there.
"""

from __future__ import annotations

from golemp2p.core.replica_effects import ReadSegments
from golemp2p.core.replica_state import ReplicaState
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import FetchManifest, FetchSegments, ManifestPage, Offer


class Source:
    __slots__ = ("_keys", "_keys_position", "_state")

    def __init__(self, state: ReplicaState) -> None:
        self._state = state
        self._keys: list[Key] = []
        self._keys_position = -1  # of the base whose keys these are

    def manifest(self, peer: bytes, request: FetchManifest) -> None:
        state = self._state
        base = state.log.base
        if request.position != base.position:
            self._offer(peer)
            return
        held = state.log.heads.base
        if self._keys_position != base.position:
            self._keys_position, self._keys = base.position, sorted(held)
        after = request.after
        following = self._keys if after is None else [log for log in self._keys if log > after]
        page = following[: state.limits.manifest_page_max]
        heads = tuple((log, held[log]) for log in page)
        state.send(peer, ManifestPage(base.position, after, heads, len(page) == len(following)))

    def segments(self, peer: bytes, request: FetchSegments) -> None:
        state = self._state
        if request.position not in (0, state.log.base.position):
            self._offer(peer)
            return
        read = ReadSegments(peer, state.shard, request.position, request.log, request.first, request.tail)
        state.effects.append(read)

    def _offer(self, peer: bytes) -> None:
        if self._state.leading is not None:
            log = self._state.log
            self._state.send(peer, Offer(log.base, log.milestones(after=log.base.position)))
