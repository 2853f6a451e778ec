"""Histories that were tampered with, forged, cut or thinned out: what is wrong is found, what is missing is told apart from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from history_forge import (
    BLOB,
    FOUNDER,
    STRANGER,
    THREE,
    WASM,
    A,
    B,
    C,
    Forge,
    blob_frames,
    check_of,
    checked,
    closed,
    cut,
    member,
    unshown,
    wrong,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from golemp2p.model import entries as e
from golemp2p.model.history import Standing
from golemp2p.model.replication import Configuration
from golemp2p.wire import history as h
from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.history import encode_frame, opened
from golemp2p.wire.identity import SigningKey

INVOKED = e.ExportedFunctionInvoked(2, "f", "k", b"\x80")
CALL = e.ImportedFunctionInvoked(2, "world::now", "read-local", bytes(16), b"\x05")
DONE = e.ExportedFunctionCompleted(3, b"\x05", 0)
REF = e.BlobRef(hashlib.sha256(BLOB).digest(), len(BLOB))


def usual() -> Forge:
    return Forge().usual(INVOKED, CALL, DONE)


def with_blob() -> Forge:
    forge = usual()
    forge.worker.write(B, 2, e.ExportedFunctionInvoked(4, "f", "k2", REF), DONE)
    forge.worker.add_blob(BLOB)
    return forge


def test_a_sound_history() -> None:
    forge = with_blob()
    report = checked(forge.file())
    assert wrong(report) + unshown(report) == ""
    assert report.verdict == "verified"
    assert (report.mesh_id, report.component_id, report.worker_name) == (forge.genesis.mesh_id, str(forge.id.component), "w")
    assert report.component == (0, hashlib.sha256(WASM).digest())
    assert (report.blobs, report.blob_bytes, report.invocations) == (2, len(BLOB) + len(WASM), 2)
    worker, component = report.logs
    assert [(run.term, run.author, run.first, run.last, run.standing) for run in worker.runs] == [
        (1, A.public_key, 1, 1, Standing.ELECTED),
        (2, B.public_key, 2, 6, Standing.ELECTED),
    ]
    assert (worker.elections, worker.votes, worker.configurations, worker.tail) == (2, 3, 2, 7)
    assert (component.kind, component.tail) == ("component", 2)
    assert worker.seal is not None
    assert (worker.seal.node, worker.seal.position, worker.seal.holds) == (B.public_key, 99, True)


def test_it_holds_nothing_of_the_mesh_key() -> None:
    assert b"m" * 32 not in usual().file()


def test_what_is_needed_to_run_it_again() -> None:
    forge = with_blob()
    file = forge.file()
    plan = check_of(file).plan()
    assert plan is not None
    assert (plan.worker, plan.create, plan.skipped, plan.wasm) == (forge.id, forge.create, [], hashlib.sha256(WASM).digest())
    for data in (BLOB, WASM):
        at, size = plan.blobs[hashlib.sha256(data).digest()]
        frame = next(iter(h.FrameSplitter(is_part=True).feed(file[at:])))
        assert opened(frame) == h.BlobOpening(hashlib.sha256(data).digest(), size)


# ---------------------------------------------------------------------------------------------------------------- tampering

FILE = with_blob().file()


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    data = bytearray(FILE)
    data[place] ^= change
    report = checked(bytes(data))
    assert report.verdict == "wrong"


SMALL = usual().file()


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_no_byte_can_be_changed_with_the_digest_made_anew(place: int, change: int) -> None:
    """The digest keeps accidents out; who changes a file on purpose makes it anew, and meets the signatures."""
    frames = cut(SMALL)
    data = bytearray(b"".join(frames))
    data[place % len(data)] ^= change
    assert checked(closed([bytes(data)])).verdict == "wrong"


@given(st.integers(0, len(SMALL) - 1))
@settings(max_examples=60, deadline=None)
def test_no_end_can_be_cut_off(end: int) -> None:
    assert "cut off" in wrong(checked(SMALL[:end])) or end < len(h.MAGIC)
    assert checked(SMALL[:end]).verdict == "wrong"


@given(st.binary(min_size=1, max_size=50))
@settings(max_examples=40, deadline=None)
def test_nothing_can_be_added(more: bytes) -> None:
    assert checked(SMALL + more).verdict == "wrong"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_frames_cannot_change_their_places(data: st.DataObject) -> None:
    frames = cut(SMALL)
    first, second = data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=2, max_size=2, unique=True))
    frames[first], frames[second] = frames[second], frames[first]
    if frames != cut(SMALL):
        assert checked(closed(frames)).verdict == "wrong"


@given(st.integers(0, len(cut(SMALL)) - 1))
@settings(max_examples=40, deadline=None)
def test_no_frame_can_be_left_out_unnoticed(place: int) -> None:
    frames = cut(SMALL)
    del frames[place]
    assert checked(closed(frames)).verdict != "verified"


@given(st.lists(st.integers(1, 3000), max_size=30))
@settings(max_examples=40, deadline=None)
def test_however_it_comes(sizes: list[int]) -> None:
    def fed(data: bytes) -> list[bytes]:
        pieces, at = [], 0
        for size in sizes:
            pieces.append(data[at : at + size])
            at += size
        return [*pieces, data[at:]]

    assert checked(SMALL, fed=fed).verdict == "verified"


@given(st.lists(st.binary(max_size=300), max_size=4).map(lambda frames: [len(f).to_bytes(4, "big") + f for f in frames]))
@settings(max_examples=100, deadline=None)
def test_nonsense_is_no_history(frames: list[bytes]) -> None:
    report = checked(closed(frames))
    assert report.verdict == "wrong"
    assert check_of(closed(frames)).plan() is None


def test_a_length_is_checked_before_anything_is_taken() -> None:
    assert "a frame of 4294967295 bytes" in wrong(checked(h.MAGIC + b"\xff" * 4))
    assert "not the history of a worker" in wrong(checked(b"GIF89a" + bytes(99)))


# ------------------------------------------------------------------------------------------------------------------- forging


def resealed(forge: Forge) -> str:
    """What is found wrong, when whoever forged it also holds the key of a node of the shard, and seals it."""
    report = checked(forge.file())
    assert report.verdict == "wrong"
    return wrong(report)


def test_a_segment_by_somebody_who_was_not_elected() -> None:
    forge = usual()
    forge.worker.write(C, 2, INVOKED._replace(idempotency_key="forged"))
    assert "a second author in term 2" in resealed(forge)
    forge = usual()
    forge.worker.elect(B, 3, THREE, B, C)
    forge.worker.write(C, 3, INVOKED._replace(idempotency_key="forged"))
    assert "index 5: written in term 3 by" in resealed(forge)


def test_a_segment_in_a_term_of_which_nothing_is_shown() -> None:
    forge = usual()
    forge.worker.write(STRANGER, 9, INVOKED._replace(idempotency_key="forged"))
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert f"written by {STRANGER.public_key.hex()[:16]} in term 9: no election of the term is shown" in unshown(report)


def test_a_segment_is_missing_in_the_middle() -> None:
    forge = usual()
    forge.worker.write(B, 2, INVOKED._replace(idempotency_key="k2"))
    del forge.worker.segments[1]
    assert "index 2: segment at index 5: a gap: index 2 should come next" in resealed(forge)


def test_a_segment_in_the_middle_was_replaced() -> None:
    """By its own author, who signs whatever is wanted: what follows was built on another one."""
    forge, other = usual(), usual()
    forge.worker.write(B, 2, INVOKED._replace(idempotency_key="k2"))
    other.worker.segments.pop()
    other.worker.tail, other.worker.hash = 2, h_of(other.worker.segments[0])
    other.worker.write(B, 2, INVOKED, CALL, DONE._replace(response=b"\x06"))
    forge.worker.segments[1] = other.worker.segments[1]
    assert "index 5: segment at index 5: the hash of the previous segment differs" in resealed(forge)


def h_of(segment: bytes) -> bytes:
    from golemp2p.wire.segment import open_segment

    return open_segment(segment).hash


def test_the_end_is_missing() -> None:
    forge = usual()
    tail, head_hash = forge.worker.tail, forge.worker.hash
    del forge.worker.segments[1]
    forge.told = {"tail": tail, "head_hash": head_hash}
    assert "ends before index 2, and should end before index 5" in resealed(forge)
    forge.told = {"tail": 2, "head_hash": head_hash}
    assert "the newest segment is not the one that its head names" in resealed(forge)


def test_terms_never_fall() -> None:
    forge = usual()
    forge.worker.write(A, 1, INVOKED._replace(idempotency_key="late"))
    assert "term 1 after term 2" in resealed(forge)


def test_nothing_after_a_break_is_believed() -> None:
    forge = usual()
    forge.worker.write(C, 2, INVOKED._replace(idempotency_key="forged"))
    forge.worker.write(B, 2, INVOKED._replace(idempotency_key="after"))
    check = check_of(forge.file())
    assert check.report.invocations == 1
    assert check.plan() is None


def test_a_segment_of_another_log() -> None:
    forge, other = usual(), Forge(name="other").usual(INVOKED)
    forge.worker.segments[1] = other.worker.segments[1]
    assert "belongs to" in resealed(forge)


def test_a_segment_whose_signature_is_forged() -> None:
    forge = usual()
    segment = bytearray(forge.worker.segments[1])
    segment[150] ^= 1
    forge.worker.segments[1] = bytes(segment)
    forge.worker.hash = h_of(bytes(segment))
    assert "the signature is not its author's" in resealed(forge)


@pytest.mark.parametrize("voters", [(B,), (B, STRANGER), (STRANGER,)])
def test_elections_by_a_minority_or_with_a_stranger(voters: tuple[SigningKey, ...]) -> None:
    forge = Forge()
    forge.worker.grow()
    forge.component.grow()
    forge.component.write(A, 1, forge.version)
    forge.worker.elect(B, 2, THREE, *voters)
    forge.worker.write(B, 2, forge.create)
    assert "no majority" in resealed(forge) or "a stranger" in resealed(forge)


def test_a_log_in_another_shard() -> None:
    forge = Forge()
    forge.worker.shard = (forge.worker.shard + 1) % 16
    forge.usual()
    assert "belongs into shard" in resealed(forge)


def test_another_founder() -> None:
    """A mesh of one's own proves nothing of another: elections of this one are no elections there, and its id is another."""
    forge = usual()
    mesh_id = forge.genesis.mesh_id
    forge.genesis = found_mesh(STRANGER, mesh_key=b"m" * 32, shards_count=16, created_ns=1)
    report = checked(forge.file(), mesh_id)
    assert f"is of mesh {forge.genesis.mesh_id.hex()}, not of mesh {mesh_id.hex()}" in wrong(report)
    assert "does not match its hash" in wrong(report)
    assert report.logs[0].runs[0].standing is None


