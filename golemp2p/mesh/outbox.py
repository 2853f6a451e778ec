"""What waits to be written to one peer: a lane for what is short or urgent, and one for bulk that lets the others pass.

    post(frame) ──> urgent ──────────────────────┐
    post_bulk(chunk) ──> bulk ── some per write ──┴──> take() ──> one write ──> written()

Within a lane the order is kept. Sans-IO; counts bytes until they are written.
"""

from __future__ import annotations

from collections import deque


class Outbox:
    """``flush_bytes``: of one write, passed by the last frame of each lane at most; ``bulk_bytes``: of chunks among them, of which
    there is always one, so that bulk goes on however much else there is."""

    def __init__(self, *, flush_bytes: int, bulk_bytes: int) -> None:
        self._flush_bytes = flush_bytes
        self._bulk_bytes_max = bulk_bytes
        self._urgent: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._taken = 0
        self.queued_bytes = 0
        """In both lanes, and taken but not written yet."""
        self.bulk_bytes = 0
        """In the bulk lane."""

    def __bool__(self) -> bool:
        return bool(self._urgent or self._bulk)

    def post(self, frame: bytes) -> None:
        self._urgent.append(frame)
        self.queued_bytes += len(frame)

    def post_bulk(self, frame: bytes) -> None:
        self._bulk.append(frame)
        self.queued_bytes += len(frame)
        self.bulk_bytes += len(frame)

    def take(self) -> list[bytes]:
        """Frames for one write. ``written`` must be called before it is called again."""
        assert self._taken == 0, "the last write is over"
        frames: list[bytes] = []
        size = self._move(self._urgent, frames, self._flush_bytes)
        bulk = self._move(self._bulk, frames, min(self._bulk_bytes_max, max(1, self._flush_bytes - size)))
        self.bulk_bytes -= bulk
        self._taken = size + bulk
        return frames

    def written(self) -> None:
        self.queued_bytes -= self._taken
        self._taken = 0

    def clear(self) -> None:
        """Forget what was not taken."""
        self._urgent.clear()
        self._bulk.clear()
        self.bulk_bytes = 0
        self.queued_bytes = self._taken

    @staticmethod
    def _move(lane: deque[bytes], frames: list[bytes], bytes_max: int) -> int:
        moved = 0
        while lane and moved < bytes_max:
            frame = lane.popleft()
            frames.append(frame)
            moved += len(frame)
        return moved
