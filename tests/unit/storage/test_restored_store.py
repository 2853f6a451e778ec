"""A backup is the disk of another member, which belonged to no group yet and keeps what it holds."""

from __future__ import annotations

from pathlib import Path

import trio

from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Member, base_at_birth
from golemp2p.ports import Batch, Storage
from golemp2p.storage.backup import backup
from golemp2p.storage.datadir import store_id
from golemp2p.storage.sqlite import SqliteStorage

OLD = Member(b"k" * 32, b"s" * 16)
RECORD = ReplicaRecord(3, OLD, 0, (2, 7), belonged=True)


async def written(storage: Storage, write: ReplicaWrite) -> None:
    done = trio.Event()

    def report(error: Exception | None) -> None:
        assert error is None
        done.set()

    storage.submit(Batch(replicas=[write]), report)
    await done.wait()


async def test_its_replicas_have_belonged_to_nobody(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "node")
    await store_id(storage, lambda count: b"s" * count)
    await written(storage, ReplicaWrite(4, RECORD, base=base_at_birth(OLD)))
    await storage.aclose()
    backup(tmp_path / "node", tmp_path / "copy")
    for name, belonged in (("node", True), ("copy", False)):
        storage = await SqliteStorage.open(tmp_path / name)
        held = (await storage.replicas())[4]
        assert held.record.belonged is belonged
        assert (held.record.term, held.record.voted_for, held.record.high_water) == (3, OLD, (2, 7))
        assert held.base.configuration.voters == (OLD,)
        await storage.aclose()
