"""The contract of ``ports.Storage``, executable. Every adapter's tests subclass ``StorageSuite`` and say how to open one.

    class TestMine(StorageSuite):
        async def open(self, folder: Path) -> Storage: ...

Needs pytest with pytest-trio in trio mode. ``folder`` is empty and belongs to the test; ``open`` is called once per test.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed, UsageError
from golemp2p.model.ids import Key
from golemp2p.ports import Batch, LogHead, ShardRecord, Storage, StoredSegment

NO_HASH = bytes(32)
IDENTITIES = ["", "a", "a/", "a/b", "a/b\x00c", "a/é", "aé", "b", "é", "ﬀ", "\ue000", "\U0001f41d", "\U0010ffff", "\U0010ffffz"]


def key_of(identity: str, kind: str = "worker") -> Key:
    return Key.of(kind, identity)


def segment_of(identity: str, first: int, *, count: int = 1, data: bytes = b"data", kind: str = "worker") -> StoredSegment:
    return StoredSegment(key_of(identity, kind), first, count, 1, first, data)


def head_of(
    identity: str, *, kind: str = "worker", tail: int = 1, open_work: bool = False, wake_ns: int | None = None,
    summary: bytes = b"", head_hash: bytes = NO_HASH,
) -> LogHead:  # fmt: skip
    return LogHead(key_of(identity, kind), kind, identity, 7, tail, head_hash, open_work, wake_ns, summary)


class Writing:
    """Submits, and remembers the outcomes in the order they came."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.outcomes: list[tuple[int, Exception | None]] = []
        self._submitted = 0
        self._progress = trio.Event()

    def submit(self, batch: Batch) -> int:
        number = self._submitted

        def done(error: Exception | None) -> None:
            self.outcomes.append((number, error))
            self._progress.set()

        self.storage.submit(batch, done)
        self._submitted += 1
        return number

    async def finish(self) -> list[Exception | None]:
        """Waits for all; their errors in the order of submission."""
        while len(self.outcomes) < self._submitted:
            await self._progress.wait()
            self._progress = trio.Event()
        return [error for _, error in sorted(self.outcomes, key=lambda outcome: outcome[0])]


async def commit(storage: Storage, batch: Batch) -> None:
    """Raises what ``done`` was given."""
    writing = Writing(storage)
    writing.submit(batch)
    for error in await writing.finish():
        if error is not None:
            raise error


