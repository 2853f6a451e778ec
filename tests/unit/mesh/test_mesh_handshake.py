"""Secret Handshake: recorded vectors, a second straight-line implementation, and everything that must fail, on both sides."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256, shake_256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from golemp2p.errors import HandshakeFailed, UsageError
from golemp2p.mesh.handshake import ACCEPT_BYTES, HELLO_BYTES, PROOF_BYTES, ClientHandshake, ServerHandshake
from golemp2p.wire.identity import SigningKey

MESH = bytes(range(32))
OTHER_MESH = bytes(range(1, 33))
CLIENT = SigningKey(b"\xc1" * 32)
SERVER = SigningKey(b"\x5e" * 32)
THIRD = SigningKey(b"\x33" * 32)
CLIENT_EPHEMERAL = b"\xca" * 32
SERVER_EPHEMERAL = b"\x5a" * 32

VECTOR = {
    "1": (
        "4478a89051620d8750b8b6d1fb117d6bb3fbff9f228c256da237a782c365898afcfc49fc7f0aa4fb5dcea0e27d5814c989c73256443c60e5"
        "dee676e3e953850c"
    ),
    "2": (
        "b9b9066d8c3457a854a0b093dd9a781d4cab5bff4e05f226d1207a9ef7b96120b0d08f35b4683381489afb32825e59152d47d19bc9e050d6"
        "d5a954984c9d1e2c"
    ),
    "3": (
        "c8f58f2b68efa41331eca90f07dfc85c55b29e1cd034b80f3f53a6b9d9d4e8f725fd9cd68fc1328cec630a3c5842b53b605ed7fd6f03bf18"
        "16094700275ce6fffdc3bc5ce67a865a58dcb504b9ea6256a6f886001c64de60fdc6d3bf9b53300371c74435ab1ad0c643d3e1a63e7cdcda"
    ),
    "4": (
        "5988c93ed7d08499a0c0f0ac326512c3d6229a51f6686da11768dd715eb981d66ce1858ffb3387e7d72b34bc29077f6ead5f1fcc6b75a197"
        "9e7141157dc96cd263ee6a5d2de11f9f36d817cff9c28a34"
    ),
    "client to server": "90c77b37457703b1353a10adbaab64953de6dd52bb08efd68cfe8d9b7ee947e5",
    "server to client": "0b49c40a7ebea591c7338dffd835bf4d93494adb83d43107ed3776f916b8f5c6",
}
"""Of the keys above. Recorded once: a change here is another protocol."""


def fixed(value: bytes) -> Callable[[int], bytes]:
    return lambda count: value[:count]


def client(mesh: bytes = MESH, server: bytes = SERVER.public_key, key: SigningKey = CLIENT) -> ClientHandshake:
    return ClientHandshake(mesh, key, server, fixed(CLIENT_EPHEMERAL))


def server(mesh: bytes = MESH, key: SigningKey = SERVER, **more: Callable[[bytes], bool]) -> ServerHandshake:
    return ServerHandshake(mesh, key, fixed(SERVER_EPHEMERAL), **more)


def messages() -> list[bytes]:
    """The four messages of a handshake that succeeds."""
    ours, theirs = client(), server()
    first = ours.first_message
    second = theirs.receive(first)
    third = ours.receive(second)
    return [first, second, third, theirs.receive(third)]


def test_both_sides_agree() -> None:
    ours, theirs = client(), server()
    assert ours.receive(theirs.receive(ours.receive(theirs.receive(ours.first_message)))) == b""
    assert ours.outcome is not None
    assert theirs.outcome is not None
    assert (ours.outcome.peer, theirs.outcome.peer) == (SERVER.public_key, CLIENT.public_key)
    assert ours.outcome.send_key == theirs.outcome.receive_key
    assert ours.outcome.receive_key == theirs.outcome.send_key
    assert ours.outcome.send_key != ours.outcome.receive_key


def test_vector() -> None:
    ours, theirs = client(), server()
    first = ours.first_message
    second = theirs.receive(first)
    third = ours.receive(second)
    fourth = theirs.receive(third)
    ours.receive(fourth)
    assert ours.outcome is not None
    made = {"1": first, "2": second, "3": third, "4": fourth}
    made |= {"client to server": ours.outcome.send_key, "server to client": ours.outcome.receive_key}
    assert {name: data.hex() for name, data in made.items()} == VECTOR
    assert [len(first), len(second), len(third), len(fourth)] == [HELLO_BYTES, HELLO_BYTES, PROOF_BYTES, ACCEPT_BYTES]


def straight_line(a_seed: bytes, b_seed: bytes, mesh: bytes, eph_a: bytes, eph_b: bytes) -> list[bytes]:
    """The protocol guide, formula by formula: its four messages and the two keys of its box streams."""

    def mac(message: bytes) -> bytes:
        return hmac.new(mesh, message, "sha512").digest()[:32]

    big_a, secret_a = bindings.crypto_sign_seed_keypair(a_seed)
    big_b, secret_b = bindings.crypto_sign_seed_keypair(b_seed)
    a, b = bindings.crypto_scalarmult_base(eph_a), bindings.crypto_scalarmult_base(eph_b)
    shared_ab = bindings.crypto_scalarmult(eph_b, a)
    shared_a_big_b = bindings.crypto_scalarmult(bindings.crypto_sign_ed25519_sk_to_curve25519(secret_b), a)
    shared_big_a_b = bindings.crypto_scalarmult(eph_b, bindings.crypto_sign_ed25519_pk_to_curve25519(big_a))
    signature_a = bindings.crypto_sign(mesh + big_b + sha256(shared_ab).digest(), secret_a)[:64]
    key_3 = sha256(mesh + shared_ab + shared_a_big_b).digest()
    signature_b = bindings.crypto_sign(mesh + signature_a + big_a + sha256(shared_ab).digest(), secret_b)[:64]
    key_4 = sha256(mesh + shared_ab + shared_a_big_b + shared_big_a_b).digest()
    return [
        mac(a) + a,
        mac(b) + b,
        bindings.crypto_secretbox(signature_a + big_a, bytes(24), key_3),
        bindings.crypto_secretbox(signature_b, bytes(24), key_4),
        sha256(sha256(key_4).digest() + big_b).digest(),
        sha256(sha256(key_4).digest() + big_a).digest(),
    ]


@given(st.binary(max_size=8))
def test_as_the_guide_says(seed: bytes) -> None:
    stuff = shake_256(seed).digest(160)
    a, b, mesh, eph_a, eph_b = (stuff[at : at + 32] for at in range(0, 160, 32))
    ours = ClientHandshake(mesh, SigningKey(a), SigningKey(b).public_key, fixed(eph_a))
    theirs = ServerHandshake(mesh, SigningKey(b), fixed(eph_b))
    made = [ours.first_message]
    for side in (theirs, ours, theirs):
        made.append(side.receive(made[-1]))
    ours.receive(made[-1])
    assert ours.outcome is not None
    assert [*made, ours.outcome.send_key, ours.outcome.receive_key] == straight_line(a, b, mesh, eph_a, eph_b)


@given(st.lists(st.integers(1, 50), min_size=1))
def test_bytes_come_in_any_pieces(sizes: list[int]) -> None:
    ours, theirs = client(), server()

    def pieces(data: bytes, receive: Callable[[bytes], bytes]) -> bytes:
        answer, at, turn = b"", 0, 0
        while at < len(data):
            step = sizes[turn % len(sizes)]
            answer += receive(data[at : at + step])
            at, turn = at + step, turn + 1
        return answer

    accept = pieces(pieces(pieces(ours.first_message, theirs.receive), ours.receive), theirs.receive)
    ours.receive(accept + b"records")
    assert ours.outcome is not None
    assert ours.rest == b"records"


def test_wrong_mesh_key() -> None:
    """The server answers nothing; the client is told by silence, and says what that means."""
    ours, theirs = client(OTHER_MESH), server()
    with pytest.raises(HandshakeFailed, match="does not prove this mesh's key"):
        theirs.receive(ours.first_message)
    assert "another mesh" in str(ours.end_of_stream())


def test_server_of_another_mesh_that_answers_all_the_same() -> None:
    with pytest.raises(HandshakeFailed, match="does not prove this mesh's key"):
        client().receive(server(OTHER_MESH).receive(client(OTHER_MESH).first_message))


def test_wrong_server_key() -> None:
    """Another node of the mesh listens there: it cannot even read who is calling."""
    ours, theirs = client(), server(key=THIRD)
    third = ours.receive(theirs.receive(ours.first_message))
    with pytest.raises(HandshakeFailed, match="wants another node"):
        theirs.receive(third)
    assert "another node" in str(ours.end_of_stream())


def test_server_without_its_key() -> None:
    """It knows everything but the secret key of B: the fourth message of another B does not open."""
    first, second, _, _ = messages()
    ours = client()
    ours.receive(second)
    forged = ServerHandshake(MESH, THIRD, fixed(SERVER_EPHEMERAL))
    forged.receive(first)
    with pytest.raises(HandshakeFailed, match="not the node that was dialled"):
        ours.receive(bindings.crypto_secretbox(bytes(64), bytes(24), sha256(b"guess").digest()))


class ForeignHand(SigningKey):
    """Shows one key and signs with another: a client that does not hold the key it names."""

    def sign(self, message: bytes) -> bytes:
        return THIRD.sign(message)


def test_wrong_client_signature() -> None:
    ours, theirs = client(key=ForeignHand(b"\xc1" * 32)), server()
    third = ours.receive(theirs.receive(ours.first_message))
    with pytest.raises(HandshakeFailed, match="does not prove its own key"):
        theirs.receive(third)
    assert theirs.outcome is None


def test_wrong_server_signature() -> None:
    ours, theirs = client(), server(key=ForeignHand(b"\x5e" * 32))
    fourth = theirs.receive(ours.receive(theirs.receive(ours.first_message)))
    with pytest.raises(HandshakeFailed, match="signature is not that of the node"):
        ours.receive(fourth)
    assert ours.outcome is None


def test_unwelcome_client() -> None:
    asked: list[bytes] = []
    ours, theirs = client(), server(is_welcome=lambda key: bool(asked.append(key)))
    third = ours.receive(theirs.receive(ours.first_message))
    with pytest.raises(HandshakeFailed, match="not welcome"):
        theirs.receive(third)
    assert asked == [CLIENT.public_key]
    assert "does not want this one" in str(ours.end_of_stream())


def test_replayed_messages() -> None:
    """A recorded client cannot answer a server with a new key of its own; a recorded server cannot answer a new client."""
    first, second, third, fourth = messages()
    theirs = ServerHandshake(MESH, SERVER, fixed(b"\x11" * 32))
    theirs.receive(first)
    with pytest.raises(HandshakeFailed):
        theirs.receive(third)
    ours = ClientHandshake(MESH, CLIENT, SERVER.public_key, fixed(b"\x22" * 32))
    ours.receive(second)
    with pytest.raises(HandshakeFailed):
        ours.receive(fourth)


def test_reflected_hello() -> None:
    ours = client()
    with pytest.raises(HandshakeFailed, match="own first message"):
        ours.receive(ours.first_message)


def test_truncated_and_oversized() -> None:
    first, second, third, _ = messages()
    theirs = server()
    assert theirs.receive(first[:10]) == b""
    assert "10 bytes of 64" in str(theirs.end_of_stream())
    with pytest.raises(HandshakeFailed, match="more than one message"):
        server().receive(first + b"x")
    with pytest.raises(HandshakeFailed, match="more than one message"):
        client().receive(second + b"x")
    theirs = server()
    theirs.receive(first)
    with pytest.raises(HandshakeFailed, match="more than one message"):
        theirs.receive(third + b"x")


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_points_of_small_order(point: bytes) -> None:
    hello = hmac.digest(MESH, point, "sha512")[:32] + point
    with pytest.raises(HandshakeFailed, match="a key that is none"):
        server().receive(hello)
    with pytest.raises(HandshakeFailed, match="public key is none"):
        client(server=point)


@given(st.integers(0, 3), st.data())
def test_any_changed_bit(which: int, data: st.DataObject) -> None:
    """Whoever receives the changed message refuses it; nothing is answered to a first message that was changed."""
    ours, theirs = client(), server()
    sides = (theirs, ours, theirs, ours)
    message = ours.first_message
    for number, side in enumerate(sides):
        if number == which:
            bit = data.draw(st.integers(0, len(message) * 8 - 1))
            changed = bytearray(message)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(HandshakeFailed):
                side.receive(bytes(changed))
            assert side.outcome is None
            return
        message = side.receive(message)


@given(st.binary(min_size=HELLO_BYTES, max_size=HELLO_BYTES))
def test_hostile_bytes(data: bytes) -> None:
    for side in (client(), server()):
        with pytest.raises(HandshakeFailed):
            side.receive(data)


def test_errors_and_outcomes_show_no_secrets() -> None:
    ours, theirs = client(), server()
    ours.receive(theirs.receive(ours.receive(theirs.receive(ours.first_message))))
    assert ours.outcome is not None
    assert repr(ours.outcome.send_key) not in repr(ours.outcome)


def test_usage() -> None:
    with pytest.raises(UsageError):
        client(mesh=b"short")
    with pytest.raises(UsageError):
        client(server=b"short")
