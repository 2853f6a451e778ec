"""What is read of a replica whose rows are damaged: the core sees damage as damage, never as what was not there."""

from pathlib import Path

import apsw
import pytest

from golemp2p.core.entry_check import intact
from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.errors import DataDamaged, StorageFailed
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Configuration, Election, LogSegment, Member, NoOp
from golemp2p.ports import StoredReplica
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import MEMBER, SHARD, Group, commit, key_of, pieces, plain
from golemp2p.wire.segment import verify_chain

OTHER = Member(b"k" * 32, b"s" * 16)
FLIPPED = "CAST(substr(data, 1, 212) || x'5a' || substr(data, 214) AS BLOB)"


def change(folder: Path, statement: str) -> None:
    connection = apsw.Connection(str(folder / "storage.sqlite"))
    connection.execute(statement)
    connection.close()


def of_position(position: int) -> str:
    return f"id = (SELECT id FROM entries WHERE position = {position})"


async def filled(folder: Path, *, others: bool = True) -> Group:
    """An election, an entry that says who else is there (or says nothing), and five segments of a log."""
    storage = await SqliteStorage.open(folder)
    group = Group()
    second = Configuration((MEMBER,), (OTHER,)) if others else NoOp()
    segments = [group.segment("a") for _ in range(5)]
    await commit(storage, group.birth(), group.write(group.election(), second, *segments))
    await storage.aclose()
    return group


async def reopened(folder: Path) -> StoredReplica:
    storage = await SqliteStorage.open(folder)
    try:
        return (await storage.replicas())[SHARD]
    finally:
        await storage.aclose()


def replica_of(held: StoredReplica, group: Group) -> Replica:
    durable = ReplicaDurable(
        held.record, held.base, dict(held.heads), held.entries, {}, dict(held.staged), held.damaged_logs
    )  # fmt: skip
    return Replica(SHARD, MEMBER, durable, group.notary)


ENTRY_DAMAGE = {
    "bytes flipped": f"UPDATE payloads SET data = {FLIPPED} WHERE {of_position(5)}",
    "bytes lost": f"DELETE FROM payloads WHERE {of_position(5)}",
    "content": f"UPDATE entries SET kind = 1, content = x'82' WHERE {of_position(5)}",
    "another content": f"UPDATE entries SET kind = 1, content = x'820480' WHERE {of_position(5)}",
    "hash": f"UPDATE entries SET hash = zeroblob(32) WHERE {of_position(5)}",
    "hash cut": f"UPDATE entries SET hash = x'00' WHERE {of_position(5)}",
    "term": f"UPDATE entries SET term = 0 WHERE {of_position(5)}",
    "row lost": "DELETE FROM entries WHERE position = 5",
}


@pytest.mark.parametrize("damage", ENTRY_DAMAGE.values(), ids=ENTRY_DAMAGE.keys())
async def test_a_damaged_entry_is_cut_and_the_replica_abstains(tmp_path: Path, damage: str) -> None:
    group = await filled(tmp_path)
    change(tmp_path, damage)
    held = await reopened(tmp_path)
    assert len(intact(held.base, held.entries, group.notary)) == 4
    replica = replica_of(held, group)
    assert replica.is_damaged
    (cut,) = [effect.write for effect in replica.started()]  # type: ignore[attr-defined]  # a Persist
    assert isinstance(cut, ReplicaWrite)
    assert cut.truncate_from == 5
    storage = await SqliteStorage.open(tmp_path)
    await commit(storage, cut)
    assert len((await storage.replicas())[SHARD].entries) == 4
    assert [segment.first for segment in await storage.read_segments(key_of("a"))] == [1, 2]
    await storage.aclose()


async def test_a_group_of_one_loses_only_the_log_that_is_damaged(tmp_path: Path) -> None:
    group = await filled(tmp_path, others=False)
    change(tmp_path, ENTRY_DAMAGE["bytes flipped"])
    held = await reopened(tmp_path)
    replica = replica_of(held, group)
    assert replica.started() == []
    assert not replica.is_damaged
    storage = await SqliteStorage.open(tmp_path)
    chain = [segment.data for segment in await storage.read_segments(key_of("a"))]
    with pytest.raises(DataDamaged):
        verify_chain(chain, log=key_of("a"))
    await storage.aclose()


@pytest.mark.parametrize("damage", [d for name, d in ENTRY_DAMAGE.items() if name != "row lost"])
async def test_damage_in_the_last_entry_is_seen_too(tmp_path: Path, damage: str) -> None:
    group = await filled(tmp_path)
    change(tmp_path, "DELETE FROM entries WHERE position > 5")
    change(tmp_path, damage)
    held = await reopened(tmp_path)
    assert len(held.entries) == 5
    assert len(intact(held.base, held.entries, group.notary)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE replicas SET voted_for = x'00'",
        "UPDATE bases SET base = x'80'",
        "UPDATE bases SET position = 3",
        "DELETE FROM replicas",
    ],
)
async def test_without_a_record_or_a_base_a_node_does_not_start(tmp_path: Path, damage: str) -> None:
    await filled(tmp_path)
    change(tmp_path, damage)
    with pytest.raises(DataDamaged):
        await reopened(tmp_path)


async def test_a_damaged_segment_is_not_given_to_others(tmp_path: Path) -> None:
    await filled(tmp_path)
    change(tmp_path, f"UPDATE payloads SET data = {FLIPPED} WHERE {of_position(5)}")
    storage = await SqliteStorage.open(tmp_path)
    assert [segment.first for segment in await pieces(storage, key_of("a"))] == [1, 2]
    with pytest.raises(DataDamaged):
        await pieces(storage, key_of("a"), first=3)
    assert [segment.first for segment in await pieces(storage, key_of("a"), first=4)] == [4, 5]
    await storage.aclose()


async def test_a_damaged_fetched_segment_continues_nothing(tmp_path: Path) -> None:
    source = Group()
    fetched = tuple(plain(source.write(*[source.segment("a") for _ in range(3)])))
    storage = await SqliteStorage.open(tmp_path)
    await commit(storage, source.birth(), ReplicaWrite(SHARD, source.record(), fetched=fetched))
    await storage.aclose()
    change(tmp_path, "UPDATE payloads SET data = x'00' WHERE id = (SELECT max(id) FROM payloads)")
    first, last = (await reopened(tmp_path)).staged[key_of("a")]
    assert (first.hash, last.first, last.hash) == (fetched[0].hash, 3, bytes(32))


async def test_an_older_directory_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    connection = apsw.Connection(str(tmp_path / "storage.sqlite"))
    connection.pragma("user_version", 1)
    connection.close()
    with pytest.raises(StorageFailed, match="has format 1, made by an older golemp2p"):
        await SqliteStorage.open(tmp_path)


async def test_a_replica_starts_from_what_it_wrote(tmp_path: Path) -> None:
    group = await filled(tmp_path)
    held = await reopened(tmp_path)
    replica = replica_of(held, group)
    assert replica.started() == []
    assert not replica.is_damaged
    assert replica.log.last_position == 7
    assert [type(entry.content) for entry in held.entries] == [Election, Configuration, *[LogSegment] * 5]
