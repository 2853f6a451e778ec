"""Who may write in a shard: the record of a mesh's birth, and election certificates (ARCHITECTURE 4: S0, S1, S7).

    birth         {hash of the mesh key, founder, operator, shards, created}   signed by the founder
    genesis       a birth with the mesh key itself
    vote          (mesh id, shard, term, primary)                       signed by a voter
    certificate   {mesh id, shard, term, primary, voters, votes}        votes of a majority of the voters

    mesh id = BLAKE2b-256(birth)      public, as the birth is, unlike the mesh key, which is the password of a private mesh
    operator                                   whose key may remove nodes and order forced recoveries; no node needs it to run

A certificate and a birth are evidence for anyone, offline: this node was primary of this shard in this term. Which
voters a shard has is not for the certificate to say: its first configuration is {founder} (S0), later ones are entries of
the shard's log; so verifying takes the voters that the verifier knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from golemp2p.errors import DataDamaged
from golemp2p.model.replication import Election
from golemp2p.values import cbor
from golemp2p.wire.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, is_signed

MESH_KEY_BYTES = 32
MESH_ID_BYTES = 32
STORE_ID_BYTES = 16
SHARDS_MAX = 1 << 16
VOTERS_COUNTS = (1, 3, 5)
TERM_MAX = (1 << 63) - 1
ENCODED_BYTES_MAX = 4096
"""Five voters with their votes take under 1 KiB."""

_GENESIS_TAG = "golemp2p/genesis/3"
_BIRTH_TAG = "golemp2p/birth/1"
_KEY_HASH_PERSON = b"golemp2p/mesh-ke"
_VOTE_TAG = "golemp2p/vote/1"
_CERTIFICATE_TAG = "golemp2p/certificate/1"


@dataclass(frozen=True, slots=True)
class Birth:
    """What anybody may know of how a mesh was born. ``key_hash``: 32 bytes that commit to the mesh key; ``founder``, ``operator``:
    public keys, the same where the operator has no key of its own; ``shards_count``: a power of two."""

    key_hash: bytes
    founder: bytes
    operator: bytes
    shards_count: int
    created_ns: int
    signature: bytes

    @property
    def mesh_id(self) -> bytes:
        """32 bytes that name the mesh without telling its key."""
        return blake2b(self._record(), digest_size=MESH_ID_BYTES).digest()

    def _record(self) -> bytes:
        return _birth_record(self.key_hash, self.founder, self.operator, self.shards_count, self.created_ns)

    def encoded(self) -> bytes:
        facts = (self.key_hash, self.founder, self.operator, self.shards_count, self.created_ns)
        return cbor.dumps((_BIRTH_TAG, *facts, self.signature))


def load_birth(data: bytes) -> Birth:
    """The birth in ``data``, its form and the founder's signature checked. Raises ``DataDamaged``."""
    return Birth(*_born(data, _BIRTH_TAG, "birth of a mesh", lambda key_hash: key_hash))


@dataclass(frozen=True, slots=True)
class Genesis:
    """Birth of a mesh on one node. ``mesh_key``: 32 bytes; the rest as in ``Birth``.

    ``encoded`` holds ``mesh_key`` in the clear: it stays among members.
    """

    mesh_key: bytes
    founder: bytes
    operator: bytes
    shards_count: int
    created_ns: int
    signature: bytes

    @property
    def birth(self) -> Birth:
        """The same for everybody."""
        facts = (self.founder, self.operator, self.shards_count, self.created_ns, self.signature)
        return Birth(_hash_of_key(self.mesh_key), *facts)

    @property
    def mesh_id(self) -> bytes:
        return self.birth.mesh_id

    def encoded(self) -> bytes:
        facts = (self.mesh_key, self.founder, self.operator, self.shards_count, self.created_ns)
        return cbor.dumps((_GENESIS_TAG, *facts, self.signature))


def found_mesh(
    signer: Signer, *, mesh_key: bytes, shards_count: int, created_ns: int, operator: bytes | None = None
) -> Genesis:
    """The genesis record of a new mesh, founded by the holder of ``signer``. ``operator``: public key; ``None``: the founder's."""
    assert len(mesh_key) == MESH_KEY_BYTES, "a mesh key of 32 bytes"
    assert _is_shards_count(shards_count), "a power of two shards"
    founder = signer.public_key
    facts = (founder, founder if operator is None else operator, shards_count, created_ns)
    return Genesis(mesh_key, *facts, signer.sign(_birth_record(_hash_of_key(mesh_key), *facts)))


