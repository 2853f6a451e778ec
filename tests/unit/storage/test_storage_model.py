"""SQLite against the naive adapter: the same random batches, in random groups, must leave the same state."""

import tempfile
from pathlib import Path
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golemp2p.ports import Batch, ShardRecord, Storage
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_suite import Writing, head_of, key_of, segment_of

NAMES = ["", "a", "a\x00", "ab", "é", "\ue000", "\U0001f41d"]
names = st.sampled_from(NAMES)
segments = st.builds(
    lambda name, place, count, data: segment_of(name, 1 + 4 * place, count=count, data=data),  # never overlapping
    names, st.integers(0, 3), st.integers(1, 4), st.binary(max_size=20),
)  # fmt: skip
heads = st.builds(
    lambda name, tail, open_work, wake_ns, summary: head_of(
        name, tail=tail, open_work=open_work, wake_ns=wake_ns, summary=summary
    ),
    names, st.integers(1, 9), st.booleans(), st.none() | st.integers(-5, 5), st.binary(max_size=9),
)  # fmt: skip
few = st.integers(0, 3)
shards = st.builds(ShardRecord, few, few, st.none() | st.binary(max_size=4), st.just(1), st.binary())
batches = st.builds(
    Batch,
    st.lists(names.map(key_of), max_size=2),
    st.lists(segments, max_size=4),
    st.lists(heads, max_size=4),
    st.lists(shards, max_size=2),
)
groups = st.lists(st.lists(batches, min_size=1, max_size=6), max_size=6)


async def state(storage: Storage, prefix: str, after: str, before_ns: int) -> list[Any]:
    return [
        [await storage.read_segments(key_of(name)) for name in NAMES],
        [await storage.read_segments(key_of(name), 6) for name in NAMES],
        [await storage.head(key_of(name)) for name in NAMES],
        await storage.heads("worker"),
        await storage.heads("worker", prefix=prefix, after=after, count=2),
        sorted(await storage.heads_with_open_work()),
        sorted(await storage.heads_due(before_ns, 100)),
        [head.wake_ns for head in await storage.heads_due(before_ns, 3)],
        await storage.next_wake_ns(),
        await storage.shards(),
    ]


async def outcomes(storage: Storage, work: list[list[Batch]]) -> list[list[bool]]:
    kept = []
    for group in work:
        writing = Writing(storage)
        for batch in group:
            writing.submit(batch)
        kept.append([error is None for error in await writing.finish()])
    return kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(work=groups, prefix=st.sampled_from(["", "a", "é", "\ue000"]), after=names, before_ns=st.integers(-6, 6))
def test_sqlite_is_the_naive_adapter_made_durable(work: list[list[Batch]], prefix: str, after: str, before_ns: int) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            durable, naive = await SqliteStorage.open(Path(folder)), MemoryStorage()
            assert await outcomes(durable, work) == await outcomes(naive, work)
            expected = await state(naive, prefix, after, before_ns)
            assert await state(durable, prefix, after, before_ns) == expected
            await durable.aclose()
            again = await SqliteStorage.open(Path(folder))
            assert await state(again, prefix, after, before_ns) == expected
            await again.aclose()

    trio.run(main)
