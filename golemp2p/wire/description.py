"""What a primary says of a log beside each segment of it: CBOR [kind, identity, has open work, wake time, summary].

Followers keep it as the log's head. It proves nothing; that kind and identity are those of the log's key is checked.
"""

from __future__ import annotations

from typing import NamedTuple

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import Key
from golemp2p.model.replication import DESCRIPTION_BYTES_MAX
from golemp2p.values import cbor

_INT_MAX = (1 << 63) - 1


class Description(NamedTuple):
    """``wake_ns``: wall time at which the log's worker wants to be woken; ``summary``: CBOR of whoever reads such logs."""

    kind: str
    identity: str
    has_open_work: bool
    wake_ns: int | None
    summary: bytes


def encode_description(description: Description) -> bytes:
    return cbor.dumps(tuple(description))


def decode_description(data: bytes, log: Key) -> Description:
    """Of ``log``. Raises ``DataDamaged``."""
    what = f"description of {log}"
    parts = cbor.loads(data, what=what, bytes_max=DESCRIPTION_BYTES_MAX, depth_max=2)
    if parts.__class__ is not list or len(parts) != len(Description._fields):
        raise DataDamaged(what, "malformed")
    kind, identity, has_open_work, wake_ns, summary = parts
    if (
        kind.__class__ is not str
        or identity.__class__ is not str
        or has_open_work.__class__ is not bool
        or not (wake_ns is None or (wake_ns.__class__ is int and 0 <= wake_ns <= _INT_MAX))
        or summary.__class__ is not bytes
    ):
        raise DataDamaged(what, "malformed")
    if len(kind) > 255 or Key.of(kind, identity) != log:
        raise DataDamaged(what, "names another log")
    return Description(kind, identity, has_open_work, wake_ns, summary)
