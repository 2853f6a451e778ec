"""Calls about blobs: there and back, and hostile bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.wire import call_kinds
from golemp2p.wire.blob_calls import (
    BlobAsk,
    BlobOffer,
    decode_ask,
    decode_held,
    decode_offer,
    encode_ask,
    encode_held,
    encode_offer,
)

shas = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, (1 << 63) - 1)


@given(shas, sizes, sizes)
def test_there_and_back(sha256, one, other):
    ask = BlobAsk(sha256, max(one, other), min(one, other))
    assert decode_ask(encode_ask(ask)) == ask
    offer = BlobOffer(sha256, one, other)
    assert decode_offer(encode_offer(offer)) == offer


def test_whether_it_is_held():
    assert decode_held(encode_held(held=True)) is True
    assert decode_held(encode_held(held=False)) is False


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_by_name(data):
    for decode in (decode_ask, decode_offer):
        with suppress(MalformedRequest):
            decode(data)
    with suppress(DataDamaged):
        decode_held(data)


def test_an_offset_beyond_the_end_makes_no_sense():
    with pytest.raises(MalformedRequest):
        decode_ask(encode_ask(BlobAsk(bytes(32), 5, 6)))


def test_numbers_of_calls_are_different():
    numbers = [value for name, value in vars(call_kinds).items() if name.isupper()]
    assert len(numbers) == len(set(numbers)) > 0
