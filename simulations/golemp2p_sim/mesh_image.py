"""What the disk of a whole node holds: its replicas, and whom it knows. Folded from the writes that survived.

A write becomes durable as a whole or not at all, as in a database with a checksummed journal. Rot hits an entry of some shard's log.
"""

from __future__ import annotations

from random import Random
from typing import Any

from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.model.light import light_dataclass
from golemp2p.model.membership import NodeRecord
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Base, Entry
from golemp2p_sim.rot import rot_entry


@light_dataclass(frozen=True, slots=True)
class MeshWrite:
    """One durable commit of a node: of all shards that were ready at the same moment. ``known``: members to find the mesh again by."""

    replicas: tuple[ReplicaWrite, ...] = ()
    known: tuple[NodeRecord, ...] | None = None


class MeshImage:
    """``shards[i]`` is another object once the replica was forgotten: whoever looks at the one before, one of its ``lives[i]``, sees
    it as it was. ``rotten``: something was damaged and is not known to be whole again."""

    __slots__ = ("known", "lives", "rotten", "shards")

    def __init__(self) -> None:
        self.shards: dict[int, ReplicaDurable] = {}
        self.lives: dict[int, list[ReplicaDurable]] = {}
        self.known: tuple[NodeRecord, ...] = ()
        self.rotten = False

    @property
    def is_blank(self) -> bool:
        return not self.shards and not self.known

    def apply(self, write: MeshWrite) -> None:
        for part in write.replicas:
            if part.is_forgotten:
                self.lives.setdefault(part.shard, []).append(self.of(part.shard))
                self.shards[part.shard] = ReplicaDurable(part.record)
            else:
                self.of(part.shard).apply(part)
        if write.known is not None:
            self.known = write.known

    def of(self, shard: int) -> ReplicaDurable:
        """Blank, if nothing of it was written yet."""
        durable = self.shards.get(shard)
        if durable is None:
            durable = self.shards[shard] = ReplicaDurable()
        return durable

    def ended(self, shard: int) -> int:
        """How many lives of a replica are over: the number of the one that is on disk."""
        return len(self.lives.get(shard, ()))

    def tear(self, write: Any, dice: Random) -> None:
        """Nothing of it is there."""

    def rot(self, dice: Random) -> str:
        what = rot_entry(self.shards, dice)
        self.rotten = self.rotten or bool(what)
        return what

    def copy(self) -> MeshImage:
        other = MeshImage()
        other.rotten, other.known = self.rotten, self.known
        other.shards = {shard: durable.copy() for shard, durable in self.shards.items()}
        return other


class Present:
    """A replica on disk as it is when somebody looks, or was when it was forgotten. ``life``: how often it is forgotten before; that
    may not be durable yet, and a disk that finishes several writes at once may have passed the life when somebody looks."""

    __slots__ = ("_image", "_life", "_shard")

    def __init__(self, image: MeshImage, shard: int, life: int) -> None:
        self._image, self._shard, self._life = image, shard, life

    def _durable(self) -> ReplicaDurable:
        ended = self._image.lives.get(self._shard, ())
        return ended[self._life] if self._life < len(ended) else self._image.of(self._shard)

    @property
    def record(self) -> ReplicaRecord:
        return self._durable().record

    @property
    def base(self) -> Base:
        return self._durable().base

    @property
    def entries(self) -> list[Entry]:
        return self._durable().entries
