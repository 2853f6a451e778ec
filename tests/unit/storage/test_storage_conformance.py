"""The conformance suite over both adapters."""

from pathlib import Path

from golemp2p.ports import Storage
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_suite import StorageSuite


class TestSqlite(StorageSuite):
    async def open(self, folder: Path) -> Storage:
        return await SqliteStorage.open(folder)


class TestMemory(StorageSuite):
    async def open(self, folder: Path) -> Storage:
        return MemoryStorage()
