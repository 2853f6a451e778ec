"""Messages between the replicas of a shard as CBOR.

    member    public key and store id, 48 bytes           configuration   [voters, learners, incoming]
    segment   its signed bytes (``wire.segment``)         content         [kind, fields]
    entry     [term, author, content, signature, hash, description]    position and previous hash follow from the append it is in
    milestone every field of an entry                     an election or a configuration, to prove who won a term

What a segment claims about itself is read from its bytes; that they are signed is for the core to ask (``wire.notary``).
"""

from __future__ import annotations

from typing import Any

from golemp2p.errors import DataDamaged
from golemp2p.model import messages_shard as msg
from golemp2p.model import replication as r
from golemp2p.model.ids import KEY_BYTES, Key
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX, STORE_ID_BYTES
from golemp2p.wire.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from golemp2p.wire.segment import NUMBER_MAX, SEGMENT_BYTES_MAX, open_segment

ENTRIES_MAX = 4096
"""Of one append. Senders stay far below (``core.replica_rules.Limits``)."""

SEGMENTS_MAX = 4096
"""Of one answer to a replica that fetches a log."""

HEADS_MAX = 4096
"""Of one page of a manifest: some 256 KiB."""

MEMBERS_MAX = 16
"""Of each kind in a configuration: five voters, eight learners, and some to spare."""

MESSAGE_BYTES_MAX = (4 << 20) + SEGMENT_BYTES_MAX + r.DESCRIPTION_BYTES_MAX + (1 << 20)
"""What an append aims at, the segment that passes the aim, and what the entries and the milestones add (each is below 10 KiB)."""

_DEPTH_MAX = 12

_NUMBER = s.natural(NUMBER_MAX)
_PUBLIC_KEY = s.exact_bytes(PUBLIC_KEY_BYTES)
_NO_KEY_OR_KEY = s.exact_bytes(0, PUBLIC_KEY_BYTES)
_SIGNATURE = s.exact_bytes(SIGNATURE_BYTES)
_NO_SIGNATURE_OR_SIGNATURE = s.exact_bytes(0, SIGNATURE_BYTES)
_HASH = s.exact_bytes(r.HASH_BYTES)
_BRANCH = s.exact_bytes(r.BRANCH_BYTES)
_REFUSAL = s.optional(s.choice(msg.Refusal))


def _converted(shape: s.Shape, write: Any, read: Any) -> s.Shape:
    """``shape`` around another form of the value."""
    return s.Shape(lambda value: shape.write(write(value)), lambda plain: read(shape.read(plain)))


def read_segment(data: bytes, description: bytes = b"") -> r.LogSegment:
    """A log's segment, from its signed bytes. Raises ``DataDamaged``."""
    segment = open_segment(data)
    return r.LogSegment(
        segment.log,
        segment.term,
        segment.first,
        segment.count,
        segment.previous_hash,
        segment.author,
        segment.hash,
        data,
        description,
    )


_KEY = _converted(s.exact_bytes(KEY_BYTES), lambda key: key.digest, Key)
_MEMBER = _converted(
    s.exact_bytes(PUBLIC_KEY_BYTES + STORE_ID_BYTES),
    lambda member: member.public_key + member.store_id,
    lambda data: r.Member(data[:PUBLIC_KEY_BYTES], data[PUBLIC_KEY_BYTES:]),
)
_MEMBERS = s.array(_MEMBER, MEMBERS_MAX)
_CONFIGURATION = s.record(r.Configuration, _MEMBERS, _MEMBERS, _MEMBERS)
_HEAD = _converted(s.row(_NUMBER, _HASH), tuple, lambda parts: r.Head(*parts))
_SEGMENT = _converted(s.short_bytes(SEGMENT_BYTES_MAX), lambda segment: segment.data, read_segment)
_VOTES = s.array(s.row(_MEMBER, _SIGNATURE), 2 * MEMBERS_MAX)
_ELECTION = s.record(r.Election, _MEMBER, _CONFIGURATION, _VOTES)


def _entry(content: s.Shape) -> s.Shape:
    """Every field of an entry, for one that stands alone."""
    natural = s.natural(NUMBER_MAX, 1)
    return s.record(r.Entry, natural, natural, _HASH, _PUBLIC_KEY, content, _NO_SIGNATURE_OR_SIGNATURE, _HASH)


_MILESTONES = s.array(_entry(s.union((1, r.Configuration, _CONFIGURATION), (2, r.Election, _ELECTION))), r.MILESTONES_MAX)
BASE = s.record(r.Base, _NUMBER, _NUMBER, _HASH, _NO_KEY_OR_KEY, _CONFIGURATION, _NUMBER, _BRANCH, _MILESTONES)

BRANCH_ORDER = s.record(r.Branch, _BRANCH, _MEMBER, _NUMBER, _NUMBER, _HASH, _PUBLIC_KEY, _NO_SIGNATURE_OR_SIGNATURE)

