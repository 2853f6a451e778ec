import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from golemp2p.errors import DataDamaged, StorageFailed, UsageError
from golemp2p.storage.datadir import DataDirectory, store_id
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage


def test_layout_is_made_and_private(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "deep" / "data") as directory:
        assert {path.name for path in directory.path.iterdir()} == {"blobs", "cache", "workers", "lock"}
        assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path) as directory:
        seed = directory.node_seed(os.urandom)
        assert directory.node_seed(os.urandom) == seed
        assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600
    with DataDirectory.open(tmp_path) as directory:
        assert directory.node_seed(os.urandom) == seed


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path) as directory:
        directory.node_seed(os.urandom)
        (tmp_path / "node.key").chmod(0o640)
        with pytest.raises(UsageError, match="chmod 600"):
            directory.node_seed(os.urandom)


@pytest.mark.parametrize("text", [b"", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64])
def test_a_damaged_key_is_damage(tmp_path: Path, text: bytes) -> None:
    with DataDirectory.open(tmp_path) as directory:
        (tmp_path / "node.key").write_bytes(text)
        (tmp_path / "node.key").chmod(0o600)
        with pytest.raises(DataDamaged, match="64 hex digits"):
            directory.node_seed(os.urandom)


async def test_no_new_key_is_made_beside_old_data(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path) as directory:
        directory.node_seed(os.urandom)
        await (await SqliteStorage.open(tmp_path)).aclose()
        (tmp_path / "node.key").unlink()
        with pytest.raises(DataDamaged, match="restore the key"):
            directory.node_seed(os.urandom)


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from golemp2p.storage.datadir import DataDirectory\n"
        "DataDirectory.open(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match=f"in use by process {holder.pid};"):
            DataDirectory.open(tmp_path)
        holder.kill()
        holder.wait()
    DataDirectory.open(tmp_path).close()  # the lock ended with its process


def test_closing_releases(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path)
    with pytest.raises(UsageError):
        DataDirectory.open(tmp_path)
    directory.close()
    directory.close()
    DataDirectory.open(tmp_path).close()


def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed) as caught:
        DataDirectory.open(tmp_path / "file" / "data")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "file") in str(caught.value)


def test_an_unwritable_directory_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from golemp2p.errors import StorageFailed\n"
        "from golemp2p.storage.datadir import DataDirectory\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "try: DataDirectory.open(Path('/proc/sys/kernel') if len(sys.argv) < 2 else Path(sys.argv[1]))\n"
        "except StorageFailed as error: print(error)"
    )
    for path in (tmp_path, tmp_path / "below"):  # as root we become nobody, to whom pytest's folders are closed
        if os.geteuid() != 0:
            tmp_path.chmod(0o500)
        result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
        assert "is not writable for this user" in result.stdout
        assert result.stdout.count("\n") == 1
    tmp_path.chmod(0o700)


async def test_the_store_id_is_made_once(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    first = await store_id(storage, os.urandom)
    assert await store_id(storage, os.urandom) == first
    await storage.aclose()
    storage = await SqliteStorage.open(tmp_path)
    assert await store_id(storage, os.urandom) == first
    await storage.aclose()
    assert await store_id(MemoryStorage(), os.urandom) != first


async def test_a_store_id_of_wrong_length_is_damage() -> None:
    storage = MemoryStorage()
    await storage.put_meta("store-id", b"short")
    with pytest.raises(DataDamaged):
        await store_id(storage, os.urandom)


def test_operator_key_is_made_once_and_only_when_asked_for(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        assert directory.operator_seed() is None
        seed = directory.make_operator_seed(os.urandom)
        assert directory.make_operator_seed(os.urandom) == directory.operator_seed() == seed
        assert seed != directory.node_seed(os.urandom)
        file = directory.path / "operator.key"
        assert file.stat().st_mode & 0o777 == 0o600
        file.chmod(0o640)
        with pytest.raises(UsageError, match="chmod 600"):
            directory.operator_seed()
        file.unlink()
        assert directory.operator_seed() is None


def test_a_broken_operator_key_is_named(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        file = directory.path / "operator.key"
        file.touch(mode=0o600)
        file.write_bytes(b"abc\n")
        with pytest.raises(DataDamaged, match=r"operator\.key"):
            directory.operator_seed()
