"""Records: what was flushed arrives, in order, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import RecordForged
from golemp2p.mesh.records import OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX, Opener, Sealer

KEY = b"k" * 32


def fed(opener: Opener, data: bytes, step: int) -> list[bytes]:
    return [payload for at in range(0, len(data), step) for payload in opener.feed(data[at : at + step])]


@given(st.lists(st.lists(st.binary(max_size=300), max_size=5), max_size=8), st.integers(1, 700))
def test_what_goes_in_comes_out(flushes: list[list[bytes]], step: int) -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    data = b"".join([sealer.seal(parts) for parts in flushes]) + sealer.end()
    assert fed(opener, data, step) == [b"".join(parts) for parts in flushes if b"".join(parts)]
    assert opener.ended
    assert opener.end_of_stream() is None


def test_one_flush_is_one_record_of_at_most_64_kib() -> None:
    sealer = Sealer(KEY)
    record = sealer.seal([b"a" * (PAYLOAD_BYTES_MAX - 1), b"b"])
    assert (len(record), sealer.records_count) == (RECORD_BYTES_MAX, 1)
    assert len(sealer.seal([b"x"])) == 1 + OVERHEAD_BYTES
    large = sealer.seal([b"c" * (PAYLOAD_BYTES_MAX + 1)])
    assert sealer.records_count == 4
    assert len(large) == PAYLOAD_BYTES_MAX + 1 + 2 * OVERHEAD_BYTES


def test_equal_payloads_look_different() -> None:
    sealer = Sealer(KEY)
    records = {sealer.seal([b"same"]) for _ in range(50)}
    assert len(records) == 50
    assert len({record[:2] for record in records}) > 25, "nor do equal lengths"


def test_directions_have_keys_of_their_own() -> None:
    with pytest.raises(RecordForged):
        Opener(b"j" * 32).feed(Sealer(KEY).seal([b"x" * 70_000]))


def test_replayed_record() -> None:
    record = Sealer(KEY).seal([b"pay 10"])
    opener = Opener(KEY)
    assert opener.feed(record) == [b"pay 10"]
    with pytest.raises(RecordForged):
        fed(opener, record * 4000, 50_000)


def test_left_out_and_reordered_records() -> None:
    sealer = Sealer(KEY)
    records = [sealer.seal([bytes([n]) * 60_000]) for n in range(3)]
    for order in ((1, 2, 0), (0, 2, 1)):
        with pytest.raises(RecordForged):
            Opener(KEY).feed(b"".join(records[at] for at in order))


@given(st.data())
def test_any_changed_bit(data: st.DataObject) -> None:
    """It never arrives as something else. A changed length may wait for more bytes first, never for more than one record."""
    record = bytearray(Sealer(KEY).seal([b"hello there"]))
    bit = data.draw(st.integers(0, len(record) * 8 - 1))
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RecordForged):
        Opener(KEY).feed(bytes(record) + bytes(RECORD_BYTES_MAX))


@given(st.binary(max_size=200))
def test_hostile_bytes(data: bytes) -> None:
    opener = Opener(KEY)
    with pytest.raises(RecordForged):
        opener.feed(data + bytes(RECORD_BYTES_MAX))
    with pytest.raises(RecordForged):
        opener.feed(Sealer(KEY).seal([b"too late"]))


def test_cut_is_not_closed() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    record = sealer.seal([b"data"])
    assert "without saying" in str(opener.end_of_stream())
    opener.feed(record[:7])
    assert "middle of a record" in str(opener.end_of_stream())
    opener.feed(record[7:])
    assert "without saying" in str(opener.end_of_stream())
    opener.feed(sealer.end())
    assert opener.end_of_stream() is None


def test_nothing_follows_the_end() -> None:
    sealer = Sealer(KEY)
    end = sealer.end()
    with pytest.raises(AssertionError):
        sealer.seal([b"x"])
    with pytest.raises(RecordForged, match="after the end"):
        Opener(KEY).feed(end + b"x")


def test_the_end_cannot_be_forged() -> None:
    sealer = Sealer(KEY)
    sealer.seal([b"data"])
    with pytest.raises(RecordForged):
        Opener(KEY).feed(sealer.end() + bytes(RECORD_BYTES_MAX))
