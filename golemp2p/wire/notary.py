"""What is hashed and signed in a shard's log: the real ``core.notary.Notary``.

entry hash   BLAKE2b-256 of CBOR [tag, mesh id, shard, position, term, previous hash, author, content]
             where a segment's content is its own hash, which covers header, signature and payload
entry        Ed25519 over CBOR [tag, entry hash]
vote         as in ``wire.certificate``, so that the votes of an election make a certificate
branch       Ed25519 by the operator over CBOR [tag, mesh id, shard, every other field]
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from golemp2p.errors import DataDamaged
from golemp2p.model.replication import HASH_BYTES, Branch, Content, LogSegment
from golemp2p.values import cbor
from golemp2p.wire.certificate import cast_vote, is_vote
from golemp2p.wire.identity import Signer, is_signed
from golemp2p.wire.messages_shard import CONTENT
from golemp2p.wire.segment import open_segment

_HASH_TAG = "golemp2p/shard-entry/1"
_ENTRY_TAG = "golemp2p/shard-entry-signature/1"
_BRANCH_TAG = "golemp2p/branch/1"


class ShardVerifier:
    """Checks what was signed in one shard, and signs nothing. ``operator``: public key that may order a forced recovery; ``None`` in a
    mesh without an operator, where nobody may. ``shards_count``: of the mesh; with it, a log that belongs to another shard is refused
    here, whoever signed it."""

    __slots__ = ("_mesh_id", "_operator", "_shard", "_shards_count")

    def __init__(self, *, mesh_id: bytes, shard: int, operator: bytes | None = None, shards_count: int | None = None) -> None:
        self._mesh_id = mesh_id
        self._shard = shard
        self._operator = operator
        self._shards_count = shards_count

    def entry_hash(self, position: int, term: int, previous_hash: bytes, author: bytes, content: Content) -> bytes:
        facts = (position, term, previous_hash, author, content)
        return entry_hash(*facts, mesh_id=self._mesh_id, shard=self._shard)

    def is_entry_signed(self, entry_hash: bytes, signature: bytes, author: bytes) -> bool:
        return is_entry_signed(entry_hash, signature, author)

    def is_vote(self, term: int, primary: bytes, voter: bytes, signature: bytes) -> bool:
        return is_vote(signature, voter, mesh_id=self._mesh_id, shard=self._shard, term=term, primary=primary)

    def is_segment_signed(self, segment: LogSegment) -> bool:
        if self._shards_count is not None and segment.log.shard(self._shards_count) != self._shard:
            return False
        try:
            parsed = open_segment(segment.data)
        except DataDamaged:
            return False
        facts = (parsed.log, parsed.term, parsed.first, parsed.count, parsed.previous_hash, parsed.author, parsed.hash)
        claimed = (segment.log, segment.term, segment.first, segment.count, segment.previous_hash, segment.author, segment.hash)
        return facts == claimed and is_signed(parsed.header, parsed.signature, parsed.author)

    def is_branch_signed(self, branch: Branch) -> bool:
        is_operator = self._operator is not None and branch.operator == self._operator
        return is_operator and is_branch_signed(branch, mesh_id=self._mesh_id, shard=self._shard)


class ShardNotary(ShardVerifier):
    """Signs as well, for the node of ``signer``."""

    __slots__ = ("_signer",)

    def __init__(
        self,
        signer: Signer,
        *,
        mesh_id: bytes,
        shard: int,
        operator: bytes | None = None,
        shards_count: int | None = None,
    ) -> None:
        super().__init__(mesh_id=mesh_id, shard=shard, operator=operator, shards_count=shards_count)
        self._signer = signer

    def sign_entry(self, entry_hash: bytes) -> bytes:
        return self._signer.sign(cbor.dumps((_ENTRY_TAG, entry_hash)))

    def cast_vote(self, term: int, primary: bytes) -> bytes:
        return cast_vote(self._signer, mesh_id=self._mesh_id, shard=self._shard, term=term, primary=primary)[1]


# The questions that anyone can answer, without a key.


def entry_hash(
    position: int, term: int, previous_hash: bytes, author: bytes, content: Content, *, mesh_id: bytes, shard: int
) -> bytes:
    plain = content.hash if isinstance(content, LogSegment) else CONTENT.write(content)
    record = (_HASH_TAG, mesh_id, shard, position, term, previous_hash, author, plain)
    return blake2b(cbor.dumps(record), digest_size=HASH_BYTES).digest()


def is_entry_signed(entry_hash: bytes, signature: bytes, author: bytes) -> bool:
    return is_signed(cbor.dumps((_ENTRY_TAG, entry_hash)), signature, author)


def is_branch_signed(branch: Branch, *, mesh_id: bytes, shard: int) -> bool:
    """Whether it is an order of the operator that it names, whoever that is."""
    return is_signed(_branch_record(branch, mesh_id, shard), branch.signature, branch.operator)


def sign_branch(operator: Signer, branch: Branch, *, mesh_id: bytes, shard: int) -> Branch:
    """``branch`` as an order of ``operator``."""
    named = replace(branch, operator=operator.public_key, signature=b"")
    return replace(named, signature=operator.sign(_branch_record(named, mesh_id, shard)))


def _branch_record(branch: Branch, mesh_id: bytes, shard: int) -> bytes:
    return cbor.dumps((_BRANCH_TAG, mesh_id, shard, CONTENT.write(replace(branch, signature=b""))))
