"""The contract of ``ports.Storage``, executable. Every adapter's tests subclass ``StorageSuite`` and say how to open one.

    class TestMine(StorageSuite, ReplicaSuite):          (``storage_replica_suite``)
        async def open(self, folder: Path) -> Storage: ...

Needs pytest with pytest-trio in trio mode. ``folder`` is empty and belongs to the test; ``open`` is called once per test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed, UsageError
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import (
    NO_HASH,
    Deletion,
    Head,
    NoOp,
)
from golemp2p.ports import Batch, Storage
from golemp2p.testing.storage_kit import (
    IDENTITIES,
    MEMBER,
    SHARD,
    Group,
    OpenStorage,
    Writing,
    commit,
    head_of,
    key_of,
    pieces,
    stored,
)


class StorageSuite(OpenStorage):
    # --------------------------------------------------------------------------------------------------------- submit and done

    async def test_a_new_storage_is_empty(self, storage: Storage) -> None:
        assert await storage.read_segments(key_of("a")) == []
        assert await storage.head(key_of("a")) is None
        assert await storage.heads("worker", shards=range(1024)) == []
        assert await storage.heads_with_open_work(SHARD) == []
        assert await storage.heads_due(1 << 62, 10, range(1024)) == []
        assert await storage.next_wake_ns(range(1024)) is None
        assert await storage.undescribed_heads() == []
        assert await storage.replicas() == {}
        assert await storage.milestones(SHARD) == []
        assert await pieces(storage, key_of("a")) == []
        assert await storage.get_meta("x") is None

    async def test_what_was_written_is_read_back_equal(self, storage: Storage) -> None:
        group = Group()
        one = group.segment("a", 3, padding=b"\x00\xff" * 100)
        two = group.segment("a", open_work=True, wake_ns=3, summary=b"\xa0")
        other = group.segment("b")
        write = group.write(one, NoOp(), two, other)
        await commit(storage, group.birth(), write)
        assert await storage.read_segments(key_of("a")) == [stored(write)[0], stored(write)[1]]
        assert await storage.read_segments(key_of("b")) == [stored(write)[2]]
        assert await storage.head(key_of("a")) == head_of(two, "a", open_work=True, wake_ns=3, summary=b"\xa0")
        assert await storage.heads("worker", shards=[SHARD]) == [await storage.head(key_of("a")), head_of(other, "b")]
        held = (await storage.replicas())[SHARD]
        assert (held.record, held.base, held.entries) == (write.record, group.base, list(write.entries))
        assert (held.heads, held.staged, held.damaged_logs) == ({}, {}, ())

    async def test_submit_returns_before_done_is_called(self, storage: Storage) -> None:
        writing = Writing(storage)
        writing.submit(Group().append("a"))
        assert writing.outcomes == []
        assert await writing.finish() == [None]

    async def test_done_comes_on_the_event_loops_thread(self, storage: Storage) -> None:
        tasks: list[object] = []
        finished = trio.Event()

        def done(error: Exception | None) -> None:
            tasks.append(trio.lowlevel.current_task())  # raises outside of the loop's thread
            finished.set()

        storage.submit(Batch([Group().append("a")]), done)
        await finished.wait()
        assert len(tasks) == 1

    async def test_done_comes_in_the_order_of_submission(self, storage: Storage) -> None:
        group, writing = Group(), Writing(storage)
        for index in range(1, 101):
            writing.submit(group.append("a"))
            if index % 17 == 0:
                await trio.lowlevel.checkpoint()
        assert await writing.finish() == [None] * 100
        assert [number for number, _ in writing.outcomes] == list(range(100))

    async def test_when_done_is_called_reads_see_it(self, storage: Storage) -> None:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:
            for shard in range(20):
                nursery.start_soon(self._write_and_read, storage, shard, seen)
        assert sorted(seen) == list(range(20))

    async def _write_and_read(self, storage: Storage, shard: int, seen: list[int]) -> None:
        write = Group(shard).append(f"log {shard}")
        await commit(storage, write)
        if await storage.read_segments(key_of(f"log {shard}")) == stored(write):
            seen.append(shard)

    async def test_an_empty_batch_is_done_in_its_turn(self, storage: Storage) -> None:
        writing = Writing(storage)
        writing.submit(Group().append("a"))
        writing.submit(Batch())
        assert await writing.finish() == [None, None]
        assert [number for number, _ in writing.outcomes] == [0, 1]

    async def test_of_several_records_the_last_submitted_stays(self, storage: Storage) -> None:
        writing = Writing(storage)
        for term in range(1, 30):
            voted_for = MEMBER if term % 2 else None
            writing.submit(ReplicaWrite(1, ReplicaRecord(term, voted_for, term, (term, 2 * term), term % 3 == 0)))
        assert set(await writing.finish()) == {None}
        assert (await storage.replicas())[1].record == ReplicaRecord(29, MEMBER, 29, (29, 58), False)

    async def test_of_several_heads_the_last_stays(self, storage: Storage) -> None:
        group, writing = Group(), Writing(storage)
        for number in range(1, 30):
            writing.submit(group.append("a", wake_ns=number, summary=b"%d" % number))
        last = group.segment("a")
        writing.submit(group.write(last))
        assert set(await writing.finish()) == {None}
        assert await storage.head(key_of("a")) == head_of(last, "a")
        assert await storage.next_wake_ns([SHARD]) is None

    async def test_a_batch_of_many_shards_and_rows(self, storage: Storage) -> None:
        groups = [Group(shard) for shard in range(50)]
        writes = [group.write(*(group.segment(f"{group.shard:02}/{place % 7}") for place in range(20))) for group in groups]
        await commit(storage, Batch(writes))
        heads = await storage.heads("worker", shards=range(50), count=1000)
        assert [head.identity for head in heads] == [f"{shard:02}/{place}" for shard in range(50) for place in range(7)]
        for write in writes:
            log = stored(write)[0].log
            assert await storage.read_segments(log) == [segment for segment in stored(write) if segment.log == log]

    # ----------------------------------------------------------------------------------------------------------------- failure

    async def test_a_position_is_never_written_twice(self, storage: Storage) -> None:
        write = Group().append("a")
        await commit(storage, write)
        for spoilt in (Group().append("b"), Group().append("a")):
            with pytest.raises(StorageFailed, match="exists already"):
                await commit(storage, spoilt)
        assert await storage.read_segments(key_of("a")) == stored(write)
        assert await storage.head(key_of("b")) is None

    async def test_entries_leave_no_gap(self, storage: Storage) -> None:
        group = Group()
        await commit(storage, group.append("a"))
        group.append("a")  # never stored
        with pytest.raises(StorageFailed, match="does not follow 1"):
            await commit(storage, group.append("b"))
        assert (await storage.replicas())[SHARD].record.high_water == (1, 1)

    async def test_a_segment_is_never_overwritten(self, storage: Storage) -> None:
        group = Group()
        write = group.append("a")
        await commit(storage, write)
        again = replace(group.segment("b"), log=key_of("a"))
        with pytest.raises(StorageFailed, match="exists already"):
            await commit(storage, group.write(again))
        assert await storage.read_segments(key_of("a")) == stored(write)

    async def test_of_a_failed_batch_nothing_is_kept(self, storage: Storage) -> None:
        group, other = Group(), Group(3)
        first = group.append("a")
        await commit(storage, first)
        deletion = group.write(Deletion(key_of("a")), group.segment("b"))
        spoilt = replace(deletion.entries[0], position=9)
        batch = Batch([other.append("c"), deletion, ReplicaWrite(SHARD, group.record(), entries=(spoilt,))])
        with pytest.raises(StorageFailed):
            await commit(storage, batch)
        assert await storage.read_segments(key_of("a")) == stored(first)
        assert [head.identity for head in await storage.heads("worker", shards=range(10))] == ["a"]
        assert list(await storage.replicas()) == [SHARD]
        assert (await storage.replicas())[SHARD].record == first.record

    async def test_a_poisonous_batch_fails_alone(self, storage: Storage) -> None:
        writing = Writing(storage)
        poisonous = {5, 6, 23, 40}
        writes = []
        for number in range(41):
            group = Group(number)
            if number in poisonous:
                group.append("never stored")
            writes.append(group.append(f"log {number:02}"))
            writing.submit(writes[-1])
        errors = await writing.finish()
        assert {number for number, error in enumerate(errors) if error is not None} == poisonous
        assert all(isinstance(errors[number], StorageFailed) for number in poisonous)
        assert [number for number, _ in writing.outcomes] == list(range(41))
        kept = [f"log {number:02}" for number in range(41) if number not in poisonous]
        assert [head.identity for head in await storage.heads("worker", shards=range(41))] == kept

    async def test_batches_after_a_failed_one_are_still_tried(self, storage: Storage) -> None:
        group, writing = Group(), Writing(storage)
        write = group.append("a")
        writing.submit(Batch([write, write]))
        writing.submit(write)
        first, second = await writing.finish()
        assert isinstance(first, StorageFailed)
        assert second is None
        await commit(storage, group.append("a"))

    # ---------------------------------------------------------------------------------------------------------------- segments

    async def test_reading_starts_with_the_segment_that_holds_the_index(self, storage: Storage) -> None:
        group = Group()
        write = group.write(group.segment("a", 10), group.segment("a", 5), group.segment("a"))
        await commit(storage, write)
        expected = {1: 0, 10: 0, 11: 1, 15: 1, 16: 2, 17: 3, 1000: 3, 0: 0, -5: 0}
        for first, skipped in expected.items():
            assert await storage.read_segments(key_of("a"), first) == stored(write)[skipped:], first
            assert await storage.read_segments(key_of("a"), first, 1) == stored(write)[skipped : skipped + 1], first

    async def test_a_long_log_is_read_whole_and_in_order(self, storage: Storage) -> None:
        group = Group()
        writes = [group.append("a", 2) for _ in range(1000)]
        await commit(storage, *writes)
        segments = [segment for write in writes for segment in stored(write)]
        assert await storage.read_segments(key_of("a")) == segments
        assert await storage.read_segments(key_of("a"), 1001) == segments[500:]
        assert await storage.read_segments(key_of("a"), 1001, 100) == segments[500:600]

    async def test_a_big_segment_comes_back_whole(self, storage: Storage) -> None:
        group = Group()
        write = group.write(group.segment("a", padding=hashlib.sha256(b"x").digest() * (1 << 15)), group.segment("a"))
        await commit(storage, write)
        assert await storage.read_segments(key_of("a")) == stored(write)

    # ---------------------------------------------------------------------------------------------------------------- listings

    async def test_heads_are_ordered_by_identity_and_come_in_pages(self, storage: Storage) -> None:
        group = Group()
        segments = [group.segment(identity) for identity in reversed(IDENTITIES)]
        others = [group.segment(identity, kind="component") for identity in IDENTITIES[:3]]
        await commit(storage, group.write(*segments, *others))
        found: list[str] = []
        after = ""
        while page := await storage.heads("worker", shards=[SHARD], after=after, count=3):
            assert len(page) <= 3
            found += [head.identity for head in page]
            after = found[-1]
        assert found == sorted(IDENTITIES)[1:]  # "" is not greater than ""

    async def test_heads_with_a_prefix(self, storage: Storage) -> None:
        group = Group()
        await commit(storage, group.write(*(group.segment(identity) for identity in IDENTITIES)))
        for prefix in ("a", "a/", "a/b", "é", "\ud7ff", "\U0001f41d", "\U0010ffff", "zzz"):
            expected = [identity for identity in sorted(IDENTITIES) if identity.startswith(prefix)]
            found = await storage.heads("worker", shards=[SHARD], prefix=prefix)
            assert [head.identity for head in found] == expected, prefix
            found = await storage.heads("worker", shards=[SHARD], prefix=prefix, after="a/b")
            assert [head.identity for head in found] == [identity for identity in expected if identity > "a/b"], prefix

    async def test_listings_are_of_some_shards(self, storage: Storage) -> None:
        for shard in range(6):
            await commit(storage, Group(shard).append(f"in {shard}", open_work=True, wake_ns=100 - shard))
        collections: list[Collection[int]] = [{1, 3, 5, 400}, [5, 1, 3], range(1, 6, 2)]
        for shards in collections:
            assert [head.shard for head in await storage.heads("worker", shards=shards)] == [1, 3, 5]
            assert [head.shard for head in await storage.heads("worker", shards=shards, count=2)] == [1, 3]
            assert [head.shard for head in await storage.heads_due(99, 10, shards)] == [5, 3, 1]
            assert await storage.next_wake_ns(shards) == 95
        assert await storage.heads("worker", shards=()) == []
        assert await storage.heads_due(1 << 60, 10, ()) == []
        assert await storage.next_wake_ns([]) is None
        assert [head.shard for head in await storage.heads_with_open_work(4)] == [4]

    async def test_heads_with_open_work_follow_the_heads(self, storage: Storage) -> None:
        group = Group()
        await commit(storage, group.append("a", open_work=True), group.append("b"), group.append("c", open_work=True))
        await commit(storage, group.append("a"), group.append("b", open_work=True))
        assert {head.identity for head in await storage.heads_with_open_work(SHARD)} == {"b", "c"}

    async def test_heads_due_come_earliest_first(self, storage: Storage) -> None:
        group = Group()
        wakes = {"a": 30, "b": 10, "c": None, "d": 20, "e": 1 << 62}
        await commit(storage, group.write(*(group.segment(name, wake_ns=wake_ns) for name, wake_ns in wakes.items())))
        assert await storage.next_wake_ns([SHARD]) == 10
        assert [head.identity for head in await storage.heads_due(20, 10, [SHARD])] == ["b", "d"]
        assert [head.identity for head in await storage.heads_due(30, 2, [SHARD])] == ["b", "d"]
        assert await storage.heads_due(9, 10, [SHARD]) == []
        await commit(storage, group.append("b"))
        assert await storage.next_wake_ns([SHARD]) == 20

    # ---------------------------------------------------------------------------------------------------------- blobs and meta

    async def test_blobs_are_named_by_their_hash(self, storage: Storage) -> None:
        for data in (b"", b"x", bytes(3 << 20)):
            assert not await storage.has_blob(hashlib.sha256(data).digest())
            digest = await storage.put_blob(data)
            assert digest == hashlib.sha256(data).digest()
            assert await storage.has_blob(digest)
            assert await storage.get_blob(digest) == data
            assert await storage.put_blob(data) == digest
            path = storage.blob_path(digest)
            assert path is None or path.read_bytes() == data

    async def test_a_missing_blob_is_damage(self, storage: Storage) -> None:
        with pytest.raises(DataDamaged, match="missing"):
            await storage.get_blob(bytes(32))

    async def test_the_same_blob_put_by_many_at_once(self, storage: Storage) -> None:
        data = bytes(range(256)) * 4096
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(storage.put_blob, data)
        assert await storage.get_blob(hashlib.sha256(data).digest()) == data

    async def test_meta_values(self, storage: Storage) -> None:
        await storage.put_meta("name", b"\x00one")
        await storage.put_meta("name", b"two")
        await storage.put_meta("", b"")
        assert await storage.get_meta("name") == b"two"
        assert await storage.get_meta("") == b""

    # --------------------------------------------------------------------------------------------------------- what is refused

    async def test_unbounded_input_is_refused_before_anything_changes(self, storage: Storage) -> None:
        group = Group()
        segment = group.segment("a")
        entry = group.entry(segment)
        record = group.record()
        head = head_of(segment, "a")

        def of_segment(**changes: object) -> Batch:
            changed = replace(entry, content=replace(segment, **changes))  # type: ignore[arg-type]
            return Batch([ReplicaWrite(SHARD, record, entries=(changed,))])

        def of_write(**changes: object) -> Batch:
            return Batch([replace(ReplicaWrite(SHARD, record), **changes)])  # type: ignore[arg-type]

        refused = [
            of_segment(first=0),
            of_segment(first=1 << 63),
            of_segment(count=0),
            of_segment(count=1 << 63),
            of_segment(term=-1),
            of_segment(data=bytes(64 << 20)),
            of_segment(description=bytes(1 << 20)),
            of_write(shard=1 << 63),
            of_write(shard=-1),
            of_write(record=replace(record, term=1 << 63)),
            of_write(record=replace(record, commit=-1)),
            of_write(record=replace(record, high_water=(1, 1 << 64))),
            of_write(entries=(replace(entry, position=1 << 64),)),
            of_write(entries=(replace(entry, term=-1),)),
            of_write(truncate_from=1 << 63),
            of_write(base=replace(group.base, position=1 << 63)),
            of_write(base=group.base, heads=((segment.log, Head(0, NO_HASH)),)),
            of_write(base=group.base, heads=((segment.log, Head(2, b"short")),)),
            of_write(fetched=(replace(segment, first=0),)),
            of_write(fetched=(segment,) * (3 << 20)),
            Batch(heads=[head._replace(identity="x" * 100_000)]),
            Batch(heads=[head._replace(identity="\ud800")]),
            Batch(heads=[head._replace(identity="b")]),
            Batch(heads=[head._replace(kind="k" * 1000)]),
            Batch(heads=[head._replace(kind="", identity="", key=Key.of("", ""))]),
            Batch(heads=[head._replace(wake_ns=1 << 63)]),
            Batch(heads=[head._replace(tail=0)]),
            Batch(heads=[head._replace(head_hash=b"short")]),
            Batch(heads=[head._replace(summary=bytes(64 << 20))]),
        ]
        writing = Writing(storage)
        for batch in refused:
            with pytest.raises(UsageError):
                writing.submit(batch)
        assert await writing.finish() == []
        assert await storage.heads("worker", shards=range(10)) == []
        assert await storage.replicas() == {}

    async def test_listings_and_names_are_bounded(self, storage: Storage) -> None:
        for count in (0, -1, 1 << 40):
            with pytest.raises(UsageError):
                await storage.heads("worker", shards=[1], count=count)
            with pytest.raises(UsageError):
                await storage.heads_due(1, count, [1])
        with pytest.raises(UsageError):
            await storage.heads("worker", shards=[1], prefix="\udfff")
        with pytest.raises(UsageError):
            await storage.put_meta("n" * 10_000, b"")
        with pytest.raises(UsageError):
            await storage.put_meta("n", bytes(64 << 20))
        with pytest.raises(UsageError):
            await storage.get_blob(b"short")
        with pytest.raises(UsageError):
            await storage.has_blob(b"short")
        with pytest.raises(UsageError):
            storage.blob_path(bytes(33))

    # --------------------------------------------------------------------------------------------------------------------- end

    async def test_aclose_waits_for_queued_batches(self, tmp_path: Path) -> None:
        storage = await self.open(tmp_path)
        group, writing = Group(), Writing(storage)
        for _ in range(200):
            writing.submit(group.append("a"))
        await storage.aclose()
        assert [error for _, error in writing.outcomes] == [None] * 200
        await storage.aclose()
        with pytest.raises(InvalidState):
            writing.submit(group.append("a"))
        with pytest.raises(InvalidState):
            await storage.head(key_of("a"))