def load_genesis(data: bytes) -> Genesis:
    """The genesis record in ``data``, its form and the founder's signature checked. Raises ``DataDamaged``."""
    return Genesis(*_born(data, _GENESIS_TAG, "mesh genesis", _hash_of_key))


def _born(data: bytes, tag: str, what: str, hash_of: Callable[[bytes], bytes]) -> tuple[bytes, bytes, bytes, int, int, bytes]:
    """The fields of a birth or a genesis record, whose first leads to the hash of the mesh key."""
    found, key, founder, operator, shards_count, created_ns, signature = _fields(data, 7, what)
    if (
        found != tag
        or not _is_bytes(key, MESH_KEY_BYTES)
        or not _is_bytes(founder, PUBLIC_KEY_BYTES)
        or not _is_bytes(operator, PUBLIC_KEY_BYTES)
        or shards_count.__class__ is not int
        or not _is_shards_count(shards_count)
        or created_ns.__class__ is not int
        or not _is_bytes(signature, SIGNATURE_BYTES)
    ):
        raise DataDamaged(what, "malformed")
    if not is_signed(_birth_record(hash_of(key), founder, operator, shards_count, created_ns), signature, founder):
        raise DataDamaged(what, "the signature is not the founder's")
    return key, founder, operator, shards_count, created_ns, signature


@dataclass(frozen=True, slots=True, order=True)
class Voter:
    """A replica that counts: a node's public key and the id of its store (S9: a store that lost data is another voter)."""

    public_key: bytes
    store_id: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """The election of ``primary`` (a public key). ``votes`` are (voter's public key, signature over the vote)."""

    mesh_id: bytes
    shard: int
    term: int
    primary: bytes
    voters: tuple[Voter, ...]
    votes: tuple[tuple[bytes, bytes], ...]

    def encoded(self) -> bytes:
        voters = [(voter.public_key, voter.store_id) for voter in self.voters]
        return cbor.dumps((_CERTIFICATE_TAG, self.mesh_id, self.shard, self.term, self.primary, voters, self.votes))


def cast_vote(signer: Signer, *, mesh_id: bytes, shard: int, term: int, primary: bytes) -> tuple[bytes, bytes]:
    """This node's vote, for a certificate. S1: record durably that it was cast before letting it out."""
    return signer.public_key, signer.sign(_vote(mesh_id, shard, term, primary))


def is_vote(signature: bytes, voter: bytes, *, mesh_id: bytes, shard: int, term: int, primary: bytes) -> bool:
    """Whether ``signature`` is the vote of the holder of public key ``voter``."""
    return is_signed(_vote(mesh_id, shard, term, primary), signature, voter)


def make_certificate(
    *,
    mesh_id: bytes,
    shard: int,
    term: int,
    primary: bytes,
    voters: Iterable[Voter],
    votes: Iterable[tuple[bytes, bytes]],
) -> Certificate:
    """A certificate with voters and votes in a fixed order, so that equal elections have equal bytes. Not verified."""
    return Certificate(mesh_id, shard, term, primary, tuple(sorted(voters)), tuple(sorted(votes)))


def birth_certificate(signer: Signer, genesis: Genesis, *, shard: int, store_id: bytes, term: int = 1) -> Certificate:
    """The founder elects itself, alone as it is (S0). Also for later terms of a mesh that still has one node."""
    founder = signer.public_key
    mesh_id = genesis.mesh_id
    return make_certificate(
        mesh_id=mesh_id,
        shard=shard,
        term=term,
        primary=founder,
        voters=[Voter(founder, store_id)],
        votes=[cast_vote(signer, mesh_id=mesh_id, shard=shard, term=term, primary=founder)],
    )


def election_certificate(election: Election, *, mesh_id: bytes, shard: int, term: int) -> Certificate:
    """What an election's entry proves to whoever does not have the log. Of a joint election, the group of voters that has the primary
    among it; either majority elected it."""
    configuration = election.configuration
    groups = [group for group in (configuration.voters, configuration.incoming) if election.primary in group]
    voters = groups[-1] if groups else configuration.voters
    return make_certificate(
        mesh_id=mesh_id,
        shard=shard,
        term=term,
        primary=election.primary.public_key,
        voters=[Voter(voter.public_key, voter.store_id) for voter in voters],
        votes=[(voter.public_key, signature) for voter, signature in election.votes if voter in voters],
    )