def test_the_mesh_that_it_should_be_of() -> None:
    assert checked(SMALL, usual().genesis.mesh_id).verdict == "verified"
    assert checked(SMALL, bytes(32)).verdict == "wrong"


# ----------------------------------------------------------------------------------------------------------------- not shown


def test_older_elections_did_not_outlive_compaction() -> None:
    forge = usual()
    forge.worker.milestones = [
        entry for entry in forge.worker.milestones if not (entry.term == 1 and not isinstance(entry.content, Configuration))
    ]
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert wrong(report) == ""
    assert [run.standing for run in report.logs[0].runs] == [None, Standing.UNSHOWN]


def test_a_later_primary_vouches_for_what_it_built_on() -> None:
    forge = Forge()
    forge.component.grow()
    forge.component.write(A, 1, forge.version)
    forge.worker.elect(A, 3, FOUNDER, A)
    forge.worker.write(A, 2, forge.create)
    forge.worker.write(A, 3, INVOKED)
    forge.sealer = A
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert [run.vouched_by for run in report.logs[0].runs] == [3, 0]
    assert "the primary of term 3, which is shown, built on it" in unshown(report)


def test_sealed_by_a_stranger() -> None:
    forge = usual()
    forge.sealer = STRANGER
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert unshown(report).count("is not shown to hold the shard") == 2


