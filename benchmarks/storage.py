"""What a durable batch costs: commits and batches per second, batches per commit, CPU per batch.

    python benchmarks/storage.py [--folder DIR] [--seconds 1.5]

Closed loop: each of N committers, of a shard each, submits a batch (its replica's record and one entry: a segment of 300 bytes with a
description of some 350; what one invocation writes on every replica) and the next one when ``done`` came. Every 256 entries the shard's
log is compacted. ``CPU`` is of the whole process, both threads, so it contains the benchmark's own few microseconds. Control, in the
same run and folder: append 1 KiB to a file, fdatasync.

Then what a node pays at its start (reading all replicas), and for a base that it fetches from others.

Wall times need an idle machine; CPU columns and ratios are what to trust.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import trio

from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Base, Configuration, Entry, Head, LogSegment, Member, base_at_birth
from golemp2p.ports import Batch
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.testing.storage_kit import Group, commit
from golemp2p.wire.description import Description, encode_description

COMMITTERS = (1, 8, 64, 256)
LOGS = 8  # of each shard
COMPACTED_EVERY = 256
SEGMENT = os.urandom(300)
SUMMARY = os.urandom(300)
HASH = bytes(32)
NODE = Member(os.urandom(32), os.urandom(16))
VOTERS = Configuration((NODE, Member(os.urandom(32), os.urandom(16)), Member(os.urandom(32), os.urandom(16))))


class Row(NamedTuple):
    committers: int
    batches_per_s: float
    commits_per_s: float
    batches_per_commit: float
    cpu_us: float
    submit_us: float
    p50_ms: float
    p99_ms: float


class Shard:
    """Makes the writes of one replica; ``LOGS`` logs grow in turn."""

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._names = [f"{name}/{number}/{log}" for log in range(LOGS)]
        self._logs = [Key.of("worker", name) for name in self._names]
        self._heads = [Head(1, HASH)] * LOGS
        self._position = 0
        self._base: Base | None = base_at_birth(NODE)

    def write(self) -> ReplicaWrite:
        at = self._position
        base, heads = self._base, ()
        self._base = None
        if at and at % COMPACTED_EVERY == 0:
            base, heads = Base(at, 1, HASH, NODE.public_key, VOTERS, 1), tuple(zip(self._logs, self._heads, strict=True))
        self._position = position = at + 1
        place = position % LOGS
        log, head = self._logs[place], self._heads[place]
        own_hash = position.to_bytes(32, "big")
        said = encode_description(Description("worker", self._names[place], position % 2 == 1, None, SUMMARY))
        segment = LogSegment(log, 1, head.tail, 2, head.hash, NODE.public_key, own_hash, SEGMENT, said)
        self._heads[place] = Head(head.tail + 2, own_hash)
        entry = Entry(position, 1, HASH, NODE.public_key, segment, b"", own_hash)
        record = ReplicaRecord(1, NODE, at, (1, position), True)
        return ReplicaWrite(self._number, record, base=base, heads=heads, entries=(entry,))


class Committers:
    """``count`` closed loops, until ``deadline``."""

    def __init__(self, storage: SqliteStorage, name: str, count: int, seconds: float, *, first_shard: int) -> None:
        self._storage = storage
        self._running = count
        self._finished = trio.Event()
        self._deadline = time.perf_counter() + seconds
        self._shards = [Shard(first_shard + number, name) for number in range(count)]
        self.submit_s = 0.0
        self.latencies: list[float] = []

    async def run(self) -> None:
        for shard in self._shards:
            self._submit(shard)
        await self._finished.wait()

    def _submit(self, shard: Shard) -> None:
        batch = Batch([shard.write()])
        started = time.perf_counter()

        def done(error: Exception | None) -> None:
            if error is not None:
                raise error
            now = time.perf_counter()
            self.latencies.append(now - started)
            if now < self._deadline:
                self._submit(shard)
                return
            self._running -= 1
            if not self._running:
                self._finished.set()

        self._storage.submit(batch, done)
        self.submit_s += time.perf_counter() - started


async def measure(folder: Path, committers: int, seconds: float) -> Row:
    storage = await SqliteStorage.open(folder)
    await Committers(
        storage, "warm", committers, 0.2, first_shard=0
    ).run()  # statements, pages and caches are warm from here on
    before = storage.statistics()
    run = Committers(storage, "measured", committers, seconds, first_shard=committers)
    wall, cpu = time.perf_counter(), time.process_time()
    await run.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = storage.statistics()
    await storage.aclose()
    batches, commits = after["batches"] - before["batches"], after["commits"] - before["commits"]
    ordered = statistics.quantiles(run.latencies, n=100)
    return Row(
        committers, batches / wall, commits / wall, batches / commits, cpu / batches * 1e6, run.submit_s / batches * 1e6,
        ordered[49] * 1e3, ordered[98] * 1e3,
    )  # fmt: skip


class Milliseconds:
    """Wall time of a block, as ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        print(f"{(time.perf_counter() - self._started) * 1e3:10,.1f} ms  {self._name}")