def load_certificate(data: bytes) -> Certificate:
    """The certificate in ``data``, its form checked but no vote. Raises ``DataDamaged``."""
    what = "election certificate"
    tag, mesh_id, shard, term, primary, voters, votes = _fields(data, 7, what)
    if (
        tag != _CERTIFICATE_TAG
        or not _is_bytes(mesh_id, MESH_ID_BYTES)
        or not _is_natural(shard, SHARDS_MAX - 1)
        or not _is_natural(term, TERM_MAX)
        or not _is_bytes(primary, PUBLIC_KEY_BYTES)
        or not _are_pairs(voters, PUBLIC_KEY_BYTES, STORE_ID_BYTES)
        or not _are_pairs(votes, PUBLIC_KEY_BYTES, SIGNATURE_BYTES)
    ):
        raise DataDamaged(what, "malformed")
    return Certificate(
        mesh_id,
        shard,
        term,
        primary,
        tuple(Voter(key, store) for key, store in voters),
        tuple((key, signature) for key, signature in votes),
    )


def verify_certificate(certificate: Certificate, genesis: Genesis, *, voters: Collection[Voter] | None = None) -> None:
    """Checks that a majority of the shard's voters elected the primary. Raises ``DataDamaged`` with the reason.

    ``voters``: the shard's configuration as the verifier knows it; ``None``: the one of its birth, i.e. the founder with
    whatever store it had then.
    """
    name = f"certificate of shard {certificate.shard}, term {certificate.term}"
    members = {voter.public_key for voter in certificate.voters}
    if certificate.mesh_id != genesis.mesh_id:
        raise DataDamaged(name, "belongs to another mesh")
    if certificate.shard >= genesis.shards_count or certificate.term < 1:
        raise DataDamaged(name, "no such shard or term")
    if len(certificate.voters) not in VOTERS_COUNTS or len(members) != len(certificate.voters):
        raise DataDamaged(name, "the voters are not 1, 3 or 5 different nodes")
    if voters is None and members != {genesis.founder}:
        raise DataDamaged(name, "the voters are not the founder alone")
    if voters is not None and set(certificate.voters) != set(voters):
        raise DataDamaged(name, "the voters are not the shard's configuration")
    if certificate.primary not in members:
        raise DataDamaged(name, "the primary is not a voter")
    _check_votes(certificate, members, name)


def _check_votes(certificate: Certificate, members: set[bytes], name: str) -> None:
    vote = _vote(certificate.mesh_id, certificate.shard, certificate.term, certificate.primary)
    cast: set[bytes] = set()
    for public_key, signature in certificate.votes:
        if public_key not in members or public_key in cast:
            raise DataDamaged(name, "a vote of a stranger, or a second vote")
        if not is_signed(vote, signature, public_key):
            raise DataDamaged(name, f"the vote of {public_key.hex()} has not its signature")
        cast.add(public_key)
    if len(cast) <= len(members) // 2:
        raise DataDamaged(name, f"{len(cast)} of {len(members)} votes are no majority")


def _hash_of_key(mesh_key: bytes) -> bytes:
    """The key is random, so nobody finds it from this."""
    return blake2b(mesh_key, digest_size=MESH_KEY_BYTES, person=_KEY_HASH_PERSON).digest()


def _birth_record(key_hash: bytes, founder: bytes, operator: bytes, shards_count: int, created_ns: int) -> bytes:
    return cbor.dumps((_BIRTH_TAG, key_hash, founder, operator, shards_count, created_ns))


def _vote(mesh_id: bytes, shard: int, term: int, primary: bytes) -> bytes:
    return cbor.dumps((_VOTE_TAG, mesh_id, shard, term, primary))


def _fields(data: bytes, count: int, what: str) -> list[Any]:
    fields = cbor.loads(data, what=what, bytes_max=ENCODED_BYTES_MAX, depth_max=4)
    if fields.__class__ is not list or len(fields) != count:
        raise DataDamaged(what, "malformed")
    return fields


def _is_bytes(value: Any, length: int) -> bool:
    return value.__class__ is bytes and len(value) == length


def _is_natural(value: Any, highest: int) -> bool:
    return value.__class__ is int and 0 <= value <= highest


def _is_shards_count(count: int) -> bool:
    return 1 <= count <= SHARDS_MAX and count & (count - 1) == 0


def _are_pairs(value: Any, left: int, right: int) -> bool:
    return value.__class__ is list and all(
        pair.__class__ is list and len(pair) == 2 and _is_bytes(pair[0], left) and _is_bytes(pair[1], right) for pair in value
    )
