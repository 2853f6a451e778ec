"""Wire formats: round trips over generated entries, and hostile bytes for every decoder."""

from __future__ import annotations

import typing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged
from golemp2p.model.entries import KINDS, BlobRef, Entry, RetryPolicy
from golemp2p.model.ids import Key
from golemp2p.wire.certificate import load_certificate, load_genesis
from golemp2p.wire.entry import ENTRY_BYTES_MAX, decode_entry, decode_payload, encode_entry, encode_payload
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import NO_HASH, open_segment, seal, verify_chain
from tests.property.wit_strategies import same, texts

KEY = SigningKey(bytes(range(32)))
LOG = Key.of("worker", "c/w")
NEGATIVE = {"time_ns", "consumed_fuel", "delta_bytes", "status"}

naturals = st.integers(0, 2**63 - 1)
blob_refs = st.builds(BlobRef, st.binary(min_size=32, max_size=32), naturals)
finite = st.floats(allow_nan=False, allow_infinity=False)
policies = st.builds(RetryPolicy, naturals, finite, finite, finite, st.none() | finite)


def _field(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    text = str(annotation)
    special: dict[str, st.SearchStrategy[Any]] = {
        "function_type": st.sampled_from(["pure", "read-local", "write-remote"]),
        "request_hash": st.binary(min_size=16, max_size=16),
        "sha256": st.binary(min_size=32, max_size=32),
        "policy": policies,
    }
    if name in special:
        return special[name]
    if "BlobRef" in text:
        return st.binary(max_size=40) | blob_refs
    if "tuple[tuple[str, str]" in text:
        return st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
    if "tuple[str" in text:
        return st.lists(texts, max_size=3).map(tuple)
    base: st.SearchStrategy[Any] = {
        "bool": st.booleans(),
        "bytes": st.binary(max_size=40),
        "str": texts,
        "int": st.integers(-(2**63), 2**63 - 1) if name in NEGATIVE else naturals,
    }[text.removeprefix("<class '").removesuffix("'>").partition(" | ")[0].removeprefix("typing.Optional[").removesuffix("]")]
    return st.none() | base if "None" in text else base


def _entries_of(kind: Any) -> st.SearchStrategy[Entry]:
    hints = typing.get_type_hints(kind)
    return st.tuples(*[_field(name, hints[name]) for name in kind._fields]).map(kind._make)


entries = st.one_of([_entries_of(kind) for kind in KINDS])


@given(st.lists(entries, max_size=4))
def test_entries_round_trip(batch: list[Entry]) -> None:
    decoded = decode_payload(encode_payload(batch), len(batch))
    assert same([*map(type, decoded)], [*map(type, batch)])
    assert same(decoded, batch)


@given(entries, st.data())
def test_damaged_entries_raise_only_data_damaged(entry: Entry, data: st.DataObject) -> None:
    encoded = bytearray(encode_entry(entry))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_entry(bytes(encoded))
    except DataDamaged:
        return
    assert type(decoded) in KINDS
    assert same(decode_entry(encode_entry(decoded)), decoded)


@given(entries)
def test_no_prefix_and_no_extension_of_an_entry_is_one(entry: Entry) -> None:
    encoded = encode_entry(entry)
    assert len(encoded) <= ENTRY_BYTES_MAX
    for wrong in (encoded[:-1], encoded + b"\x00", encoded + encoded):
        try:
            decode_entry(wrong)
        except DataDamaged:
            continue
        raise AssertionError(wrong)


@given(st.binary(max_size=400))
def test_hostile_bytes_for_every_decoder(data: bytes) -> None:
    for decoder in (open_segment, load_certificate, load_genesis, decode_entry, lambda d: decode_payload(d, 3)):
        try:
            decoder(data)
        except DataDamaged:
            continue
        raise AssertionError(f"{decoder} took {data!r}")


@given(st.lists(st.lists(entries, min_size=1, max_size=2), min_size=1, max_size=4), st.data())
def test_any_change_of_a_chain_is_noticed(batches: list[list[Entry]], data: st.DataObject) -> None:
    segments: list[bytes] = []
    first, previous = 1, NO_HASH
    for batch in batches:
        payload = encode_payload(batch)
        sealed, previous = seal(KEY, key=LOG, term=1, first=first, count=len(batch), previous_hash=previous, payload=payload)
        segments.append(sealed)
        first += len(batch)
    chain = verify_chain(segments, log=LOG, tail=first, head_hash=previous)
    decoded = [entry for segment in chain for entry in decode_payload(segment.payload, segment.count)]
    assert same(decoded, [entry for batch in batches for entry in batch])

    which = data.draw(st.integers(0, len(segments) - 1))
    damaged = bytearray(segments[which])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    dropped = segments[:which] + segments[which + 1 :]
    for wrong in ([*segments[:which], bytes(damaged), *segments[which + 1 :]], dropped):
        try:
            verify_chain(wrong, log=LOG, tail=first, head_hash=previous)
        except DataDamaged:
            continue
        raise AssertionError("damage went unnoticed")
