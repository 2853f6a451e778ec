"""Requests on their way to the primary of a shard, and what comes back. ``number`` is the asker's own; answers carry it.

Forward --> Answer         done, or refused for good: ``payload`` says which, to whoever asked
        --> NotPrimary     with the primary and its term, if known
        --> Busy           later, here
"""

from __future__ import annotations

from golemp2p.model.light import light_dataclass

REQUEST_BYTES_MAX = 1 << 20
"""Larger arguments and results travel as blobs."""
KEY_BYTES_MAX = 1_024


@light_dataclass(frozen=True, slots=True)
class Forward:
    """``idempotency_key`` is the same in every attempt: whoever has executed it answers with the recorded result."""

    number: int
    shard: int
    idempotency_key: str
    deadline_ms: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class Answer:
    number: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class NotPrimary:
    """``term``: of what the answerer knows; ``primary``: a public key, ``None`` if it knows of none."""

    number: int
    shard: int
    term: int
    primary: bytes | None


@light_dataclass(frozen=True, slots=True)
class Busy:
    number: int
    retry_after_ms: int


RequestMessage = Forward | Answer | NotPrimary | Busy
