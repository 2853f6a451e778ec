from pathlib import Path

import pytest
import trio

from golemp2p.errors import UsageError
from golemp2p.storage.backup import backup
from golemp2p.storage.datadir import DataDirectory, store_id
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import SHARD, Group, Writing, commit, key_of


def numbered(count: int) -> bytes:
    return bytes(range(count))


async def test_a_backup_of_a_running_node_is_a_data_directory(tmp_path: Path) -> None:
    source, target = tmp_path / "node", tmp_path / "copy"
    with DataDirectory.open(source) as directory:
        seed = directory.node_seed(numbered)
        operator = directory.make_operator_seed(lambda count: b"o" * count)
        storage = await SqliteStorage.open(source)
        identity = await store_id(storage, numbered)
        blob = await storage.put_blob(b"blob")
        group, writing = Group(), Writing(storage)
        await commit(storage, group.birth(), group.append("a"))
        for _ in range(60):
            writing.submit(group.append("a"))
        report = await trio.to_thread.run_sync(backup, source, target)
        await writing.finish()
        await storage.aclose()
    assert (report.blobs, report.blob_bytes, report.damaged_blobs) == (1, 4, ())
    with DataDirectory.open(target) as directory:
        assert directory.node_seed(numbered) == seed
        assert directory.operator_seed() == operator
        storage = await SqliteStorage.open(target)
        assert await storage.get_blob(blob) == b"blob"
        head = await storage.head(key_of("a"))
        assert head is not None
        assert len(await storage.read_segments(key_of("a"))) == head.tail - 1 >= 1  # one moment
        held = (await storage.replicas())[SHARD]
        assert held.record.high_water[1] == len(held.entries) == head.tail - 1
        assert await storage.get_meta("backup-of") == identity
        assert await store_id(storage, numbered) != identity
        await storage.aclose()


async def test_a_damaged_blob_is_reported_and_left_out(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "node")
    good, bad = await storage.put_blob(b"good"), await storage.put_blob(b"bad")
    storage.blob_path(bad).write_bytes(b"BAD")
    await storage.aclose()
    report = backup(tmp_path / "node", tmp_path / "copy")
    assert report.damaged_blobs == (bad.hex(),)
    assert report.blobs == 1
    assert [path.name for path in (tmp_path / "copy" / "blobs").rglob("*") if path.is_file()] == [good.hex()]


async def test_a_backup_never_touches_what_is_there(tmp_path: Path) -> None:
    await (await SqliteStorage.open(tmp_path / "node")).aclose()
    (tmp_path / "copy").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        backup(tmp_path / "node", tmp_path / "copy")
    with pytest.raises(UsageError, match="no data directory"):
        backup(tmp_path / "copy", tmp_path / "other")
    assert not (tmp_path / "other").exists()


async def test_what_a_broken_backup_left_is_replaced(tmp_path: Path) -> None:
    await (await SqliteStorage.open(tmp_path / "node")).aclose()
    (tmp_path / "copy.partial").mkdir()
    (tmp_path / "copy.partial" / "junk").write_text("")
    backup(tmp_path / "node", tmp_path / "copy")
    assert not (tmp_path / "copy.partial").exists()
    assert not (tmp_path / "copy" / "junk").exists()
