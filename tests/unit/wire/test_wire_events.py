"""A worker's events as a stream that is cut anywhere."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p.wire import events as wire
from tests.property.wit_strategies import texts

naturals = st.integers(0, (1 << 63) - 1)
events = st.builds(WorkerEvent, st.sampled_from(wire.KINDS), naturals, texts, texts, texts, texts, texts)


@given(st.lists(st.none() | events, max_size=5), st.data())
def test_events_come_back_however_the_stream_is_cut(sent: list[WorkerEvent | None], data: st.DataObject):
    stream = b"".join(wire.ALIVE if event is None else wire.encode_item(event) for event in sent)
    reader = wire.EventReader()
    came: list[WorkerEvent] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        came += reader.feed(stream[:size])
        stream = stream[size:]
    assert came == [event for event in sent if event is not None]


@given(events, st.data())
def test_changed_bytes_are_refused_or_other_events(event: WorkerEvent, data: st.DataObject):
    item = bytearray(wire.encode_item(event))
    item[data.draw(st.integers(0, len(item) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        came = list(wire.EventReader().feed(bytes(item)))
    except DataDamaged:
        return
    assert all(isinstance(event, WorkerEvent) for event in came)


@given(st.binary(max_size=100))
def test_random_bytes_are_no_worker(data: bytes):
    with pytest.raises(DataDamaged):
        wire.decode_asked(data)


def test_who_is_watched():
    worker = WorkerId(ComponentId.of(bytes(32), "c"), "é" * 256)
    assert wire.decode_asked(wire.encode_asked(worker)) == worker


def test_long_texts_are_cut():
    event = WorkerEvent("stdout", 1, message="é" * wire.TEXT_BYTES_MAX, context="c" * (2 * wire.TEXT_BYTES_MAX))
    (came,) = wire.EventReader().feed(wire.encode_item(event))
    assert came.message == "é" * (wire.TEXT_BYTES_MAX // 2)
    assert came.context == "c" * wire.TEXT_BYTES_MAX


@pytest.mark.parametrize(
    "hostile",
    [
        (wire.ITEM_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xff",
        *(
            len(cbor2.dumps(row)).to_bytes(4, "big") + cbor2.dumps(row)
            for row in (
                ["odd", 1, "", "", "", "", ""],
                ["log", "1", "", "", "", "", ""],
                ["log", 1, "", "", b"", "", ""],
                ["log", 1],
            )
        ),
    ],
)
def test_nonsense_is_refused_before_it_is_waited_for(hostile: bytes):
    with pytest.raises(DataDamaged):
        list(wire.EventReader().feed(hostile))
