"""How long a worker is away when the node that leads it dies, or is told to stop: seen by a caller of another node.

    kill       kill -9 ──> the same call, repeated with one key until it is answered
    hand-over  SIGTERM ──> the longest of the calls that follow one another meanwhile
    controls   the same calls while nobody dies; a single node that is killed and started again on its data

Between two kills the dead node is started again, and all nodes have heard of it, so that each kill meets a whole mesh. Each time it is
another worker, with a short oplog: replaying long ones is measured elsewhere (``cold_start``). Workers count: after every call they
must stand at exactly the number of calls that were answered.
"""

from __future__ import annotations

import threading
import time
import uuid
from argparse import Namespace
from statistics import median

from benchmarks.mesh.nodes import ADD, add_counter, running_mesh
from benchmarks.node import running_node, wasm
from benchmarks.report import Report, percentile
from golemp2p.testing.mesh_process import MeshProcess
from golemp2p.testing.node_process import NodeProcess, Refused

CALM_CALLS = 100
WARM_CALLS = 10
RESTARTS = 10
HAND_OVERS = 10
WATCH_S = 3.0
"""A hand-over is long over by then."""
AWAY_S_MAX = 60.0
PAUSE_S = 0.01
SETTLE_S = 1.0
"""After a restart: what the newcomer lacks reaches it within this."""


class Caller:
    """Adds one to ``worker`` again and again; ``answered`` counts."""

    def __init__(self, component: str, worker: str) -> None:
        self.component, self.worker = component, worker
        self.answered = 0

    def call(self, node: NodeProcess) -> float:
        """Seconds until it was answered, however often it had to be asked."""
        key, begin = uuid.uuid4().hex, time.monotonic()
        while True:
            try:
                value = node.invoke(self.component, self.worker, ADD, 1, key=key)
            except (OSError, Refused):
                if time.monotonic() - begin > AWAY_S_MAX:
                    raise SystemExit(f"the worker is away for more than {AWAY_S_MAX:g} s") from None
                time.sleep(PAUSE_S)
            else:
                self.answered += 1
                if value != self.answered:
                    raise SystemExit(f"after {self.answered} answered calls the worker stands at {value}")
                return time.monotonic() - begin


def wait_whole(mesh: MeshProcess) -> None:
    """Until every node holds every other alive, and every shard is led."""

    def is_whole() -> bool:
        try:
            alive = [node.request("GET", "/v1/mesh/status")["members"]["alive"] for node in mesh]
        except (OSError, Refused):
            return False
        return alive == [len(mesh)] * len(mesh)

    mesh.until(is_whole, "every node holds every other alive", AWAY_S_MAX)
    mesh.wait_led(timeout_s=AWAY_S_MAX)
    time.sleep(SETTLE_S)


def prepared(mesh: MeshProcess, component: str, name: str, number: int) -> tuple[Caller, NodeProcess, NodeProcess]:
    """A new worker that was called a few times, who leads it, and one of the others, in turns."""
    caller = Caller(component, f"{name}{number}")
    leader = mesh.leader(component, caller.worker)
    other = [node for node in mesh if node is not leader][number % 2]
    for _ in range(WARM_CALLS):
        caller.call(other)
    return caller, leader, other


def kill(mesh: MeshProcess, component: str, number: int) -> float:
    caller, leader, other = prepared(mesh, component, "killed", number)
    begin = time.monotonic()
    leader.kill()
    caller.call(other)
    away_s = time.monotonic() - begin
    leader.start()
    wait_whole(mesh)
    return away_s


def hand_over(mesh: MeshProcess, component: str, number: int) -> float:
    caller, leader, other = prepared(mesh, component, "handed", number)
    stopping = threading.Thread(target=leader.terminate)
    until = time.monotonic() + WATCH_S
    stopping.start()
    longest_s = 0.0
    while time.monotonic() < until:
        longest_s = max(longest_s, caller.call(other))
    stopping.join()
    leader.start()
    wait_whole(mesh)
    return longest_s


def restart_alone(report: Report, shards: int, count: int) -> list[float]:
    """The control: a single node that is killed and started again; until its worker has answered."""
    found = []
    with running_node(shards_count=str(shards)) as node:
        component = node.add_component("counter", wasm("counter"))
        for number in range(count):
            caller = Caller(component, f"alone{number}")
            for _ in range(WARM_CALLS):
                caller.call(node)
            begin = time.monotonic()
            node.kill()
            node.spawn()
            caller.call(node)
            found.append(time.monotonic() - begin)
    report.note(f"{count} restarts of a single node done")
    return found


def row(name: str, seconds: list[float], aims: str) -> list[str | int | float]:
    ordered = [second * 1e3 for second in sorted(seconds)]
    return [name, len(ordered), median(ordered), percentile(ordered, 0.9), percentile(ordered, 0.99), ordered[-1], aims]


def run(report: Report, args: Namespace) -> None:
    hand_overs, restarts = (1, 1) if args.quick else (HAND_OVERS, RESTARTS)
    alone = restart_alone(report, args.shards, restarts)
    with running_mesh(3, shards=args.shards) as mesh:
        mesh.wait_spread()
        component = add_counter(mesh)
        caller, _, other = prepared(mesh, component, "calm", 0)
        calm = [caller.call(other) for _ in range(CALM_CALLS)]
        kills = []
        for number in range(args.kills):
            kills.append(kill(mesh, component, number))
            if number % 10 == 9:
                report.note(f"{number + 1} kills, the last {kills[-1] * 1e3:.0f} ms")
        planned = [hand_over(mesh, component, number) for number in range(hand_overs)]
    report.table(
        f"Until a worker answers again, {args.shards:,} shards, ms; every call done once",
        ("", "times", "median", "p90", "p99", "max", "aim"),
        [
            row("control: nobody dies, another node asked", calm, ""),
            row("control: a single node, killed and restarted", alone, ""),
            row("kill -9 of the leader", kills, "median 1,500, p99 3,000"),
            row("hand-over, longest call meanwhile", planned, "150"),
        ],
    )
