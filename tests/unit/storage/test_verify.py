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
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Configuration, Deletion, Election, LogSegment, Member
from golemp2p.model.replication import NoOp as ShardNoOp
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.storage.verify import StorageReport, verify_storage
from golemp2p.testing.storage_kit import MEMBER, NODE, Group, commit
from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.entry import encode_payload
from golemp2p.wire.identity import SigningKey

BLOB = b"a large result" * 10_000
SHARD = 0
GENESIS = found_mesh(NODE, mesh_key=bytes(32), shards_count=1, created_ns=0)
OTHER = SigningKey(bytes(32))


def new_group(signer: SigningKey = NODE) -> Group:
    return Group(SHARD, signer=signer, mesh_id=GENESIS.mesh_id)


def segment(group: Group, identity: str, *entries: tuple[object, ...]) -> LogSegment:
    """Of two entries."""
    return group.segment(identity, 2, payload=encode_payload(entries or (NoOp(1), NoOp(2))))


async def fill(folder: Path) -> None:
    """Two logs of 5 segments each, two of them compacted; the third segment of ``left`` names a blob. Elections in terms 1 and 3."""
    storage = await SqliteStorage.open(folder)
    await storage.put_meta("genesis", GENESIS.encoded())
    digest = await storage.put_blob(BLOB)
    call = ImportedFunctionInvoked(1, "f", "read-remote", bytes(16), BlobRef(digest, len(BLOB)))
    group = new_group()
    await commit(storage, group.birth(), group.write(group.election()))
    for identity in ("left", "right"):
        created = Create(1, "c", identity, 0, (), (), None, 1, False, "", 0)
        await commit(storage, group.write(segment(group, identity, created, NoOp(1)), segment(group, identity)))
    await commit(storage, group.compacted(Key.of("worker", "left"), Key.of("worker", "right")))
    await commit(storage, group.write(segment(group, "left", NoOp(1), call), segment(group, "right"), ShardNoOp()))
    group.term = 3
    await commit(storage, group.write(group.election()))
    for identity in ("left", "right"):
        await commit(storage, group.write(segment(group, identity), segment(group, identity)))
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
    assert (report.positions, report.elections) == (8, 2)
    assert (report.blobs, report.blob_bytes) == (1, len(BLOB))


LEFT = f"log = x'{Key.of('worker', 'left').digest.hex()}'"
FLIPPED = "substr(data, 1, {0}) || x'5a' || substr(data, {0} + 2)"
OF_LEFT = f"id = (SELECT id FROM segments WHERE {LEFT} AND first = {{}})"


@pytest.mark.parametrize("first", [3, 5], ids=["compacted", "an entry"])
@pytest.mark.parametrize("place", [0, 10, 30, 41, 47, 60, 100, 130, 150, 200, 213, 216])
def test_a_flipped_byte_anywhere_in_a_segment(folder: Path, place: int, first: int) -> None:
    change(folder, f"UPDATE payloads SET data = CAST({FLIPPED.format(place)} AS BLOB) WHERE {OF_LEFT.format(first)}")
    report = verify_storage(folder)
    assert ("worker", "left", first) in damaged(report)
    assert all(damage.identity != "right" for damage in report.damages)
    in_start = place < 212  # of which the shard's hashes know; what comes after it is the log's alone
    assert (("shard", "0", None) in damaged(report)) == (first == 5 and in_start)


LEFT_KEY = str(Key.of("worker", "left"))
LEFT_HEX = LEFT_KEY.removeprefix("key:")
SEGMENTS = "UPDATE segments SET {} WHERE " + LEFT + " AND first = 3"
HEADS = "UPDATE heads SET {} WHERE identity = 'left'"
ENTRIES = "UPDATE entries SET {} WHERE position = {}"

