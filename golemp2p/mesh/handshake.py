"""Two nodes prove the mesh key and their own keys to each other, and agree on keys for what follows.

    client  K, A, knows B                                         server  K, B
    ---------------------------------------------------------------------------------------------
    1  auth_K(a), a                           ---- 64 bytes --->  is it of this mesh? else silence
    2  is it of this mesh?                    <--- 64 bytes ----  auth_K(b), b
    3  box[K ab aB](A, sign_A(K, B, #ab))     ---- 112 bytes -->  who is it, and does it know me?
    4  is it B?                               <--- 80 bytes ----  box[K ab aB Ab](sign_B(K, sign_A.., A, #ab))

K is the mesh key (the "network identifier"), A and B are the nodes' Ed25519 keys, a and b X25519 keys made for this connection, ``ab``
the secret that a and b share, ``#`` SHA-256. Secret Handshake as in Tarr, "Designing a Secret Handshake: Authenticated Key Exchange as
a Capability System" (2015), and in the Scuttlebutt Protocol Guide, "Peer connections": byte for byte the same. Where it differs: the
keys that come out seal other records than that guide's (``records``), and both sides refuse a peer that sends their own message back.

Whoever does not know K learns nothing, not even that somebody listens; whoever does not know B cannot find out who it is.
A client's key is shown only to the server that it meant to reach. Sans-IO: bytes in, bytes out; checks of secrets are libsodium's,
in constant time.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from nacl import bindings
from nacl.exceptions import CryptoError

from golemp2p.errors import HandshakeFailed, UsageError
from golemp2p.wire.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey

MESH_KEY_BYTES = 32
HELLO_BYTES = 64
PROOF_BYTES = 112
ACCEPT_BYTES = 80

_MAC_BYTES = 32
_NONCE = bytes(24)  # each of the two boxes has a key of its own, used once


@dataclass(frozen=True, slots=True)
class Outcome:
    """``peer``: the other's public key, proved. ``send_key``, ``receive_key``: 32 secret bytes each; one side's first is the other
    side's second."""

    peer: bytes
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)


class _Inbox:
    """Bytes until one message is whole. ``wanted``: its length. Peers speak in turn: more than that at once is refused, unless it is
    the last message (``is_last``), after which anything may follow."""

    __slots__ = ("_buffer", "closed_because", "is_last", "wanted")

    def __init__(self, wanted: int, closed_because: str) -> None:
        self._buffer = bytearray()
        self.expect(wanted, closed_because)

    def expect(self, wanted: int, closed_because: str, *, is_last: bool = False) -> None:
        self.wanted, self.closed_because, self.is_last = wanted, closed_because, is_last

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """The message, empty as long as it is not whole, and what came after it."""
        if len(self._buffer) + len(data) < self.wanted:
            self._buffer += data
            return b"", b""
        missing = self.wanted - len(self._buffer)
        message, rest = bytes(self._buffer) + data[:missing], data[missing:]
        if rest and not self.is_last:
            raise HandshakeFailed("the peer sent more than one message at once")
        self._buffer.clear()
        return message, rest

    def end_of_stream(self) -> HandshakeFailed:
        """What to raise when the peer closed instead of sending its next message."""
        if self._buffer:
            return HandshakeFailed(f"the peer closed in the middle of a message: {len(self._buffer)} bytes of {self.wanted}")
        return HandshakeFailed(self.closed_because)


class _Secrets:
    """What a side knows: K, its own keys, and after the hellos the peer's ephemeral key and ``ab``."""

    def __init__(self, mesh_key: bytes, key: SigningKey, random_bytes: Callable[[int], bytes]) -> None:
        if len(mesh_key) != MESH_KEY_BYTES:
            raise UsageError(f"a mesh key has {MESH_KEY_BYTES} bytes, got {len(mesh_key)}")
        self.mesh_key = mesh_key
        self.key = key
        self.long_term = bindings.crypto_sign_ed25519_sk_to_curve25519(key.seed + key.public_key)
        self.ephemeral = random_bytes(32)
        self._ephemeral_public = bindings.crypto_scalarmult_base(self.ephemeral)
        self.peer_ephemeral = b""
        self.shared = b""

    @property
    def shared_hash(self) -> bytes:
        return sha256(self.shared).digest()

    def hello(self) -> bytes:
        return self._authenticator(self._ephemeral_public) + self._ephemeral_public

    def take_hello(self, message: bytes) -> None:
        authenticator, ephemeral = message[:_MAC_BYTES], message[_MAC_BYTES:]
        if not bindings.sodium_memcmp(authenticator, self._authenticator(ephemeral)):
            raise HandshakeFailed("the peer does not prove this mesh's key")
        if ephemeral == self._ephemeral_public:
            raise HandshakeFailed("the peer sent this node's own first message back")
        self.peer_ephemeral = ephemeral
        self.shared = agreed(self.ephemeral, ephemeral)

    def outcome(self, peer: bytes, secrets: bytes) -> Outcome:
        shared = sha256(sha256(secrets).digest()).digest()
        self.ephemeral = self.long_term = self.shared = b""
        return Outcome(peer, sha256(shared + peer).digest(), sha256(shared + self.key.public_key).digest())

    def _authenticator(self, ephemeral: bytes) -> bytes:
        return hmac.digest(self.mesh_key, ephemeral, "sha512")[:_MAC_BYTES]  # libsodium's crypto_auth


