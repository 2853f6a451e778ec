"""The hooks by which MemoryStorage misbehaves on purpose."""

import pytest
import trio
import trio.testing

from golemp2p.errors import InvalidState, StorageFull
from golemp2p.ports import Batch
from golemp2p.storage.memory import MemoryStorage
from golemp2p.testing.storage_kit import Group, Writing, commit, key_of, stored


async def test_the_next_batches_fail_and_leave_nothing() -> None:
    storage = MemoryStorage()
    storage.faults.fail_next(StorageFull("full"), count=2)
    writing = Writing(storage)
    for shard in range(3):
        writing.submit(Group(shard).append(f"log {shard}"))
    errors = await writing.finish()
    assert [type(error) for error in errors] == [StorageFull, StorageFull, type(None)]
    assert list(await storage.replicas()) == [2]
    assert [head.shard for head in await storage.heads("worker", shards=range(3))] == [2]
    await storage.aclose()


async def test_a_held_disk_answers_nothing_until_released() -> None:
    storage = MemoryStorage()
    writing, group = Writing(storage), Group()
    writing.submit(group.append("a"))  # scheduled already, and still held
    storage.faults.hold()
    writing.submit(group.append("a"))
    await trio.testing.wait_all_tasks_blocked()
    assert writing.outcomes == []
    assert await storage.read_segments(key_of("a")) == []
    storage.faults.release()
    assert await writing.finish() == [None, None]
    assert len(await storage.read_segments(key_of("a"))) == 2
    await storage.aclose()


async def test_closing_a_held_disk_waits_but_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    storage = MemoryStorage()
    storage.faults.hold()
    writing = Writing(storage)
    writing.submit(Group().append("a"))
    with trio.move_on_after(5) as scope:
        await storage.aclose()
    assert scope.cancelled_caught
    storage.faults.release()
    await storage.aclose()
    assert writing.outcomes == [(0, None)]


async def test_a_crash_keeps_what_was_durable_and_drops_the_rest() -> None:
    storage = MemoryStorage()
    group = Group()
    durable, lost = group.append("a"), group.append("a")
    await commit(storage, durable)
    head = await storage.head(key_of("a"))
    await storage.put_meta("name", b"value")
    blob = await storage.put_blob(b"blob")
    writing = Writing(storage)
    writing.submit(lost)
    after = storage.crash()
    await trio.testing.wait_all_tasks_blocked()
    assert writing.outcomes == []
    assert await after.read_segments(key_of("a")) == stored(durable)
    assert await after.head(key_of("a")) == head
    assert await after.get_meta("name") == b"value"
    assert await after.get_blob(blob) == b"blob"
    with pytest.raises(InvalidState, match="crashed"):
        await storage.head(key_of("a"))
    with pytest.raises(InvalidState):
        writing.submit(Batch())
    await commit(after, lost)
    await storage.aclose()
    await after.aclose()
