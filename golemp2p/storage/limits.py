"""What every adapter of ``ports.Storage`` refuses, checked in ``submit`` before anything is queued.

Numbers of the contract are Python's and unbounded; a disk is not. All refusals are ``UsageError``: the caller built
something that can never be stored.
"""

from __future__ import annotations

from golemp2p.errors import UsageError
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import DESCRIPTION_BYTES_MAX, LogSegment
from golemp2p.ports import Batch, LogHead

SEGMENT_BYTES_MAX = 4 << 20  # a segment's payload has at most 1 MiB; the rest is header and room for one fat entry
SUMMARY_BYTES_MAX = 16 << 20
META_BYTES_MAX = 1 << 20
BLOB_BYTES_MAX = 1 << 30  # above any component; a blob is held in memory while it is put or got
KIND_BYTES_MAX = 64
IDENTITY_BYTES_MAX = 4096  # a worker's is a UUID, a slash and up to 512 bytes
META_NAME_BYTES_MAX = 256
HEADS_COUNT_MAX = 10_000  # one page of a listing
BATCH_ITEMS_MAX = 1 << 21  # an installation names every log of its shard, up to a million
INTEGER_MAX = (1 << 63) - 1  # SQLite's integers are signed, 64 bits

RECORD_BYTES = 128
ENTRY_BYTES = 192  # roughly what the rows of a record, and of an entry, take without what the entry says
HASH_BYTES = 32
SHA256_BYTES = 32


def check_batch(batch: Batch) -> int:
    """Raises ``UsageError``; returns the bytes of the batch, as counted against the queue's limit."""
    items = len(batch.heads) + sum(
        1 + len(write.entries) + len(write.fetched) + len(write.heads) + len(write.refetch) + len(write.repaired)
        for write in batch.replicas
    )
    if items > BATCH_ITEMS_MAX:
        raise UsageError(f"a batch has at most {BATCH_ITEMS_MAX} items, got {items}")
    size = 0
    for write in batch.replicas:
        size += _check_write(write)
    for head in batch.heads:
        size += _check_head(head)
    return size


def check_text(what: str, text: str, bytes_max: int) -> int:
    """Length of ``text`` in UTF-8. A lone surrogate has none and is refused."""
    try:
        size = len(text.encode())
    except (UnicodeEncodeError, AttributeError) as error:
        raise UsageError(f"{what} {text!r} is not text that UTF-8 can hold") from error
    if size > bytes_max:
        raise UsageError(f"{what} has at most {bytes_max} bytes, got {size}")
    return size


def check_bytes(what: str, data: bytes, bytes_max: int) -> int:
    if type(data) is not bytes:
        raise UsageError(f"{what} must be bytes, got {type(data).__name__}")
    if len(data) > bytes_max:
        raise UsageError(f"{what} has at most {bytes_max} bytes, got {len(data)}")
    return len(data)


def check_count(count: int) -> None:
    if not 1 <= count <= HEADS_COUNT_MAX:
        raise UsageError(f"a listing returns 1 to {HEADS_COUNT_MAX} heads at a time, asked for {count}")


def check_sha256(sha256: bytes) -> None:
    if type(sha256) is not bytes or len(sha256) != SHA256_BYTES:
        raise UsageError(f"a blob is named by its SHA-256, {SHA256_BYTES} bytes")


def _check_key(key: Key) -> None:
    if type(key) is not Key:
        raise UsageError(f"a log is named by a Key, got {type(key).__name__}")


def _check_write(write: ReplicaWrite) -> int:
    shard, record = write.shard, write.record
    if not 0 <= shard <= INTEGER_MAX:
        raise UsageError(f"shard {shard} is out of range")
    _check_numbers(shard, record.term, record.commit, *record.high_water, write.truncate_from or 0, write.kept_position)
    size = RECORD_BYTES
    if write.base is not None:
        _check_numbers(shard, write.base.position, write.base.term, write.base.configuration_position)
    for log, head in write.heads:
        _check_key(log)
        if head is not None and not (1 <= head.tail <= INTEGER_MAX and len(head.hash) == HASH_BYTES):
            raise UsageError(f"head of {log} in a base of shard {shard}: tail {head.tail}, or a hash of another length")
        size += HASH_BYTES
    for segment in write.fetched:
        size += _check_segment(segment)
    for entry in write.entries:
        _check_numbers(shard, entry.position, entry.term)
        size += ENTRY_BYTES
        if entry.content.__class__ is LogSegment:
            size += _check_segment(entry.content)
    return size


def _check_numbers(shard: int, *numbers: int) -> None:
    for number in numbers:
        if not 0 <= number <= INTEGER_MAX:
            raise UsageError(f"write of shard {shard}: {number} is out of range")


def _check_segment(segment: LogSegment) -> int:
    log, first, count = segment.log, segment.first, segment.count
    _check_key(log)
    if not (1 <= first <= INTEGER_MAX and 1 <= count <= INTEGER_MAX - first):
        raise UsageError(f"segment of {log}: first {first} and count {count} are no range of oplog indexes")
    if not 0 <= segment.term <= INTEGER_MAX:
        raise UsageError(f"segment of {log}: term {segment.term} out of range")
    size = check_bytes("a description", segment.description, DESCRIPTION_BYTES_MAX)
    return size + check_bytes("a segment", segment.data, SEGMENT_BYTES_MAX)


def _check_head(head: LogHead) -> int:
    _check_key(head.key)
    if not (1 <= head.tail <= INTEGER_MAX and 0 <= head.shard <= INTEGER_MAX):
        raise UsageError(f"head of {head.key}: tail {head.tail} or shard {head.shard} out of range")
    if head.wake_ns is not None and not -INTEGER_MAX <= head.wake_ns <= INTEGER_MAX:
        raise UsageError(f"head of {head.key}: wake_ns {head.wake_ns} out of range")
    if type(head.head_hash) is not bytes or len(head.head_hash) != HASH_BYTES:
        raise UsageError(f"head of {head.key}: head_hash must have {HASH_BYTES} bytes")
    size = check_bytes("a summary", head.summary, SUMMARY_BYTES_MAX)
    size += check_text("kind", head.kind, KIND_BYTES_MAX)
    size += check_text("identity", head.identity, IDENTITY_BYTES_MAX)
    if not head.kind or Key.of(head.kind, head.identity) != head.key:
        raise UsageError(f"head of {head.key}: kind {head.kind!r} and identity {head.identity!r} belong to another log")
    return size
