"""The contract of ``ports.Storage``, executable. Every adapter's tests subclass ``StorageSuite`` and say how to open one.

    class TestMine(StorageSuite):
        async def open(self, folder: Path) -> Storage: ...

Needs pytest with pytest-trio in trio mode. ``folder`` is empty and belongs to the test; ``open`` is called once per test.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed, UsageError
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import (
    EMPTY_LOG,
    NO_HASH,
    Base,
    Branch,
    Configuration,
    Content,
    Deletion,
    Election,
    Entry,
    Head,
    LogSegment,
    Member,
    NoOp,
    base_at_birth,
)
from golemp2p.ports import Batch, LogHead, Storage, StoredSegment
from golemp2p.wire.description import Description, encode_description
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import seal

IDENTITIES = ["", "a", "a/", "a/b", "a/b\x00c", "a/é", "aé", "b", "é", "ﬀ", "\ue000", "\U0001f41d", "\U0010ffff", "\U0010ffffz"]
NODE = SigningKey(bytes(range(32)))
MEMBER = Member(NODE.public_key, bytes(range(16)))
SHARD = 7


def key_of(identity: str, kind: str = "worker") -> Key:
    return Key.of(kind, identity)


class Group:
    """A shard's log as its primary writes it: entries that follow each other, segments that are sealed and follow theirs.

    ``heads``: where each log ends now. Nothing is stored by this: it makes the writes.
    """

    def __init__(self, shard: int = SHARD, *, signer: SigningKey = NODE, term: int = 1) -> None:
        self.shard, self.term, self.signer = shard, term, signer
        self.base = base_at_birth(MEMBER)
        self.position, self.hash = 0, NO_HASH
        self.heads: dict[Key, Head] = {}
        self.commit = 0

    def segment(
        self, identity: str, count: int = 1, *, kind: str = "worker", payload: bytes = b"", described: bool = True,
        open_work: bool = False, wake_ns: int | None = None, summary: bytes = b"",
    ) -> LogSegment:  # fmt: skip
        """The next one of a log. ``payload``: a last part of it, whatever it says."""
        log = Key.of(kind, identity)
        head = self.heads.get(log, EMPTY_LOG)
        said = encode_description(Description(kind, identity, open_work, wake_ns, summary)) if described else b""
        data, own_hash = seal(
            self.signer, key=log, term=self.term, first=head.tail, count=count, previous_hash=head.hash,
            payload=b"\x82\x05\x00" * count + payload,
        )  # fmt: skip
        self.heads[log] = Head(head.tail + count, own_hash)
        return LogSegment(log, self.term, head.tail, count, head.hash, self.signer.public_key, own_hash, data, said)

    def entry(self, content: Content) -> Entry:
        self.position += 1
        before = self.hash
        plain_content = content.hash.hex() if isinstance(content, LogSegment) else repr(content)
        facts = f"{self.shard} {self.position} {self.term} {before.hex()} {plain_content}"
        self.hash = hashlib.sha256(facts.encode()).digest()
        if isinstance(content, Deletion):
            del self.heads[content.log]
        signature = b"" if isinstance(content, LogSegment | Election | Branch) else self.signer.sign(self.hash)
        return Entry(self.position, self.term, before, self.signer.public_key, content, signature, self.hash)

    def record(self) -> ReplicaRecord:
        return ReplicaRecord(self.term, MEMBER, self.commit, (self.term, self.position), True)

    def write(self, *contents: Content) -> ReplicaWrite:
        entries = tuple(self.entry(content) for content in contents)
        return ReplicaWrite(self.shard, self.record(), entries=entries)

    def append(self, identity: str, count: int = 1, **said: object) -> ReplicaWrite:
        return self.write(self.segment(identity, count, **said))  # type: ignore[arg-type]

    def birth(self) -> ReplicaWrite:
        return ReplicaWrite(self.shard, self.record(), base=self.base)

    def compacted(self, *logs: Key, base: Base | None = None) -> ReplicaWrite:
        """Everything so far is committed and compacted. ``logs``: those that changed since the last time."""
        self.commit = self.position
        self.base = base or replace(self.base, position=self.position, term=self.term, hash=self.hash)
        return ReplicaWrite(self.shard, self.record(), base=self.base, heads=tuple((log, self.heads.get(log)) for log in logs))


def stored(write: ReplicaWrite) -> list[StoredSegment]:
    """The segments among the entries of ``write``, as they are read back."""
    return [
        StoredSegment(s.log, s.first, s.count, s.term, entry.position, s.data)
        for entry in write.entries
        if isinstance(s := entry.content, LogSegment)
    ]


def head_of(
    segment: LogSegment, identity: str, *, kind: str = "worker", shard: int = SHARD, open_work: bool = False,
    wake_ns: int | None = None, summary: bytes = b"",
) -> LogHead:  # fmt: skip
    """The head of a log whose newest segment is ``segment``."""
    tail = segment.first + segment.count
    return LogHead(segment.log, kind, identity, shard, tail, segment.hash, open_work, wake_ns, summary)


def undescribed(log: Key, head: Head, shard: int = SHARD) -> LogHead:
    return LogHead(log, "", "", shard, head.tail, head.hash, False, None, b"")


class Writing:
    """Submits, and remembers the outcomes in the order they came."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.outcomes: list[tuple[int, Exception | None]] = []
        self._submitted = 0
        self._progress = trio.Event()

    def submit(self, batch: Batch | ReplicaWrite) -> int:
        number = self._submitted

        def done(error: Exception | None) -> None:
            self.outcomes.append((number, error))
            self._progress.set()

        self.storage.submit(batch if isinstance(batch, Batch) else Batch([batch]), done)
        self._submitted += 1
        return number

    async def finish(self) -> list[Exception | None]:
        """Waits for all; their errors in the order of submission."""
        while len(self.outcomes) < self._submitted:
            await self._progress.wait()
            self._progress = trio.Event()
        return [error for _, error in sorted(self.outcomes, key=lambda outcome: outcome[0])]


