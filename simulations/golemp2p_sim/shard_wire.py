"""What simulated nodes say around the real replica core: signatures that are hashes, segments that hold invocations, sizes, one-liners.

    segment.data = signature (32 bytes) + JSON of (kind, key, worker, operation)

**Infidelity:** a signature is a keyed hash that anybody could make; a liar of the simulation does not, so it proves what it should.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from random import Random
from struct import Struct
from typing import Any

from golemp2p.core.replica import Replica
from golemp2p.model.ids import Key
from golemp2p.model.light import light_dataclass
from golemp2p.model.messages_shard import (
    Append,
    Appended,
    FetchedSegments,
    ManifestPage,
    Offer,
    RequestVote,
    ShardMessage,
    Voted,
)
from golemp2p.model.replication import EMPTY_LOG, HASH_BYTES, Branch, Content, Head, LogSegment
from golemp2p_sim.toy_messages import describe as describe_invocation
from golemp2p_sim.toy_messages import size_of
from golemp2p_sim.toy_state import Entry, make_entry

OPERATOR, THIEF = b"operator".ljust(32, b"."), b"thief".ljust(32, b".")
DECODED_MAX = 20_000
"""Invocations that are remembered decoded and sealed: every replica reads and verifies each of them."""


@light_dataclass(frozen=True, slots=True)
class Alive:
    """Every node says so to those it shares shards with. ``life``: new with each start. ``leads``: (shard, commit position, hash
    there) of what it is primary of, so that followers of an idle shard learn what is committed. ``strange``: those of them in
    which the one it is told has no vote, so that one who was away learns that it was replaced."""

    store_id: bytes
    life: int
    leads: tuple[tuple[int, int, bytes], ...]
    strange: tuple[int, ...] = ()


def _hashed(kind: bytes, *parts: bytes) -> bytes:
    """All parts but the last have lengths that ``kind`` decides, so that no two lists of parts are the same bytes."""
    return blake2b(kind + b"".join(parts), digest_size=HASH_BYTES).digest()


_two_numbers = Struct(">QQ").pack


class HashNotary:
    """The core's ``Notary`` for the node with public key ``key``."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def entry_hash(self, position: int, term: int, previous_hash: bytes, author: bytes, content: Content) -> bytes:
        digest = content.hash if content.__class__ is LogSegment else repr(content).encode()
        return _chained(position, term, previous_hash, author, digest)

    def sign_entry(self, entry_hash: bytes) -> bytes:
        return _hashed(b"entry", self._key, entry_hash)

    def is_entry_signed(self, entry_hash: bytes, signature: bytes, author: bytes) -> bool:
        return signature == _hashed(b"entry", author, entry_hash)

    def cast_vote(self, term: int, primary: bytes) -> bytes:
        return _hashed(b"vote", self._key, _two_numbers(term, 0), primary)

    def is_vote(self, term: int, primary: bytes, voter: bytes, signature: bytes) -> bool:
        return signature == _hashed(b"vote", voter, _two_numbers(term, 0), primary)

    def is_segment_signed(self, segment: LogSegment) -> bool:
        data, author = segment.data, segment.author
        head = Head(segment.first, segment.previous_hash)
        signature, digest = _seal(segment.log.digest, segment.term, head, author, data[32:])
        return data[:32] == signature and segment.hash == digest and segment.count == 1

    def is_branch_signed(self, branch: Branch) -> bool:
        return branch.operator == OPERATOR


def propose(replica: Replica, author: bytes, log: Key, entry: Entry) -> None:
    """Queue ``entry`` at the end of ``log``; the replica, which ``author`` holds, must be serving."""
    head = replica.head(log) or EMPTY_LOG
    replica.append([make_segment(author, log, replica.term, head, entry)])


@lru_cache(maxsize=DECODED_MAX)
def _chained(position: int, term: int, previous_hash: bytes, author: bytes, digest: bytes) -> bytes:
    return _hashed(b"chain", _two_numbers(position, term), previous_hash, author, digest)


