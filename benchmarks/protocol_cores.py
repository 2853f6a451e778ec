"""Figures of membership, placement and the DHT: ``python -m benchmarks.protocol_cores [--quick] [--large]``.

    detection      crash to verdict, first and last member; false suspicions and verdicts per node-hour, by loss
    placement      most loaded node / mean, replicas and primaries; share of replicas moved when one node comes or goes / ideal
    lookups        hops, questions, time, dead nodes among the results, share of the true 20 closest that were missed
    growth         rounds of messages until 1,024 empty shards have three voters

All times are virtual and every figure follows from its seed: an idle machine is not needed. One-way delays are 0.4 to 1.2 ms.
``--large`` adds 10,000 nodes to the lookups (minutes), and 16,384 shards over 1,000 nodes to the placement.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.small_world import detection, false_positives, key_of, record_of, walks
from golemp2p.core.membership_profile import LAN, MS, S
from golemp2p.core.placement import Place, targets
from golemp2p.core.planner import Planner, ProposeConfiguration, ShardView
from golemp2p.model.membership import Member, Status

HOUR_NS = 3600 * S


def row(*cells: object) -> None:
    print("  ".join(f"{cell:>9.3f}" if isinstance(cell, float) else f"{cell!s:>9}" for cell in cells), flush=True)


def show_detection(quick: bool) -> None:
    print("\ndetection, ms from crash; false suspicions and verdicts of any node about any other, per node and hour")
    row("nodes", "loss", "first p50", "first max", "all p50", "all max", "suspected", "dead")
    for count in (7, 50):
        for loss in (0.0, 0.01, 0.05):
            seeds = range(5 if quick or count > 7 else 40)
            found = [detection(seed, count, loss) for seed in seeds]
            watch_ns = (20 if quick else 120) * S * 7 // count
            seen = [false_positives(seed, count, loss, watch_ns) for seed in range(3)]
            node_hours = 3 * count * watch_ns / HOUR_NS
            first, last = sorted(f / MS for f, _ in found), sorted(each / MS for _, each in found)
            row(
                count, loss, statistics.median(first), first[-1], statistics.median(last), last[-1],
                sum(s for s, _ in seen) / node_hours, sum(d for _, d in seen) / node_hours,
            )  # fmt: skip


def moved(before: Iterable[tuple[bytes, ...]], after: Iterable[tuple[bytes, ...]]) -> tuple[int, int]:
    """(replicas, primaries) that are elsewhere in ``after``."""
    pairs = list(zip(before, after, strict=True))
    return sum(len(set(new) - set(old)) for old, new in pairs), sum(new[0] != old[0] for old, new in pairs)


def show_placement(sizes: Iterable[tuple[int, int]], samples: int) -> None:
    print("\nplacement: load max / mean (in brackets: the least possible), moves / ideal when one of n nodes leaves or joins")
    row("nodes", "shards", "replicas", "(least)", "primaries", "(least)", "moved", "handed")
    for count, shards in sizes:
        places = [Place(key_of(number)) for number in range(count)]
        whole = targets(places, shards).replicas
        held = Counter(key for keys in whole for key in keys)
        first = Counter(keys[0] for keys in whole)
        replicas = handed = 0
        leavers = [places[number * count // samples] for number in range(samples)]
        for leaver in leavers:
            without = targets([place for place in places if place is not leaver], shards).replicas
            some, others = moved(whole, without)
            replicas, handed = replicas + some, handed + others
        mean = 3 * shards / count
        row(
            count, shards, max(held.values()) / mean, -(-3 * shards // count) / mean,
            max(first.values()) * count / shards, -(-shards // count) * count / shards,
            replicas / sum(held[leaver.public_key] for leaver in leavers),
            handed / sum(first[leaver.public_key] for leaver in leavers),
        )  # fmt: skip


def show_lookups(sizes: Iterable[int], lookups: int) -> None:
    print("\nlookups after every node joined by one: k = 20, alpha = 3")
    row("nodes", "dead", "hops", "questions", "ms", "ms p99", "dead found", "missed")
    for count in sizes:
        for dead in (0.0, 0.2):
            figures = walks(1, count, dead, lookups)
            row(
                count, dead, figures.hops, figures.rpcs, figures.duration_ms, figures.duration_p99_ms,
                figures.dead_found, figures.missed,
            )  # fmt: skip


def show_growth() -> None:
    print("\ngrowth: rounds (propose, carry out) until all shards have three voters on three nodes")
    row("shards", "rounds")
    for shards in (1, 1024):
        planner = Planner(key_of(0), shards)
        planner.members_changed([Member(record_of(number), Status.ALIVE, 0) for number in range(3)], 0)
        views = {shard: ShardView(shard, (key_of(0),)) for shard in range(shards)}
        rounds = 0
        while any(len(view.voters) < 3 for view in views.values()):
            rounds += 1
            planner.shards_changed(views.values(), rounds * MS)
            for step in planner.on_time(rounds * MS):
                assert isinstance(step, ProposeConfiguration), "nothing is handed over while shards grow"
                caught_up = frozenset(step.learners)
                views[step.shard] = ShardView(step.shard, step.voters, step.learners, caught_up)
        row(shards, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples and no mesh of 1,000 in the lookups")
    parser.add_argument("--large", action="store_true", help="also 10,000 nodes and 16,384 shards: minutes")
    arguments = parser.parse_args()
    print(f"profile: {LAN}")
    show_detection(arguments.quick)
    sizes = [(10, 1024), (100, 1024), (1_000, 1024)]
    show_placement(sizes + ([(1_000, 16_384)] if arguments.large else []), 3 if arguments.quick else 10)
    show_growth()
    show_lookups([100] if arguments.quick else [100, 1_000, *([10_000] if arguments.large else [])], 200)


if __name__ == "__main__":
    main()
