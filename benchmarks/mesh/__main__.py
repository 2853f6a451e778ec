"""A mesh of real nodes on one machine: work, death and hand-over, joining, idling, lookups.

    python -m benchmarks.mesh [NAME ...] [--shards 1024] [--kills 50] [--quick] [--json FILE]

    load       invocations at 1, 8, 32 and 64 clients, three nodes with three replicas against a single node
    failover   kill -9 of the node that leads a worker, and planned hand-over, as a caller of another node sees them
    join       two empty nodes join a third: until all shards have three voters; without data and with
    idle       CPU of three nodes that hold ten thousand workers with nothing to do
    lookups    walks through the DHT of thirty nodes, by one more in this process

Every measurement stands beside a control of its own run, starts nodes of its own, and ends them itself.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from benchmarks.mesh import failover, idle, join, load, lookups
from benchmarks.report import Report, parser_of

MEASUREMENTS: dict[str, Callable[[Report, Namespace], None]] = {
    "load": load.run,
    "failover": failover.run,
    "join": join.run,
    "idle": idle.run,
    "lookups": lookups.run,
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which of them; all when none is given")
    parser.add_argument("--shards", type=int, default=1024, help="of every mesh but that of the lookups")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--mebibytes", type=int, default=64, help="oplogs of the mesh that is joined with data")
    parser.add_argument("--workers", type=int, default=10_000, help="idle ones")
    parser.add_argument("--nodes", type=int, default=30, help="in which is looked up")
    args = parser.parse_args()
    unknown = set(args.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    if args.quick:
        args.shards, args.kills, args.mebibytes, args.workers, args.nodes = 32, 2, 4, 100, 5
    report = Report("mesh", args.json)
    for name in args.names or MEASUREMENTS:
        MEASUREMENTS[name](report, args)
        report.save()


if __name__ == "__main__":
    main()
