"""Keys, the record of a mesh's birth, and election certificates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.values import cbor
from golemp2p.wire.certificate import (
    Certificate,
    Voter,
    birth_certificate,
    cast_vote,
    found_mesh,
    load_birth,
    load_certificate,
    load_genesis,
    make_certificate,
    verify_certificate,
)
from golemp2p.wire.identity import SigningKey, is_signed

FOUNDER, SECOND, THIRD, STRANGER = (SigningKey(bytes([n]) * 32) for n in range(4))
STORE = b"store-id-16bytes"
GENESIS = found_mesh(FOUNDER, mesh_key=b"m" * 32, shards_count=1024, created_ns=1_700_000_000_000_000_000)
THREE = [Voter(key.public_key, STORE) for key in (FOUNDER, SECOND, THIRD)]


def elected(*voters: SigningKey, primary: SigningKey = SECOND, shard: int = 5, term: int = 2) -> Certificate:
    mesh = GENESIS.mesh_id
    votes = [cast_vote(v, mesh_id=mesh, shard=shard, term=term, primary=primary.public_key) for v in voters]
    return make_certificate(mesh_id=mesh, shard=shard, term=term, primary=primary.public_key, voters=THREE, votes=votes)


def test_signatures_are_those_of_rfc_8032() -> None:
    key = SigningKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public_key.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = key.sign(b"\x72")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert is_signed(b"\x72", signature, key.public_key)
    assert not is_signed(b"\x73", signature, key.public_key)
    assert not is_signed(b"\x72", signature[:-1], key.public_key)
    assert not is_signed(b"\x72", signature, key.public_key[:-1])
    assert not is_signed(b"\x72", signature, bytes(32))


def test_a_key_hides_its_secret_and_knows_its_node() -> None:
    key = SigningKey.generate(lambda count: b"\x07" * count)
    assert key.public_key == SigningKey(b"\x07" * 32).public_key
    assert repr(key) == f"SigningKey({key.node_id})"
    with pytest.raises(UsageError, match="32 bytes"):
        SigningKey(b"short")


def test_golden_genesis() -> None:
    assert GENESIS.encoded()[:20].hex() == "8772676f6c656d7032702f67656e657369732f33"
    assert GENESIS.mesh_id.hex() == GOLDEN_MESH_ID
    assert load_genesis(GENESIS.encoded()) == GENESIS


GOLDEN_MESH_ID = "8255b90efb734e5e894cee6602ed344d802e4054747b15997e8b45ac7cf3f411"
GOLDEN_VOTE = (
    "b208f992ad5b7a9f85f8b27e47aa47d02c301b12f211ecf78845306a3ab091b3"
    "e5688911c26839c9b922e92efc55bee01228ea9ba301fe459cc39b4189810c05"
)


def test_golden_vote() -> None:
    _, signature = cast_vote(FOUNDER, mesh_id=b"i" * 32, shard=5, term=2, primary=b"p" * 32)
    assert signature.hex() == GOLDEN_VOTE


def test_a_birth_is_the_genesis_without_the_mesh_key() -> None:
    birth = GENESIS.birth
    assert b"m" * 32 not in birth.encoded()
    assert load_birth(birth.encoded()) == birth
    assert (birth.mesh_id, birth.founder) == (GENESIS.mesh_id, FOUNDER.public_key)


@pytest.mark.parametrize("field", ["key_hash", "founder", "operator", "shards_count", "created_ns"])
def test_a_birth_is_signed_by_the_founder(field: str) -> None:
    value = getattr(GENESIS.birth, field)
    changed = value * 2 if isinstance(value, int) else bytes(31) + b"x"
    with pytest.raises(DataDamaged, match="the signature is not the founder's"):
        load_birth(replace(GENESIS.birth, **{field: changed}).encoded())


def test_a_birth_is_no_genesis() -> None:
    with pytest.raises(DataDamaged, match="malformed"):
        load_genesis(GENESIS.birth.encoded())
    with pytest.raises(DataDamaged, match="malformed"):
        load_birth(GENESIS.encoded())


def test_the_mesh_id_does_not_tell_the_mesh_key() -> None:
    assert b"m" * 32 not in birth_certificate(FOUNDER, GENESIS, shard=0, store_id=STORE).encoded()


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, "golemp2p/vote/1", "malformed"),
        (1, b"m" * 31, "malformed"),
        (1, b"n" * 32, "signature"),
        (2, STRANGER.public_key, "signature"),
        (3, STRANGER.public_key, "signature"),
        (3, b"", "malformed"),
        (4, 1000, "malformed"),
        (4, 0, "malformed"),
        (4, True, "malformed"),
        (4, 512, "signature"),
        (5, "now", "malformed"),
        (6, bytes(64), "signature"),
        (6, b"", "malformed"),
    ],
)
def test_changed_genesis(place: int, value: object, reason: str) -> None:
    fields = cbor.loads(GENESIS.encoded())
    fields[place] = value
    with pytest.raises(DataDamaged, match=reason):
        load_genesis(cbor.dumps(fields))


def test_the_operator_is_the_founder_unless_it_has_a_key_of_its_own() -> None:
    assert GENESIS.operator == FOUNDER.public_key
    other = found_mesh(FOUNDER, mesh_key=b"m" * 32, shards_count=16, created_ns=0, operator=THIRD.public_key)
    assert load_genesis(other.encoded()).operator == THIRD.public_key


def test_the_founder_elects_itself() -> None:
    certificate = birth_certificate(FOUNDER, GENESIS, shard=1023, store_id=STORE)
    loaded = load_certificate(certificate.encoded())
    assert loaded == certificate
    assert (loaded.term, loaded.primary) == (1, FOUNDER.public_key)
    verify_certificate(loaded, GENESIS)
    verify_certificate(loaded, GENESIS, voters=[Voter(FOUNDER.public_key, STORE)])
    with pytest.raises(DataDamaged, match="configuration"):
        verify_certificate(loaded, GENESIS, voters=[Voter(FOUNDER.public_key, bytes(16))])
    with pytest.raises(DataDamaged, match="no such shard"):
        verify_certificate(birth_certificate(FOUNDER, GENESIS, shard=1024, store_id=STORE), GENESIS)
    with pytest.raises(DataDamaged, match="not the founder alone"):
        verify_certificate(birth_certificate(STRANGER, GENESIS, shard=0, store_id=STORE), GENESIS)


def test_a_majority_elects() -> None:
    for voters in ((FOUNDER, SECOND), (SECOND, THIRD), (FOUNDER, SECOND, THIRD)):
        certificate = load_certificate(elected(*voters).encoded())
        verify_certificate(certificate, GENESIS, voters=THREE)
    assert elected(FOUNDER, SECOND).encoded() == elected(SECOND, FOUNDER).encoded()


def test_elections_that_do_not_count() -> None:
    good = elected(FOUNDER, SECOND)
    vote = good.votes[0]
    other_term = elected(FOUNDER, SECOND, term=3).votes
    cases: list[tuple[Certificate, str]] = [
        (elected(SECOND), "1 of 3 votes are no majority"),
        (replace(good, votes=(vote, vote)), "a second vote"),
        (elected(FOUNDER, STRANGER), "a stranger"),
        (replace(good, votes=other_term), "has not its signature"),
        (replace(good, shard=6), "has not its signature"),
        (replace(good, primary=THIRD.public_key), "has not its signature"),
        (elected(FOUNDER, SECOND, primary=STRANGER), "the primary is not a voter"),
        (replace(good, mesh_id=bytes(32)), "another mesh"),
        (replace(good, term=0), "no such shard or term"),
        (replace(good, voters=good.voters[:2]), "1, 3 or 5"),
        (replace(good, voters=(good.voters[0],) * 3), "1, 3 or 5"),
    ]
    for certificate, reason in cases:
        with pytest.raises(DataDamaged, match=reason):
            verify_certificate(certificate, GENESIS, voters=THREE)
    with pytest.raises(DataDamaged, match="not the founder alone"):
        verify_certificate(good, GENESIS)


def test_two_of_five_are_no_majority() -> None:
    keys = [SigningKey(bytes([n]) * 32) for n in range(5)]
    voters = [Voter(key.public_key, STORE) for key in keys]
    mesh, primary = GENESIS.mesh_id, keys[0].public_key
    votes = [cast_vote(key, mesh_id=mesh, shard=0, term=9, primary=primary) for key in keys]
    for count in range(6):
        certificate = make_certificate(mesh_id=mesh, shard=0, term=9, primary=primary, voters=voters, votes=votes[:count])
        if count >= 3:
            verify_certificate(certificate, GENESIS, voters=voters)
        else:
            with pytest.raises(DataDamaged, match=f"{count} of 5 votes are no majority"):
                verify_certificate(certificate, GENESIS, voters=voters)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "golemp2p/certificate/2"),
        (1, b""),
        (2, -1),
        (2, 1 << 16),
        (3, 1 << 63),
        (3, True),
        (4, b"short"),
        (5, {}),
        (5, [[b"x" * 32]]),
        (5, [[b"x" * 32, b"y"]]),
        (6, [[b"x" * 32, b"y" * 63]]),
        (6, [5]),
    ],
)
def test_malformed_certificates(place: int, value: object) -> None:
    fields = cbor.loads(elected(FOUNDER, SECOND).encoded())
    fields[place] = value
    with pytest.raises(DataDamaged, match="malformed"):
        load_certificate(cbor.dumps(fields))


def test_a_certificate_has_a_size_limit() -> None:
    with pytest.raises(DataDamaged, match="more than 4096"):
        load_certificate(bytes(5000))
