"""What a primary says of a log beside its segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import Key
from golemp2p.values import cbor
from golemp2p.wire.description import Description, decode_description, encode_description

LOG = Key.of("worker", "c/w")
descriptions = st.builds(
    Description,
    st.just("worker"),
    st.just("c/w"),
    st.booleans(),
    st.none() | st.integers(0, (1 << 63) - 1),
    st.binary(max_size=50),
)


@given(descriptions)
def test_it_comes_back_as_it_was(description: Description) -> None:
    assert decode_description(encode_description(description), LOG) == description


@given(st.binary(max_size=60))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataDamaged):
        decode_description(data, LOG)


@pytest.mark.parametrize(
    "parts",
    [
        ("worker", "c/other", False, None, b""),
        ("component", "c/w", False, None, b""),
        ("worker", "c/w", 0, None, b""),
        ("worker", "c/w", False, -1, b""),
        ("worker", "c/w", False, None, ""),
        ("worker", "c/w", False, None),
    ],
)
def test_what_does_not_fit_is_refused(parts: tuple[object, ...]) -> None:
    with pytest.raises(DataDamaged):
        decode_description(cbor.dumps(parts), LOG)
