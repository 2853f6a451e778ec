"""``golemp2p storage`` on real data directories."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
import trio
from node_fakes import Run

from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import NODE, Group, commit
from golemp2p_node.cli.storage import advice


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one blob and one shard, 7."""
    directory = tmp_path / "data"

    async def make() -> None:
        storage = await SqliteStorage.open(directory)
        await storage.put_blob(b"x" * 5000)
        group = Group()
        await commit(storage, group.birth(), group.write(group.election(), group.segment("c/w", 2, open_work=True)))
        await storage.aclose()

    trio.run(make)
    return directory


def blob(data: Path) -> Path:
    return next(path for path in (data / "blobs").rglob("*") if path.is_file())


def test_verify_sound(golemp2p: Run, data: Path) -> None:
    ran = golemp2p("storage", "verify", "--data-dir", str(data))
    assert ran.code == 0, ran.err
    assert "all sound" in ran.out
    assert "1 (4.9 KiB)" in ran.out


def test_inspect(golemp2p: Run, data: Path) -> None:
    ran = golemp2p("storage", "inspect", "--data-dir", str(data))
    assert ran.code == 0, ran.err
    assert "1 with 2 entries that are not compacted" in ran.out
    assert "1 worker; 1 with open work, 0 to be woken" in ran.out
    told = json.loads(golemp2p("--format", "json", "storage", "inspect", "--data-dir", str(data)).out)
    assert (told["shards"], told["logs"], told["segments"], told["milestones"], told["blobs"]) == (1, {"worker": 1}, 1, 1, 1)


def test_inspect_a_shard(golemp2p: Run, data: Path) -> None:
    ran = golemp2p("storage", "inspect", "--shard", "7", "--data-dir", str(data))
    assert ran.code == 0, ran.err
    assert "base 0, committed 0, last 2" in ran.out
    assert f"term 1: {NODE.public_key.hex()}" in ran.out
    assert "LogSegment" in ran.out
    told = json.loads(golemp2p("--format", "json", "storage", "inspect", "--shard", "7", "--data-dir", str(data)).out)
    assert [entry["kind"] for entry in told["entries"]] == ["Election", "LogSegment"]
    assert told["entries"][1]["count"] == 2
    assert told["elections"] == {"1": NODE.public_key.hex()}
    unknown = golemp2p("storage", "inspect", "--shard", "8", "--data-dir", str(data))
    assert unknown.code == 1
    assert "knows nothing of shard 8" in unknown.err


def test_inspect_refuses_what_it_cannot_read(golemp2p: Run, data: Path, tmp_path: Path) -> None:
    assert "is no data directory" in golemp2p("storage", "inspect", "--data-dir", str(tmp_path)).err
    connection = apsw.Connection(str(data / "storage.sqlite"))
    connection.pragma("user_version", 1)
    connection.close()
    ran = golemp2p("storage", "inspect", "--data-dir", str(data))
    assert ran.code == 1
    assert "has format 1" in ran.err


def test_verify_damaged(golemp2p: Run, data: Path) -> None:
    path = blob(data)
    path.chmod(0o600)
    path.write_bytes(b"y" * 5000)
    ran = golemp2p("storage", "verify", "--data-dir", str(data))
    assert ran.code == 1
    assert "damaged: 1" in ran.out
    assert path.name in ran.out
    told = json.loads(golemp2p("--format", "json", "storage", "verify", "--data-dir", str(data)).out)
    assert told["damages_count"] == 1
    assert told["damages"][0]["kind"] == "blob"


def test_verify_advises_what_helps(golemp2p: Run, data: Path) -> None:
    assert "delete the damaged workers" in advice({"worker"})
    assert "delete" not in advice({"worker", "blob"})
    assert "other nodes of the mesh repair it" in advice({"worker", "shard"})
    (data / "storage.sqlite").write_bytes(b"garbage" * 1000)
    ran = golemp2p("storage", "verify", "--data-dir", str(data))
    assert ran.code == 1
    assert "no node starts on it" in ran.out
    assert "`golemp2p storage verify`" not in ran.out, "the reader has just run it"


def test_verify_finds_the_directory_as_the_node_does(golemp2p: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLEMP2P_DATA_DIR", str(data))
    assert str(data) in golemp2p("storage", "verify").out


def test_no_data_directory(golemp2p: Run, tmp_path: Path) -> None:
    ran = golemp2p("storage", "verify", "--data-dir", str(tmp_path))
    assert ran.code == 1
    assert "is no data directory" in ran.err
    assert "--data-dir" in ran.err.splitlines()[1]


def test_backup(golemp2p: Run, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    ran = golemp2p("storage", "backup", str(target), "--data-dir", str(data))
    assert ran.code == 0, ran.err
    assert "1 blobs" in ran.out
    assert golemp2p("storage", "verify", "--data-dir", str(target)).code == 0
    again = golemp2p("storage", "backup", str(target), "--data-dir", str(data))
    assert again.code == 1
    assert "exists already" in again.err
    assert "TARGET" in again.err.splitlines()[1], "the data directory is not what is wrong"
    inside = golemp2p("storage", "backup", str(data / "copy"), "--data-dir", str(data))
    assert (inside.code, inside.err.splitlines()[0]) == (1, f"error: {data / 'copy'} is inside of {data}")
    assert not (data / "copy").exists()