class ClientHandshake:
    """The side that dials. ``server``: public key of the node it means to reach. Send ``first_message`` first.

    ``outcome`` is ``None`` until the handshake is over; then ``rest`` holds what came after it. Any error is final.
    """

    def __init__(self, mesh_key: bytes, key: SigningKey, server: bytes, random_bytes: Callable[[int], bytes]) -> None:
        if len(server) != PUBLIC_KEY_BYTES:
            raise UsageError(f"a public key has {PUBLIC_KEY_BYTES} bytes, got {len(server)}")
        self.outcome: Outcome | None = None
        self.rest = b""
        self._own = _Secrets(mesh_key, key, random_bytes)
        self._server = server
        self._server_curve = curve_key(server)
        self._proof = b""
        self._secrets = b""
        self._inbox = _Inbox(HELLO_BYTES, "the peer closed after the first message: another mesh, or no node of ours")
        self.first_message = self._own.hello()

    def receive(self, data: bytes) -> bytes:
        """Bytes as they come; what to send now. Raises ``HandshakeFailed``."""
        message, self.rest = self._inbox.take(data)
        if not message:
            return b""
        return self._on_accept(message) if self._secrets else self._on_hello(message)

    def end_of_stream(self) -> HandshakeFailed:
        """What to raise when the peer closed before ``outcome`` was there."""
        return self._inbox.end_of_stream()

    def _on_hello(self, message: bytes) -> bytes:
        own = self._own
        own.take_hello(message)
        self._secrets = own.mesh_key + own.shared + agreed(own.ephemeral, self._server_curve)
        self._proof = own.key.sign(own.mesh_key + self._server + own.shared_hash) + own.key.public_key
        why = "the peer closed when shown who is meant: it is another node, or does not want this one"
        self._inbox.expect(ACCEPT_BYTES, why, is_last=True)
        return bindings.crypto_secretbox(self._proof, _NONCE, sha256(self._secrets).digest())

    def _on_accept(self, message: bytes) -> bytes:
        own = self._own
        secrets = self._secrets + agreed(own.long_term, own.peer_ephemeral)
        signature = _opened(message, secrets, "the peer is not the node that was dialled")
        signed = own.mesh_key + self._proof + own.shared_hash
        _check(signature, signed, self._server, "the peer's signature is not that of the node that was dialled")
        self.outcome = own.outcome(self._server, secrets)
        return b""


class ServerHandshake:
    """The side that listens; it is silent until the mesh key is proved. ``is_welcome`` is asked about a client that has proved its
    key, before that learns anything: say ``False``, and to the client this is another node.

    ``outcome`` is ``None`` until the handshake is over; send what ``receive`` returns all the same. Any error is final.
    """

    def __init__(
        self,
        mesh_key: bytes,
        key: SigningKey,
        random_bytes: Callable[[int], bytes],
        is_welcome: Callable[[bytes], bool] = lambda _client: True,
    ) -> None:
        self.outcome: Outcome | None = None
        self._own = _Secrets(mesh_key, key, random_bytes)
        self._is_welcome = is_welcome
        self._inbox = _Inbox(HELLO_BYTES, "the peer closed without a word")

    def receive(self, data: bytes) -> bytes:
        """Bytes as they come; what to send now. Raises ``HandshakeFailed``."""
        message, _ = self._inbox.take(data)
        if not message:
            return b""
        return self._on_proof(message) if self._own.shared else self._on_hello(message)

    def end_of_stream(self) -> HandshakeFailed:
        """What to raise when the peer closed before ``outcome`` was there."""
        return self._inbox.end_of_stream()

    def _on_hello(self, message: bytes) -> bytes:
        self._own.take_hello(message)
        self._inbox.expect(PROOF_BYTES, "the peer closed after the second message: it gave up")
        return self._own.hello()

    def _on_proof(self, message: bytes) -> bytes:
        own = self._own
        secrets = own.mesh_key + own.shared + agreed(own.long_term, own.peer_ephemeral)
        proof = _opened(message, secrets, "the peer wants another node")
        signature, client = proof[:SIGNATURE_BYTES], proof[SIGNATURE_BYTES:]
        signed = own.mesh_key + own.key.public_key + own.shared_hash
        _check(signature, signed, client, "the peer does not prove its own key")
        if not self._is_welcome(client):
            raise HandshakeFailed("the peer proved its key, and is not welcome")
        secrets += agreed(own.ephemeral, curve_key(client))
        answer = own.key.sign(own.mesh_key + proof + own.shared_hash)
        self.outcome = own.outcome(client, secrets)
        return bindings.crypto_secretbox(answer, _NONCE, sha256(secrets).digest())


def agreed(secret: bytes, public: bytes) -> bytes:
    """X25519. Raises ``HandshakeFailed`` for a point of small order, with which the result would be known to everybody."""
    try:
        return bindings.crypto_scalarmult(secret, public)
    except CryptoError:
        raise HandshakeFailed("the peer sent a key that is none") from None


def curve_key(public_key: bytes) -> bytes:
    """The X25519 form of an Ed25519 key. Raises ``HandshakeFailed`` for bytes that are no key."""
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(public_key)
    except CryptoError:
        raise HandshakeFailed("the peer's public key is none") from None


def _opened(box: bytes, secrets: bytes, why_not: str) -> bytes:
    try:
        return bindings.crypto_secretbox_open(box, _NONCE, sha256(secrets).digest())
    except CryptoError:
        raise HandshakeFailed(why_not) from None


def _check(signature: bytes, signed: bytes, public_key: bytes, why_not: str) -> None:
    try:
        bindings.crypto_sign_open(signature + signed, public_key)
    except CryptoError:
        raise HandshakeFailed(why_not) from None