def test_a_blob_was_left_out() -> None:
    forge = with_blob()
    forge.worker.blobs.clear()
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert f"blob {REF.sha256.hex()}, which it names, was left out" in unshown(report)


def test_the_component_was_left_out() -> None:
    forge = usual()
    forge.has_component_log, forge.wasm = False, None
    report = checked(forge.file())
    assert report.verdict == "incomplete"
    assert "component log: was left out" in unshown(report)


# -------------------------------------------------------------------------------------------------- what the entries tell


def test_blobs_are_what_they_are_called() -> None:
    forge = usual()
    forge.wasm = None
    frames = [*forge.frames(), *(encode_frame(frame) for frame in blob_frames(WASM, b"x" * 32))]
    assert "does not match its hash" in wrong(checked(closed(frames)))


def test_a_blob_of_another_size_than_was_recorded() -> None:
    forge = usual()
    forge.worker.write(B, 2, e.ExportedFunctionInvoked(4, "f", "k2", REF._replace(size_bytes=70_000)))
    forge.worker.add_blob(BLOB)
    assert f"has {len(BLOB)} bytes, 70000 were recorded" in resealed(forge)


def test_the_worker_in_the_log_is_the_one_asked_for() -> None:
    forge = Forge()
    forge.create = forge.create._replace(worker_name="another")
    forge.usual()
    assert "creates worker" in resealed(forge)


