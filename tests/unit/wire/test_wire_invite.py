"""Invites: what a person may do to one on its way, and what a stranger may."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, MalformedInvite
from golemp2p.values import cbor
from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import (
    CONTACTS_MAX,
    PREFIX,
    TEXT_CHARS_MAX,
    Contact,
    Invite,
    _checksum,
    decode_contacts,
    decode_invite,
    encode_contacts,
    encode_invite,
    is_address,
)

KEYS = [SigningKey(bytes([n]) * 32) for n in range(CONTACTS_MAX)]
GENESIS = found_mesh(
    KEYS[0], mesh_key=b"m" * 32, shards_count=1024, created_ns=1_700_000_000_000_000_000, operator=KEYS[1].public_key
)
INVITE = Invite(
    GENESIS,
    (
        Contact(KEYS[0].public_key, ("10.0.0.1:9882", "[2001:db8::1]:9882")),
        Contact(KEYS[1].public_key, ("node.example:9882",)),
    ),
)
TEXT = encode_invite(INVITE)


def test_it_comes_back() -> None:
    assert decode_invite(TEXT) == INVITE
    assert encode_invite(INVITE) == TEXT


def test_it_is_one_word_for_shells_and_urls() -> None:
    assert TEXT.startswith(PREFIX)
    assert set(TEXT) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(TEXT) < 600


def test_the_largest_fits() -> None:
    address = "h" * 58 + ":65535"
    assert len(address) == 64
    many = tuple(Contact(key.public_key, (address,) * 8) for key in KEYS)
    text = encode_invite(Invite(GENESIS, many))
    assert len(text) < TEXT_CHARS_MAX
    assert decode_invite(text).contacts == many


def test_spaces_and_line_breaks_of_a_copy_do_not_matter() -> None:
    wrapped = "\n  ".join(TEXT[start : start + 80] for start in range(0, len(TEXT), 80))
    assert decode_invite(f"  {wrapped}\r\n") == INVITE


@pytest.mark.parametrize("count", [0, 1, 3, 9, 12, 40, len(TEXT) - 1])
def test_a_copy_cut_short_says_so(count: int) -> None:
    with pytest.raises(MalformedInvite, match=r"empty|no invite: one starts|cut short"):
        decode_invite(TEXT[:count])


def test_every_single_change_is_found() -> None:
    for place in range(len(PREFIX), len(TEXT) - 2):
        changed = TEXT[:place] + ("A" if TEXT[place] != "A" else "B") + TEXT[place + 1 :]
        with pytest.raises(MalformedInvite) as caught:
            decode_invite(changed)
        assert TEXT[len(PREFIX) : len(PREFIX) + 8] not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("https://example.org", "no invite: one starts with"),
        (TEXT + "AAAA", "added at the end"),
        (TEXT.replace("golemp2p-", "golemp2p-%"), "character 10 of the invite, '%'"),
        (TEXT + "." * 4, "'.', is none that an invite has"),
        ("x" * 100_000, "far too long"),
        (PREFIX + "A" * (TEXT_CHARS_MAX + 1), "longer than an invite can be"),
        (PREFIX + urlsafe_b64encode(b"\2" + bytes(40)).decode().rstrip("="), "format 2"),
        (PREFIX + "A", "cut short"),
    ],
)
def test_what_it_says_of_other_texts(text: str, reason: str) -> None:
    with pytest.raises(MalformedInvite, match=reason):
        decode_invite(text)


def sealed(body: bytes) -> str:
    """Well sealed by somebody who knows how."""
    head = b"\1" + len(body).to_bytes(2, "big") + _checksum(body)
    return PREFIX + urlsafe_b64encode(head + body).decode().rstrip("=")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        cbor.dumps([GENESIS.encoded()]),
        cbor.dumps([b"", []]),
        cbor.dumps([replace(GENESIS, shards_count=512).encoded(), [[KEYS[0].public_key, ["a:1"]]]]),
        cbor.dumps([GENESIS.encoded(), [[KEYS[0].public_key, []]]]),
        cbor.dumps([GENESIS.encoded(), [[KEYS[0].public_key, ["no port"]]]]),
        cbor.dumps([GENESIS.encoded(), [[KEYS[0].public_key, ["a:1"]], [KEYS[0].public_key, ["b:1"]]]]),
        cbor.dumps([GENESIS.encoded(), [[key.public_key, ["a:1"]] for key in (*KEYS, *KEYS)]]),
        cbor.dumps([GENESIS.encoded(), [[b"short", ["a:1"]]]]),
        cbor.dumps([GENESIS.encoded(), "contacts"]),
    ],
)
def test_a_sealed_lie_is_no_invite(body: bytes) -> None:
    with pytest.raises(MalformedInvite, match="whole, and yet no invite"):
        decode_invite(sealed(body))


def test_an_invite_without_contacts_helps_nobody() -> None:
    with pytest.raises(MalformedInvite, match="names no node to call"):
        decode_invite(encode_invite(Invite(GENESIS, ())))


def test_neither_the_value_nor_errors_tell_the_mesh_key() -> None:
    assert "m" * 32 not in repr(INVITE)
    assert (b"m" * 32).hex() not in repr(INVITE)


ADDRESSES = st.from_regex(r"[a-z0-9.-]{1,20}:[1-9][0-9]{0,3}", fullmatch=True)


@given(
    seed=st.binary(min_size=32, max_size=32),
    shards=st.sampled_from([1, 16, 1024]),
    contacts=st.lists(
        st.tuples(st.binary(min_size=32, max_size=32), st.lists(ADDRESSES, min_size=1, max_size=8)),
        min_size=1,
        max_size=CONTACTS_MAX,
        unique_by=lambda contact: contact[0],
    ),
)
def test_round_trip(seed: bytes, shards: int, contacts: list[tuple[bytes, list[str]]]) -> None:
    genesis = found_mesh(SigningKey(seed), mesh_key=seed, shards_count=shards, created_ns=1)
    invite = Invite(genesis, tuple(Contact(key, tuple(addresses)) for key, addresses in contacts))
    assert decode_invite(encode_invite(invite)) == invite
    assert decode_contacts(encode_contacts(invite.contacts)) == invite.contacts


@settings(max_examples=300)
@given(st.one_of(st.text(), st.binary().map(lambda data: PREFIX + urlsafe_b64encode(data).decode()), st.binary().map(sealed)))
def test_whatever_comes_only_one_error_leaves(text: str) -> None:
    with pytest.raises(MalformedInvite):
        decode_invite(text)


@given(st.binary())
def test_contacts_of_a_damaged_disk(data: bytes) -> None:
    try:
        contacts = decode_contacts(data)
    except DataDamaged:
        return
    assert encode_contacts(contacts) is not None


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("10.0.0.1:9882", True), ("[::1]:1", True), ("a_b.c-d:65535", True), ("a:0", False), ("a:65536", False), ("a", False),
        (":1", False), ("::1:1", False), ("[::1]", False), ("a b:1", False), ("a:1\n", False), ("é:1", False),
        ("h" * 60 + ":65535", False), ("a:²", False),
    ],
)  # fmt: skip
def test_addresses(text: str, fine: bool) -> None:
    assert is_address(text) is fine
