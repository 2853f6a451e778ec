"""What storage keeps of a replica: round trips, and damage that is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged
from golemp2p.model import replication as r
from golemp2p.model.ids import Key
from golemp2p.wire.replica import (
    decode_base,
    decode_content,
    decode_entry,
    decode_member,
    encode_base,
    encode_content,
    encode_entry,
    encode_member,
)

number = st.integers(0, (1 << 63) - 2)
hashes = st.binary(min_size=32, max_size=32)
members = st.builds(r.Member, hashes, st.binary(min_size=16, max_size=16))
groups = st.lists(members, max_size=5).map(tuple)
configurations = st.builds(r.Configuration, groups, groups, groups)
signatures = st.binary(min_size=64, max_size=64)
branches = st.binary(min_size=16, max_size=16)
elections = st.builds(r.Election, members, configurations, st.lists(st.tuples(members, signatures), max_size=5).map(tuple))
contents = st.one_of(
    configurations,
    elections,
    st.builds(r.Deletion, st.builds(Key, st.binary(min_size=20, max_size=20))),
    st.just(r.NoOp()),
    st.builds(r.Branch, branches, members, number, number, hashes, hashes, signatures),
)
positions = st.integers(1, 1 << 40)
entries = st.builds(r.Entry, positions, positions, hashes, hashes, contents, signatures | st.just(b""), hashes)
milestones = st.lists(
    st.builds(r.Entry, positions, positions, hashes, hashes, configurations | elections, signatures | st.just(b""), hashes),
    max_size=3,
).map(tuple)
bases = st.builds(r.Base, number, number, hashes, hashes | st.just(b""), configurations, number, branches, milestones)

CODECS: list[tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = [
    (contents, encode_content, decode_content),
    (entries, encode_entry, decode_entry),
    (bases, encode_base, decode_base),
    (members, encode_member, decode_member),
]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_values_come_back_as_they_were(data: st.DataObject) -> None:
    values, encode, decode = data.draw(st.sampled_from(CODECS))
    value = data.draw(values)
    assert decode(encode(value)) == value


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_changed_bytes_are_refused_or_another_value(data: st.DataObject) -> None:
    values, encode, decode = data.draw(st.sampled_from(CODECS))
    encoded = bytearray(encode(data.draw(values)))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(encoded))
    except DataDamaged:
        return
    assert decode(encode(decoded)) == decoded


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_hostile_bytes_raise_nothing_but_data_damaged(data: bytes) -> None:
    for _, _, decode in CODECS:
        with pytest.raises(DataDamaged):
            decode(data)


def test_what_a_birth_and_a_blank_replica_hold() -> None:
    for base in (r.BLANK_BASE, r.base_at_birth(r.Member(b"k" * 32, b"s" * 16))):
        assert decode_base(encode_base(base)) == base
