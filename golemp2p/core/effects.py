"""What every core may ask of the world. Frozen values; a core adds effects of its own in its own module.

    core --Persist(write, token, then)--> driver --write durable--> then sent --persisted(token)--> core

Order is data: what must be durable before a message leaves is inside the ``Persist`` that releases it. A driver carries out the
effects of one list in order, and may gather the writes of many cores into one durable commit. A write that failed, or a crash
before it is durable, releases nothing: neither ``then`` nor the report.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from golemp2p.model.light import light_dataclass


@light_dataclass(frozen=True, slots=True)
class Send:
    """Give ``message`` to the peer with public key ``peer`` (32 bytes). It may be lost, repeated or overtaken.

    Sends to one peer that are ready at the same moment, of any number of cores, may share a frame.
    """

    peer: bytes
    message: Any


@light_dataclass(frozen=True, slots=True)
class Persist:
    """Make ``write`` durable; only then carry out ``then`` and report ``persisted(token)`` to the core.

    Writes of one core become durable in the order in which they were given. ``token`` is the core's own number for this write,
    rising, never used twice in one life of the core.
    """

    write: Any
    token: int
    then: tuple[Send, ...] = ()


@light_dataclass(frozen=True, slots=True)
class Notice:
    """For the log: a stable event name and fields. Nothing depends on it."""

    name: str
    fields: tuple[tuple[str, Any], ...] = ()


Effect: TypeAlias = Any
"""``Send``, ``Persist``, ``Notice``, or an effect that the core's own module defines."""