async def measure_seldom(folder: Path, shards: int) -> None:
    """``shards`` replicas with 16 entries each at a start; one of them gets a base of 16 segments for each shard there is."""
    storage = await SqliteStorage.open(folder)
    groups = [Group(number) for number in range(shards)]
    await commit(storage, Batch([group.birth() for group in groups]))
    for group in groups:
        await commit(storage, group.write(*(group.segment(f"{group.shard}/{log % LOGS}") for log in range(16))))
    await storage.aclose()
    with Milliseconds("open"):
        storage = await SqliteStorage.open(folder)
    with Milliseconds(f"read {shards} replicas with 16 entries each"):
        await storage.replicas()
    source = Group(shards, term=2)
    segments = [source.segment(f"fetched/{log}", described=False) for log in range(shards) for _ in range(16)]
    record = source.record()
    with Milliseconds(f"keep {len(segments)} segments of {shards} logs that were fetched"):
        for start in range(0, len(segments), 256):
            await commit(storage, ReplicaWrite(shards, record, fetched=tuple(segments[start : start + 256])))
    base = Base(len(segments), 2, HASH, NODE.public_key, VOTERS, 1)
    heads = tuple(source.heads.items())
    with Milliseconds("install their base"):
        await commit(storage, ReplicaWrite(shards, record, base=base, is_install=True, heads=heads))
    with Milliseconds("compact all replicas"):
        await commit(storage, Batch([group.compacted(*group.heads) for group in groups]))
    await storage.aclose()


def control(folder: Path, seconds: float) -> tuple[float, float]:
    """Appends and fdatasyncs per second, CPU microseconds of each."""
    record = os.urandom(1024)
    descriptor = os.open(folder / "control", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        os.write(descriptor, record)
        os.fdatasync(descriptor)
        count += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    os.close(descriptor)
    return count / wall, cpu / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the durable storage.")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; default: the temporary folder")
    parser.add_argument("--seconds", type=float, default=1.5, help="per row")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="golemp2p-bench-", dir=arguments.folder))
    try:
        syncs_per_s, cpu_us = control(folder, arguments.seconds)
        print(f"load {os.getloadavg()[0]:.1f}; control: append 1 KiB + fdatasync {syncs_per_s:,.0f}/s, {cpu_us:.0f} us CPU\n")
        print("committers  batches/s  commits/s  of control  batches/commit  CPU us/batch  submit us  p50 ms  p99 ms")
        for committers in COMMITTERS:
            row = trio.run(measure, folder / str(committers), committers, arguments.seconds)
            print(
                f"{row.committers:10}  {row.batches_per_s:9,.0f}  {row.commits_per_s:9,.0f}"
                f"  {row.commits_per_s / syncs_per_s:10.2f}  {row.batches_per_commit:14.1f}  {row.cpu_us:12.1f}"
                f"  {row.submit_us:9.1f}  {row.p50_ms:6.2f}  {row.p99_ms:6.2f}"
            )
        print()
        trio.run(measure_seldom, folder / "seldom", 1024 if arguments.seconds >= 1 else 32)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
