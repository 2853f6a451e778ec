"""Blobs that the logs of this node name and that it lacks: found, wanted, fetched, tried again.

    segments that came (want_segments) ──┐
    whole shards (scan)                ──┴─ named blobs ──> wanted ──run──> Blobs.keep ──had──> forgotten
                                                              ^──── not to be had now: later ────┘

A replica that was away when a blob was given to its group learns of it by the segment that names it. Until it has the blob the group
has a copy less than it should; reading does not wait for repair (``Blobs.get``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator

import trio

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.errors import DataDamaged
from golemp2p.model.entries import BlobRef, blobs_named
from golemp2p.ports import Storage
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.segment import open_segment

logger = logging.getLogger(__name__)

AGAIN_MIN_S, AGAIN_MAX_S = 1.0, 60.0
"""Before the next try, doubled each time as long as tries bring nothing."""

WANTED_MAX = 100_000
"""Blobs wanted at once, some 30 MB of memory; what is beyond it is left to reading, and to the next scan."""

HEADS_PER_PAGE, SEGMENTS_PER_PAGE = 100, 16
"""Read at once while scanning: at most 20 MB of segments."""

_SHA256_BEGINS = b"\x58\x20"
"""CBOR of bytes of length 32: segments without it, which are nearly all, name no blob."""


class BlobRepair:
    """``kinds``: of the logs that may name blobs."""

    def __init__(self, blobs: Blobs, storage: Storage, kinds: Iterable[str] = ("worker", "component")) -> None:
        self._blobs = blobs
        self._storage = storage
        self._kinds = tuple(kinds)
        self._wanted: dict[int, dict[BlobRef, bool]] = {}  # by shard; whether it was tried already
        self._count = 0
        self._news = trio.Event()
        self._dropped = 0
        self._had = 0

    def want(self, shard: int, refs: Iterable[BlobRef]) -> None:
        """Logs of ``shard``, a replica of which this node keeps, name ``refs``: have them fetched if they are not here."""
        wanted = self._wanted.setdefault(shard, {})
        for ref in refs:
            if ref in wanted:
                continue
            if self._count >= WANTED_MAX:
                self._dropped += 1
                continue
            wanted[ref] = False
            self._count += 1
            self._news.set()

    def want_segments(self, shard: int, segments: Iterable[bytes]) -> None:
        """As ``want``, for what signed segments of logs of ``shard`` name. Damaged ones are passed over: who reads them finds out."""
        for data in segments:
            if _SHA256_BEGINS in data:
                self.want(shard, named_in(data))

    def forget(self, shard: int) -> None:
        """This node keeps no replica of ``shard`` any more."""
        self._count -= len(self._wanted.pop(shard, ()))

    async def scan(self, shard: int) -> None:
        """Want all that the logs of ``shard`` name: after they came from others as a whole, or a start. Reads them all, slowly."""
        for kind in self._kinds:
            after = ""
            while True:
                heads = await self._storage.heads(kind, shards=(shard,), after=after, count=HEADS_PER_PAGE)
                for head in heads:
                    after, first = head.identity, 1
                    while first < head.tail:
                        stored = await self._storage.read_segments(head.key, first, SEGMENTS_PER_PAGE)
                        if not stored:
                            break
                        self.want_segments(shard, [segment.data for segment in stored])
                        first = stored[-1].first + stored[-1].count
                if len(heads) < HEADS_PER_PAGE:
                    break

    async def run(self) -> None:
        """Until cancelled."""
        again_s, due = AGAIN_MIN_S, math.inf
        while True:
            with trio.move_on_at(due):
                await self._news.wait()
            is_due = trio.current_time() >= due
            self._news = trio.Event()
            had = await self._round(old=is_due)
            if is_due:
                again_s = AGAIN_MIN_S if had else min(2 * again_s, AGAIN_MAX_S)
            if not self._count:
                again_s, due = AGAIN_MIN_S, math.inf
            elif is_due or due == math.inf:
                due = trio.current_time() + again_s

    async def _round(self, *, old: bool) -> int:
        """Try everything once, or, without ``old``, what was never tried. Returns how many were there in the end."""
        had = 0
        for shard in list(self._wanted):
            refs = [ref for ref, tried in self._wanted.get(shard, {}).items() if old or not tried]
            missing = set(await self._blobs.keep(refs, shard=shard)) if refs else set()
            wanted = self._wanted.get(shard, {})
            for ref in refs:
                if ref in missing and ref in wanted:
                    wanted[ref] = True
                elif ref in wanted:
                    del wanted[ref]
                    self._count -= 1
                    had += 1
            if not wanted:
                self._wanted.pop(shard, None)
        self._had += had
        return had

    def statistics(self) -> dict[str, float]:
        """``blobs_kept``: those that were wanted and are here, whether they had to be fetched or not."""
        return {
            "blobs_wanted": float(self._count),
            "blobs_kept_total": float(self._had),
            "blobs_not_wanted_total": float(self._dropped),
        }


def named_in(segment: bytes) -> Iterator[BlobRef]:
    """The blobs that entries of a signed segment name; none for a damaged one."""
    try:
        opened = open_segment(segment)
        entries = decode_payload(opened.payload, opened.count)
    except DataDamaged as error:
        logger.warning("segment_damaged", extra={"error": str(error)})
        return
    for entry in entries:
        yield from blobs_named(entry)