@lru_cache(maxsize=DECODED_MAX)
def _seal(log: bytes, term: int, head: Head, author: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Signature and hash of a segment."""
    header = _hashed(b"header", log, _two_numbers(term, head.tail), head.hash, author, payload)
    signature = _hashed(b"segment", author, header)
    return signature, _hashed(b"sealed", header, signature)


def make_segment(author: bytes, log: Key, term: int, head: Head, entry: Entry) -> LogSegment:
    """One entry of a worker's log, which so far ends at ``head``, sealed by ``author``."""
    payload = json.dumps([entry.kind, entry.key, entry.worker, entry.operation]).encode()
    signature, digest = _seal(log.digest, term, head, author, payload)
    return LogSegment(log, term, head.tail, 1, head.hash, author, digest, signature + payload)


@lru_cache(maxsize=DECODED_MAX)
def read_segment(term: int, data: bytes) -> Entry:
    """What ``make_segment`` was given."""
    kind, key, worker, operation = json.loads(data[32:].decode())
    return make_entry(term, kind, key, worker, tuple(operation))


def tampered(message: Any, dice: Random) -> ShardMessage | None:
    """An append whose last segment says something else: with hashes to match and no signature, or with the hash of the right one."""
    if type(message) is not ShardMessage or type(message.body) is not Append or not message.body.entries:
        return None
    last = message.body.entries[-1]
    segment = last.content
    if type(segment) is not LogSegment:
        return None
    entry = read_segment(segment.term, segment.data)
    forged = replace(entry, key=f"{entry.key}/forged")
    head = Head(segment.first, segment.previous_hash)
    if dice.random() < 0.5:
        content = replace(make_segment(THIEF, segment.log, segment.term, head, forged), author=segment.author)
        rehashed = HashNotary(THIEF).entry_hash(last.position, last.term, last.previous_hash, last.author, content)
        lie = replace(last, content=content, hash=rehashed)
    else:
        lie = replace(last, content=make_segment(segment.author, segment.log, segment.term, head, forged))
    return replace(message, body=replace(message.body, entries=(*message.body.entries[:-1], lie)))


def chain_of(entry_hash: bytes) -> int:
    """For the judge: an integer that stands for the hash chain."""
    return int.from_bytes(entry_hash[:8], "big")


def message_bytes(message: Any) -> int:
    """About what CBOR would take."""
    kind = type(message)
    if kind is Alive:
        return 48 + 48 * len(message.leads)
    if kind is not ShardMessage:
        return size_of(message)
    body = message.body
    if type(body) is Appended:
        return 140
    if type(body) is Append:
        return 160 + sum(160 + (len(e.content.data) + 160 if type(e.content) is LogSegment else 300) for e in body.entries)
    if type(body) is FetchedSegments:
        return 120 + sum(len(segment.data) + 160 for segment in body.segments)
    if type(body) is ManifestPage:
        return 120 + 72 * len(body.heads)
    return 400 if type(body) in (RequestVote, Offer) else 140


def describe(message: Any) -> str:
    if type(message) is Alive:
        return "alive, leads " + (" ".join(f"{shard}@{commit}" for shard, commit, _ in message.leads) or "nothing")
    if type(message) is not ShardMessage:
        return describe_invocation(message)
    head = f"shard {message.shard} term {message.term}"
    match message.body:
        case Append(previous, _, _, entries, commit):
            kinds = " ".join(_label(entry.content) for entry in entries[:4])
            return (
                f"append {head} from {previous + 1}: {kinds or 'nothing'}{' ...' if len(entries) > 4 else ''} commit {commit}"
            )
        case Appended(position, refusal, hint, damaged, _):
            said = f"refused ({refusal.name}) hint {hint}" if refusal is not None else "ack"
            return f"{said} {head} position {position}{' damaged' if damaged else ''}"
        case RequestVote(trial, hand_over, last_position, last_term, _, _):
            kind = "ask trial vote" if trial else "ask vote"
            return f"{kind} {head} log {last_position} of term {last_term}{' hand-over' if hand_over else ''}"
        case Voted(term, trial, refusal, _, _):
            return f"{'trial ' if trial else ''}vote {head} in {term} {'yes' if refusal is None else f'no ({refusal.name})'}"
    return f"{type(message.body).__name__} {head}"


def _label(content: Content) -> str:
    if type(content) is not LogSegment:
        return type(content).__name__.lower()
    entry = read_segment(content.term, content.data)
    return entry.key or entry.kind
