"""What a replica of a shard asks storage to make durable: the meaning is executable in ``core.replica_durable``."""

from __future__ import annotations

from golemp2p.model.ids import Key
from golemp2p.model.light import light_dataclass
from golemp2p.model.replication import Base, Entry, Head, LogSegment, Member


@light_dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """Durable facts of a replica. ``high_water``: (term, position) of the last entry this replica may have acknowledged.
    ``belonged``: it has held a configuration with a place for itself, since it was last forgotten."""

    term: int
    voted_for: Member | None
    commit: int
    high_water: tuple[int, int]
    belonged: bool = False


@light_dataclass(frozen=True, slots=True)
class ReplicaWrite:
    """Becomes durable as a whole or not at all, in the order of the fields.

    * ``record`` replaces the one before.
    * ``truncate_from``: entries at this position and after are forgotten.
    * ``base``: entries up to its position leave the shard's log; their segments stay, as the logs. ``heads`` are the heads
      as of the base: those that changed (``None``: the log is deleted with its segments), or, with ``is_install``, all there
      are; then the logs are what was there up to ``kept_position``, continued by what was fetched, and logs without a head are
      deleted.
    * ``fetched``: segments of logs that were fetched for a base to be installed; ``refetch``: what was kept or fetched of
      these logs is wrong, they start anew.
    * ``repaired``: logs whose damaged segments are replaced by what was fetched.
    * ``entries`` are added to the shard's log.
    * ``is_forgotten``: everything but the record goes: the replica is no member any more.
    """

    shard: int
    record: ReplicaRecord
    truncate_from: int | None = None
    base: Base | None = None
    is_install: bool = False
    kept_position: int = 0
    heads: tuple[tuple[Key, Head | None], ...] = ()
    refetch: tuple[Key, ...] = ()
    fetched: tuple[LogSegment, ...] = ()
    repaired: tuple[Key, ...] = ()
    entries: tuple[Entry, ...] = ()
    is_forgotten: bool = False