Case = tuple[str, tuple[str, str, int | None], str]
CASES: dict[str, Case] = {
    "a segment lost in the middle": (f"DELETE FROM segments WHERE {LEFT} AND first = 3", ("worker", "left", 3), "base of its shard"),
    "a segment lost after the base": (f"DELETE FROM segments WHERE {LEFT} AND first = 5", ("worker", "left", 5), "gap"),
    "the first segment lost": (f"DELETE FROM segments WHERE {LEFT} AND first = 1", ("worker", "left", 1), "gap"),
    "the end lost": (f"DELETE FROM segments WHERE {LEFT} AND first = 9", ("worker", "left", 9), "ends before index 9"),
    "all lost": (f"DELETE FROM segments WHERE {LEFT}", ("worker", "left", 1), "ends before index 1"),
    "the bytes lost": (f"DELETE FROM payloads WHERE {OF_LEFT.format(3)}", ("worker", "left", 3), "wrong types"),
    "bytes of nobody": ("INSERT INTO payloads VALUES(999, x'00')", ("segments", "payloads", None), "1 belong to no segment"),
    "a row that says otherwise": (SEGMENTS.format("term = 2"), ("worker", "left", 3), "row"),
    "a count that says otherwise": (SEGMENTS.format("count = 1"), ("worker", "left", 3), "row"),
    "a position beyond the shard": (
        f"UPDATE segments SET position = 1000 WHERE {LEFT} AND first = 9", ("worker", "left", 9), "beyond",
    ),
    "a head with another hash": (HEADS.format("head_hash = zeroblob(32)"), ("worker", "left", 11), "newest"),
    "a head with a lower tail": (HEADS.format("tail = 9"), ("worker", "left", 11), "its head says before 9"),
    "a head of another identity": (HEADS.format("identity = 'lift'"), ("head", LEFT_KEY, None), "lift"),
    "a record that fell back": ("UPDATE replicas SET term = 2", ("worker", "left", 7), "beyond"),
    "a record without its entries": ("UPDATE replicas SET high_position = 90", ("shard", "0", None), "has acknowledged (3, 90)"),
    "a shard without record": ("DELETE FROM replicas", ("database", "shards", None), "has no record"),
    "an unreadable base": ("UPDATE bases SET base = x'80'", ("database", "shards", None), "its base cannot be read"),
    "segments without a head": ("DELETE FROM heads WHERE identity = 'left'", ("segments", LEFT_KEY, 1), "5 without a head"),
    "a log that is gone": (
        f"DELETE FROM heads WHERE identity = 'left'; DELETE FROM segments WHERE {LEFT}", ("log", LEFT_KEY, None), "is gone",
    ),
    "a base that says otherwise": (
        f"UPDATE base_heads SET hash = zeroblob(32) WHERE {LEFT}", ("worker", "left", 5), "the base of its shard names",
    ),
    "an entry lost": ("DELETE FROM entries WHERE position = 8", ("shard", "0", None), "a gap after position 7"),
    "an entry of another term": (ENTRIES.format("term = 2", 6), ("shard", "0", None), "position 6"),
    "an entry with another hash": (ENTRIES.format("hash = zeroblob(32)", 8), ("shard", "0", None), "position 8"),
    "an entry with another content": (ENTRIES.format("content = x'8203811400'", 8), ("shard", "0", None), "cannot be read"),
    "an entry that is not signed": (ENTRIES.format("signature = zeroblob(64)", 8), ("shard", "0", None), "the signature"),
    "an entry of another author": (ENTRIES.format("author = zeroblob(32)", 8), ("shard", "0", None), "another author"),
    "a milestone lost": ("DELETE FROM milestones WHERE position = 9", ("shard", "0", None), "not kept as a milestone"),
    "a milestone at another place": (
        "UPDATE milestones SET position = 3 WHERE position = 9", ("shard", "0", None), "says that it is at 9",
    ),
    "a log marked as damaged": (f"INSERT INTO damaged VALUES(0, x'{LEFT_HEX}')", ("log", LEFT_KEY, None), "marked as damaged"),
    "a damaged milestone": ("UPDATE milestones SET entry = x'80'", ("shard", "0", None), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_lying_engine_could_do(folder: Path, case: Case) -> None:
    statement, expected, reason = case
    change(folder, statement)
    report = verify_storage(folder)
    assert expected in damaged(report), report.damages
    assert any(reason in str(damage) for damage in report.damages), report.damages
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


# ---------------------------------------------------------------------------------------------------- who may have written


async def written(folder: Path, *writes: ReplicaWrite, genesis: bytes = GENESIS.encoded()) -> StorageReport:
    storage = await SqliteStorage.open(folder)
    await storage.put_meta("genesis", genesis)
    await commit(storage, *writes)
    await storage.aclose()
    return await trio.to_thread.run_sync(verify_storage, folder)


async def test_who_was_elected_may_have_written(tmp_path: Path) -> None:
    group = new_group()
    report = await written(tmp_path, group.birth(), group.write(group.election(), segment(group, "left"), ShardNoOp()))
    assert report.damages == []


async def test_who_was_not_elected_may_not(tmp_path: Path) -> None:
    """Its chain is right, but another key signed it than won the term."""
    group, forger = new_group(), new_group(OTHER)
    write = group.write(group.election(), segment(group, "left"))
    forger.heads, forger.position, forger.hash = group.heads, group.position, group.hash
    report = await written(tmp_path, group.birth(), write, forger.write(segment(forger, "left")))
    assert damaged(report) == [("shard", "0", None), ("worker", "left", 3)]
    assert "another author" in report.damages[0].reason
    assert "elected was" in report.damages[1].reason


async def test_a_compacted_segment_is_checked_against_its_term_too(tmp_path: Path) -> None:
    group, forger = new_group(), new_group(OTHER)
    election = group.write(group.election())
    forged = segment(forger, "left")
    group.heads = forger.heads
    report = await written(tmp_path, group.birth(), election, group.write(forged), group.compacted(forged.log))
    assert damaged(report) == [("worker", "left", 1)]
    assert "elected was" in report.damages[0].reason


VOTE = new_group().notary.cast_vote(1, NODE.public_key)
STRANGER = Member(OTHER.public_key, bytes(16))
ELECTIONS: dict[str, tuple[Callable[[Election], Election], str]] = {
    "without a vote": (lambda e: replace(e, votes=()), "no majority"),
    "with a forged vote": (lambda e: replace(e, votes=((MEMBER, bytes(64)),)), "no majority"),
    "with a stranger's vote": (lambda e: replace(e, votes=((STRANGER, VOTE),)), "no majority"),
    "with one vote, twice": (
        lambda e: replace(e, configuration=Configuration((MEMBER, STRANGER, Member(b"k" * 32, b"s" * 16))), votes=e.votes * 2),
        "1 valid votes are no majority",
    ),
    "without a majority of those to come": (
        lambda e: replace(e, configuration=Configuration((MEMBER,), (), (STRANGER,))), "no majority",
    ),
    "by others than the voters": (
        lambda e: replace(e, configuration=Configuration((MEMBER,), (STRANGER,))), "not the configuration before it",
    ),
    "of another node": (lambda e: replace(e, primary=STRANGER), "not written by whom it elects"),
}  # fmt: skip


@pytest.mark.parametrize("case", ELECTIONS.values(), ids=ELECTIONS.keys())
async def test_a_bad_election(tmp_path: Path, case: tuple[Callable[[Election], Election], str]) -> None:
    spoil, reason = case
    group = new_group()
    report = await written(tmp_path, group.birth(), group.write(spoil(group.election()), segment(group, "left")))
    assert damaged(report)[0] == ("shard", "0", None)
    assert reason in report.damages[0].reason


async def test_an_election_of_another_mesh(tmp_path: Path) -> None:
    group = Group(SHARD, mesh_id=b"m" * 32)
    report = await written(tmp_path, group.birth(), group.write(group.election()))
    assert damaged(report) == [("shard", "0", None)]


async def test_without_a_mesh_votes_and_hashes_are_not_checked(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    group = Group(SHARD, mesh_id=b"m" * 32)
    await commit(storage, group.birth(), group.write(group.election(), segment(group, "left")))
    await storage.aclose()
    assert verify_storage(tmp_path).damages == []


@pytest.mark.parametrize("is_shared", [True, False])
async def test_a_blob_that_other_members_may_hold_is_no_damage(tmp_path: Path, is_shared: bool) -> None:
    group = new_group()
    call = ImportedFunctionInvoked(1, "f", "read-remote", bytes(16), BlobRef(hashlib.sha256(BLOB).digest(), len(BLOB)))
    entries = (
        group.write(group.election(), segment(group, "left", NoOp(1), call)),
        group.write(Configuration((MEMBER,), (STRANGER,))),
    )
    report = await written(tmp_path, group.birth(), *entries[: 2 if is_shared else 1])
    assert (report.blobs_elsewhere, report.damages_count) == ((1, 0) if is_shared else (0, 1))


async def test_a_payload_that_is_no_entries_is_found(tmp_path: Path) -> None:
    group = new_group()
    odd = group.segment("odd", payload=b"\xff" * 10)
    report = await written(tmp_path, group.birth(), group.write(group.election(), odd))
    assert damaged(report) == [("worker", "odd", 1)]


async def test_a_bad_genesis_record(tmp_path: Path) -> None:
    spoilt = replace(GENESIS, founder=OTHER.public_key).encoded()
    assert damaged(await written(tmp_path, genesis=spoilt)) == [("database", "meta:genesis", None)]


async def test_a_log_in_a_shard_where_it_does_not_belong(tmp_path: Path) -> None:
    genesis = found_mesh(NODE, mesh_key=bytes(32), shards_count=1024, created_ns=0)
    group = Group(3, mesh_id=genesis.mesh_id)
    right = next(str(n) for n in range(100_000) if Key.of("worker", str(n)).shard(1024) == 3)
    write = group.write(group.election(), segment(group, right), segment(group, "left"))
    (damage,) = (await written(tmp_path, group.birth(), write, genesis=genesis.encoded())).damages
    assert damage.identity == str(Key.of("worker", "left"))
    assert "does not belong" in damage.reason


async def test_deleted_undescribed_fetched_and_forgotten_are_sound(tmp_path: Path) -> None:
    """Everything that a replica goes through in an honest life."""
    group = new_group()
    await written(
        tmp_path, group.birth(), group.write(group.election(), segment(group, "a"), segment(group, "b"), segment(group, "c"))
    )
    logs = [Key.of("worker", name) for name in "abc"]
    writes = [group.compacted(*logs), group.write(*map(Deletion, logs[:2])), group.write(segment(group, "a"))]
    undescribed = replace(segment(group, "d"), description=b"")
    report = await written(tmp_path, *writes, group.write(undescribed, segment(group, "d"), Deletion(undescribed.log)))
    assert report.damages == []
    source = new_group(OTHER)
    fetched = segment(source, "fetched")
    report = await written(tmp_path, ReplicaWrite(SHARD, group.record(), fetched=(fetched,)))
    assert report.damages == []
    report = await written(tmp_path, ReplicaWrite(SHARD, group.record(), is_forgotten=True))
    assert report.damages == []
    assert (report.logs, report.segments, report.shards) == (0, 0, 1)


async def test_a_damaged_segment_of_a_log_that_is_deleted_is_found(tmp_path: Path) -> None:
    """Others may still fetch it, as of the base."""
    group = new_group()
    first = segment(group, "left")
    await written(tmp_path, group.birth(), group.write(group.election(), first), group.compacted(first.log))
    await written(tmp_path, group.write(Deletion(first.log)))
    change(tmp_path, f"UPDATE payloads SET data = CAST({FLIPPED.format(213)} AS BLOB)")
    assert damaged(verify_storage(tmp_path)) == [("log", LEFT_KEY, 1)]


async def test_a_damaged_fetched_segment_is_found(tmp_path: Path) -> None:
    group = new_group()
    fetched = segment(group, "left")
    await written(tmp_path, ReplicaWrite(SHARD, group.record(), fetched=(fetched,)))
    change(tmp_path, f"UPDATE payloads SET data = CAST({FLIPPED.format(213)} AS BLOB)")
    assert damaged(verify_storage(tmp_path)) == [("fetched", LEFT_KEY, None)]


async def test_an_undescribed_log_is_checked(tmp_path: Path) -> None:
    group = new_group()
    plain = replace(segment(group, "left"), description=b"")
    await written(tmp_path, group.birth(), group.write(group.election(), plain))
    change(tmp_path, "UPDATE undescribed SET tail = 9")
    assert damaged(verify_storage(tmp_path)) == [("log", LEFT_KEY, 3)]


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


async def continued(storage: SqliteStorage) -> Group:
    """The group of what ``fill`` wrote."""
    last = (await storage.replicas())[SHARD].entries[-1]
    group = new_group()
    group.term, group.position, group.hash = last.term, last.position, last.hash
    return group


async def test_beside_a_live_node_and_nothing_is_modified(folder: Path) -> None:
    storage = await SqliteStorage.open(folder)
    group = await continued(storage)
    await commit(storage, *(group.write(segment(group, "third")) for _ in range(5)))
    before = contents(folder)
    report = await trio.to_thread.run_sync(verify_storage, folder)
    assert report.sound
    assert report.logs == 3
    assert contents(folder) == before
    await commit(storage, group.write(segment(group, "third")))
    await storage.aclose()
    assert verify_storage(folder).segments == 16


async def test_after_a_crash_the_write_ahead_log_is_read_and_left_alone(folder: Path, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(folder)
    group = await continued(storage)
    await commit(storage, group.write(segment(group, "third")))
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
    assert report.damages_count == 3  # two logs, and bytes without segments
