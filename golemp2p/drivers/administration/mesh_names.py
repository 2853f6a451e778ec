"""Nodes as people name them: an id, its first digits, or a public key."""

from __future__ import annotations

from collections.abc import Iterable

from golemp2p.errors import NodeNotFound
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import PUBLIC_KEY_BYTES

DIGITS_MIN = 4
PREFIX = "node:"


def node_name(public_key: bytes) -> str:
    return str(NodeId.of(public_key))


def short_name(public_key: bytes) -> str:
    """For sentences: ``node:`` and twelve digits, which ``resolved`` takes as well."""
    return node_name(public_key)[: len(PREFIX) + 12]


def resolved(text: str, known: Iterable[bytes]) -> bytes:
    """The public key that ``text`` means, of those ``known``; one in full may be unknown. Raises ``NodeNotFound``."""
    digits = text.strip().lower().removeprefix(PREFIX)
    if len(digits) == 2 * PUBLIC_KEY_BYTES and _is_hex(digits):
        return bytes.fromhex(digits)
    if len(digits) < DIGITS_MIN or not _is_hex(digits):
        raise NodeNotFound(f"{text[:80]!r} names no node: give its id, or the first {DIGITS_MIN} digits of it or more")
    found = list(dict.fromkeys(key for key in known if NodeId.of(key).digest.hex().startswith(digits)))
    if len(found) > 1:
        raise NodeNotFound(f"{len(found)} nodes have ids that begin with {digits}; give more of its digits")
    if not found:
        raise NodeNotFound(f"no node of this mesh has an id that begins with {digits[:40]}")
    return found[0]


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in digits)