def test_an_invocation_that_is_done_twice() -> None:
    forge = usual()
    forge.worker.write(B, 2, INVOKED, DONE)
    assert "index 5: the invocation with key 'k' is accepted a second time" in resealed(forge)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 1}, "is not version 0 of the component"),
        ({"component_id": "another"}, "is not version 0 of the component"),
        ({"size_bytes": 3}, "was created as one of another component"),
        ({"ephemeral": True}, "was created as one of another component"),
        ({"env": (("LEVEL", "debug"),)}, "lacks 'LEVEL'"),
    ],
)
def test_the_component_is_the_one_that_the_worker_was_created_with(changed: dict[str, Any], reason: str) -> None:
    forge = Forge()
    forge.version = forge.version._replace(**changed)
    forge.usual()
    assert reason in resealed(forge)


def test_a_version_that_was_never_added() -> None:
    forge = Forge()
    forge.create = forge.create._replace(component_version=4)
    forge.usual()
    assert "has no version 4" in resealed(forge)


def test_an_operators_order_is_told() -> None:
    from golemp2p.model.replication import Branch
    from golemp2p.wire.notary import sign_branch

    forge = usual()
    log = forge.worker
    order = Branch(b"b" * 16, member(C), 3, log._position, log._hash, b"", b"")
    log.milestone(C, 5, sign_branch(A, order, mesh_id=log.mesh_id, shard=log.shard), gap=0)
    log.write(C, 5, INVOKED._replace(idempotency_key="after"))
    forge.sealer = C
    report = checked(forge.file())
    assert report.logs[0].runs[-1].standing is Standing.FORCED
    assert [replace(order, operator=b"", signature=b"") for order in report.logs[0].branches] == [order]
    assert wrong(report) + unshown(report) == ""


def test_nothing_at_all() -> None:
    forge = Forge()
    forge.worker.elect(A, 1, FOUNDER, A)
    forge.component.elect(A, 1, FOUNDER, A)
    forge.sealer = A
    assert "is empty" in resealed(forge)
