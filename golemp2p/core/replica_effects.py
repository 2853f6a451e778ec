"""Effects of a shard's replica, beside those that all cores share."""

from __future__ import annotations

from golemp2p.model.ids import Key
from golemp2p.model.light import light_dataclass
from golemp2p.model.replication import Entry


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
