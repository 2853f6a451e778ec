"""Entries on the wire: golden bytes (they are on disks), and refusal of everything else."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest

from golemp2p.errors import DataDamaged, PayloadTooLarge, ValueMismatch
from golemp2p.model import entries as e
from golemp2p.wire.entry import ENTRY_BYTES_MAX, decode_entry, decode_payload, encode_entry, encode_payload

GOLDEN: list[tuple[e.Entry, str]] = [
    (
        e.ImportedFunctionInvoked(1, "wasi:clocks/wall-clock.now", "read-local", b"h" * 16, b"\x82\x01\x02"),
        "860401781a776173693a636c6f636b732f77616c6c2d636c6f636b2e6e6f776a726561642d6c6f63616c50"
        "68686868686868686868686868686868" + "43820102",
    ),
    (e.NoOp(2**63), "820a1b8000000000000000"),
    (e.Jump(0, 3, 9), "8409000309"),
    (e.Suspend(5, None), "830c05f6"),
    (e.ExportedFunctionCompleted(7, e.BlobRef(b"s" * 32, 70000), -1), "840307825820" + "73" * 32 + "1a0001117020"),
    (
        e.ChangeRetryPolicy(1, e.RetryPolicy(3, 0.5, 1.0, 2.0, None)),
        "830b018503fb3fe0000000000000fb3ff0000000000000fb4000000000000000f6",
    ),
    (
        e.Create(1, "c", "w", 2, ("a",), (("k", "v"),), None, 9, False, "me", 65536, ""),
        "8d010161636177028161618182616b6176f609f4626d651a0001000060",
    ),
]


@pytest.mark.parametrize(("entry", "encoded"), GOLDEN)
def test_golden_bytes(entry: e.Entry, encoded: str) -> None:
    assert encode_entry(entry).hex() == encoded
    decoded = decode_entry(bytes.fromhex(encoded))
    assert decoded == entry
    assert type(decoded) is type(entry)


def test_nested_fields_have_their_classes() -> None:
    assert type(decode_entry(bytes.fromhex(GOLDEN[4][1])).response) is e.BlobRef
    assert type(decode_entry(bytes.fromhex(GOLDEN[5][1])).policy) is e.RetryPolicy
    assert decode_entry(bytes.fromhex(GOLDEN[6][1])).env == (("k", "v"),)


def test_a_payload_is_the_concatenation_of_its_entries() -> None:
    batch = [entry for entry, _ in GOLDEN]
    payload = encode_payload(batch)
    assert payload.hex() == "".join(encoded for _, encoded in GOLDEN)
    assert decode_payload(payload, len(batch)) == batch
    assert decode_payload(b"", 0) == []
    for count in (len(batch) - 1, len(batch) + 1, -1, len(payload) + 1, 2**32):
        with pytest.raises(DataDamaged):
            decode_payload(payload, count)


HASH, SHA = b"h" * 16, b"s" * 32


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (5, "not an entry of a known kind"),
        ([], "not an entry of a known kind"),
        ([0, 1], "not an entry of a known kind"),
        ([True, 1], "not an entry of a known kind"),
        ([[10], 1], "not an entry of a known kind"),
        (["10", 1], "not an entry of a known kind"),
        ([10], "NoOp has 1 fields, not 0"),
        ([10, 1, 2], "NoOp has 1 fields, not 2"),
        ([10, "1"], "NoOp, field 1: expected int"),
        ([10, True], "NoOp, field 1: expected int"),
        ([9, 1, -1, 2], "Jump, field 2: expected a number from 0"),
        ([12, 1, "x"], "Suspend, field 2: expected a number from 0"),
        ([4, 1, "f", "read-lokal", HASH, b""], "field 3: expected a function type"),
        ([4, 1, "f", "read-local", HASH[:15], b""], "field 4: expected 16 bytes"),
        ([4, 1, "f", "read-local", HASH, "text"], "field 5: expected BlobRef"),
        ([4, 1, "f", "read-local", HASH, [SHA]], "field 5: expected BlobRef"),
        ([4, 1, "f", "read-local", HASH, [SHA[:31], 1]], "field 5: expected 32 bytes"),
        ([4, 1, "f", "read-local", HASH, [SHA, -1]], "field 5: expected a number from 0"),
        ([4, 1, b"f", "read-local", HASH, b""], "field 2: expected str"),
        ([11, 1, [3, 0.1, 1.0, 3.0]], "ChangeRetryPolicy, field 2: expected RetryPolicy"),
        ([11, 1, [3, 1, 1.0, 3.0, None]], "field 2: expected a finite float"),
        ([11, 1, [3, float("nan"), 1.0, 3.0, None]], "field 2: expected a finite float"),
        ([16, 1, "c", "m", 1], "Failed, field 4: expected bool"),
        ([22, 1, 1, "r", "abc"], "DescribeResource, field 4: expected an array"),
        ([22, 1, 1, "r", [1]], "DescribeResource, field 4: expected str"),
        ([1, 1, "c", "w", 2, [], [["k"]], None, 9, False, "me", 1, ""], "Create, field 6: expected an array of 2"),
    ],
)
def test_hostile_rows(row: Any, reason: str) -> None:
    with pytest.raises(DataDamaged) as caught:
        decode_payload(encode_entry(e.NoOp(1)) + cbor2.dumps(row), 2, what="log x")
    assert str(caught.value).startswith("log x: entry 1: ")
    assert reason in str(caught.value)


def test_every_kind_is_known_to_the_decoder() -> None:
    for number in e.KINDS.values():
        with pytest.raises(DataDamaged, match="fields, not 0"):
            decode_entry(cbor2.dumps([number]))


def test_limits_of_encoding() -> None:
    with pytest.raises(PayloadTooLarge, match="Log"):
        encode_entry(e.Log(1, "info", "", "x" * ENTRY_BYTES_MAX))
    with pytest.raises(ValueMismatch, match="surrogates"):
        encode_entry(e.Log(1, "info", "", "\ud800"))
