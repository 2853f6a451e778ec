"""Damage of every sort is found and named; nothing is modified; a live node is not disturbed."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import trio

from golemp2p.errors import UsageError
from golemp2p.model.entries import BlobRef, Create, ImportedFunctionInvoked, NoOp
from golemp2p.model.ids import Key
from golemp2p.ports import Batch, LogHead, ShardRecord, StoredSegment
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.storage.verify import StorageReport, verify_storage
from golemp2p.testing.storage_suite import commit
from golemp2p.wire.certificate import birth_certificate, found_mesh
from golemp2p.wire.entry import encode_payload
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import NO_HASH, seal

NODE = SigningKey(bytes(range(32)))
BLOB = b"a large result" * 10_000
SHARD = 5


class Log:
    """Writes sealed segments of two entries."""

    def __init__(self, identity: str, term: int = 1) -> None:
        self.identity, self.term = identity, term
        self.key = Key.of("worker", identity)
        self.tail, self.hash = 1, NO_HASH

    def batch(self, entries: list[tuple[object, ...]] | None = None, key: SigningKey = NODE) -> Batch:
        entries = entries or [NoOp(1), NoOp(2)]
        data, self.hash = seal(
            key, key=self.key, term=self.term, first=self.tail, count=len(entries), previous_hash=self.hash,
            payload=encode_payload(entries),
        )  # fmt: skip
        segment = StoredSegment(self.key, self.tail, len(entries), self.term, self.tail, data)
        self.tail += len(entries)
        return Batch(segments=[segment], heads=[self.head()], shards=[ShardRecord(SHARD, 3, NODE.public_key, 1000, b"")])

    def head(self) -> LogHead:
        return LogHead(self.key, "worker", self.identity, SHARD, self.tail, self.hash, False, None, b"")


async def fill(folder: Path) -> None:
    """Two logs of 5 segments each; the third segment of ``left`` names a blob."""
    storage = await SqliteStorage.open(folder)
    digest = await storage.put_blob(BLOB)
    call = ImportedFunctionInvoked(1, "f", "read-remote", bytes(16), BlobRef(digest, len(BLOB)))
    for log in (Log("left"), Log("right")):
        await commit(storage, log.batch([Create(1, "c", log.identity, 0, (), (), None, 1, False, "", 0), NoOp(1)]))
        await commit(storage, log.batch())
        await commit(storage, log.batch([NoOp(1), call] if log.identity == "left" else None))
        log.term = 3
        await commit(storage, log.batch())
        await commit(storage, log.batch())
    await storage.aclose()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "data"
    trio.run(fill, folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "data")


def change(folder: Path, *statements: str) -> None:
    connection = apsw.Connection(str(folder / "storage.sqlite"))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def damaged(report: StorageReport) -> list[tuple[str, str, int | None]]:
    return [(damage.kind, damage.identity, damage.index) for damage in report.damages]


def test_a_sound_directory(folder: Path) -> None:
    report = verify_storage(folder)
    assert report.damages == []
    assert report.sound
    assert (report.logs, report.segments, report.entries, report.shards) == (2, 10, 20, 1)
    assert (report.blobs, report.blob_bytes) == (1, len(BLOB))


LEFT = f"log = x'{Key.of('worker', 'left').digest.hex()}'"
FLIPPED = "substr(data, 1, {0}) || x'5a' || substr(data, {0} + 2)"


@pytest.mark.parametrize("place", [0, 10, 30, 41, 47, 60, 100, 130, 150, 200, 213, 216])
def test_a_flipped_byte_anywhere_in_a_segment(folder: Path, place: int) -> None:
    change(folder, f"UPDATE segments SET data = CAST({FLIPPED.format(place)} AS BLOB) WHERE {LEFT} AND first = 5")
    report = verify_storage(folder)
    assert ("worker", "left", 5) in damaged(report)
    assert all(damage.identity != "right" for damage in report.damages)


LEFT_KEY = str(Key.of("worker", "left"))
SEGMENTS = "UPDATE segments SET {} WHERE " + LEFT + " AND first = 3"
HEADS = "UPDATE heads SET {} WHERE identity = 'left'"

Case = tuple[str, tuple[str, str, int | None], str]
CASES: dict[str, Case] = {
    "a segment lost in the middle": (f"DELETE FROM segments WHERE {LEFT} AND first = 3", ("worker", "left", 3), "gap"),
    "the first segment lost": (f"DELETE FROM segments WHERE {LEFT} AND first = 1", ("worker", "left", 1), "gap"),
    "the end lost": (f"DELETE FROM segments WHERE {LEFT} AND first = 9", ("worker", "left", 9), "ends before index 9"),
    "all lost": (f"DELETE FROM segments WHERE {LEFT}", ("worker", "left", 1), "ends before index 1"),
    "a row that says otherwise": (SEGMENTS.format("term = 2"), ("worker", "left", 3), "row"),
    "a count that says otherwise": (SEGMENTS.format("count = 1"), ("worker", "left", 3), "row"),
    "a position beyond the shard": (SEGMENTS.format("position = 1000"), ("worker", "left", 3), "beyond"),
    "a head with another hash": (HEADS.format("head_hash = zeroblob(32)"), ("worker", "left", 11), "newest"),
    "a head with a lower tail": (HEADS.format("tail = 9"), ("worker", "left", 11), "its head says before 9"),
    "a head of another identity": (HEADS.format("identity = 'lift'"), ("head", LEFT_KEY, None), "lift"),
    "a shard that fell back": ("UPDATE shards SET term = 2", ("worker", "left", 7), "beyond"),
    "a shard without record": ("DELETE FROM shards", ("worker", "left", 1), "no record"),
    "segments without a head": ("DELETE FROM heads WHERE identity = 'left'", ("segments", LEFT_KEY, 1), "5 without a head"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_lying_engine_could_do(folder: Path, case: Case) -> None:
    statement, expected, reason = case
    change(folder, statement)
    report = verify_storage(folder)
    assert expected in damaged(report)
    assert any(reason in str(damage) for damage in report.damages)
    assert not report.sound


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(lambda path: path.unlink(), "missing"), (lambda path: path.write_bytes(b"x"), "do not match")],
    ids=["missing", "changed"],
)
def test_a_damaged_blob_names_who_needs_it(folder: Path, spoil: Callable[[Path], object], reason: str) -> None:
    name = hashlib.sha256(BLOB).hexdigest()
    spoil(folder / "blobs" / name[:2] / name)
    (damage,) = verify_storage(folder).damages
    assert (damage.kind, damage.identity) == ("blob", name)
    assert reason in damage.reason
    assert damage.reason.endswith("named by worker left at index 6")


async def test_a_forged_segment_is_found(tmp_path: Path) -> None:
    """Its chain is right, but another key signed it in a term that is not its own."""
    storage = await SqliteStorage.open(tmp_path)
    log = Log("forged")
    await commit(storage, log.batch())
    await commit(storage, log.batch(key=SigningKey(bytes(32))))
    await storage.aclose()
    report = verify_storage(tmp_path)
    assert damaged(report) == [("worker", "forged", 3)]


async def test_a_payload_that_is_no_entries_is_found(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    log = Log("odd")
    data, log.hash = seal(NODE, key=log.key, term=1, first=1, count=1, previous_hash=NO_HASH, payload=b"\xff" * 10)
    log.tail = 2
    batch = Batch(segments=[StoredSegment(log.key, 1, 1, 1, 1, data)], heads=[log.head()])
    batch.shards.append(ShardRecord(SHARD, 1, None, 2, b""))
    await commit(storage, batch)
    await storage.aclose()
    assert damaged(verify_storage(tmp_path)) == [("worker", "odd", 1)]


OTHER = SigningKey(bytes(32))
GENESIS = found_mesh(NODE, mesh_key=bytes(32), shards_count=1024, created_ns=0)
CERTIFICATE = birth_certificate(NODE, GENESIS, shard=3, store_id=bytes(16), term=2)


async def store_elected(folder: Path, certificate: bytes, genesis: bytes, key: SigningKey = NODE) -> None:
    """One log in its right shard, 3, written in term 2."""
    storage = await SqliteStorage.open(folder)
    identity = next(str(n) for n in range(100_000) if Key.of("worker", str(n)).shard(1024) == 3)
    log = Log(identity, term=2)
    batch = log.batch(key=key)
    batch.heads = [batch.heads[0]._replace(shard=3)]
    batch.shards = [ShardRecord(3, 2, NODE.public_key, 2, certificate)]
    await commit(storage, batch)
    await storage.put_meta("genesis", genesis)
    await storage.aclose()


async def test_who_was_elected_may_have_written(tmp_path: Path) -> None:
    await store_elected(tmp_path, CERTIFICATE.encoded(), GENESIS.encoded())
    assert verify_storage(tmp_path).damages == []


async def test_who_was_not_elected_may_not(tmp_path: Path) -> None:
    await store_elected(tmp_path, CERTIFICATE.encoded(), GENESIS.encoded(), key=OTHER)
    (damage,) = verify_storage(tmp_path).damages
    assert (damage.kind, damage.index) == ("worker", 1)
    assert "elected" in damage.reason


BAD_CERTIFICATES = {
    "not a certificate": b"\x80",
    "of another mesh": birth_certificate(
        NODE, found_mesh(NODE, mesh_key=bytes(32), shards_count=512, created_ns=0), shard=3, store_id=bytes(16), term=2
    ).encoded(),
    "of another shard": replace(CERTIFICATE, shard=4).encoded(),
    "of a later term": replace(CERTIFICATE, term=3).encoded(),
    "without a vote": replace(CERTIFICATE, votes=()).encoded(),
    "with a forged vote": replace(CERTIFICATE, votes=((NODE.public_key, bytes(64)),)).encoded(),
}


@pytest.mark.parametrize("certificate", BAD_CERTIFICATES.values(), ids=BAD_CERTIFICATES.keys())
async def test_a_bad_certificate(tmp_path: Path, certificate: bytes) -> None:
    await store_elected(tmp_path, certificate, GENESIS.encoded())
    assert damaged(verify_storage(tmp_path)) == [("shard", "3", None)]


async def test_a_bad_genesis_record(tmp_path: Path) -> None:
    await store_elected(tmp_path, CERTIFICATE.encoded(), replace(GENESIS, founder=OTHER.public_key).encoded())
    assert damaged(verify_storage(tmp_path)) == [("database", "meta:genesis", None)]


async def test_a_log_in_a_shard_where_it_does_not_belong(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    await commit(storage, Log("left").batch())
    await storage.put_meta("genesis", GENESIS.encoded())
    await storage.aclose()
    (damage,) = verify_storage(tmp_path).damages
    assert damage.identity == str(Key.of("worker", "left"))
    assert "does not belong" in damage.reason


@pytest.mark.parametrize(("identity", "shard", "belongs"), [("7", 7, True), ("7", 8, False), ("x", 7, False)])
async def test_the_log_of_a_shard_lies_in_that_shard(tmp_path: Path, identity: str, shard: int, belongs: bool) -> None:
    """Wherever its key would lead: the log tells of the shard's elections."""
    storage = await SqliteStorage.open(tmp_path)
    key = Key.of("shard", identity)
    empty = LogHead(key, "shard", identity, shard, 1, bytes(32), False, None, b"")
    await commit(storage, Batch(heads=[empty]))
    await storage.put_meta("genesis", GENESIS.encoded())
    await storage.aclose()
    reasons = [damage.reason for damage in verify_storage(tmp_path).damages]
    assert any("does not belong" in reason for reason in reasons) is not belongs