CONTENT = s.union(
    (0, r.LogSegment, _SEGMENT),
    (1, r.Configuration, _CONFIGURATION),
    (2, r.Election, _ELECTION),
    (3, r.Deletion, s.record(r.Deletion, _KEY)),
    (4, r.NoOp, s.record(r.NoOp)),
    (5, r.Branch, BRANCH_ORDER),
)
ENTRY = _entry(CONTENT)

_ENTRIES = s.array(
    s.row(
        s.natural(NUMBER_MAX, 1),
        _PUBLIC_KEY,
        CONTENT,
        _NO_SIGNATURE_OR_SIGNATURE,
        _HASH,
        s.short_bytes(r.DESCRIPTION_BYTES_MAX),
    ),
    ENTRIES_MAX,
)
_APPEND_PARTS = s.row(_NUMBER, _NUMBER, _HASH, _ENTRIES, _NUMBER, _MILESTONES)


def _append_parts(append: msg.Append) -> tuple[Any, ...]:
    expected = append.previous_position + 1
    assert [entry.position for entry in append.entries] == list(range(expected, expected + len(append.entries))), "no gaps"
    rows = tuple((e.term, e.author, e.content, e.signature, e.hash, _description(e.content)) for e in append.entries)
    return append.previous_position, append.previous_term, append.previous_hash, rows, append.commit, append.milestones


def _append_of(parts: tuple[Any, ...]) -> msg.Append:
    position, term, last_hash, rows, commit, milestones = parts
    entries: list[r.Entry] = []
    for at, (entry_term, author, content, signature, entry_hash, description) in enumerate(rows, position + 1):
        previous_hash = entries[-1].hash if entries else last_hash
        described = _described(content, description) if description else content
        entries.append(r.Entry(at, entry_term, previous_hash, author, described, signature, entry_hash))
    return msg.Append(position, term, last_hash, tuple(entries), commit, milestones)


def _description(content: r.Content) -> bytes:
    return content.description if content.__class__ is r.LogSegment else b""


def _described(content: r.Content, description: bytes) -> r.LogSegment:
    if content.__class__ is not r.LogSegment:
        raise DataDamaged("shard message", "a description of what is no segment")
    c = content
    return r.LogSegment(c.log, c.term, c.first, c.count, c.previous_hash, c.author, c.hash, c.data, description)


_MANIFEST_HEADS = s.array(s.row(_KEY, _HEAD), HEADS_MAX)
_BODY = s.union(
    (
        0,
        msg.RequestVote,
        s.record(msg.RequestVote, s.flag(), s.flag(), _NUMBER, _NUMBER, _CONFIGURATION, _NUMBER, _MILESTONES),
    ),
    (1, msg.Voted, s.record(msg.Voted, _NUMBER, s.flag(), _REFUSAL, _NO_SIGNATURE_OR_SIGNATURE, _NO_KEY_OR_KEY)),
    (2, msg.Append, _converted(_APPEND_PARTS, _append_parts, _append_of)),
    (3, msg.Appended, s.record(msg.Appended, _NUMBER, _REFUSAL, _NUMBER, s.flag(), _NUMBER)),
    (4, msg.TakeOver, s.record(msg.TakeOver)),
    (5, msg.Offer, s.record(msg.Offer, BASE, _MILESTONES)),
    (6, msg.FetchManifest, s.record(msg.FetchManifest, _NUMBER, s.optional(_KEY))),
    (7, msg.ManifestPage, s.record(msg.ManifestPage, _NUMBER, s.optional(_KEY), _MANIFEST_HEADS, s.flag())),
    (8, msg.FetchSegments, s.record(msg.FetchSegments, _NUMBER, _KEY, _NUMBER, _NUMBER)),
    (9, msg.FetchedSegments, s.record(msg.FetchedSegments, _KEY, _NUMBER, s.array(_SEGMENT, SEGMENTS_MAX))),
    (10, msg.AskPrimary, s.record(msg.AskPrimary)),
    (11, msg.Resigned, s.record(msg.Resigned, _NUMBER)),
)
_MESSAGE = s.record(msg.ShardMessage, s.natural(SHARDS_MAX - 1), _BRANCH, _NUMBER, s.exact_bytes(STORE_ID_BYTES), _BODY)


def encode_shard_message(message: msg.ShardMessage) -> bytes:
    """Raises ``PayloadTooLarge``."""
    return s.encode(_MESSAGE, message, bytes_max=MESSAGE_BYTES_MAX)


def decode_shard_message(data: bytes) -> msg.ShardMessage:
    """Raises ``DataDamaged`` for whatever ``encode_shard_message`` does not make."""
    message = s.decode(_MESSAGE, data, what="shard message", bytes_max=MESSAGE_BYTES_MAX, depth_max=_DEPTH_MAX)
    if not isinstance(message, msg.ShardMessage):
        raise DataDamaged("shard message", "malformed")
    return message
