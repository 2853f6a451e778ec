"""The hooks by which MemoryStorage misbehaves on purpose."""

import pytest
import trio
import trio.testing

from golemp2p.errors import InvalidState, StorageFull
from golemp2p.ports import Batch
from golemp2p.storage.memory import MemoryStorage
from golemp2p.testing.storage_suite import Writing, commit, head_of, key_of, segment_of


async def test_the_next_batches_fail_and_leave_nothing() -> None:
    storage = MemoryStorage()
    storage.faults.fail_next(StorageFull("full"), count=2)
    writing = Writing(storage)
    for first in range(1, 4):
        writing.submit(Batch(segments=[segment_of("a", first)], heads=[head_of("a", tail=first + 1)]))
    errors = await writing.finish()
    assert [type(error) for error in errors] == [StorageFull, StorageFull, type(None)]
    assert [segment.first for segment in await storage.read_segments(key_of("a"))] == [3]
    await storage.aclose()


async def test_a_held_disk_answers_nothing_until_released() -> None:
    storage = MemoryStorage()
    writing = Writing(storage)
    writing.submit(Batch(segments=[segment_of("a", 1)]))  # scheduled already, and still held
    storage.faults.hold()
    writing.submit(Batch(segments=[segment_of("a", 2)]))
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
    writing.submit(Batch(segments=[segment_of("a", 1)]))
    with trio.move_on_after(5) as scope:
        await storage.aclose()
    assert scope.cancelled_caught
    storage.faults.release()
    await storage.aclose()
    assert writing.outcomes == [(0, None)]


async def test_a_crash_keeps_what_was_durable_and_drops_the_rest() -> None:
    storage = MemoryStorage()
    await commit(storage, Batch(segments=[segment_of("a", 1)], heads=[head_of("a", tail=2)]))
    await storage.put_meta("name", b"value")
    blob = await storage.put_blob(b"blob")
    writing = Writing(storage)
    writing.submit(Batch(segments=[segment_of("a", 2)], heads=[head_of("a", tail=3)]))
    after = storage.crash()
    await trio.testing.wait_all_tasks_blocked()
    assert writing.outcomes == []
    assert await after.read_segments(key_of("a")) == [segment_of("a", 1)]
    assert await after.head(key_of("a")) == head_of("a", tail=2)
    assert await after.get_meta("name") == b"value"
    assert await after.get_blob(blob) == b"blob"
    with pytest.raises(InvalidState, match="crashed"):
        await storage.head(key_of("a"))
    with pytest.raises(InvalidState):
        writing.submit(Batch())
    await commit(after, Batch(segments=[segment_of("a", 2)]))
    await storage.aclose()
    await after.aclose()
