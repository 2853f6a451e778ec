"""Bits that flip on a disk of replicas: an entry of some shard's log does not follow from the one before it any more, which is what the
core sees of a failed checksum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from golemp2p.core.replica_durable import ReplicaDurable


def rot_entry(shards: Mapping[int, ReplicaDurable], dice: Random) -> str:
    """Damage one of all entries; returns which, ``""`` when there is none."""
    found = [(shard, at) for shard, durable in shards.items() for at in range(len(durable.entries))]
    if not found:
        return ""
    shard, at = found[dice.randrange(len(found))]
    entries = shards[shard].entries
    entries[at] = replace(entries[at], hash=bytes(32))
    return f"entry {entries[at].position} of shard {shard}"
