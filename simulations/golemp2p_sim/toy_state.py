"""What the toy's log means: entries, and the state they lead to. Deterministic: equal logs give equal states.

    entry: (term, kind, key, worker, operation)        kind: noop | invoke | settle (a call that went out has ended)

A key takes effect once: its result is kept, a second entry with it changes nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from golemp2p.model.light import light_dataclass
from golemp2p_sim import model_worker
from golemp2p_sim.model_worker import Call

DIGEST_MASK = (1 << 64) - 1

RAN_MAX = 4_096
"""Invocations whose outcome is remembered: all replicas run each, one soon after another."""


@light_dataclass(frozen=True, slots=True)
class Entry:
    """``digest``: of all but the term, made once by whoever proposes."""

    term: int
    kind: str
    key: str = ""
    worker: str = ""
    operation: tuple[Any, ...] = ()
    digest: int = 0


def make_entry(term: int, kind: str, key: str = "", worker: str = "", operation: tuple[Any, ...] = ()) -> Entry:
    return Entry(term, kind, key, worker, operation, zlib.crc32(repr((kind, key, worker, operation)).encode()))


def chain_after(chain: int, entry: Entry) -> int:
    """Hash chain: an integer that commits to every entry so far. Integers only, so equal in every process."""
    return hash((chain, entry.term, entry.digest))


@lru_cache(maxsize=RAN_MAX)
def _ran(worker: str, state: Hashable, operation: tuple[Any, ...]) -> tuple[Hashable, Any, Call | None, int]:
    """What the model worker makes of it, with a digest of state and result."""
    after, result, call = model_worker.apply(worker, state, operation)
    return after, result, call, zlib.crc32(repr((after, result)).encode())


@dataclass(slots=True)
class ShardState:
    """Workers of one shard after some prefix of its log. ``outbox``: calls that have not ended, by derived key. ``digest``: of all
    entries and what they did; a sum, so that it does not depend on how entries of different workers are interleaved."""

    workers: dict[str, Hashable] = field(default_factory=dict)
    results: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    """(worker, key) -> (position, result)"""
    outbox: dict[str, Call] = field(default_factory=dict)
    digest: int = 0

    def apply(self, position: int, entry: Entry, *, once: bool = True) -> tuple[bool, Any, str]:
        """Returns (took effect, result, derived key of a call that goes out or ``""``)."""
        self.digest = self.digest + hash((entry.term, entry.digest)) & DIGEST_MASK
        if entry.kind == "settle":
            self.outbox.pop(entry.key, None)
        if entry.kind != "invoke":
            return False, None, ""
        known = self.results.get((entry.worker, entry.key))
        if known is not None and once:
            return False, known[1], ""
        state = self.workers.get(entry.worker)
        if entry.worker not in self.workers:
            state = model_worker.initial(entry.worker)
        after, result, call, digest = _ran(entry.worker, state, entry.operation)
        self.workers[entry.worker] = after
        self.results[entry.worker, entry.key] = (position, result)
        self.digest = self.digest + hash((entry.digest, digest)) & DIGEST_MASK
        if call is None:
            return True, result, ""
        derived = f"{entry.key}/{call.operation[0]}"
        self.outbox[derived] = call
        return True, result, derived
