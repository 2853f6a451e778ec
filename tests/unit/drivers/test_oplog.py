"""A log's writer and readers, where they meet a storage that goes on meanwhile or refuses."""

from __future__ import annotations

import pytest
import trio

from golemp2p.drivers.oplog import LogWriter, read_log
from golemp2p.drivers.shards import Shards
from golemp2p.errors import StorageFailed, StorageFull
from golemp2p.model import entries as e
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead
from golemp2p.storage.limits import SUMMARY_BYTES_MAX
from golemp2p.storage.memory import MemoryStorage
from golemp2p.wire.identity import SigningKey


class StillClock:
    def wall_ns(self) -> int:
        return 1

    def monotonic_ns(self) -> int:
        return 1


class Bench:
    """Shards of one node over a memory storage; ``writer(name)`` writes a log of shard 0."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.storage = MemoryStorage()
        self.summary = b""
        self._spawn = nursery.start_soon
        self.shards = Shards(
            self.storage,
            SigningKey(b"k" * 32),
            lambda shard, term: b"certificate",
            clock=StillClock(),
            shards_count=1,
            records=[],
            elections=[],
        )

    def writer(self, name: str) -> LogWriter:
        key = Key.of("test", name)

        def describe(tail: int) -> LogHead:
            return LogHead(key, "test", name, 0, tail, b"", False, None, self.summary)

        return LogWriter(key, self.shards, self.storage, self._spawn, describe)


@pytest.fixture
def bench(nursery):
    return Bench(nursery)


async def test_what_became_durable_after_the_head_was_read_is_not_damage(bench):
    writer = bench.writer("a")
    writer.append(e.NoOp(1))
    await writer.commit()
    head = await bench.storage.head(Key.of("test", "a"))
    assert head is not None
    writer.append(e.NoOp(2))
    await writer.commit()
    assert await read_log(bench.storage, head) == [e.NoOp(1)]


async def test_a_writer_whose_segment_is_refused_at_the_door_is_broken_and_tells_everybody(bench):
    writer, told = bench.writer("a"), []
    writer.on_broken = told.append
    bench.summary = bytes(SUMMARY_BYTES_MAX + 1)
    writer.append(e.NoOp(1))
    with pytest.raises(StorageFailed, match="summary"), trio.fail_after(1):
        await writer.commit()
    assert told == [writer.broken]
    with pytest.raises(StorageFailed, match="summary"):
        writer.append(e.NoOp(2))
    bench.summary = b""
    again = bench.writer("a")  # the election that was refused with it is made again
    again.append(e.NoOp(1))
    await again.commit()
    assert [head.tail for head in await bench.storage.heads("shard")] == [2]


async def test_what_waits_for_an_election_fails_with_it_and_the_next_append_elects_anew(bench):
    one, two = bench.writer("one"), bench.writer("two")
    bench.storage.faults.fail_next(StorageFull("no space left"))
    one.append(e.NoOp(1))
    one.flush_nowait()  # carries the election
    two.append(e.NoOp(1))
    with pytest.raises(StorageFull):  # in the same term, which nobody will ever be able to prove
        await two.commit()
    assert one.broken is not None
    again = bench.writer("again")
    again.append(e.NoOp(1))
    await again.commit()
    assert await bench.storage.read_segments(Key.of("test", "two")) == []
    keys = [Key.of("test", "again"), Key.of("shard", "0")]
    segments = [segment for key in keys for segment in await bench.storage.read_segments(key)]
    assert {segment.term for segment in segments} == {2}
    positions = [segment.position for segment in segments]
    assert len(set(positions)) == len(positions)


async def test_what_waits_for_an_election_is_written_after_it(bench):
    one, two = bench.writer("one"), bench.writer("two")
    bench.storage.faults.hold()
    for writer in (one, two):
        writer.append(e.NoOp(1))
        writer.flush_nowait()
    bench.storage.faults.release()
    await two.commit()
    assert one.durable == two.durable == 2
    assert len(await bench.storage.read_segments(Key.of("shard", "0"))) == 1