async def commit(storage: Storage, *batches: Batch | ReplicaWrite) -> None:
    """Raises what the first ``done`` with an error was given."""
    writing = Writing(storage)
    for batch in batches:
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
        one = group.segment("a", 3, payload=b"\x00\xff" * 100)
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

    # --------------------------------------------------------------------------------------------------------- failure

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

    # -------------------------------------------------------------------------------------------------------- segments

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
        write = group.write(group.segment("a", payload=hashlib.sha256(b"x").digest() * (1 << 15)), group.segment("a"))
        await commit(storage, write)
        assert await storage.read_segments(key_of("a")) == stored(write)

    # -------------------------------------------------------------------------------------------------------- deletion

    async def test_with_a_deletion_a_log_is_gone_and_nothing_else(self, storage: Storage) -> None:
        group = Group()
        for identity in ("a", "b"):
            await commit(
                storage, group.append(identity, open_work=True, wake_ns=5), group.append(identity, open_work=True, wake_ns=5)
            )
        await commit(storage, group.write(Deletion(key_of("a"))))
        assert await storage.read_segments(key_of("a")) == []
        assert await storage.read_segments(key_of("a"), -5) == []
        assert await pieces(storage, key_of("a")) == []
        assert await storage.head(key_of("a")) is None
        for heads in (
            await storage.heads("worker", shards=[SHARD]),
            await storage.heads_with_open_work(SHARD),
            await storage.heads_due(5, 10, [SHARD]),
        ):
            assert [head.identity for head in heads] == ["b"]
        assert len(await storage.read_segments(key_of("b"))) == 2

    async def test_a_deleted_log_may_begin_again_from_index_1(self, storage: Storage) -> None:
        group, writing = Group(), Writing(storage)
        for _ in range(5):
            writing.submit(group.write(group.segment("a", 3), group.segment("a")))
            writing.submit(group.write(Deletion(key_of("a"))))
        last = group.append("a", 2, summary=b"last")
        writing.submit(last)
        assert set(await writing.finish()) == {None}
        assert await storage.read_segments(key_of("a")) == stored(last)
        assert await pieces(storage, key_of("a")) == plain(last)
        head = await storage.head(key_of("a"))
        assert head is not None
        assert (head.tail, head.summary) == (3, b"last")

    async def test_a_log_deleted_and_begun_again_in_one_batch(self, storage: Storage) -> None:
        group = Group()
        await commit(storage, group.append("a"), group.append("a"))
        one, two = (group.write(Deletion(key_of("a"))).entries + group.append("a").entries for _ in range(2))
        write = ReplicaWrite(SHARD, group.record(), entries=one + two)
        await commit(storage, write)
        assert await storage.read_segments(key_of("a")) == stored(write)[1:]
        await commit(storage, group.compacted(key_of("a")))
        assert await storage.read_segments(key_of("a")) == stored(write)[1:]
        assert await pieces(storage, key_of("a"), position=group.position) == plain(write)[1:]

    async def test_truncating_a_deletion_brings_the_log_back(self, storage: Storage) -> None:
        group = Group()
        first, second = group.append("a", 2, summary=b"one"), group.append("a", summary=b"two", open_work=True)
        await commit(storage, first, second)
        head = await storage.head(key_of("a"))
        await commit(storage, group.write(Deletion(key_of("a"))), group.append("a", 5), group.write(Deletion(key_of("a"))))
        await commit(storage, ReplicaWrite(SHARD, group.record(), truncate_from=3))
        assert await storage.read_segments(key_of("a")) == stored(first) + stored(second)
        assert await storage.head(key_of("a")) == head
        assert await storage.heads_with_open_work(SHARD) == [head]

    async def test_compacting_a_deletion_removes_the_log_for_good(self, storage: Storage) -> None:
        group = Group()
        write = group.write(group.segment("a"), Deletion(key_of("a")))
        await commit(storage, write, group.compacted(key_of("a")))
        held = (await storage.replicas())[SHARD]
        assert (held.heads, held.entries, held.base.position) == ({}, [], 2)
        assert await storage.read_segments(key_of("a")) == []
        again = group.append("a")
        await commit(storage, again)
        assert await storage.read_segments(key_of("a")) == stored(again)

    # ------------------------------------------------------------------------------------------------------ truncation

    async def test_truncation_cuts_entries_segments_and_heads(self, storage: Storage) -> None:
        group = Group()
        kept = group.write(group.segment("a", summary=b"kept"), group.segment("b"))
        await commit(storage, kept)
        head = await storage.head(key_of("a"))
        cut = group.write(group.segment("a", wake_ns=1), group.segment("c"), group.segment("a", open_work=True))
        await commit(storage, cut)
        await commit(storage, ReplicaWrite(SHARD, kept.record, truncate_from=3))
        assert (await storage.replicas())[SHARD].entries == list(kept.entries)
        assert await storage.read_segments(key_of("a")) == stored(kept)[:1]
        assert await storage.head(key_of("a")) == head
        assert await storage.head(key_of("c")) is None
        assert await storage.next_wake_ns([SHARD]) is None
        assert await storage.heads_with_open_work(SHARD) == []

    async def test_a_log_cut_back_to_the_base_is_undescribed(self, storage: Storage) -> None:
        group = Group()
        first = group.append("a", open_work=True)
        await commit(storage, first, group.compacted(key_of("a")))
        head = group.heads[key_of("a")]
        await commit(storage, group.append("a", 3), ReplicaWrite(SHARD, group.record(), truncate_from=2))
        assert await storage.head(key_of("a")) == undescribed(key_of("a"), head)
        assert await storage.undescribed_heads() == [undescribed(key_of("a"), head)]
        assert await storage.heads("worker", shards=[SHARD]) == []
        assert await storage.heads_with_open_work(SHARD) == []
        assert await storage.read_segments(key_of("a")) == stored(first)

    async def test_a_suffix_is_replaced_in_one_write(self, storage: Storage) -> None:
        group, rival = Group(), Group()
        for either in (group, rival):
            write = either.append("a")
        await commit(storage, write, group.write(group.segment("a", 2), group.segment("b"), NoOp()))
        rival.term = 2
        new = replace(rival.write(rival.segment("a", 7), rival.segment("c")), truncate_from=2)
        await commit(storage, new)
        assert await storage.read_segments(key_of("a")) == stored(write) + stored(new)[:1]
        assert [head.identity for head in await storage.heads("worker", shards=[SHARD])] == ["a", "c"]
        assert (await storage.replicas())[SHARD].entries == [*write.entries, *new.entries]

    # ------------------------------------------------------------------------------------------------------ compaction

    async def test_compaction_leaves_the_logs(self, storage: Storage) -> None:
        group = Group()
        before = group.write(group.segment("a", summary=b"s"), NoOp(), group.segment("b"))
        await commit(storage, before, group.compacted(key_of("a"), key_of("b")))
        heads = dict(group.heads)
        after = group.write(group.segment("a"))
        await commit(storage, after)
        held = (await storage.replicas())[SHARD]
        assert (held.base, held.heads, held.entries) == (group.base, heads, list(after.entries))
        assert await storage.read_segments(key_of("a")) == [stored(before)[0], stored(after)[0]]
        assert await pieces(storage, key_of("a")) == [plain(before)[0], plain(after)[0]]
        assert await pieces(storage, key_of("a"), position=3) == plain(before)[:1]
        assert await pieces(storage, key_of("a"), position=2) == []
        assert len(await storage.heads("worker", shards=[SHARD])) == 2

    async def test_milestones_outlive_compaction(self, storage: Storage) -> None:
        group = Group()
        configuration = Configuration((MEMBER,), (Member(bytes(32), bytes(16)),))
        election = Election(MEMBER, configuration, ((MEMBER, NODE.sign(b"vote")),))
        write = group.write(election, NoOp(), configuration, group.segment("a"))
        branch = Branch(b"b" * 16, MEMBER, 3, 4, b"h" * 32, NODE.public_key, NODE.sign(b"branch"))
        later = group.write(replace(configuration, learners=()), branch)
        await commit(storage, write, later, group.compacted(key_of("a")))
        expected = [write.entries[0], write.entries[2], *later.entries]
        assert await storage.milestones(SHARD) == expected
        assert await storage.milestones(SHARD + 1) == []
        group.term = 2
        cut = group.write(election)
        await commit(storage, cut)
        assert await storage.milestones(SHARD) == [*expected, *cut.entries]
        await commit(storage, ReplicaWrite(SHARD, group.record(), truncate_from=7))
        assert await storage.milestones(SHARD) == expected

    async def test_every_content_is_read_back(self, storage: Storage) -> None:
        group = Group()
        joint = Configuration((MEMBER,), (), (MEMBER, Member(b"k" * 32, b"s" * 16)))
        branch = Branch(b"b" * 16, MEMBER, 3, 4, b"h" * 32, NODE.public_key, NODE.sign(b"branch"))
        write = group.write(
            Election(MEMBER, joint, ((MEMBER, NODE.sign(b"vote")),)),
            group.segment("a", 2),
            joint,
            Deletion(key_of("a")),
            NoOp(),
            branch,
        )
        await commit(storage, write)
        assert (await storage.replicas())[SHARD].entries == list(write.entries)

    # --------------------------------------------------------------------------------- segments for others, and from them

    async def test_segments_for_another_node_are_bounded(self, storage: Storage) -> None:
        group = Group()
        write = group.write(*(group.segment("a", 10, payload=bytes(1000)) for _ in range(10)))
        await commit(storage, write)
        segments = plain(write)
        size = len(segments[0].data)
        assert await pieces(storage, key_of("a"), bytes_max=0) == segments[:1]
        assert await pieces(storage, key_of("a"), bytes_max=3 * size) == segments[:3]
        assert await pieces(storage, key_of("a"), bytes_max=4 * size - 1) == segments[:3]
        assert await pieces(storage, key_of("a"), first=15, tail=31) == segments[1:3]
        assert await pieces(storage, key_of("a"), first=11, tail=32) == segments[1:4]
        assert await pieces(storage, key_of("a"), first=101) == []
        assert await pieces(storage, key_of("a"), shard=SHARD + 1) == []
        assert await pieces(storage, key_of("b")) == []

    async def test_a_log_deleted_since_the_base_is_still_given_as_of_it(self, storage: Storage) -> None:
        group = Group()
        write = group.append("a")
        await commit(storage, write, group.compacted(key_of("a")), group.write(Deletion(key_of("a"))), group.append("a", 9))
        assert await pieces(storage, key_of("a"), position=1) == plain(write)

    async def test_what_was_fetched_becomes_a_base(self, storage: Storage) -> None:
        source, here = Group(), Group()
        for group in (source, here):
            common = group.write(group.segment("same"), group.segment("longer"), group.segment("forked"), group.segment("gone"))
        here.commit = 4
        await commit(storage, common, here.write(here.segment("forked", 3), here.segment("only here", open_work=True)))
        source.term = 2
        later = source.write(
            source.segment("longer", 2), source.segment("forked"), source.segment("new", 4), Deletion(key_of("gone"))
        )
        more = source.write(source.segment("new"))
        fetched = (*plain(later), *plain(more))
        source.compacted(base=replace(source.base, position=9, term=2, hash=source.hash))
        await commit(storage, ReplicaWrite(SHARD, here.record(), fetched=fetched[:2]))
        await commit(storage, ReplicaWrite(SHARD, here.record(), fetched=fetched[2:]))
        held = (await storage.replicas())[SHARD]
        assert held.staged == {
            key_of("longer"): [without_bytes(fetched[0])],
            key_of("forked"): [without_bytes(fetched[1])],
            key_of("new"): [without_bytes(segment) for segment in fetched[2:]],
        }
        assert await storage.head(key_of("new")) is None
        heads = tuple(sorted(source.heads.items()))
        install = ReplicaWrite(SHARD, source.record(), base=source.base, is_install=True, kept_position=4, heads=heads)
        await commit(storage, install)
        held = (await storage.replicas())[SHARD]
        assert (held.base, held.heads, held.entries, held.staged) == (source.base, source.heads, [], {})
        assert await storage.read_segments(key_of("same")) == stored(common)[:1]
        assert await storage.read_segments(key_of("longer")) == [stored(common)[1], stored(later)[0]._replace(position=9)]
        assert await storage.read_segments(key_of("forked")) == [stored(common)[2], stored(later)[1]._replace(position=9)]
        assert [segment.first for segment in await storage.read_segments(key_of("new"))] == [1, 5]
        for gone in ("only here", "gone"):
            assert await storage.head(key_of(gone)) is None
            assert await storage.read_segments(key_of(gone)) == []
        assert await pieces(storage, key_of("new"), position=9) == list(fetched[2:])
        unknown = [undescribed(key_of(name), source.heads[key_of(name)]) for name in ("longer", "forked", "new")]
        assert await storage.undescribed_heads() == sorted(unknown)
        assert [head.identity for head in await storage.heads("worker", shards=[SHARD])] == ["same"]
        assert await storage.heads_with_open_work(SHARD) == []

    async def test_a_base_over_logs_that_ended_and_began_again(self, storage: Storage) -> None:
        source, here = Group(), Group()
        for group in (source, here):
            first = group.write(group.segment("again", 5), group.segment("ended", 5))
            ends = group.write(Deletion(key_of("again")), Deletion(key_of("ended")))
            again = group.append("again", 2)
        here.commit = 5
        await commit(storage, first, ends, again, here.write(Deletion(key_of("again"))), here.append("again", 9))
        more = source.write(source.segment("again"), source.segment("ended"))
        base = replace(source.base, position=7, hash=source.hash)
        install = ReplicaWrite(
            SHARD, source.record(), base=base, is_install=True, kept_position=5, heads=tuple(source.heads.items())
        )
        await commit(storage, ReplicaWrite(SHARD, here.record(), fetched=tuple(plain(more))), install)
        assert await pieces(storage, key_of("again"), position=7) == [*plain(again), plain(more)[0]]
        assert await pieces(storage, key_of("ended"), position=7) == plain(more)[1:]
        last = source.write(source.segment("again", 3), source.segment("ended", 3))
        await commit(storage, last)
        assert await pieces(storage, key_of("again")) == [*plain(again), plain(more)[0], plain(last)[0]]
        assert await pieces(storage, key_of("ended")) == [plain(more)[1], plain(last)[1]]
        assert [segment.first for segment in await storage.read_segments(key_of("again"))] == [1, 3, 4]

    async def test_milestones_of_a_base_that_was_fetched(self, storage: Storage) -> None:
        source, here = Group(), Group()
        election = Election(MEMBER, Configuration((MEMBER,)), ((MEMBER, NODE.sign(b"vote")),))
        for group in (source, here):
            common = group.write(election, Configuration((MEMBER,)))
        here.commit = 2
        await commit(storage, common, here.write(Configuration((MEMBER,), (Member(bytes(32), bytes(16)),))))
        source.term = 2
        newer = source.write(election)
        base = replace(source.base, position=3, term=2, hash=source.hash, milestones=(common.entries[0], newer.entries[0]))
        await commit(storage, ReplicaWrite(SHARD, source.record(), base=base, is_install=True, kept_position=2))
        assert await storage.milestones(SHARD) == [*common.entries, *newer.entries]
        assert (await storage.replicas())[SHARD].base == base

    async def test_what_was_fetched_in_vain_is_dropped(self, storage: Storage) -> None:
        source = Group()
        wrong, right = source.segment("a"), Group().segment("a", 4)
        await commit(storage, ReplicaWrite(SHARD, source.record(), fetched=(wrong,)))
        await commit(storage, ReplicaWrite(SHARD, source.record(), refetch=(key_of("a"),), fetched=(right,)))
        assert (await storage.replicas())[SHARD].staged == {key_of("a"): [without_bytes(right)]}

    async def test_a_damaged_log_is_given_to_nobody_until_it_is_repaired(self, storage: Storage) -> None:
        group = Group()
        damaged = group.append("a", 2)
        await commit(storage, damaged, group.compacted(key_of("a")))
        after = group.append("a")
        await commit(storage, after)
        head = await storage.head(key_of("a"))
        await storage.mark_damaged(SHARD, key_of("a"))
        await storage.mark_damaged(SHARD, key_of("a"))
        assert (await storage.replicas())[SHARD].damaged_logs == (key_of("a"),)
        assert await pieces(storage, key_of("a")) == []
        whole = plain(damaged)[0]
        await commit(storage, ReplicaWrite(SHARD, group.record(), refetch=(key_of("a"),), fetched=(whole,)))
        await commit(storage, ReplicaWrite(SHARD, group.record(), repaired=(key_of("a"),)))
        held = (await storage.replicas())[SHARD]
        assert (held.damaged_logs, held.staged, held.entries) == ((), {}, list(after.entries))
        assert await pieces(storage, key_of("a")) == [whole, *plain(after)]
        assert await storage.head(key_of("a")) == head

    async def test_a_forgotten_replica_leaves_its_record(self, storage: Storage) -> None:
        group, other = Group(), Group(SHARD + 1)
        kept = other.append("other")
        await commit(storage, kept, group.write(group.segment("a", open_work=True), Configuration((MEMBER,))))
        await commit(storage, group.compacted(key_of("a")), group.write(group.segment("b", described=False)))
        await commit(storage, ReplicaWrite(SHARD, group.record(), fetched=(group.segment("c"),)))
        await storage.mark_damaged(SHARD, key_of("a"))
        record = ReplicaRecord(9, None, 0, (8, 7))
        await commit(storage, ReplicaWrite(SHARD, record, is_forgotten=True))
        held = (await storage.replicas())[SHARD]
        assert held.record == record
        assert (held.base.position, held.base.configuration) == (0, Configuration(()))
        assert (held.heads, held.entries, held.staged, held.damaged_logs) == ({}, [], {}, ())
        assert await storage.milestones(SHARD) == []
        assert await storage.undescribed_heads() == []
        assert await storage.heads("worker", shards=range(100)) == [head_of(plain(kept)[0], "other", shard=SHARD + 1)]
        again = Group().append("a")
        await commit(storage, again)
        assert await storage.read_segments(key_of("a")) == stored(again)

    # ----------------------------------------------------------------------------------------------------- descriptions

    async def test_a_description_that_says_nothing_of_this_log_is_none(self, storage: Storage) -> None:
        said = [
            b"",
            b"\xff",
            b"\x80",
            encode_description(Description("worker", "another", False, None, b"")),
            encode_description(Description("", "x", False, None, b"")),
            encode_description(Description("k" * 200, "x", False, None, b"")),
            encode_description(Description("worker", "x" * 100_000, False, None, b"")),
        ]
        for shard, description in enumerate(said):
            group = Group(shard)
            kind, identity = ("", "x") if shard == 4 else ("k" * 200, "x") if shard == 5 else ("worker", "x" * 100_000)
            segment = replace(group.segment(identity, kind=kind), description=description)
            log = segment.log if shard >= 4 else key_of(f"log {shard}")
            await commit(storage, group.write(replace(segment, log=log)))
            assert await storage.head(log) == undescribed(log, Head(2, segment.hash), shard), description[:20]
        assert len(await storage.undescribed_heads()) == len(said)

    async def test_an_undescribed_log_is_described_by_its_next_segment_or_by_a_reader(self, storage: Storage) -> None:
        group = Group()
        segments = [group.segment(name, described=False) for name in ("a", "b", "c")]
        await commit(storage, group.write(*segments))
        assert [head.key for head in await storage.undescribed_heads()] == sorted(segment.log for segment in segments)
        described = head_of(segments[1], "b", open_work=True, wake_ns=7, summary=b"read")
        newer = group.segment("a", summary=b"newer")
        await commit(storage, group.write(newer), Batch(heads=[described]))
        assert [head.key for head in await storage.undescribed_heads()] == [key_of("c")]
        assert await storage.heads("worker", shards=[SHARD]) == [head_of(newer, "a", summary=b"newer"), described]
        assert await storage.heads_with_open_work(SHARD) == [described]
        silent = group.segment("b", described=False)
        await commit(storage, group.write(silent))
        assert await storage.head(key_of("b")) == undescribed(key_of("b"), Head(3, silent.hash))
        assert await storage.next_wake_ns([SHARD]) is None

    async def test_a_head_is_rewritten_only_where_the_log_still_ends_there(self, storage: Storage) -> None:
        group = Group()
        old, new = group.segment("a"), group.segment("a", summary=b"new")
        await commit(storage, group.write(old, new))
        await commit(
            storage, Batch(heads=[head_of(old, "a", open_work=True), head_of(old, "nowhere")._replace(key=key_of("nowhere"))])
        )
        assert await storage.head(key_of("a")) == head_of(new, "a", summary=b"new")
        rewritten = head_of(new, "a", open_work=True, wake_ns=3, summary=b"rewritten")
        await commit(storage, Batch(heads=[rewritten._replace(head_hash=old.hash), rewritten]))
        assert await storage.head(key_of("a")) == rewritten
        newer = group.segment("a")
        await commit(storage, Batch([group.write(newer)], [rewritten, head_of(newer, "a", wake_ns=9)]))
        assert await storage.head(key_of("a")) == head_of(newer, "a", wake_ns=9)

    # -------------------------------------------------------------------------------------------------------- listings

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

    # --------------------------------------------------------------------------------------------------- blobs and meta

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

    # ------------------------------------------------------------------------------------------------ what is refused

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

    # ------------------------------------------------------------------------------------------------------------- end

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


def plain(write: ReplicaWrite) -> list[LogSegment]:
    """The segments among the entries of ``write``, as another node gets them."""
    return [replace(s, description=b"") for entry in write.entries if isinstance(s := entry.content, LogSegment)]


def without_bytes(segment: LogSegment) -> LogSegment:
    return replace(segment, data=b"", description=b"")


async def pieces(
    storage: Storage, log: Key, *, shard: int = SHARD, first: int = 1, tail: int = 1 << 62, position: int = 0,
    bytes_max: int = 1 << 30,
) -> list[LogSegment]:  # fmt: skip
    return await storage.replica_segments(shard, log, first=first, tail=tail, position=position, bytes_max=bytes_max)
