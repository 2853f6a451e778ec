"""A disk: writes wait for a sync, syncs take time and may fail, lie, tear, rot, or be restored from an old copy.

    write(effect) ──> pending ──sync starts──> in flight ──latency──> image (durable), effect.then released, token reported
                         │                        │
                         └──── crash: lost, a prefix kept, or the last one torn ────┘

One sync is under way at a time and takes everything that was pending when it started: group commit. A sync that *lies*
(``dropping``) reports durable what a crash still loses; the next honest sync makes it durable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from golemp2p.core.effects import Persist
from golemp2p_sim.node import Image


class JournalImage:
    """A disk as the list of writes that survived. ``torn``: the last is only part of one. ``rotten``: indexes that read wrong."""

    __slots__ = ("records", "rotten", "torn")

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.torn = False
        self.rotten: list[int] = []

    def apply(self, write: Any) -> None:
        self.records.append(write)

    def tear(self, write: Any, dice: Random) -> None:
        self.torn = True

    def rot(self, dice: Random) -> str:
        if not self.records:
            return ""
        index = dice.randrange(len(self.records))
        if index not in self.rotten:
            self.rotten.append(index)
        return f"record {index} of {len(self.records)}"

    def copy(self) -> JournalImage:
        other = JournalImage()
        other.records, other.torn, other.rotten = list(self.records), self.torn, list(self.rotten)
        return other


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """A sync takes ``sync_ns`` plus up to ``jitter_ns``, evenly; 60 us is a fast NVMe disk, 5 ms a spinning one."""

    sync_ns: int = 200_000
    jitter_ns: int = 300_000


PENDING_MAX = 100_000
"""More unsynced writes than this on one disk is a node out of control."""


class Disk:
    """``schedule(delay_ns, action)`` calls back later; ``durable`` and ``failed`` are told of each write, in order."""

    __slots__ = (
        "_dice",
        "_flight",
        "_lied",
        "_life",
        "_options",
        "_pending",
        "_schedule",
        "dropping",
        "durable",
        "failed",
        "failing",
        "full",
        "image",
        "slow_factor",
        "store",
        "syncs",
        "writes",
    )  # fmt: skip

    def __init__(
        self,
        options: DiskOptions,
        image: Image,
        dice: Random,
        schedule: Callable[[int, Callable[[Any, Any, Any], None], Any, Any, Any], None],
    ) -> None:
        self._options, self._dice, self._schedule = options, dice, schedule
        self.image = image
        self.store = 0
        self.durable: Callable[[Persist], None] = _nobody
        self.failed: Callable[[Persist], None] = _nobody
        self._pending: list[Persist] = []
        self._flight: list[Persist] = []
        self._lied: list[Persist] = []
        self._life = 0
        self.slow_factor = 1
        self.full = False
        self.failing = False
        self.dropping = False
        self.syncs = 0
        self.writes = 0

    def __len__(self) -> int:
        """Writes that are not durable yet."""
        return len(self._pending) + len(self._flight)

    def write(self, effect: Persist) -> None:
        self._pending.append(effect)
        if not self._flight:
            self._begin()

    def _begin(self) -> None:
        self._flight, self._pending = self._pending, self._flight
        options = self._options
        delay = (options.sync_ns + int(self._dice.random() * options.jitter_ns)) * self.slow_factor
        self._schedule(delay, self._end, self._life, None, None)

    def _end(self, life: int, _b: Any, _c: Any) -> None:
        if life != self._life:
            return  # the process that asked is gone
        done, self._flight = self._flight, []
        self.syncs += 1
        bad = self.failing or self.full
        if bad:
            done += self._pending  # writes are durable in order: what waits behind a failed one fails with it
            self._pending = []
        else:
            self.writes += len(done)
            if self.dropping:
                self._lied += done
            else:
                self._flush(done)
        report = self.failed if bad else self.durable
        for effect in done:
            report(effect)
            if life != self._life:
                return  # the report crashed the node
        if self._pending and not self._flight:
            self._begin()

    def _flush(self, done: list[Persist]) -> None:
        apply = self.image.apply
        for effect in self._lied:
            apply(effect.write)
        self._lied.clear()
        for effect in done:
            apply(effect.write)

    def crash(self) -> str:
        """Power is gone: what was not durable is lost, kept in part, or torn. Returns which, for the log."""
        self._life += 1
        doubtful = self._lied + self._flight + self._pending
        self._lied, self._flight, self._pending = [], [], []
        if not doubtful:
            return "nothing unsynced"
        # A third each: all lost; a prefix survives; a prefix survives and the next write is torn.
        fate = self._dice.randrange(3)
        kept = 0 if fate == 0 else self._dice.randrange(len(doubtful) + 1)
        for effect in doubtful[:kept]:
            self.image.apply(effect.write)
        torn = fate == 2 and kept < len(doubtful)
        if torn:
            self.image.tear(doubtful[kept].write, self._dice)
        return f"kept {kept} of {len(doubtful)} unsynced writes{', one torn' if torn else ''}"

    def lose(self, empty: Image) -> None:
        """The whole store is gone; an empty one with a new id takes its place. Only while the node is down."""
        self.image = empty
        self.store += 1

    def restore(self, old: Image) -> None:
        """An old copy is put back, id and all. Only while the node is down."""
        self.image = old

    def mend(self) -> None:
        """Every passing fault ends; what is lost stays lost."""
        self.slow_factor, self.full, self.failing, self.dropping = 1, False, False, False


def _nobody(_effect: Persist) -> None:
    raise AssertionError("a disk without a node took a write")
