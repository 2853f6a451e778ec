"""What SqliteStorage does when the disk or the machine fails."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
import trio

from golemp2p.errors import DataDamaged, StorageFailed, StorageFull
from golemp2p.ports import Batch
from golemp2p.storage import rows as rows_module
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import SHARD, Group, Writing, commit, key_of, stored

# ------------------------------------------------------------------------------------------------- a disk that refuses


class FaultyDisk(apsw.VFS):
    """Refuses the next ``syncs_failing`` fsyncs of the write-ahead log; refuses writes to it while ``full``."""

    def __init__(self) -> None:
        super().__init__("faulty", "unix", makedefault=True)
        self.syncs_failing = 0
        self.full = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk
        self.is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xSync(self, flags: int) -> None:
        if self.is_log and self.disk.syncs_failing:
            self.disk.syncs_failing -= 1
            raise apsw.IOError("the disk refuses to sync")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self.is_log and self.disk.full:
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


def image_of(folder: Path, target: Path) -> Path:
    """The files as a crash would leave them now."""
    target.mkdir()
    for name in ("storage.sqlite", "storage.sqlite-wal"):
        shutil.copy(folder / name, target / name)
    return target


async def firsts_in(folder: Path) -> list[int]:
    storage = await SqliteStorage.open(folder)
    try:
        return [segment.first for segment in await storage.read_segments(key_of("a"))]
    finally:
        await storage.aclose()


async def test_what_failed_to_sync_does_not_come_back_after_a_crash(disk: FaultyDisk, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "data")
    group, rival = Group(), Group()
    first = group.append("a")
    rival.append("a")
    await commit(storage, first)
    disk.syncs_failing = 1
    with pytest.raises(StorageFailed):
        await commit(storage, group.append("a"))
    image = image_of(tmp_path / "data", tmp_path / "image")
    assert await firsts_in(image) == [1]
    other = rival.append("a", 7)
    await commit(storage, other)
    assert await storage.read_segments(key_of("a")) == stored(first) + stored(other)
    await storage.aclose()


async def test_a_group_survives_one_failed_sync(disk: FaultyDisk, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    disk.syncs_failing = 1
    writing = Writing(storage)
    for shard in range(20):
        writing.submit(Group(shard).append(f"log {shard:02}"))
    errors = await writing.finish()
    kept = [shard for shard, error in enumerate(errors) if error is None]
    assert len(kept) >= 19  # only if the first was alone in its group does it fail
    assert [head.shard for head in await storage.heads("worker", shards=range(20))] == kept
    for shard in kept:
        assert len(await storage.read_segments(key_of(f"log {shard:02}"))) == 1
    await storage.aclose()


async def test_a_full_disk_is_said_and_space_makes_it_work_again(disk: FaultyDisk, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    group = Group()
    await commit(storage, group.append("a"))
    disk.full = True
    writing = Writing(storage)
    next_write = group.append("a")
    writing.submit(next_write)
    for shard in range(100, 109):
        writing.submit(Group(shard).append(f"log {shard}"))
    errors = await writing.finish()
    assert {type(error) for error in errors} == {StorageFull}, errors
    assert [segment.first for segment in await storage.read_segments(key_of("a"))] == [1]  # reads go on
    assert list(await storage.replicas()) == [SHARD]
    disk.full = False
    await commit(storage, next_write)
    statistics = storage.statistics()
    assert (statistics["batches"], statistics["batches_failed"]) == (2, 10)
    assert (statistics["queued_batches"], statistics["queued_bytes"]) == (0, 0)
    await storage.aclose()


FULL = """
import resource, signal, sys, trio
from pathlib import Path
from golemp2p.errors import StorageFull
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import Group, commit, key_of

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    storage = await SqliteStorage.open(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    first, group = 1, Group()
    try:
        while True:
            write = group.append("a", padding=bytes(30_000))
            await commit(storage, write)
            first += 1
    except StorageFull as error:
        print(first, error)
    try:
        await storage.put_blob(bytes(500_000))
    except StorageFull as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await commit(storage, write)
    print([segment.first for segment in await storage.read_segments(key_of("a"))])
    await storage.aclose()

trio.run(main)
"""


def test_the_operating_systems_limit_is_a_full_disk(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    refused, blob, found = result.stdout.splitlines()
    failed = int(refused.split()[0])
    assert 2 < failed < 20
    assert "no space left, or a file-size limit" in refused
    assert "blobs" in blob
    assert found == str(list(range(1, failed + 1)))
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


# ------------------------------------------------------------------------------------------------------ a process killed

WRITER = """
import os, sys, trio
from pathlib import Path
from golemp2p.ports import Batch
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import Group

async def main():
    storage = await SqliteStorage.open(Path(sys.argv[1]))
    start = int(sys.argv[2])

    def write(number, group):
        def done(error):
            assert error is None, error
            os.write(1, b"%d\\n" % number)
            write(number + 16, group)
        left, right = group.segment(f"left{number}", padding=bytes(number % 5000)), group.segment(f"right{number}")
        last = group.segment("last%d" % (start + number % 16), number - start + 1)
        other = Group(500_000 + number).append(f"other{number}")
        storage.submit(Batch([group.write(left, right, last), other]), done)

    for number in range(start, start + 16):
        write(number, Group(number))
    await trio.sleep_forever()

trio.run(main)
"""


def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for round_number, reports in enumerate((1, 40, 300)):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path), str(round_number * 1_000_000)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(reports):
                acknowledged.add(int(child.stdout.readline()))
            child.send_signal(signal.SIGKILL)
            acknowledged.update(int(line) for line in child.stdout if line.endswith("\n"))
        trio.run(check_halves, tmp_path, acknowledged)
    assert len(acknowledged) >= 341


async def check_halves(folder: Path, acknowledged: set[int]) -> None:
    storage = await SqliteStorage.open(folder)
    replicas = await storage.replicas()
    shards = list(replicas)
    numbers = {int(head.identity[4:]) for head in await storage.heads("worker", shards=shards, prefix="left", count=10_000)}
    assert numbers >= acknowledged
    for number in numbers:  # acknowledged or not: all of a batch, or nothing
        (left,) = await storage.read_segments(key_of(f"left{number}"))
        assert left.data.endswith(bytes(number % 5000))
        for name in ("right", "other"):
            assert len(await storage.read_segments(key_of(f"{name}{number}"))) == 1
    assert apsw_count(folder, "SELECT count(*) FROM payloads") == 4 * len(numbers)
    for held in replicas.values():
        assert held.record.high_water[1] == len(held.entries)
        assert [entry.position for entry in held.entries] == list(range(1, len(held.entries) + 1))
    for last in await storage.heads("worker", shards=shards, prefix="last"):
        assert last.tail - 1 == sum(segment.count for segment in await storage.read_segments(last.key))
    await storage.aclose()


def apsw_count(folder: Path, sql: str) -> int:
    connection = apsw.Connection(str(folder / "storage.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    count = connection.execute(sql).get
    connection.close()
    assert isinstance(count, int)
    return count


# --------------------------------------------------------------------------------------------------------- damaged files


async def filled(folder: Path, count: int = 200) -> Path:
    storage = await SqliteStorage.open(folder)
    group = Group()
    await commit(storage, *(group.append("a", padding=b"%04d" % first * 200) for first in range(1, count + 1)))
    await storage.aclose()
    return folder / "storage.sqlite"


async def test_a_truncated_database_is_damage_not_an_empty_one(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataDamaged, match="the database file is damaged"):
        await firsts_in(tmp_path)


@pytest.mark.parametrize("lose", [lambda path: path.write_bytes(b""), Path.unlink], ids=["emptied", "missing"])
async def test_a_lost_database_is_not_begun_anew_beside_its_blobs(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    storage = await SqliteStorage.open(tmp_path)
    await storage.put_blob(b"of a component")
    await storage.aclose()
    lose(tmp_path / "storage.sqlite")
    with pytest.raises(DataDamaged, match="though blobs are there"):
        await SqliteStorage.open(tmp_path)


async def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "storage.sqlite").write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(DataDamaged):
        await SqliteStorage.open(tmp_path)


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "storage.sqlite"))
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(StorageFailed, match="another program"):
        await SqliteStorage.open(tmp_path)


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = await filled(tmp_path, 1)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(StorageFailed, match="format 99"):
        await SqliteStorage.open(tmp_path)


async def test_flipped_bytes_in_data_come_back_as_stored(tmp_path: Path) -> None:
    """The engine does not notice: this is why every reader verifies (``test_verify`` shows that it does)."""
    path = await filled(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0100" * 200, b"0100" * 199 + b"0I00"))
    storage = await SqliteStorage.open(tmp_path)
    segment = (await storage.read_segments(key_of("a"), 100))[0]
    assert segment.data.endswith(b"0I00")
    await storage.aclose()


async def test_a_torn_log_loses_the_tail_and_nothing_before(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "data")
    group = Group()
    for _ in range(50):
        await commit(storage, group.append("a"))
    log_bytes = (tmp_path / "data" / "storage.sqlite-wal").stat().st_size
    for part in range(10):
        image = image_of(tmp_path / "data", tmp_path / f"image{part}")
        os.truncate(image / "storage.sqlite-wal", log_bytes * part // 10 + 7)
        after = await SqliteStorage.open(image)
        firsts = [segment.first for segment in await after.read_segments(key_of("a"))]
        head = await after.head(key_of("a"))
        assert firsts == list(range(1, head.tail if head else 1))
        assert len(firsts) < 50
        await after.aclose()
    await storage.aclose()


async def test_a_damaged_head_is_left_out_of_listings_and_raises_by_itself(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    group = Group()
    good, bad = group.segment("good", open_work=True), group.segment("bad", open_work=True, wake_ns=1)
    await commit(storage, group.write(good, bad))
    await storage.aclose()
    connection = apsw.Connection(str(tmp_path / "storage.sqlite"))
    connection.execute("UPDATE heads SET identity = CAST(x'c0ff' AS TEXT), head_hash = x'00' WHERE identity = 'bad'")
    connection.close()
    storage = await SqliteStorage.open(tmp_path)
    assert [head.identity for head in await storage.heads_with_open_work(SHARD)] == ["good"]
    assert [head.identity for head in await storage.heads("worker", shards=[SHARD])] == ["good"]
    assert await storage.heads_due(5, 10, [SHARD]) == []
    with pytest.raises(DataDamaged):
        await storage.head(key_of("bad"))
    await storage.aclose()


async def test_a_damaged_blob_is_noticed_and_put_again(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    digest = await storage.put_blob(b"blob" * 1000)
    storage.blob_path(digest).write_bytes(b"blob" * 999 + b"Blob")
    with pytest.raises(DataDamaged, match="do not match"):
        await storage.get_blob(digest)
    assert await storage.put_blob(b"blob" * 1000) == digest
    assert await storage.get_blob(digest) == b"blob" * 1000
    await storage.aclose()


async def test_what_a_crash_left_of_blobs_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "blobs" / "ab" / "abcd.1234.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    storage = await SqliteStorage.open(tmp_path)
    assert not left.exists()
    await storage.aclose()


# ------------------------------------------------------------------------------------------------------ the writer itself


async def test_a_writer_that_breaks_says_so_and_refuses_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await SqliteStorage.open(tmp_path)
    group = Group()
    await commit(storage, group.append("a"))

    def broken(*_: object) -> str:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(rows_module, "_statement", broken)
    writing = Writing(storage)
    for _ in range(3):
        writing.submit(group.append("a"))
    errors = await writing.finish()
    monkeypatch.undo()
    writing.submit(group.append("a"))
    errors = await writing.finish()
    assert len(errors) == 4
    assert all(isinstance(error, StorageFailed) and "restart the node" in str(error) for error in errors)
    assert "storage_writer_failed" in caplog.text
    assert [segment.first for segment in await storage.read_segments(key_of("a"))] == [1]
    await storage.aclose()


async def test_a_disk_that_falls_behind_refuses_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golemp2p.storage.sqlite.QUEUED_BYTES_MAX", 10_000)
    storage = await SqliteStorage.open(tmp_path)
    writing, group = Writing(storage), Group()
    writes = [group.append("a", padding=bytes(4_000)) for _ in range(3)]
    for write in writes:
        writing.submit(write)
    first, second, third = await writing.finish()
    assert (first, second) == (None, None)
    assert isinstance(third, StorageFailed)
    assert third.retry_after_s is not None
    assert [number for number, _ in writing.outcomes] == [0, 1, 2]
    await commit(storage, writes[2])
    await storage.aclose()


async def test_commits_are_shared(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    writing, group = Writing(storage), Group()
    writes = [group.append("a") for _ in range(1000)]
    for write in writes:
        writing.submit(write)
    assert set(await writing.finish()) == {None}
    statistics = storage.statistics()
    assert statistics["batches"] == statistics["segments"] == 1000
    assert statistics["bytes"] > sum(len(segment.data) for write in writes for segment in stored(write))
    assert statistics["commits"] < 100
    assert statistics["group_batches_max"] > 10
    assert 0 < statistics["commit_seconds"] <= statistics["busy_seconds"]
    await storage.aclose()


def test_a_loop_that_ends_without_closing_does_not_hang(tmp_path: Path) -> None:
    async def main() -> None:
        storage = await SqliteStorage.open(tmp_path)
        storage.submit(Batch([Group().append("a")]), lambda error: None)

    trio.run(main)
    assert trio.run(firsts_in, tmp_path) in ([], [1])
