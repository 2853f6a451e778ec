"""Questions about a node and their answers as CBOR (``model.node_status``). Both sides are hostile until checked."""

from __future__ import annotations

from golemp2p.model import node_status as m
from golemp2p.model.membership import PUBLIC_KEY_BYTES
from golemp2p.model.replication import BRANCH_BYTES
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX

ASKED_BYTES_MAX = 64
ANSWER_BYTES_MAX = 2 << 20
"""``REPORTS_MAX`` reports with ``MEMBERS_MAX`` members each take 1 MiB."""

_SHARD = s.natural(SHARDS_MAX - 1)
_COUNT = s.natural(SHARDS_MAX)
_KEY = s.exact_bytes(PUBLIC_KEY_BYTES)
_KEYS = s.array(_KEY, m.MEMBERS_MAX)

_ASKED = s.record(m.StatusAsked, s.choice(m.Wanted), s.natural(SHARDS_MAX))
_REPORT = s.record(
    m.ReplicaReport,
    _SHARD,
    s.choice(m.ReplicaRole),
    s.flag(),
    s.flag(),
    s.exact_bytes(BRANCH_BYTES),
    s.natural(),
    s.exact_bytes(0, PUBLIC_KEY_BYTES),
    _KEYS,
    _KEYS,
    s.natural(),
    s.natural(),
    s.natural(),
)
_ANSWER = s.record(
    m.StatusAnswer,
    s.record(m.NodeFacts, s.short_text(m.VERSION_BYTES_MAX), s.short_text(m.HTTP_BYTES_MAX), s.natural()),
    s.record(m.NodeLoad, _COUNT, _COUNT, _COUNT),
    s.array(_REPORT, m.REPORTS_MAX),
    s.optional(_SHARD),
)


def encode_status_asked(asked: m.StatusAsked) -> bytes:
    return s.encode(_ASKED, asked, bytes_max=ASKED_BYTES_MAX)


def decode_status_asked(data: bytes) -> m.StatusAsked:
    """Raises ``DataDamaged``."""
    asked: m.StatusAsked = s.decode(_ASKED, data, what="question about a node", bytes_max=ASKED_BYTES_MAX)
    return asked


def encode_status_answer(answer: m.StatusAnswer) -> bytes:
    return s.encode(_ANSWER, answer, bytes_max=ANSWER_BYTES_MAX)


def decode_status_answer(data: bytes) -> m.StatusAnswer:
    """Raises ``DataDamaged``."""
    answer: m.StatusAnswer = s.decode(_ANSWER, data, what="answer about a node", bytes_max=ANSWER_BYTES_MAX)
    return answer
