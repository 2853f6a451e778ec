"""Listings on the wire: filters, bitmaps of shards, answers that are cut where they grow too large."""

from __future__ import annotations

import uuid
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.model import listings as m
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import AllOf, AnyOf, FieldFilter, NotFilter, WorkerFilter, WorkerMetadata, WorkerStatus
from golemp2p.wire import listings as wire
from tests.property.wit_strategies import texts

COMPONENT = ComponentId(uuid.UUID(int=7))

fields = st.builds(FieldFilter, texts, st.sampled_from(["eq", "like", "ge", "startswith"]), texts)
filters: st.SearchStrategy[WorkerFilter] = st.recursive(
    fields,
    lambda inner: (
        st.builds(NotFilter, inner)
        | st.lists(inner, max_size=3).map(lambda each: AllOf(tuple(each)))
        | st.lists(inner, max_size=3).map(lambda each: AnyOf(tuple(each)))
    ),
    max_leaves=6,
)
components = st.binary(min_size=16, max_size=16).map(lambda raw: ComponentId(uuid.UUID(bytes=raw)))
counts = st.integers(1, wire.COUNT_MAX)
listings: st.SearchStrategy[m.Listing] = st.builds(m.ListWorkers, components, st.none() | filters, texts, counts) | st.builds(
    m.ListComponents, texts, counts
)
shards = st.frozensets(st.integers(0, 1023) | st.sampled_from([0, 7, 8, 65_535]), max_size=20)
ends = st.none() | texts
http = st.sampled_from(["", "http://127.0.0.1:9881"])


def metadata(name: str, *, env: str = "") -> WorkerMetadata:
    worker = WorkerId(COMPONENT, name)
    return WorkerMetadata(worker, ("a",), (("A", env),), WorkerStatus.IDLE, 0, 0, 0, 1, None, 5, 65536, ())


@given(listings)
def test_what_is_asked_comes_back_as_it_was(listing: m.Listing):
    assert wire.decode_asked(wire.encode_asked(listing)) == listing


@given(
    st.builds(
        m.WorkersHeld, shards, st.lists(st.builds(metadata, st.from_regex("[a-z]{1,9}", fullmatch=True))).map(tuple), ends, http
    )
)
def test_workers_come_back_as_they_were(held: m.WorkersHeld):
    assert wire.decode_workers(wire.encode_workers(held)) == held


@given(st.builds(m.ComponentsHeld, shards, st.lists(st.tuples(components, st.integers(0, 99))).map(tuple), ends, http))
def test_components_come_back_as_they_were(held: m.ComponentsHeld):
    assert wire.decode_components(wire.encode_components(held)) == held


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes):
    for decode in (wire.decode_asked, wire.decode_workers, wire.decode_components):
        with pytest.raises(DataDamaged):
            decode(data)


@given(listings, st.data())
def test_changed_bytes_are_refused_or_another_listing(listing: m.Listing, data: st.DataObject):
    encoded = bytearray(wire.encode_asked(listing))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_asked(bytes(encoded))
    except DataDamaged:
        return
    assert wire.decode_asked(wire.encode_asked(other)) == other


def nested(depth: int) -> WorkerFilter:
    filter: WorkerFilter = FieldFilter("name", "eq", "x")
    for _ in range(depth - 1):
        filter = NotFilter(filter)
    return filter


def test_filters_have_a_depth_and_a_size():
    deepest = m.ListWorkers(COMPONENT, nested(wire.FILTER_DEPTH_MAX), "", 1)
    assert wire.decode_asked(wire.encode_asked(deepest)) == deepest
    with pytest.raises(MalformedRequest):
        wire.encode_asked(m.ListWorkers(COMPONENT, nested(wire.FILTER_DEPTH_MAX + 1), "", 1))
    many = AllOf((FieldFilter("name", "eq", "x"),) * wire.FILTERS_MAX)
    with pytest.raises(MalformedRequest):
        wire.encode_asked(m.ListWorkers(COMPONENT, many, "", 1))


@pytest.mark.parametrize(
    "hostile",
    [
        [1, [COMPONENT.uuid.bytes, [0, "name", "sounds-like", "x"], "", 1]],
        [1, [COMPONENT.uuid.bytes, [4, []], "", 1]],
        [1, [COMPONENT.uuid.bytes, [1, [[0, "name"]]], "", 1]],
        [1, [COMPONENT.uuid.bytes, None, "", 0]],
        [1, [COMPONENT.uuid.bytes, None, "x" * (wire.NAME_BYTES_MAX + 1), 1]],
        [2, ["", wire.COUNT_MAX + 1]],
        [3, []],
    ],
)
def test_nonsense_is_refused(hostile: object):
    with pytest.raises(DataDamaged):
        wire.decode_asked(cbor2.dumps(hostile))


@pytest.mark.parametrize(
    "hostile", [[bytes(8193), [], None, ""], [b"", [b"\x80"], None, ""], [b"", [], 1, ""], [b"", [], None, "x"]]
)
def test_nonsense_is_no_answer(hostile: Any):
    with pytest.raises(DataDamaged):
        wire.decode_workers(cbor2.dumps(hostile))


def test_an_answer_is_cut_where_it_grows_too_large():
    rows = tuple(metadata(f"w{number:02}", env="x" * 200_000) for number in range(10))
    held = wire.decode_workers(wire.encode_workers(m.WorkersHeld(frozenset({3}), rows, None, "")))
    assert held.rows == rows[:5]
    assert held.end == "w04"
    single = wire.decode_workers(
        wire.encode_workers(m.WorkersHeld(frozenset(), (metadata("w", env="x" * 250_000),) * 1, "z", ""))
    )
    assert (len(single.rows), single.end) == (1, "z")
