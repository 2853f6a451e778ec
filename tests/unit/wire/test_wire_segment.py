"""Segments and chains: golden bytes from a fixed key, and every kind of damage by name."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model.entries import NoOp
from golemp2p.model.ids import Key
from golemp2p.wire.entry import encode_payload
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import (
    HEADER_BYTES,
    NO_HASH,
    PAYLOAD_BYTES_MAX,
    START_BYTES,
    Segment,
    open_segment,
    open_start,
    seal,
    verify_chain,
    verify_segment,
)

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(b"\x01" * 32)
LOG = Key.of("worker", "6a2c9a5e-4c3b-5f0e-9d5a-0f7f3a1b2c3d/w")
PAYLOAD = encode_payload([NoOp(1), NoOp(2)])


def chain_of(*authors: tuple[SigningKey, int], log: Key = LOG) -> tuple[list[bytes], bytes]:
    """One segment of two entries for each (author, term)."""
    segments: list[bytes] = []
    previous = NO_HASH
    for place, (author, term) in enumerate(authors):
        data, previous = seal(author, key=log, term=term, first=1 + 2 * place, count=2, previous_hash=previous, payload=PAYLOAD)
        segments.append(data)
    return segments, previous


def test_golden_segment() -> None:
    data, digest = seal(KEY, key=LOG, term=3, first=7, count=2, previous_hash=b"p" * 32, payload=PAYLOAD)
    assert data[:HEADER_BYTES].hex() == (
        "6732702d73656701"  # g2p-seg, format 1
        + LOG.digest.hex()
        + "0000000000000003"
        + "0000000000000007"
        + "00000002"
        + "70" * 32
        + blake2b(PAYLOAD, digest_size=32).hexdigest()
        + "00000006"
        + "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    )
    assert blake2b(data[:212], digest_size=32).digest() == digest
    assert (len(data), digest.hex()) == (218, GOLDEN_HASH)


GOLDEN_HASH = "ca0c7584712a9a6026f89ba72d5cc2e3c0c6f191a538b950d3b47aff812ccc29"


def test_open_gives_what_was_sealed() -> None:
    data, digest = seal(KEY, key=LOG, term=3, first=7, count=2, previous_hash=b"p" * 32, payload=PAYLOAD)
    segment = open_segment(data)
    assert segment[:8] == (LOG, 3, 7, 2, b"p" * 32, KEY.public_key, digest, PAYLOAD)
    assert segment.next_index == 9
    verify_segment(segment, log=LOG, author=KEY.public_key, previous_hash=b"p" * 32)


def test_verify_names_what_differs() -> None:
    segment = open_segment(chain_of((KEY, 1))[0][0])
    for wrong, reason in (
        ({"log": Key.of("worker", "x")}, "another log"),
        ({"author": OTHER.public_key}, "written by"),
        ({"previous_hash": b"x" * 32}, "previous hash differs"),
    ):
        with pytest.raises(DataDamaged, match=reason):
            verify_segment(segment, **wrong)
    for forged in (segment._replace(signature=bytes(64)), segment._replace(author=OTHER.public_key)):
        with pytest.raises(DataDamaged, match="signature"):
            verify_segment(forged)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: b"", "truncated"),
        (lambda d: d[:211], "truncated"),
        (lambda d: d[:-1], "the header says 6 bytes of payload, there are 5"),
        (lambda d: d + b"\0", "the header says 6 bytes of payload, there are 7"),
        (lambda d: b"x" + d[1:], "not a segment"),
        (lambda d: d[:7] + b"\x02" + d[8:], "not a segment, or of a format"),
        (lambda d: d[:-1] + b"\xff", "the payload does not match its hash"),
        (lambda d: d[:44] + b"\0\0\0\0" + d[48:], "impossible numbers"),
        (lambda d: d[:44] + b"\0\0\0\3" + d[48:], "impossible numbers"),
        (lambda d: d[:36] + bytes(8) + d[44:], "impossible numbers"),
        (lambda d: d[:36] + b"\xff" * 8 + d[44:], "impossible numbers"),
        (lambda d: d[:28] + b"\xff" * 8 + d[36:], "impossible numbers"),
        (lambda d: d[:112] + b"\xff" * 4 + d[116:], "payload, there are 6"),
    ],
    ids=range(13),
)
def test_open_names_the_damage(change: object, reason: str) -> None:
    data = chain_of((KEY, 1))[0][0]
    with pytest.raises(DataDamaged, match=reason):
        open_segment(change(data))  # type: ignore[operator]


def test_the_limit_of_a_payload() -> None:
    largest = bytes(PAYLOAD_BYTES_MAX)
    data, _ = seal(KEY, key=LOG, term=1, first=1, count=1, previous_hash=NO_HASH, payload=largest)
    assert open_segment(data).payload == largest
    with pytest.raises(PayloadTooLarge):
        seal(KEY, key=LOG, term=1, first=1, count=1, previous_hash=NO_HASH, payload=largest + b"\0")


def test_a_whole_chain() -> None:
    segments, head = chain_of((KEY, 1), (KEY, 1), (OTHER, 2), (OTHER, 5), (KEY, 6))
    for every in (False, True):
        opened = verify_chain(segments, log=LOG, tail=11, head_hash=head, check_every_signature=every)
        assert [segment.first for segment in opened] == [1, 3, 5, 7, 9]
        assert opened[-1].hash == head


def test_an_empty_chain() -> None:
    assert verify_chain([], log=LOG, tail=1, head_hash=NO_HASH) == []
    with pytest.raises(DataDamaged, match="ends before index 1, but it should end before index 3"):
        verify_chain([], log=LOG, tail=3, head_hash=NO_HASH)
    with pytest.raises(DataDamaged, match="not the one the log's head names"):
        verify_chain([], log=LOG, tail=1, head_hash=b"x" * 32)


def test_a_stretch_from_the_middle() -> None:
    segments, head = chain_of((KEY, 1), (KEY, 1), (KEY, 1))
    previous = open_segment(segments[0]).hash
    assert len(verify_chain(segments[1:], log=LOG, tail=7, head_hash=head, first=3, previous_hash=previous)) == 2
    assert len(verify_chain(segments[1:], log=LOG, head_hash=head, first=None, previous_hash=None)) == 2
    with pytest.raises(DataDamaged, match="a gap: index 1 should come next"):
        verify_chain(segments[1:], log=LOG)
    with pytest.raises(DataDamaged, match="the hash of the previous segment differs"):
        verify_chain(segments[1:], log=LOG, first=3)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_damage_to_a_chain_is_named() -> None:
    segments, head = chain_of((KEY, 1), (KEY, 1), (KEY, 1))
    first, second, third = segments
    foreign = chain_of((KEY, 1), log=Key.of("worker", "x"))[0][0]
    cases = [
        ([first, third], "segment at index 5: a gap: index 3 should come next"),
        ([first, second], "ends before index 5, but it should end before index 7"),
        ([first, second, second], "segment at index 3: a gap: index 5"),
        ([foreign, second, third], "segment at index 1 belongs to key:"),
        ([first, flipped(second, 214), third], "the segment after index 2: the payload does not match its hash"),
        ([flipped(first, 3), second, third], "the first segment: not a segment"),
        ([flipped(first, 150), second, third], "segment at index 3: the hash of the previous segment differs"),
        ([first, flipped(second, 60), third], "segment at index 3: the hash of the previous segment differs"),
        ([first, second, flipped(third, 150)], "the newest segment is not the one the log's head names"),
    ]
    for damaged, reason in cases:
        with pytest.raises(DataDamaged) as caught:
            verify_chain(damaged, log=LOG, tail=7, head_hash=head)
        assert caught.value.log == str(LOG)
        assert reason in caught.value.reason


def test_without_a_head_the_last_signature_protects_the_end() -> None:
    segments, _ = chain_of((KEY, 1), (KEY, 1))
    with pytest.raises(DataDamaged, match="index 3: the signature is not its author's"):
        verify_chain([segments[0], flipped(segments[1], 150)], log=LOG)


def forged_middle() -> tuple[list[bytes], bytes]:
    """Segments whose first has a bad signature, under which the author nevertheless went on: the chain of hashes is whole."""
    first = flipped(chain_of((KEY, 1))[0][0], 150)
    second, head = seal(KEY, key=LOG, term=1, first=3, count=2, previous_hash=open_segment(first).hash, payload=PAYLOAD)
    return [first, second], head


def test_one_signature_vouches_for_the_run_before_it() -> None:
    segments, head = forged_middle()
    assert len(verify_chain(segments, log=LOG, tail=5, head_hash=head)) == 2
    with pytest.raises(DataDamaged, match="index 1: the signature"):
        verify_chain(segments, log=LOG, tail=5, head_hash=head, check_every_signature=True)


def test_a_later_author_does_not_vouch_for_an_earlier_one() -> None:
    first = flipped(chain_of((KEY, 1))[0][0], 150)
    second, head = seal(OTHER, key=LOG, term=2, first=3, count=2, previous_hash=open_segment(first).hash, payload=PAYLOAD)
    with pytest.raises(DataDamaged, match="index 1: the signature"):
        verify_chain([first, second], log=LOG, tail=5, head_hash=head)


def test_terms_rise_and_have_one_author() -> None:
    with pytest.raises(DataDamaged, match="index 3: term 1 after term 2"):
        verify_chain(chain_of((KEY, 2), (KEY, 1))[0], log=LOG)
    with pytest.raises(DataDamaged, match="index 3: a second author in term 1"):
        verify_chain(chain_of((KEY, 1), (OTHER, 1))[0], log=LOG)


def test_authors_are_those_elected() -> None:
    segments, _ = chain_of((KEY, 1), (OTHER, 2))
    elected = {1: KEY.public_key, 2: OTHER.public_key}
    assert len(verify_chain(segments, log=LOG, author_of_term=elected.get)) == 2
    assert len(verify_chain(segments, log=LOG, author_of_term={1: KEY.public_key}.get)) == 2
    with pytest.raises(DataDamaged, match="written in term 2 by"):
        verify_chain(segments, log=LOG, author_of_term={2: KEY.public_key}.get)


def test_impossible_seals_are_our_bug() -> None:
    for first, count, previous in ((0, 1, NO_HASH), (1, 0, NO_HASH), (1, 3, NO_HASH), (1, 1, b"")):
        with pytest.raises(AssertionError):
            seal(KEY, key=LOG, term=1, first=first, count=count, previous_hash=previous, payload=PAYLOAD)


def test_a_segment_is_a_tuple_with_names() -> None:
    assert Segment._fields[:4] == ("log", "term", "first", "count")


def test_the_start_of_a_segment_says_what_the_whole_does() -> None:
    (data,), _ = chain_of((KEY, 7))
    whole, start = open_segment(data), open_start(data[:START_BYTES])
    assert start == whole._replace(payload=b"")
    for wrong in (data[: START_BYTES - 1], b"x" + data[1:START_BYTES], data[:36] + b"\xff" + data[37:START_BYTES]):
        with pytest.raises(DataDamaged):
            open_start(wrong)