def test_a_flipped_byte_in_the_databases_structure(folder: Path) -> None:
    path = folder / "storage.sqlite"
    data = bytearray(path.read_bytes())
    page = 4096
    for start in range(page, len(data), page):
        data[start] ^= 0x55  # the type of every page but the first
    path.write_bytes(data)
    report = verify_storage(folder)
    assert "database" in {damage.kind for damage in report.damages}
    assert report.blobs == 1  # what can be checked is checked


def test_a_truncated_database(folder: Path) -> None:
    path = folder / "storage.sqlite"
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    assert "database" in {damage.kind for damage in verify_storage(folder).damages}


def test_an_emptied_database(folder: Path) -> None:
    (folder / "storage.sqlite").write_bytes(b"")
    report = verify_storage(folder)
    assert [(damage.kind, damage.reason) for damage in report.damages] == [
        ("database", "is empty: it was cut off, or never filled")
    ]
    assert report.blobs == 1


def test_something_else_than_a_database(folder: Path) -> None:
    (folder / "storage.sqlite").write_bytes(b"nothing of the sort " * 1000)
    report = verify_storage(folder)
    assert {damage.kind for damage in report.damages} == {"database"}


def test_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data directory"):
        verify_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the wal-index, which is memory shared between processes and only happens to have a name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm"}


