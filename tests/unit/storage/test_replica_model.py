"""Both adapters against ``core.replica_durable``, which says what a ``ReplicaWrite`` means: the same random histories of two shards, in
random groups, must leave the same state, also after a restart."""

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replica_histories import History
from storage_leftovers import nothing_is_left_over

from golemp2p.core.replica_effects import ReadSegments
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Branch, Configuration, Election, Head
from golemp2p.ports import Batch, LogHead, Storage
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import Writing

SHARDS = (0, 1)
KINDS = (
    "append", "append", "append", "append", "truncate", "truncate", "commit", "compact", "compact", "fetch_in_vain", "install",
    "repair", "forget", "damage", "describe", "wait",
)  # fmt: skip
steps = st.lists(
    st.tuples(st.sampled_from(SHARDS), st.sampled_from(KINDS), st.integers(0, 1 << 16), st.booleans()), min_size=15, max_size=60
)


class Runner:
    """Writes what the histories write to every storage; ``joined`` writes share a batch."""

    def __init__(self, storages: list[Storage], histories: list[History]) -> None:
        self.storages, self.histories = storages, histories
        self._batch = Batch()
        self._writing = [Writing(storage) for storage in storages]
        for history in histories:
            self._add([history.birth], joined=True)

    async def step(self, shard: int, kind: str, dice: Random, *, joined: bool) -> None:
        history = self.histories[shard]
        if kind == "damage":
            await self._damage(history, dice)
        elif kind == "describe":
            await self._describe(history, dice)
        elif kind == "wait":
            await self.finish()
        else:
            self._add(history.step(kind, dice), joined=joined)

    def _add(self, writes: list[ReplicaWrite], *, joined: bool) -> None:
        self._batch.replicas.extend(writes)
        if not joined:
            self._submit()

    def _submit(self) -> None:
        for writing in self._writing:
            writing.submit(self._batch)
        self._batch = Batch()

    async def finish(self) -> None:
        self._submit()
        for writing in self._writing:
            assert set(await writing.finish()) == {None}

    async def _damage(self, history: History, dice: Random) -> None:
        await self.finish()
        log = history.damage(dice)
        if log is not None:
            for storage in self.storages:
                await storage.mark_damaged(history.shard, log)

    async def _describe(self, history: History, dice: Random) -> None:
        """Some heads right, some of a moment that is over."""
        await self.finish()
        for name in history.names():
            head = await self.storages[0].head(Key.of("worker", name))
            if head is not None and dice.random() < 0.7:
                said = head._replace(kind="worker", identity=name, has_open_work=True, wake_ns=dice.randint(1, 9))
                self._batch.heads.append(said if dice.random() < 0.8 else said._replace(tail=head.tail + 1))


async def check(storage: Storage, history: History) -> None:
    """What ``storage`` holds of the replica is what its writes mean."""
    held, meant = (await storage.replicas())[history.shard], history.durable
    assert held.record == meant.record
    assert held.base == meant.base
    assert held.heads == meant.heads
    assert held.entries == meant.entries
    ends = {
        log: (Head(part[0].first, part[0].previous_hash), Head(part[-1].first + part[-1].count, part[-1].hash))
        for log, part in held.staged.items()
    }
    assert ends == meant.staged_heads()
    assert held.damaged_logs == meant.damaged_logs
    seen = await storage.milestones(history.shard)
    newest = [entry for entry in meant.entries if isinstance(entry.content, Election | Configuration | Branch)]
    assert [entry for entry in seen if entry.position > meant.base.position] == newest
    for entry in meant.base.milestones:
        assert entry in seen
    for name, log in zip(history.names(), history.logs(), strict=True):
        await check_log(storage, history, name, log)


async def check_log(storage: Storage, history: History, name: str, log: Key) -> None:
    meant = history.durable
    segments = meant.read(log)
    assert [segment.data for segment in await storage.read_segments(log)] == [segment.data for segment in segments]
    head = await storage.head(log)
    if segments:
        assert head is not None
        assert (head.tail, head.head_hash) == (segments[-1].first + segments[-1].count, segments[-1].hash)
        assert (head.kind, head.identity) in (("worker", name), ("", ""))
        assert head.shard == history.shard
    else:
        assert head is None
    for position in {0, meant.base.position, meant.base.position + 1}:
        for first, tail in ((1, 1 << 40), (3, 6), (5, 1 << 40), (1, 2), (9, 9)):
            asked = ReadSegments(b"", history.shard, position, log, first, tail)
            found = await storage.replica_segments(
                history.shard, log, first=first, tail=tail, position=position, count_max=1 << 20, bytes_max=1 << 40
            )  # fmt: skip
            assert found == [replace(segment, description=b"") for segment in meant.read_for(asked)], asked


async def listings(storage: Storage) -> list[object]:
    def plain(heads: list[LogHead]) -> list[LogHead]:
        return sorted(heads, key=lambda head: head.key)

    return [
        await storage.heads("worker", shards=SHARDS),
        await storage.heads("worker", shards=[1], count=2),
        *[plain(await storage.heads_with_open_work(shard)) for shard in SHARDS],
        plain(await storage.heads_due(2, 100, SHARDS)),
        plain(await storage.heads_due(9, 100, [0])),
        await storage.next_wake_ns([1]),
        await storage.undescribed_heads(),
        *[await storage.milestones(shard) for shard in SHARDS],
    ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(work=steps)
def test_storage_does_what_a_replicas_writes_mean(work: list[tuple[int, str, int, bool]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            durable, naive = await SqliteStorage.open(Path(folder)), MemoryStorage()
            histories = [History(shard) for shard in SHARDS]
            runner = Runner([durable, naive], histories)
            for shard, kind, seed, joined in work:
                await runner.step(shard, kind, Random(seed), joined=joined)
            await runner.finish()
            for history in histories:
                await check(naive, history)
                await check(durable, history)
            expected = await listings(naive)
            assert await listings(durable) == expected
            await durable.aclose()
            again = await SqliteStorage.open(Path(folder))
            for history in histories:
                await check(again, history)
            assert await listings(again) == expected
            await again.aclose()
            nothing_is_left_over(Path(folder))

    trio.run(main)
