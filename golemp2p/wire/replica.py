"""What storage keeps of a replica, beside segments, as CBOR: the shapes of ``wire.messages_shard``, one value to a row.

content     of an entry that is no segment: [kind, fields]
milestone   every field of an entry that is an election or a configuration
base        every field of a base
member      public key and store id, 48 bytes
"""

from __future__ import annotations

from golemp2p.errors import DataDamaged
from golemp2p.model.replication import Base, Content, Entry, LogSegment, Member
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import STORE_ID_BYTES
from golemp2p.wire.identity import PUBLIC_KEY_BYTES
from golemp2p.wire.messages_shard import BASE, CONTENT, ENTRY

CONTENT_BYTES_MAX = 64 << 10
"""The largest, an election in a joint configuration, has some 7 KiB."""

BASE_BYTES_MAX = 1 << 20
"""32 milestones of some 7 KiB, and a configuration."""

MEMBER_BYTES = PUBLIC_KEY_BYTES + STORE_ID_BYTES
_DEPTH_MAX = 12


def encode_content(content: Content) -> bytes:
    """Of any entry but a segment's. Raises ``PayloadTooLarge``."""
    assert not isinstance(content, LogSegment), "a segment is stored as it was signed"
    return s.encode(CONTENT, content, bytes_max=CONTENT_BYTES_MAX)


def decode_content(data: bytes) -> Content:
    """Raises ``DataDamaged``."""
    content: Content = s.decode(CONTENT, data, what="entry", bytes_max=CONTENT_BYTES_MAX, depth_max=_DEPTH_MAX)
    return content


def encode_entry(entry: Entry) -> bytes:
    """Of any entry but a segment's. Raises ``PayloadTooLarge``."""
    assert not isinstance(entry.content, LogSegment), "a segment is stored as it was signed"
    return s.encode(ENTRY, entry, bytes_max=CONTENT_BYTES_MAX)


def decode_entry(data: bytes) -> Entry:
    """Raises ``DataDamaged``."""
    entry: Entry = s.decode(ENTRY, data, what="entry", bytes_max=CONTENT_BYTES_MAX, depth_max=_DEPTH_MAX)
    return entry


def encode_base(base: Base) -> bytes:
    """Raises ``PayloadTooLarge``."""
    return s.encode(BASE, base, bytes_max=BASE_BYTES_MAX)


def decode_base(data: bytes) -> Base:
    """Raises ``DataDamaged``."""
    base: Base = s.decode(BASE, data, what="base", bytes_max=BASE_BYTES_MAX, depth_max=_DEPTH_MAX)
    return base


def encode_member(member: Member) -> bytes:
    return member.public_key + member.store_id


def decode_member(data: bytes) -> Member:
    """Raises ``DataDamaged``."""
    if len(data) != MEMBER_BYTES:
        raise DataDamaged("member", f"has {MEMBER_BYTES} bytes, got {len(data)}")
    return Member(data[:PUBLIC_KEY_BYTES], data[PUBLIC_KEY_BYTES:])
