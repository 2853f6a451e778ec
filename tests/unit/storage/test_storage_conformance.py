"""The conformance suites over both adapters."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from storage_leftovers import nothing_is_left_over

from golemp2p.ports import Storage
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_replica_suite import ReplicaSuite
from golemp2p.testing.storage_suite import StorageSuite


class TestSqlite(StorageSuite, ReplicaSuite):
    async def open(self, folder: Path) -> Storage:
        return await SqliteStorage.open(folder)

    @pytest.fixture
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = await self.open(tmp_path)
        yield storage
        await storage.aclose()
        nothing_is_left_over(tmp_path)


class TestMemory(StorageSuite, ReplicaSuite):
    async def open(self, folder: Path) -> Storage:
        return MemoryStorage()
