"""The real storage on a disk that forgets what was not synced: alone, and in whole nodes. Some ten seconds of CPU."""

from __future__ import annotations

from pathlib import Path
from random import Random

import apsw
import pytest

from golemp2p.errors import StorageFailed, StorageFull
from golemp2p.ports import Batch
from golemp2p.testing.storage_kit import SHARD, Group
from golemp2p_nodes.disk import Disk
from golemp2p_nodes.disk_sqlite import OPERATIONS_MAX, SqliteStore
from golemp2p_nodes.files import SECTOR_BYTES, VFS_NAME, Files
from golemp2p_nodes.fitting import case_of
from golemp2p_nodes.run import run_case
from golemp2p_nodes.stores import SQLITE
from golemp2p_sim.case import Case
from golemp2p_sim.disk import DiskOptions
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import load
from golemp2p_sim.units import S

# -- files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.open()
    return made


def table(tmp_path: Path, *, synchronous: str = "full") -> apsw.Connection:
    connection = apsw.Connection(str(tmp_path / "db"), vfs=VFS_NAME)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.execute("CREATE TABLE IF NOT EXISTS numbers(n)")
    return connection


def numbers(tmp_path: Path) -> list[int]:
    with apsw.Connection(str(tmp_path / "db")) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers")]


def cut(files: Files, connection: apsw.Connection, dice: Random) -> None:
    files.die()
    with pytest.raises(apsw.IOError):
        connection.close()  # it would fold the log back
    files.close()
    files.lose_power(dice)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_synced_outlives_the_power(tmp_path: Path, files: Files, seed: int) -> None:
    connection = table(tmp_path)
    for n in range(10):
        connection.execute("INSERT INTO numbers VALUES(?)", (n,))
    cut(files, connection, Random(seed))
    assert numbers(tmp_path) == list(range(10))


def test_what_was_not_synced_may_be_lost(tmp_path: Path, files: Files) -> None:
    connection = table(tmp_path)
    connection.pragma("wal_checkpoint")
    connection.pragma("synchronous", "off")
    for n in range(10):
        connection.execute("INSERT INTO numbers VALUES(?)", (n,))
    cut(files, connection, Random(1))  # keeps half of the sectors
    assert len(numbers(tmp_path)) < 10


def opened(path: Path) -> apsw.VFSFile:
    flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE
    return apsw.VFSFile(VFS_NAME, str(path), [flags, 0])


def keeping(share: float, seed: int) -> Random:
    """Dice for which so much of what was not synced is kept."""
    dice = Random(seed)
    dice.choice = lambda _shares: share  # type: ignore[method-assign, assignment]
    return dice


@pytest.mark.parametrize(("share", "expected"), [(0.0, b"old" * 512), (1.0, b"new" * 1024)])
def test_all_or_nothing_of_a_write_may_be_kept(tmp_path: Path, files: Files, share: float, expected: bytes) -> None:
    path = tmp_path / "file"
    file = opened(path)
    file.xWrite(b"old" * 512, 0)
    file.xSync(0)
    file.xWrite(b"new" * 512, 0)
    file.xTruncate(5)
    file.xWrite(b"new" * 1024, 0)
    file.xClose()
    files.close()
    files.lose_power(keeping(share, 3))
    assert path.read_bytes() == expected


