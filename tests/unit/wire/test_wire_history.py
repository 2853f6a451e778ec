"""The file of a history: its frames there and back, hostile bytes, limits, seals, and the order of frames."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.model.replication import NO_HASH, Branch, Configuration, Election, Entry, Member
from golemp2p.values import cbor
from golemp2p.wire import history as h
from golemp2p.wire.history_calls import (
    HistoryAsk,
    decode_history_ask,
    decode_history_held,
    encode_history_ask,
    encode_history_held,
)
from golemp2p.wire.identity import SigningKey

KEY = SigningKey(bytes(range(32)))
MESH = b"m" * 32

hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, (1 << 63) - 1)
members = st.builds(Member, hashes, st.binary(min_size=16, max_size=16))
groups = st.lists(members, max_size=5).map(tuple)
configurations = st.builds(Configuration, groups, groups, groups)
signatures = st.binary(min_size=64, max_size=64)
elections = st.builds(Election, members, configurations, st.lists(st.tuples(members, signatures), max_size=5).map(tuple))
branches = st.builds(Branch, st.binary(min_size=16, max_size=16), members, numbers, numbers, hashes, hashes, signatures)
milestones = st.builds(
    Entry, st.integers(1, 1 << 40), st.integers(1, 9), hashes, hashes, configurations | elections | branches,
    signatures | st.just(b""), hashes,
)  # fmt: skip
names = st.text(max_size=30)
frames = st.one_of(
    st.builds(h.Opening, st.binary(max_size=99), names.map(lambda name: name[:10]), names),
    st.builds(h.LogOpening, st.sampled_from(h.KINDS), names, st.integers(0, 65_535)),
    st.builds(h.Milestone, milestones),
    st.builds(h.SegmentFrame, st.binary(max_size=500)),
    st.builds(h.BlobOpening, hashes, st.integers(1, 1 << 30)),
    st.builds(h.BlobPiece, st.binary(max_size=500)),
    st.builds(h.SealFrame, numbers, hashes, numbers, numbers, hashes, signatures),
    st.builds(h.Closing, hashes),
)


@given(frames)
def test_frames_come_back(frame: h.Frame) -> None:
    data = h.encode_frame(frame)
    assert h.opened(data) == frame
    assert h.frame_bytes(data[:4]) == len(data)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    try:
        frame = h.decode_frame(data)
    except DataDamaged:
        return
    assert h.opened(h.encode_frame(frame)) == frame


@given(frames, st.data())
def test_damaged_frames_are_refused_or_others(frame: h.Frame, data: st.DataObject) -> None:
    encoded = bytearray(h.encode_frame(frame))
    encoded[data.draw(st.integers(4, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = h.opened(bytes(encoded))
    except DataDamaged:
        return
    assert type(read) in h.Frame.__args__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "plain",
    [
        [3, [b"x" * (h.SEGMENT_BYTES_MAX + 1)]],
        [5, [b"x" * (h.PIECE_BYTES_MAX + 1)]],
        [4, [bytes(32), 0]],
        [4, [bytes(32), h.BLOB_BYTES_MAX + 1]],
        [4, [bytes(31), 1]],
        [8, []],
        [True, []],
        [0, ["", "", ""]],
        [1, ["worker", "x", 1 << 16]],
        [7, [bytes(32), bytes(32)]],
    ],
)
def test_every_field_has_its_limit(plain: list[object]) -> None:
    with pytest.raises(DataDamaged):
        h.decode_frame(cbor.dumps(plain))


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 400), max_size=9))
def test_frames_are_cut_out_of_bytes_as_they_come(given_frames: list[h.Frame], sizes: list[int]) -> None:
    encoded = [h.encode_frame(frame) for frame in given_frames]
    data, splitter, found = h.MAGIC + b"".join(encoded), h.FrameSplitter(), []
    for size in sizes:
        found += splitter.feed(data[:size])
        data = data[size:]
    found += splitter.feed(data)
    splitter.end()
    assert found == encoded


@pytest.mark.parametrize("length", [0, h.FRAME_BYTES_MAX + 1, (1 << 32) - 1])
def test_lengths_are_refused_before_their_bytes_come(length: int) -> None:
    with pytest.raises(DataDamaged, match=f"a frame of {length} bytes"):
        list(h.FrameSplitter(is_part=True).feed(length.to_bytes(4, "big")))


def test_a_splitter_holds_one_frame_and_knows_its_end() -> None:
    splitter = h.FrameSplitter()
    with pytest.raises(DataDamaged, match="cut off"):
        splitter.end()
    frame = h.encode_frame(h.Closing(bytes(32)))
    assert list(splitter.feed(h.MAGIC + frame[:-1])) == []
    with pytest.raises(DataDamaged, match="cut off"):
        splitter.end()
    assert list(splitter.feed(frame[-1:])) == [frame]
    splitter.end()


# --------------------------------------------------------------------------------------------------------------------- seals


def sealed(frames: list[bytes], mesh_id: bytes = MESH) -> tuple[h.Sealing, h.SealFrame]:
    sealing = h.Sealing(mesh_id)
    for frame in frames:
        assert sealing.add(frame) == frame
    seal = h.opened(sealing.sealed(KEY, tail=7, head_hash=b"h" * 32, position=9, time_ns=5))
    assert isinstance(seal, h.SealFrame)
    return sealing, seal


def test_a_seal_is_of_its_frames_its_mesh_and_what_it_says() -> None:
    from dataclasses import replace

    sealing, seal = sealed([b"one", b"two"])
    assert sealing.is_genuine(seal)
    assert not sealed([b"one", b"two"], b"n" * 32)[0].is_genuine(seal)
    assert not sealed([b"one", b"tw0"])[0].is_genuine(seal)
    for changed in (
        replace(seal, tail=8), replace(seal, head_hash=NO_HASH), replace(seal, position=1), replace(seal, time_ns=6),
        replace(seal, author=SigningKey(b"x" * 32).public_key), replace(seal, signature=bytes(64)),
    ):  # fmt: skip
        assert not sealing.is_genuine(changed)


# --------------------------------------------------------------------------------------------------------------------- order

OPENING = h.Opening(b"", "", "")
WORKER, COMPONENT = h.LogOpening("worker", "w", 0), h.LogOpening("component", "c", 0)
SEGMENT, SEAL = h.SegmentFrame(b""), h.SealFrame(1, NO_HASH, 0, 0, bytes(32), bytes(64))
MILESTONE = h.Milestone(Entry(1, 1, NO_HASH, bytes(32), Configuration(()), b"", NO_HASH))
BLOB, PIECE = h.BlobOpening(hashlib.sha256(b"ab").digest(), 2), h.BlobPiece(b"ab")


def ordered(*given_frames: h.Frame, part: str | None = None, closing: bool = True) -> h.Order:
    order = h.Order(part)
    for frame in given_frames:
        order.take(h.encode_frame(frame), frame)
    if closing:
        data = order.closing()
        order.take(data, h.opened(data))
        order.end()
    return order


@pytest.mark.parametrize(
    "given_frames",
    [
        (OPENING, WORKER, SEAL),
        (OPENING, WORKER, MILESTONE, MILESTONE, SEGMENT, BLOB, PIECE, SEGMENT, SEAL),
        (OPENING, WORKER, SEGMENT, SEAL, COMPONENT, MILESTONE, SEGMENT, SEAL, BLOB, PIECE),
    ],
)
def test_orders_that_are_right(given_frames: tuple[h.Frame, ...]) -> None:
    ordered(*given_frames)


@pytest.mark.parametrize(
    "given_frames",
    [
        (),
        (OPENING,),
        (WORKER, SEAL),
        (OPENING, OPENING, WORKER, SEAL),
        (OPENING, COMPONENT, SEAL),
        (OPENING, WORKER, SEAL, WORKER, SEAL),
        (OPENING, WORKER, SEAL, COMPONENT, SEAL, COMPONENT, SEAL),
        (OPENING, WORKER, SEGMENT, MILESTONE, SEAL),
        (OPENING, WORKER, BLOB, PIECE, SEAL),
        (OPENING, WORKER, SEGMENT),
        (OPENING, SEGMENT, WORKER, SEAL),
        (OPENING, WORKER, SEGMENT, BLOB, SEGMENT, SEAL),
        (OPENING, WORKER, SEGMENT, PIECE, SEAL),
        (OPENING, WORKER, SEGMENT, BLOB, PIECE, PIECE, SEAL),
        (OPENING, WORKER, SEGMENT, BLOB, h.BlobPiece(b"xy"), SEAL),
        (OPENING, WORKER, SEGMENT, BLOB, h.BlobPiece(b""), PIECE, SEAL),
        (OPENING, WORKER, SEAL, h.Closing(bytes(32))),
        (OPENING, WORKER, SEAL, BLOB),
    ],
)
def test_orders_that_are_wrong(given_frames: tuple[h.Frame, ...]) -> None:
    with pytest.raises(DataDamaged):
        ordered(*given_frames)


def test_nothing_comes_after_the_closing() -> None:
    order = ordered(OPENING, WORKER, SEAL)
    with pytest.raises(DataDamaged, match="after the closing frame"):
        order.take(h.encode_frame(OPENING), OPENING)


def test_a_file_without_its_closing_is_cut_off() -> None:
    with pytest.raises(DataDamaged, match="cut off"):
        ordered(OPENING, WORKER, SEAL, closing=False).end()


def test_one_log_alone() -> None:
    ordered(COMPONENT, SEGMENT, SEAL, part="component", closing=False)
    with pytest.raises(DataDamaged):
        ordered(WORKER, SEGMENT, SEAL, part="component", closing=False)


def test_blobs_are_told_when_they_are_whole() -> None:
    order = ordered(OPENING, WORKER, SEGMENT, BLOB, closing=False)
    assert order.blob is None
    half = h.BlobPiece(b"a"), h.BlobPiece(b"b")
    order.take(h.encode_frame(half[0]), half[0])
    assert order.blob is None
    order.take(h.encode_frame(half[1]), half[1])
    assert order.blob == (BLOB.sha256, 2)


def test_milestones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h, "MILESTONES_MAX", 2)
    with pytest.raises(DataDamaged, match="more than 2 milestones"):
        ordered(OPENING, WORKER, MILESTONE, MILESTONE, MILESTONE, SEAL)


# --------------------------------------------------------------------------------------------------------------------- calls


@given(st.sampled_from(h.KINDS), names)
def test_calls_come_back(kind: str, identity: str) -> None:
    assert decode_history_ask(encode_history_ask(HistoryAsk(kind, identity))) == HistoryAsk(kind, identity)
    assert decode_history_held(encode_history_held(held=True))
    assert not decode_history_held(encode_history_held(held=False))


@given(st.binary(max_size=60))
def test_hostile_calls_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        decode_history_ask(data)


def test_there_are_histories_of_workers_and_components() -> None:
    with pytest.raises(MalformedRequest, match="no history of a 'node'"):
        decode_history_ask(encode_history_ask(HistoryAsk("node", "x")))
