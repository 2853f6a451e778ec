"""kill -9 under load: the promise of the whole system, tried on a real node.

Clients increment counters over HTTP with idempotency keys and retry until they get an answer. The node is killed at random moments
and started again. In the end every acknowledged increment is there exactly once, and every counter equals its number of keys.

    python tests/integration/kill_under_load.py --kills 200 --clients 8     (``make torture``)
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from golemp2p.testing.node_process import NodeProcess, Refused

WORKERS = 4
RETRY_PAUSE_S = 0.02


class Client(threading.Thread):
    """Increments workers in turn until told to stop; the last increment is retried until it is acknowledged."""

    def __init__(self, node: NodeProcess, component: str, name: str, function: str) -> None:
        super().__init__(name=name)
        self.acknowledged: dict[str, int] = {}  # key -> value returned
        self.worker_of: dict[str, str] = {}
        self.stop = threading.Event()
        self.problem: str | None = None
        self._node, self._component, self._function = node, component, function

    def run(self) -> None:
        number = 0
        while not self.stop.is_set() and self.problem is None:
            worker = f"w{number % WORKERS}"
            key = f"{self.name}-{number}"
            self.worker_of[key] = worker
            self._until_acknowledged(worker, key)
            number += 1

    def _until_acknowledged(self, worker: str, key: str) -> None:
        while True:
            try:
                value = self._node.invoke(self._component, worker, self._function, 1, key=key)
            except Refused as refused:
                if refused.status != 503:
                    self.problem = f"{key}: {refused}"
                    return
            except OSError:
                pass
            else:
                self.acknowledged[key] = value
                return
            time.sleep(RETRY_PAUSE_S)  # the node is down: this is the pace of a client's retries, not a wait for a condition


def run(node: NodeProcess, wasm: Path, *, kills: int, clients: int, seed: int, pause_s: tuple[float, float]) -> dict[str, int]:
    """Returns counts for a report; raises ``AssertionError`` when the promise is broken."""
    dice = random.Random(seed)
    node.start()
    component = node.add_component("counter", wasm)
    threads = [Client(node, component, f"c{n}", "add") for n in range(clients)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(dice.uniform(*pause_s))
        node.kill()
        node.start()
    for thread in threads:
        thread.stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), f"{thread.name} got no answer within a minute"
        assert thread.problem is None, thread.problem
    return _check(node, component, threads)


def _check(node: NodeProcess, component: str, threads: list[Client]) -> dict[str, int]:
    acknowledged = 0
    for number in range(WORKERS):
        worker = f"w{number}"
        keys = [key for t in threads for key in t.acknowledged if t.worker_of[key] == worker]
        values = sorted(t.acknowledged[key] for t in threads for key in t.acknowledged if t.worker_of[key] == worker)
        final = node.invoke(component, worker, "get")
        assert final == len(keys), f"{worker} stands at {final} after {len(keys)} acknowledged increments"
        assert values == list(range(1, len(keys) + 1)), f"{worker} answered the same value twice, or left one out"
        for thread in threads:  # a repeated key gets the recorded answer, also after all these deaths
            mine = [key for key in thread.acknowledged if thread.worker_of[key] == worker][-3:]
            for key in mine:
                assert node.invoke(component, worker, "add", 1, key=key) == thread.acknowledged[key], key
        acknowledged += len(keys)
    return {"acknowledged": acknowledged, "workers": WORKERS, "clients": len(threads)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--wasm", type=Path, default=Path("examples/build/counter.wasm"))
    options = parser.parse_args()
    print(f"kill -9 under load: seed {options.seed}, {options.kills} kills, {options.clients} clients")
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(Path(folder) / "data")
        try:
            report = run(
                node, options.wasm, kills=options.kills, clients=options.clients, seed=options.seed, pause_s=(0.05, 1.0)
            )
        finally:
            node.kill()
    print(f"passed: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