def test_a_write_may_be_torn(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "file"
    file = opened(path)
    file.xWrite(b"-" * 16 * SECTOR_BYTES, 0)
    file.xSync(0)
    file.xWrite(b"+" * 16 * SECTOR_BYTES, 0)
    file.xClose()
    files.close()
    files.lose_power(keeping(0.5, 5))
    data = path.read_bytes()
    sectors = {data[start : start + SECTOR_BYTES] for start in range(0, len(data), SECTOR_BYTES)}
    assert sectors == {b"-" * SECTOR_BYTES, b"+" * SECTOR_BYTES}


# -- the store


def disk_in(tmp_path: Path, seed: int = 1) -> Disk:
    return Disk(DiskOptions(), Random(seed), SqliteStore, tmp_path)


def always(operations: int, kept: float) -> Random:
    """Dice of a crash: the process gets as far as writing, for ``operations``; then ``kept`` of what it wrote and did not sync."""

    class Fixed(Random):
        def random(self) -> float:
            return 0.25

        def randrange(self, *_args: int) -> int:  # type: ignore[override]
            return operations

        def choice(self, _seq: object) -> float:  # type: ignore[override]
            return kept

    return Fixed()


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
async def test_a_commit_that_is_interrupted_is_kept_or_not_but_never_in_part(tmp_path: Path, kept: float) -> None:
    found = set()
    for operations in range(OPERATIONS_MAX):
        disk = disk_in(tmp_path / str(operations))
        first, other, store = Group(), Group(SHARD + 1), disk.new_store(disk)
        assert await store.open() == ""
        assert store.commit([Batch([first.birth()]), Batch([other.birth()])]) == [None, None]
        flight = [Batch([first.append("a", padding=bytes(9_000))]), Batch([other.append("b")])]
        store.crash(flight, always(operations, kept), power_lost=True)
        again = disk.new_store(disk)
        assert await again.open() == ""
        both = tuple(len(replica.entries) for replica in disk.image.stored().values())
        found.add(both)
        assert again.commit([Batch([first.append("a")]) if both[0] else Batch([other.append("b")])]) == [None] or both == (0, 0)
        again.crash([], Random(1), power_lost=False)
    assert found == {(0, 0), (1, 1)}


async def test_a_judge_sees_what_the_real_storage_lost_or_made_up(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    group, store = Group(), disk.new_store(disk)
    assert await store.open() == ""
    assert store.commit([Batch([group.birth()]), Batch([group.append("a")])]) == [None, None]
    store.crash([], Random(1), power_lost=False)
    less = disk.image.copy()
    disk.image.apply(Batch([group.append("a")]))
    again = disk.new_store(disk)
    assert (await again.open()).startswith(f"shard {SHARD}: stored is ReplicaRecord(term=1")
    again.crash([], Random(1), power_lost=False)
    disk.image = less
    assert await disk.new_store(disk).open() == ""


async def test_a_full_disk_keeps_nothing_and_works_again_when_it_has_room(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    group, store = Group(), disk.new_store(disk)
    assert await store.open() == ""
    assert store.commit([Batch([group.birth()])]) == [None]
    write = Batch([group.append("a")])
    disk.full = True
    assert [type(error) for error in store.commit([write])] == [StorageFull]
    disk.full, disk.failing = False, True
    assert [type(error) for error in store.commit([write])] == [StorageFailed]
    disk.mend()
    assert store.commit([write]) == [None]
    store.crash([], Random(1), power_lost=True)
    assert await disk.new_store(disk).open() == ""
    assert len(disk.image.stored()[SHARD].entries) == 1


async def test_a_process_may_die_before_it_has_opened_its_disk(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    disk.new_store(disk).crash([], Random(1), power_lost=True)
    assert await disk.new_store(disk).open() == ""


async def test_an_old_copy_of_a_disk_in_use_can_be_put_back(tmp_path: Path) -> None:
    disk = disk_in(tmp_path)
    group, store = Group(), disk.new_store(disk)
    assert await store.open() == ""
    assert store.commit([Batch([group.birth()])]) == [None]
    old = disk.copy()
    assert store.commit([Batch([group.append("a")])]) == [None]
    store.crash([], Random(1), power_lost=False)
    disk.put_back(old)
    again = disk.new_store(disk)
    assert await again.open() == ""
    assert disk.image.stored()[SHARD].entries == []
    again.crash([], Random(1), power_lost=False)
    disk.lose()
    assert await disk.new_store(disk).open() == ""
    assert disk.image.stored() == {}


# -- whole nodes


def case(seed: int) -> Case:
    return case_of(load("everything").changed(nodes=5, duration_ns=12 * S), seed)


def test_whole_nodes_survive_on_the_real_storage() -> None:
    played = case(2)
    result = run_case(played, storage=SQLITE)
    assert result.violations == [], (
        "golemp2p sim replay everything --level 1 --storage sqlite --nodes 5 --duration 12s --seed 2"
    )
    assert result.answered == result.asked > 0
    assert result.faults > 0
    assert hash_elsewhere(played, 4711, module="golemp2p_nodes", words=("--storage", SQLITE)) == result.trace_hash


def test_a_disk_that_lies_about_syncing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "synced", lambda _files, _path: None)
    violations = (violation for seed in range(2, 12) for violation in run_case(case(seed), storage=SQLITE).violations)
    assert next(violations).checker in {"storage", "nothing-raises"}
