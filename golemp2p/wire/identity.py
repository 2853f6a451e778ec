"""Keys that sign: Ed25519 (RFC 8032), 32-byte seeds, 32-byte public keys, 64-byte signatures.

Every message signed anywhere starts with a tag of its own (``golemp2p/...``), so that a signature given for one purpose can
never be shown for another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nacl import bindings
from nacl.exceptions import BadSignatureError

from golemp2p.errors import UsageError
from golemp2p.model.ids import NodeId

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Signer(Protocol):
    """Whoever signs for a node: its key, or something that keeps the key elsewhere."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class SigningKey:
    """The secret key of a node. Never printed; kept on disk as its seed, in a file only its owner can read."""

    __slots__ = ("_public_key", "_secret", "node_id", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise UsageError(f"a key's seed has {SEED_BYTES} bytes, got {len(seed)}")
        self.seed = seed
        self._public_key, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.node_id = NodeId.of(self._public_key)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> SigningKey:
        """A new key. ``random_bytes`` must be cryptographically strong outside of simulations."""
        return cls(random_bytes(SEED_BYTES))

    @property
    def public_key(self) -> bytes:
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature. Deterministic: the same message gets the same one."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.node_id})"


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether ``signature`` is ``public_key``'s over ``message``. False, too, for keys and signatures that are none."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True