class StorageSuite:
    async def open(self, folder: Path) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = await self.open(tmp_path)
        yield storage
        await storage.aclose()

    # ------------------------------------------------------------------------------------------------ submit and done

    async def test_a_new_storage_is_empty(self, storage: Storage) -> None:
        assert await storage.read_segments(key_of("a")) == []
        assert await storage.head(key_of("a")) is None
        assert await storage.heads("worker") == []
        assert await storage.heads_with_open_work() == []
        assert await storage.heads_due(1 << 62, 10) == []
        assert await storage.next_wake_ns() is None
        assert await storage.shards() == []
        assert await storage.get_meta("x") is None

    async def test_what_was_written_is_read_back_equal(self, storage: Storage) -> None:
        segments = [segment_of("a", 1, count=3, data=b"\x00\xff" * 100), segment_of("a", 4), segment_of("b", 1, data=b"")]
        head = head_of("a", tail=5, open_work=True, wake_ns=-3, summary=b"\xa0", head_hash=bytes(range(32)))
        shards = [ShardRecord(3, 9, b"v" * 20, 17, b"cert"), ShardRecord(1, 0, None, 0, b"")]
        await commit(storage, Batch(segments=segments, heads=[head], shards=shards))
        assert await storage.read_segments(key_of("a")) == segments[:2]
        assert await storage.read_segments(key_of("b")) == segments[2:]
        assert await storage.head(key_of("a")) == head
        assert await storage.shards() == [shards[1], shards[0]]

    async def test_submit_returns_before_done_is_called(self, storage: Storage) -> None:
        writing = Writing(storage)
        writing.submit(Batch(segments=[segment_of("a", 1)]))
        assert writing.outcomes == []
        assert await writing.finish() == [None]

    async def test_done_comes_on_the_event_loops_thread(self, storage: Storage) -> None:
        tasks: list[object] = []
        finished = trio.Event()

        def done(error: Exception | None) -> None:
            tasks.append(trio.lowlevel.current_task())  # raises outside of the loop's thread
            finished.set()

        storage.submit(Batch(segments=[segment_of("a", 1)]), done)
        await finished.wait()
        assert len(tasks) == 1

    async def test_done_comes_in_the_order_of_submission(self, storage: Storage) -> None:
        writing = Writing(storage)
        for index in range(1, 101):
            writing.submit(Batch(segments=[segment_of("a", index)]))
            if index % 17 == 0:
                await trio.lowlevel.checkpoint()
        assert await writing.finish() == [None] * 100
        assert [number for number, _ in writing.outcomes] == list(range(100))

    async def test_when_done_is_called_reads_see_it(self, storage: Storage) -> None:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:
            for index in range(1, 21):
                nursery.start_soon(self._write_and_read, storage, index, seen)
        assert sorted(seen) == list(range(1, 21))

    async def _write_and_read(self, storage: Storage, index: int, seen: list[int]) -> None:
        await commit(storage, Batch(segments=[segment_of("a", index)]))
        seen.extend(segment.first for segment in await storage.read_segments(key_of("a"), index) if segment.first == index)

    async def test_an_empty_batch_is_done_in_its_turn(self, storage: Storage) -> None:
        writing = Writing(storage)
        writing.submit(Batch(segments=[segment_of("a", 1)]))
        writing.submit(Batch())
        assert await writing.finish() == [None, None]
        assert [number for number, _ in writing.outcomes] == [0, 1]

    async def test_of_several_heads_the_last_submitted_stays(self, storage: Storage) -> None:
        writing = Writing(storage)
        for tail in range(1, 30):
            writing.submit(Batch(heads=[head_of("a", tail=tail, wake_ns=tail), head_of("a", tail=tail, wake_ns=None)]))
            writing.submit(Batch(shards=[ShardRecord(1, tail, None, tail, b"")]))
        assert set(await writing.finish()) == {None}
        assert await storage.head(key_of("a")) == head_of("a", tail=29)
        assert await storage.next_wake_ns() is None
        assert await storage.shards() == [ShardRecord(1, 29, None, 29, b"")]

    async def test_a_batch_of_many_rows(self, storage: Storage) -> None:
        segments = [segment_of("many", index, data=b"%d" % index) for index in range(1, 301)]
        heads = [head_of(f"n{number:03}", tail=number + 1) for number in range(300)]
        await commit(storage, Batch(segments=segments, heads=heads))
        assert await storage.read_segments(key_of("many")) == segments
        assert await storage.heads("worker", count=1000) == heads

    # --------------------------------------------------------------------------------------------------------- failure

    async def test_a_segment_is_never_overwritten(self, storage: Storage) -> None:
        await commit(storage, Batch(segments=[segment_of("a", 1, data=b"old")]))
        with pytest.raises(StorageFailed, match="exists already"):
            await commit(storage, Batch(segments=[segment_of("a", 1, data=b"new")]))
        assert [segment.data for segment in await storage.read_segments(key_of("a"))] == [b"old"]

    async def test_twice_the_same_segment_in_one_batch_fails(self, storage: Storage) -> None:
        with pytest.raises(StorageFailed):
            await commit(storage, Batch(segments=[segment_of("a", 1), segment_of("a", 1)]))
        assert await storage.read_segments(key_of("a")) == []

    async def test_of_a_failed_batch_nothing_is_kept(self, storage: Storage) -> None:
        await commit(storage, Batch(segments=[segment_of("a", 1)], heads=[head_of("a", tail=2)]))
        batch = Batch(
            deleted_logs=[key_of("a")],
            segments=[segment_of("b", 1), segment_of("c", 1), segment_of("c", 1)],
            heads=[head_of("b", tail=2)],
            shards=[ShardRecord(1, 1, None, 1, b"")],
        )
        with pytest.raises(StorageFailed):
            await commit(storage, batch)
        assert await storage.read_segments(key_of("a")) == [segment_of("a", 1)]
        assert await storage.head(key_of("a")) == head_of("a", tail=2)
        assert await storage.read_segments(key_of("b")) == []
        assert await storage.head(key_of("b")) is None
        assert await storage.shards() == []

    async def test_a_poisonous_batch_fails_alone(self, storage: Storage) -> None:
        await commit(storage, Batch(segments=[segment_of("a", 1)]))
        writing = Writing(storage)
        poisonous = {5, 6, 23, 40}
        for number in range(41):
            first = 1 if number in poisonous else number + 10
            writing.submit(Batch(segments=[segment_of("a", first)], heads=[head_of("a", tail=first + 1)]))
        errors = await writing.finish()
        assert {number for number, error in enumerate(errors) if error is not None} == poisonous
        assert all(isinstance(errors[number], StorageFailed) for number in poisonous)
        assert [number for number, _ in writing.outcomes] == list(range(41))
        firsts = [segment.first for segment in await storage.read_segments(key_of("a"))]
        assert firsts == [1] + [number + 10 for number in range(41) if number not in poisonous]
        assert await storage.head(key_of("a")) == head_of("a", tail=50)

    async def test_batches_after_a_failed_one_are_still_tried(self, storage: Storage) -> None:
        writing = Writing(storage)
        writing.submit(Batch(segments=[segment_of("a", 1), segment_of("a", 1)]))
        writing.submit(Batch(segments=[segment_of("a", 1)]))
        first, second = await writing.finish()
        assert isinstance(first, StorageFailed)
        assert second is None

    # -------------------------------------------------------------------------------------------------------- segments

    async def test_reading_starts_with_the_segment_that_holds_the_index(self, storage: Storage) -> None:
        segments = [segment_of("a", 1, count=10), segment_of("a", 11, count=5), segment_of("a", 16)]
        await commit(storage, Batch(segments=[segments[2], segments[0], segments[1]]))
        expected = {1: 0, 10: 0, 11: 1, 15: 1, 16: 2, 17: 3, 1000: 3, 0: 0, -5: 0}
        for first, skipped in expected.items():
            assert await storage.read_segments(key_of("a"), first) == segments[skipped:], first
            assert await storage.read_segments(key_of("a"), first, 1) == segments[skipped : skipped + 1], first

    async def test_a_long_log_is_read_whole_and_in_order(self, storage: Storage) -> None:
        segments = [segment_of("a", 1 + 2 * number, count=2, data=b"%d" % number) for number in range(1000)]
        await commit(storage, Batch(segments=segments))
        assert await storage.read_segments(key_of("a")) == segments
        assert await storage.read_segments(key_of("a"), 1001) == segments[500:]
        assert await storage.read_segments(key_of("a"), 1001, 100) == segments[500:600]

    async def test_a_big_segment_comes_back_whole(self, storage: Storage) -> None:
        data = hashlib.sha256(b"x").digest() * (1 << 15)
        await commit(storage, Batch(segments=[segment_of("a", 1, data=data), segment_of("a", 2)]))
        assert [segment.data for segment in await storage.read_segments(key_of("a"))] == [data, b"data"]

    # -------------------------------------------------------------------------------------------------------- deletion

    async def test_deleting_removes_head_and_segments_and_nothing_else(self, storage: Storage) -> None:
        for identity in ("a", "b"):
            heads = [head_of(identity, tail=3, open_work=True, wake_ns=5)]
            await commit(storage, Batch(segments=[segment_of(identity, 1), segment_of(identity, 2)], heads=heads))
        await commit(storage, Batch(deleted_logs=[key_of("a")]))
        assert await storage.read_segments(key_of("a")) == []
        assert await storage.head(key_of("a")) is None
        assert [head.identity for head in await storage.heads("worker")] == ["b"]
        assert [head.identity for head in await storage.heads_with_open_work()] == ["b"]
        assert [head.identity for head in await storage.heads_due(5, 10)] == ["b"]
        assert len(await storage.read_segments(key_of("b"))) == 2

    async def test_a_deleted_key_may_be_used_again_from_index_1(self, storage: Storage) -> None:
        writing = Writing(storage)
        for life in range(5):
            data = b"%d" % life
            writing.submit(Batch(segments=[segment_of("a", 1, data=data)], heads=[head_of("a", tail=2, summary=data)]))
            writing.submit(Batch(deleted_logs=[key_of("a")]))
        writing.submit(Batch(segments=[segment_of("a", 1, data=b"last")], heads=[head_of("a", tail=2)]))
        assert set(await writing.finish()) == {None}
        assert await storage.read_segments(key_of("a")) == [segment_of("a", 1, data=b"last")]

    async def test_in_one_batch_deletions_come_first(self, storage: Storage) -> None:
        await commit(storage, Batch(segments=[segment_of("a", 1), segment_of("a", 2)], heads=[head_of("a", tail=3)]))
        batch = Batch([key_of("a")], [segment_of("a", 1, data=b"new")], [head_of("a", tail=2)])
        await commit(storage, batch)
        assert await storage.read_segments(key_of("a")) == [segment_of("a", 1, data=b"new")]
        assert await storage.head(key_of("a")) == head_of("a", tail=2)

    async def test_deleting_what_is_not_there_does_nothing(self, storage: Storage) -> None:
        await commit(storage, Batch(deleted_logs=[key_of("never")]))

    # -------------------------------------------------------------------------------------------------------- listings

    async def test_heads_are_ordered_by_identity_and_come_in_pages(self, storage: Storage) -> None:
        others = [head_of(identity, kind="component") for identity in IDENTITIES[:3]]
        await commit(storage, Batch(heads=[head_of(identity) for identity in reversed(IDENTITIES)] + others))
        found: list[str] = []
        after = ""
        while page := await storage.heads("worker", after=after, count=3):
            assert len(page) <= 3
            found += [head.identity for head in page]
            after = found[-1]
        assert found == sorted(IDENTITIES)[1:]  # "" is not greater than ""

    async def test_heads_with_a_prefix(self, storage: Storage) -> None:
        await commit(storage, Batch(heads=[head_of(identity) for identity in IDENTITIES]))
        for prefix in ("a", "a/", "a/b", "é", "\ud7ff", "\U0001f41d", "\U0010ffff", "zzz"):
            expected = [identity for identity in sorted(IDENTITIES) if identity.startswith(prefix)]
            assert [head.identity for head in await storage.heads("worker", prefix=prefix)] == expected, prefix
            found = await storage.heads("worker", prefix=prefix, after="a/b")
            assert [head.identity for head in found] == [identity for identity in expected if identity > "a/b"], prefix

    async def test_heads_with_open_work_follow_the_heads(self, storage: Storage) -> None:
        await commit(storage, Batch(heads=[head_of("a", open_work=True), head_of("b"), head_of("c", open_work=True)]))
        await commit(storage, Batch(heads=[head_of("a"), head_of("b", open_work=True)]))
        assert {head.identity for head in await storage.heads_with_open_work()} == {"b", "c"}

    async def test_heads_due_come_earliest_first(self, storage: Storage) -> None:
        wakes = {"a": 30, "b": 10, "c": None, "d": 20, "e": 1 << 62}
        await commit(storage, Batch(heads=[head_of(name, wake_ns=wake_ns) for name, wake_ns in wakes.items()]))
        assert await storage.next_wake_ns() == 10
        assert [head.identity for head in await storage.heads_due(20, 10)] == ["b", "d"]
        assert [head.identity for head in await storage.heads_due(30, 2)] == ["b", "d"]
        assert await storage.heads_due(9, 10) == []
        await commit(storage, Batch(heads=[head_of("b", wake_ns=None)]))
        assert await storage.next_wake_ns() == 20

    # --------------------------------------------------------------------------------------------------- blobs and meta

    async def test_blobs_are_named_by_their_hash(self, storage: Storage) -> None:
        for data in (b"", b"x", bytes(3 << 20)):
            digest = await storage.put_blob(data)
            assert digest == hashlib.sha256(data).digest()
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

    # ------------------------------------------------------------------------------------------------ what is refused

    async def test_unbounded_input_is_refused_before_anything_changes(self, storage: Storage) -> None:
        head = head_of("a")
        refused = [
            Batch(segments=[segment_of("a", 0)]),
            Batch(segments=[segment_of("a", 1 << 63)]),
            Batch(segments=[segment_of("a", 1, count=0)]),
            Batch(segments=[segment_of("a", 1, count=1 << 63)]),
            Batch(segments=[segment_of("a", 1)._replace(term=-1)]),
            Batch(segments=[segment_of("a", 1)._replace(position=1 << 64)]),
            Batch(segments=[segment_of("a", 1, data=bytes(64 << 20))]),
            Batch(heads=[head._replace(identity="x" * 100_000)]),
            Batch(heads=[head._replace(identity="\ud800")]),
            Batch(heads=[head._replace(kind="k" * 1000)]),
            Batch(heads=[head._replace(wake_ns=1 << 63)]),
            Batch(heads=[head._replace(tail=0)]),
            Batch(heads=[head._replace(head_hash=b"short")]),
            Batch(heads=[head._replace(summary=bytes(64 << 20))]),
            Batch(shards=[ShardRecord(1 << 63, 0, None, 0, b"")]),
            Batch(shards=[ShardRecord(0, 0, None, 0, bytes(64 << 20))]),
            Batch(segments=[segment_of("b", 1)] * 1_000_000),
        ]
        writing = Writing(storage)
        for batch in refused:
            with pytest.raises(UsageError):
                writing.submit(batch)
        assert await writing.finish() == []
        assert await storage.heads("worker") == []
        assert await storage.read_segments(key_of("a")) == []

    async def test_listings_and_names_are_bounded(self, storage: Storage) -> None:
        for count in (0, -1, 1 << 40):
            with pytest.raises(UsageError):
                await storage.heads("worker", count=count)
            with pytest.raises(UsageError):
                await storage.heads_due(1, count)
        with pytest.raises(UsageError):
            await storage.heads("worker", prefix="\udfff")
        with pytest.raises(UsageError):
            await storage.put_meta("n" * 10_000, b"")
        with pytest.raises(UsageError):
            await storage.put_meta("n", bytes(64 << 20))
        with pytest.raises(UsageError):
            await storage.get_blob(b"short")
        with pytest.raises(UsageError):
            storage.blob_path(bytes(33))

    # ------------------------------------------------------------------------------------------------------------- end

    async def test_aclose_waits_for_queued_batches(self, tmp_path: Path) -> None:
        storage = await self.open(tmp_path)
        writing = Writing(storage)
        for index in range(1, 201):
            writing.submit(Batch(segments=[segment_of("a", index)]))
        await storage.aclose()
        assert [error for _, error in writing.outcomes] == [None] * 200
        await storage.aclose()
        with pytest.raises(InvalidState):
            writing.submit(Batch(segments=[segment_of("a", 201)]))
        with pytest.raises(InvalidState):
            await storage.head(key_of("a"))
