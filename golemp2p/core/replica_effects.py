"""Effects of a shard's replica, beside those that all cores share."""

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


@light_dataclass(frozen=True, slots=True)
class Committed:
    """These entries are committed; apply them. Given once per life of the replica, in order."""

    shard: int
    entries: tuple[Entry, ...]


@light_dataclass(frozen=True, slots=True)
class Installed:
    """The replica starts over from somebody's base at ``position``: what the logs hold as of it is to be applied anew, from storage,
    once the write given just before is durable; ``Committed`` goes on after it."""

    shard: int
    position: int


@light_dataclass(frozen=True, slots=True)
class StartServing:
    """Replay and run the shard's workers, under ``term``."""

    shard: int
    term: int


@light_dataclass(frozen=True, slots=True)
class StopServing:
    """Stop the shard's guests at their next host call; answer callers "retry", with ``reason``."""

    shard: int
    reason: str


@light_dataclass(frozen=True, slots=True)
class ReadSegments:
    """Read durable segments of ``log`` from index ``first`` up to ``tail`` and send them to ``peer`` as ``FetchedSegments``
    (as many as one message holds; none if they are not there). ``position`` > 0: as of the base there, if that still is the
    durable base; a log deleted since is still to be read. 0: as the log is now."""

    peer: bytes
    shard: int
    position: int
    log: Key
    first: int
    tail: int
