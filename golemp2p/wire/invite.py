"""An invite: all that a node needs to join a mesh, as one line of text.

    golemp2p-BASE64URL     of:  format (1 byte) | length of the body (2) | BLAKE2b-64 of the body (8) | body
    body                   CBOR [genesis record, [[public key, [address, ...]], ...]]

Safe in a shell, a URL, a file name and a chat window; spaces and line breaks that a copy brings along are ignored. **It holds the mesh
key: whoever has it can join.** It is printed for whoever asks for it, and never logged; errors about one tell nothing of its text.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from golemp2p.errors import DataDamaged, MalformedInvite
from golemp2p.model.membership import ADDRESS_BYTES_MAX, ADDRESSES_MAX, PUBLIC_KEY_BYTES
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import ENCODED_BYTES_MAX, Genesis, load_genesis

PREFIX = "golemp2p-"
FORMAT = 1
CONTACTS_MAX = 8
"""As many as there may be neighbours that are down at once, and one more; the mesh itself tells of all others."""
TEXT_CHARS_MAX = 12_000
"""Eight nodes with eight addresses each, of the greatest length, take 6,600."""

_CHECKSUM_BYTES = 8
_HEAD_BYTES = 1 + 2 + _CHECKSUM_BYTES
_BODY_BYTES_MAX = (1 << 16) - 1
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,60}):[0-9]{1,5}")
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


class Contact(NamedTuple):
    """A node that can be dialled. ``addresses``: ``host:port``, best first."""

    public_key: bytes
    addresses: tuple[str, ...]


_CONTACT = s.row(s.exact_bytes(PUBLIC_KEY_BYTES), s.array(s.short_text(ADDRESS_BYTES_MAX), ADDRESSES_MAX))
_CONTACTS = s.array(_CONTACT, CONTACTS_MAX)
_BODY = s.row(s.short_bytes(ENCODED_BYTES_MAX), _CONTACTS)


@dataclass(frozen=True, slots=True)
class Invite:
    """``contacts``: members, the likeliest to answer first; up to ``CONTACTS_MAX``, each with an address, no key twice."""

    genesis: Genesis
    contacts: tuple[Contact, ...]

    def __repr__(self) -> str:
        return f"Invite(mesh {self.genesis.mesh_id.hex()[:12]}, {len(self.contacts)} contacts)"


def encode_invite(invite: Invite) -> str:
    """One line. The same invite has the same text."""
    body = s.encode(_BODY, (invite.genesis.encoded(), invite.contacts), bytes_max=_BODY_BYTES_MAX)
    head = bytes([FORMAT]) + len(body).to_bytes(2, "big") + _checksum(body)
    return PREFIX + urlsafe_b64encode(head + body).rstrip(b"=").decode()


def decode_invite(text: str) -> Invite:
    """The invite in ``text``, as a person may have copied it. Raises ``MalformedInvite``, which says what to do."""
    if len(text) > 2 * TEXT_CHARS_MAX:
        raise MalformedInvite("this is far too long for an invite; give the one line that `golemp2p mesh invite` prints")
    compact = "".join(text.split())
    if not compact:
        raise MalformedInvite("the invite is empty; `golemp2p mesh invite`, run beside a node of the mesh, prints one")
    if not compact.startswith(PREFIX):
        raise MalformedInvite(f"this is no invite: one starts with {PREFIX!r}, as `golemp2p mesh invite` prints it")
    invite = _read(_whole_body(_data_of(compact.removeprefix(PREFIX))))
    if not invite.contacts:
        raise MalformedInvite("this invite names no node to call; have one printed by a node that listens for others")
    return invite


def encode_contacts(contacts: Sequence[Contact]) -> bytes:
    """For storing: up to ``CONTACTS_MAX`` of them."""
    return s.encode(_CONTACTS, contacts[:CONTACTS_MAX], bytes_max=_BODY_BYTES_MAX)


def decode_contacts(data: bytes) -> tuple[Contact, ...]:
    """Raises ``DataDamaged``."""
    return _checked(s.decode(_CONTACTS, data, what="contacts", bytes_max=_BODY_BYTES_MAX), "contacts")


def _data_of(digits: str) -> bytes:
    if len(digits) > TEXT_CHARS_MAX:
        raise MalformedInvite("this is longer than an invite can be; give the one line that `golemp2p mesh invite` prints")
    foreign = _FOREIGN.search(digits)
    if foreign is not None:
        place = foreign.start() + len(PREFIX) + 1
        raise MalformedInvite(f"character {place} of the invite, {foreign[0]!r}, is none that an invite has; copy it again")
    try:
        return urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    except binascii.Error:
        raise MalformedInvite("the invite was cut short, or a character was lost; copy all of it") from None


def _whole_body(data: bytes) -> bytes:
    if len(data) < _HEAD_BYTES:
        raise MalformedInvite("the invite was cut short; copy all of it")
    if data[0] != FORMAT:
        raise MalformedInvite(
            f"the invite has format {data[0]}, this release reads format {FORMAT}: use the mesh's own release"
        )
    length = int.from_bytes(data[1:3], "big")
    body = data[_HEAD_BYTES:]
    if len(body) < length:
        raise MalformedInvite(f"the invite was cut short: {length - len(body)} bytes of it are missing; copy all of it")
    if len(body) > length:
        raise MalformedInvite("something was added at the end of the invite; copy it, and nothing else")
    if data[3:_HEAD_BYTES] != _checksum(body):
        raise MalformedInvite("the invite has a wrong checksum: a character of it was changed; copy it again")
    return body


def _read(body: bytes) -> Invite:
    try:
        encoded, contacts = s.decode(_BODY, body, what="invite", bytes_max=_BODY_BYTES_MAX)
        return Invite(load_genesis(encoded), _checked(contacts, "invite"))
    except DataDamaged as error:
        raise MalformedInvite(f"the invite is whole, and yet no invite to a mesh ({error.reason})") from None


def _checked(contacts: Sequence[tuple[bytes, tuple[str, ...]]], what: str) -> tuple[Contact, ...]:
    if len({key for key, _ in contacts}) != len(contacts):
        raise DataDamaged(what, "a node is named twice")
    for _, addresses in contacts:
        if not addresses or not all(is_address(address) for address in addresses):
            raise DataDamaged(what, "a node has an address that is none")
    return tuple(Contact(key, addresses) for key, addresses in contacts)


def is_address(text: str) -> bool:
    """Whether this is ``host:port`` or ``[IPv6]:port``, as records and invites may hold it."""
    return (
        len(text) <= ADDRESS_BYTES_MAX and _ADDRESS.fullmatch(text) is not None and 1 <= int(text.rpartition(":")[2]) <= 65_535
    )


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM_BYTES, person=b"golemp2p/invite").digest()
