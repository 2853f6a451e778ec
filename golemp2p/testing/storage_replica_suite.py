"""What ``ReplicaWrite``s mean to every adapter of ``ports.Storage``, one step at a time; used beside ``StorageSuite``."""

from __future__ import annotations

from dataclasses import replace

from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import (
    Branch,
    Configuration,
    Deletion,
    Election,
    Head,
    Member,
    NoOp,
)
from golemp2p.ports import Batch, Storage
from golemp2p.testing.storage_kit import (
    MEMBER,
    NODE,
    SHARD,
    Group,
    OpenStorage,
    Writing,
    commit,
    head_of,
    key_of,
    pieces,
    plain,
    stored,
    undescribed,
    without_bytes,
)
from golemp2p.wire.description import Description, encode_description


class ReplicaSuite(OpenStorage):
    # ---------------------------------------------------------------------------------------------------------------- deletion

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

    # -------------------------------------------------------------------------------------------------------------- truncation

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

    # -------------------------------------------------------------------------------------------------------------- compaction

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
        later = group.write(replace(configuration, learners=()))
        await commit(storage, write, later, group.compacted(key_of("a")))
        expected = [write.entries[0], write.entries[2], later.entries[0]]
        assert await storage.milestones(SHARD) == expected
        assert await storage.milestones(SHARD + 1) == []
        group.term = 2
        cut = group.write(election)
        await commit(storage, cut)
        assert await storage.milestones(SHARD) == [*expected, *cut.entries]
        await commit(storage, ReplicaWrite(SHARD, group.record(), truncate_from=6))
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

    # -------------------------------------------------------------------------------------- segments for others, and from them

    async def test_segments_for_another_node_are_bounded(self, storage: Storage) -> None:
        group = Group()
        write = group.write(*(group.segment("a", 10, padding=bytes(1000)) for _ in range(10)))
        await commit(storage, write)
        segments = plain(write)
        size = len(segments[0].data)
        assert await pieces(storage, key_of("a"), bytes_max=0) == segments[:1]
        assert await pieces(storage, key_of("a"), bytes_max=3 * size) == segments[:3]
        assert await pieces(storage, key_of("a"), bytes_max=4 * size - 1) == segments[:3]
        assert await pieces(storage, key_of("a"), count_max=4) == segments[:4]
        assert await pieces(storage, key_of("a"), first=15, count_max=1) == segments[1:2]
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
        in_vain = without_bytes(vain := Group(term=9).segment("deleted meanwhile"))
        await commit(storage, ReplicaWrite(SHARD, here.record(), fetched=(*fetched[2:], replace(vain, description=b""))))
        held = (await storage.replicas())[SHARD]
        assert held.staged == {
            key_of("deleted meanwhile"): [in_vain],
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
        for gone in ("only here", "gone", "deleted meanwhile"):
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

    async def test_a_log_that_is_not_in_the_base_needs_no_repair(self, storage: Storage) -> None:
        group = Group()
        write = group.append("a")
        await commit(storage, write, ReplicaWrite(SHARD, group.record(), fetched=tuple(plain(write))))
        await storage.mark_damaged(SHARD, key_of("a"))
        await commit(storage, ReplicaWrite(SHARD, group.record(), repaired=(key_of("a"),)))
        held = (await storage.replicas())[SHARD]
        assert (held.damaged_logs, held.staged, held.entries) == ((), {}, list(write.entries))
        assert await pieces(storage, key_of("a")) == plain(write)

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

    # ------------------------------------------------------------------------------------------------------------ descriptions

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
