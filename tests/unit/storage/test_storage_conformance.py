"""The conformance suites over both adapters."""

from pathlib import Path

from golemp2p.ports import Storage
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_replica_suite import ReplicaSuite
from golemp2p.testing.storage_suite import StorageSuite


class TestSqlite(StorageSuite, ReplicaSuite):
    async def open(self, folder: Path) -> Storage:
        return await SqliteStorage.open(folder)


class TestMemory(StorageSuite, ReplicaSuite):
    async def open(self, folder: Path) -> Storage:
        return MemoryStorage()
