"""What the disk of a simulated node holds of its replicas: a ``ReplicaDurable`` per shard, folded from the writes that survived.

A write becomes durable as a whole or not at all, as in a database with a checksummed journal: a torn write leaves nothing. Rot hits
an entry of some shard's log, which then does not follow from the one before it: what the core sees of a failed checksum.
"""

from __future__ import annotations

from random import Random
from typing import Any

from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import NO_HASH, Base, Configuration, Member
from golemp2p_sim.rot import rot_entry


class ShardImage:
    """``birth``: the voters that each shard was born with. ``rotten``: something was damaged and is not known to be whole again."""

    __slots__ = ("birth", "rotten", "shards")

    def __init__(self, birth: dict[int, tuple[Member, ...]]) -> None:
        self.birth = birth
        self.shards: dict[int, ReplicaDurable] = {}
        self.rotten = False

    def of(self, shard: int, member: Member) -> ReplicaDurable:
        """What is stored of ``shard``: as it was born for a voter of the beginning, blank for a newcomer."""
        durable = self.shards.get(shard)
        if durable is None:
            voters = self.birth[shard]
            base = Base(0, 0, NO_HASH, b"", Configuration(voters), 0)
            durable = self.shards[shard] = ReplicaDurable(base=base) if member in voters else ReplicaDurable()
        return durable

    def apply(self, write: ReplicaWrite) -> None:
        durable = self.shards[write.shard]
        durable.apply(write)
        positions = [durable.base.position, *(entry.position for entry in durable.entries[-1 - len(write.entries) :])]
        assert positions[-1] == durable.base.position + len(durable.entries), (
            "writes come in the order in which they were given"
        )

    def tear(self, write: Any, dice: Random) -> None:
        """Nothing of it is there."""

    def rot(self, dice: Random) -> str:
        what = rot_entry(self.shards, dice)
        self.rotten = self.rotten or bool(what)
        return what

    def copy(self) -> ShardImage:
        other = ShardImage(self.birth)
        other.rotten = self.rotten
        other.shards = {shard: durable.copy() for shard, durable in self.shards.items()}
        return other