async def test_beside_a_live_node_and_nothing_is_modified(folder: Path) -> None:
    storage = await SqliteStorage.open(folder)
    log = Log("third")
    for _ in range(5):
        await commit(storage, log.batch())
    before = contents(folder)
    report = await trio.to_thread.run_sync(verify_storage, folder)
    assert report.sound
    assert report.logs == 3
    assert contents(folder) == before
    await commit(storage, log.batch())
    await storage.aclose()
    assert verify_storage(folder).segments == 16


async def test_after_a_crash_the_write_ahead_log_is_read_and_left_alone(folder: Path, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(folder)
    await commit(storage, Log("third").batch())
    image = tmp_path / "image"
    image.mkdir()
    for name in ("storage.sqlite", "storage.sqlite-wal"):
        shutil.copy(folder / name, image / name)
    shutil.copytree(folder / "blobs", image / "blobs")
    await storage.aclose()
    before = contents(image)
    report = verify_storage(image)
    assert report.damages == []
    assert report.logs == 3
    assert contents(image) == before


def test_many_damages_are_counted_but_not_all_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golemp2p.storage.verify.DAMAGES_MAX", 1)
    change(folder, "DELETE FROM segments")
    report = verify_storage(folder)
    assert len(report.damages) == 1
    assert report.damages_count == 2
