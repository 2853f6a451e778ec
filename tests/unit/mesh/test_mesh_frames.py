"""Frames: round trips, hostile bytes, limits; and the hello that settles what both sides take."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import FrameMalformed, PayloadTooLarge, VersionMismatch
from golemp2p.mesh import frames as f
from golemp2p.mesh.hello import VERSION_HIGHEST, VERSION_LOWEST, agree

number = st.integers(0, f.NUMBER_MAX)
kind = st.integers(0, f.KIND_MAX)
payload = st.binary(max_size=100)
ms = st.integers(0, f.DEADLINE_MS_MAX)
version = st.integers(1, f.VERSION_MAX)
text = st.text(max_size=16)
life = st.binary(min_size=16, max_size=16)
frames = st.one_of(
    st.builds(f.Hello, version, version, st.integers(1, 1 << 40), st.integers(0, 1 << 40), life),
    st.builds(f.Message, kind, payload),
    st.builds(f.Request, number, kind, ms, st.integers(0, f.CREDIT_MAX), payload),
    st.builds(f.Answer, number, payload),
    st.builds(f.Failure, number, text, text, st.none() | ms),
    st.builds(f.Cancel, number),
    st.builds(f.Chunk, number, st.binary(min_size=1, max_size=100)),
    st.builds(f.Credit, number, st.integers(1, f.CREDIT_MAX)),
    st.builds(f.Ping, number),
    st.builds(f.Pong, number),
    st.builds(f.Goodbye, text),
)


def read(data: bytes, step: int = 1 << 20, bytes_max: int = f.FRAME_BYTES_MAX) -> list[f.Frame]:
    reader = f.FrameReader(bytes_max=bytes_max)
    found: list[f.Frame] = []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        found += [frame for frame, _ in reader]
    assert reader.buffered_bytes == 0
    return found


@given(st.lists(frames), st.integers(1, 99))
def test_round_trip(sent: list[f.Frame], step: int) -> None:
    assert read(b"".join([f.encode_frame(frame) for frame in sent]), step) == sent


@given(frames)
def test_a_frame_adds_little(frame: f.Frame) -> None:
    if isinstance(frame, f.Message | f.Request | f.Answer | f.Chunk):
        assert len(f.encode_frame(frame)) <= len(frame.payload) + f.EXTRA_BYTES_MAX


@given(st.binary(max_size=200))
def test_hostile_bytes(data: bytes) -> None:
    try:
        frame = f.decode_frame(data)
    except FrameMalformed:
        return
    assert f.decode_frame(f.encode_frame(frame)[4:]) == frame


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.binary() | st.text() | st.floats(), st.lists, max_leaves=8))
def test_hostile_values(value: object) -> None:
    for hostile in (value, [3, value], [[value], value]):
        try:
            f.decode_frame(cbor2.dumps(hostile))
        except FrameMalformed:
            continue


@given(frames, st.data())
def test_a_frame_cut_or_changed(frame: f.Frame, data: st.DataObject) -> None:
    body = f.encode_frame(frame)[4:]
    with pytest.raises(FrameMalformed):
        f.decode_frame(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(FrameMalformed):
        f.decode_frame(body + b"\0")


def test_length_is_refused_before_the_bytes_come() -> None:
    reader = f.FrameReader(bytes_max=1000)
    reader.feed((1001).to_bytes(4, "big"))
    with pytest.raises(FrameMalformed, match="1001 bytes, at most 1000"):
        reader.next_frame()


def test_limits_of_fields() -> None:
    for hostile in (
        [6, [1, b""]],
        [6, [1, bytes(f.CHUNK_BYTES_MAX + 1)]],
        [7, [1, 0]],
        [7, [1, f.CREDIT_MAX + 1]],
        [5, [f.NUMBER_MAX + 1]],
        [5, [True]],
        [11, [1]],
        [0, [0, 1, 1000, 1, bytes(16)]],
    ):
        with pytest.raises(FrameMalformed):
            f.decode_frame(cbor2.dumps(hostile))


def test_too_large_to_send() -> None:
    with pytest.raises(PayloadTooLarge):
        f.encode_frame(f.Message(1, bytes(1000)), bytes_max=1000)


def test_texts_are_cut_between_letters() -> None:
    assert f.short("naïve", 3) == "na"
    assert f.short("naïve", 4) == "naï"


def hello(lowest: int, highest: int, frame_bytes_max: int = 1 << 20) -> f.Hello:
    return f.Hello(lowest, highest, frame_bytes_max, 16, bytes(16))


def test_neighbours_agree() -> None:
    for own, theirs, spoken in ((hello(3, 4), hello(4, 5), 4), (hello(3, 4), hello(3, 4), 4), (hello(1, 9), hello(2, 3), 3)):
        assert agree(own, theirs).version == agree(theirs, own).version == spoken


def test_strangers_do_not() -> None:
    for own, theirs in ((hello(3, 4), hello(5, 6)), (hello(5, 6), hello(3, 4))):
        with pytest.raises(VersionMismatch, match="versions"):
            agree(own, theirs)


def test_hellos_that_make_no_sense() -> None:
    with pytest.raises(FrameMalformed):
        agree(hello(1, 1), hello(2, 1))
    with pytest.raises(FrameMalformed):
        agree(hello(1, 1), hello(1, 1, frame_bytes_max=10))


def test_own_versions_and_size_of_a_hello() -> None:
    assert 1 <= VERSION_LOWEST <= VERSION_HIGHEST <= VERSION_LOWEST + 1
    largest = f.Hello(f.VERSION_MAX, f.VERSION_MAX, (1 << 63) - 1, (1 << 63) - 1, bytes(16))
    assert len(f.encode_frame(largest)) <= f.HELLO_BYTES_MAX
