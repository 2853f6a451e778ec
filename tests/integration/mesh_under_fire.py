"""A mesh of real nodes under fire, and its history judged afterwards.

Clients add to counters and read them through random nodes, with idempotency keys, and retry until they are answered; some additions
take their time, and sleep in the middle. Meanwhile nodes are killed and frozen, links cut and slowed, a disk fills up. In the end
everything heals, and then holds:

    every request is answered                 each worker's answers have an order, within their real times, that a counter explains
    no acknowledged addition is lost          a key that is used again gives the answer that it gave before
    none was done twice                       every oplog has one invocation per key, and is the same through any node
    no node ended by itself                   every store passes `golemp2p storage verify`, histories `golemp2p worker verify`

    python tests/integration/mesh_under_fire.py --minutes 10 --clients 8     (``make torture``)

Where it is permitted links are cut, in network namespaces, and a disk is filled, a tmpfs of its own; else only processes suffer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golemp2p.testing.mesh_process import MeshProcess
from golemp2p.testing.namespaces import Namespaces, NotPermitted
from golemp2p.testing.node_process import COMMAND, NodeProcess, Refused
from golemp2p_sim.checkers.linearizability import Verdict, check_worker
from golemp2p_sim.history import History

WORKERS = 6
ATTEMPT_TIMEOUT_S = 2.0
RETRY_PAUSE_S = 0.05
HEAL_S = 60.0
"""Once everything has healed, what is still open is answered within this."""

RETRIED = frozenset((503, 507))
DISK_BYTES = 256 << 20
SUFFERING_MAX = 2
"""Of five nodes, those that something is done to at one time: some shards lose their majority for a while."""


# -------------------------------------------------------------------------------------------------------------- clients


class Client(threading.Thread):
    """One operation after another, each retried until it is answered."""

    def __init__(self, number: int, mesh: MeshProcess, component: str, judge: Judge, dice: random.Random) -> None:
        super().__init__(name=f"c{number}")
        self.is_told_to_stop = threading.Event()
        self.is_given_up = threading.Event()
        self.attempts = self.slowest_ns = 0
        self.open: list[str] = []
        self.slowest: list[str] = []
        """Each try of the operation that took longest."""
        self._mesh, self._component, self._judge, self._dice = mesh, component, judge, dice

    def run(self) -> None:
        number = 0
        while not self.is_told_to_stop.is_set():
            worker = f"w{self._dice.randrange(WORKERS)}"
            operation = self._dice.choices((("get",), ("add", 1), ("work", self._dice.randrange(20, 800))), (25, 65, 10))[0]
            self._until_answered(f"{self.name}-{number}", worker, operation)
            number += 1

    def _until_answered(self, key: str, worker: str, operation: tuple[Any, ...]) -> None:
        began = time.monotonic_ns()
        self.open = [f"{key}: {operation} of {worker}"]
        self._judge.invoked(key, worker, operation, began)
        while not self.is_given_up.is_set():
            node = self._dice.choice(self._mesh.nodes)
            self.attempts += 1
            tried = time.monotonic()
            try:
                result = node.invoke(self._component, worker, *operation, key=key, timeout_s=ATTEMPT_TIMEOUT_S)
            except Refused as refused:
                outcome = f"{refused.status} {refused.body.get('code')}: {refused.body.get('message')}"
                if refused.status not in RETRIED:
                    self._judge.problem(f"{key} at {node.name}: {refused}")
            except OSError as error:
                outcome = repr(error)
            else:
                self._answered(key, result, began)
                return
            self.open.append(f"{said(tried)} {node.name}, {time.monotonic() - tried:.2f} s: {outcome}")
            time.sleep(RETRY_PAUSE_S)  # the pace of a client's retries, not a wait for a condition

    def _answered(self, key: str, result: Any, began: int) -> None:
        ended = time.monotonic_ns()
        self._judge.answered(key, result, ended)
        if ended - began > self.slowest_ns:
            self.slowest_ns, self.slowest = ended - began, [*self.open, f"{said(ended / 1e9)} answered"]
        self.open = []


def said(monotonic_s: float) -> str:
    """A moment of the monotonic clock as the logs of the nodes have it."""
    moment = time.time() - time.monotonic() + monotonic_s
    return time.strftime("%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03}"


class Judge:
    """What clients saw. Times are of this machine's monotonic clock, nanoseconds."""

    def __init__(self) -> None:
        self.history = History()
        self.problems: list[str] = []
        self._lock = threading.Lock()

    def invoked(self, key: str, worker: str, operation: tuple[Any, ...], time_ns: int) -> None:
        with self._lock:
            self.history.invoke(key, worker, operation, time_ns)

    def answered(self, key: str, result: Any, time_ns: int) -> None:
        with self._lock:
            wrong = self.history.complete(key, result, time_ns)
            if wrong:
                self.problems.append(wrong)

    def problem(self, text: str) -> None:
        with self._lock:
            if len(self.problems) < 100:
                self.problems.append(text)

    def check_answers(self) -> None:
        for worker, operations in self.history.by_worker().items():
            unanswered = [one.key for one in operations if one.returned_ns is None]
            if unanswered:
                self.problem(f"{worker}: never answered: {unanswered[:5]}")
            values = sorted(one.result for one in operations if one.operation[0] != "get" and one.returned_ns is not None)
            if values != list(range(1, len(values) + 1)):
                odd = [value for value, times in Counter(values).items() if times > 1] or "a gap"
                self.problem(f"{worker}: additions answered the same value twice, or left one out: {odd}")
            verdict = check_worker(operations, 0, _count)
            if verdict is not Verdict.OK:
                self.problem(f"{worker}: {len(operations)} operations are {verdict.value}")

    def check_repeats(self, mesh: MeshProcess, component: str, dice: random.Random) -> None:
        """Old keys, used again at random nodes."""
        for worker, operations in self.history.by_worker().items():
            for one in dice.sample(operations, min(5, len(operations))):
                again = dice.choice(mesh.nodes).invoke(component, worker, *one.operation, key=one.key)
                if again != one.result:
                    self.problem(f"{one.key} of {worker} was answered {one.result}, and later {again}")

    def check_oplogs(self, mesh: MeshProcess, component: str, dice: random.Random) -> None:
        for worker, operations in self.history.by_worker().items():
            one, other = (node.oplog(component, worker) for node in dice.sample(mesh.nodes, 2))
            if one != other:
                self.problem(f"{worker}: two nodes show different oplogs")
            keys = [item["entry"]["idempotencyKey"] for item in one if item["entry"]["type"] == "ExportedFunctionInvoked"]
            if sorted(keys) != sorted(done.key for done in operations):
                odd = Counter(keys) - Counter(done.key for done in operations)
                self.problem(f"{worker}: {len(keys)} invocations in its oplog for {len(operations)} keys; too many: {odd}")
            said = Counter(item["entry"]["message"] for item in one if item["entry"]["type"] == "Log")
            works = sum(done.operation[0] == "work" for done in operations)
            if (said["began"], said["ended"]) != (works, works):
                self.problem(f"{worker}: {works} works have logged {said}")


def _count(state: int, operation: tuple[Any, ...]) -> tuple[int, int]:
    after = state + (operation[0] != "get")
    return after, after


# --------------------------------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class Fault:
    """``begin`` hurts nodes; ``end`` undoes it."""

    name: str
    nodes: tuple[int, ...]
    begin: Callable[[], None]
    end: Callable[[], None]


class Faults:
    """``network``: where links can be cut; ``disk``: (number of the node, its tmpfs), which can be filled."""

    def __init__(
        self, mesh: MeshProcess, dice: random.Random, *, network: Namespaces | None = None, disk: tuple[int, Path] | None = None
    ) -> None:
        self._mesh, self._dice = mesh, dice
        self._network, self._disk = network, disk
        self.counts: Counter[str] = Counter()
        self.told: list[str] = []
        kinds: list[Callable[[], Fault]] = [self._killing, self._freezing]
        if network is not None:
            kinds += [self._cutting_off, self._cutting_one_way, *([self._slowing] if network.slowing else [])]
        if disk is not None:
            kinds.append(self._filling)
        self._kinds = kinds

    def run(self, seconds: float, suffering_max: int, pause_s: tuple[float, float], hold_s: tuple[float, float]) -> None:
        """Hurt nodes and heal them for so long; everything has healed in the end."""
        end = time.monotonic() + seconds
        suffering: list[tuple[float, Fault]] = []
        try:
            while time.monotonic() < end:
                for due in [one for one in suffering if one[0] <= time.monotonic()]:
                    suffering.remove(due)
                    self._end(due[1])
                hurt = {number for _, fault in suffering for number in fault.nodes}
                fault = self._dice.choice(self._kinds)()
                if not hurt & set(fault.nodes) and len(hurt) + len(fault.nodes) <= suffering_max:
                    self._check_alive()
                    fault.begin()
                    self.told.append(f"{said(time.monotonic())} {fault.name}: {fault.nodes}")
                    self.counts[fault.name] += 1
                    suffering.append((time.monotonic() + self._dice.uniform(*hold_s), fault))
                time.sleep(self._dice.uniform(*pause_s))  # the tempo of the fire
        finally:
            for _, fault in suffering:
                self._end(fault)
        self._check_alive()

    def _end(self, fault: Fault) -> None:
        fault.end()
        self.told.append(f"{said(time.monotonic())} no more {fault.name}: {fault.nodes}")

    def _check_alive(self) -> None:
        for node in self._mesh:
            if node.is_lost:
                raise AssertionError(f"{node.name} ended by itself\n{self._mesh.logs(40)}")

    def _one(self) -> tuple[int, NodeProcess]:
        number = self._dice.randrange(len(self._mesh))
        return number, self._mesh[number]

    def _killing(self) -> Fault:
        number, node = self._one()
        return Fault("killed", (number,), node.kill, node.spawn)

    def _freezing(self) -> Fault:
        number, node = self._one()
        return Fault("frozen", (number,), node.freeze, node.thaw)

    def _cutting_off(self) -> Fault:
        """One node from all the others."""
        number = self._dice.randrange(len(self._mesh))
        others = [other for other in range(len(self._mesh)) if other != number]
        links = [(number, other) for other in others] + [(other, number) for other in others]
        return Fault("cut off", (number,), *self._links(links))

    def _cutting_one_way(self) -> Fault:
        """Two nodes: one hears the other no more."""
        sender, receiver = self._dice.sample(range(len(self._mesh)), 2)
        return Fault("deaf", (sender, receiver), *self._links([(sender, receiver)]))

    def _links(self, links: Sequence[tuple[int, int]]) -> tuple[Callable[[], None], Callable[[], None]]:
        network = self._network
        assert network is not None

        def begin() -> None:
            for sender, receiver in links:
                network.cut(sender, receiver)

        def end() -> None:
            for sender, receiver in links:
                network.mend(sender, receiver)

        return begin, end

    def _slowing(self) -> Fault:
        number, network = self._dice.randrange(len(self._mesh)), self._network
        assert network is not None
        return Fault(
            "slow", (number,), lambda: network.slow(number, self._dice.choice((20, 80, 200))), lambda: network.hurry(number)
        )

    def _filling(self) -> Fault:
        assert self._disk is not None
        number, folder = self._disk
        ballast = folder / "ballast"
        return Fault("disk full", (number,), lambda: fill(ballast), ballast.unlink)


def fill(file: Path) -> None:
    """Until the disk has nothing more to give."""
    with file.open("wb") as out:
        size = 0
        for step in (16 << 20, 1 << 20, 4096):
            while True:
                try:
                    os.posix_fallocate(out.fileno(), size, step)
                except OSError:
                    break
                size += step


@contextmanager
def small_disk() -> Iterator[Path]:
    """A tmpfs of its own. Raises ``NotPermitted``."""
    if os.geteuid() != 0:
        raise NotPermitted("only root may mount a tmpfs, which is a disk that can be filled")
    folder = Path(tempfile.mkdtemp(prefix="golemp2p-disk-"))
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            raise NotPermitted(f"this machine does not let us mount a tmpfs: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


# ------------------------------------------------------------------------------------------------------------------ run


def run(
    folder: Path, wasm: Path, *, seconds: float, clients: int, seed: int, nodes: int = 5, network: Namespaces | None = None,
    disk: Path | None = None,
    suffering_max: int = SUFFERING_MAX, pause_s: tuple[float, float] = (0.3, 1.5), hold_s: tuple[float, float] = (0.5, 4.0),
) -> dict[str, Any]:  # fmt: skip
    """Returns counts for a report; raises ``AssertionError`` when a promise is broken."""
    dice = random.Random(seed)
    mesh = MeshProcess(folder, nodes, places=network.places if network else (), workers_suspend_after_s="0.5")
    if disk is not None:
        mesh[nodes - 1].data_dir = disk / "data"
    try:
        mesh.start()
        component = mesh[0].add_component("errand", wasm)
        judge = Judge()
        threads = [Client(number, mesh, component, judge, random.Random(dice.random())) for number in range(clients)]
        for thread in threads:
            thread.start()
        faults = Faults(mesh, dice, network=network, disk=None if disk is None else (nodes - 1, disk))
        try:
            faults.run(seconds, suffering_max, pause_s, hold_s)
            report = _heal(mesh, threads)
        finally:
            for thread in threads:
                thread.is_told_to_stop.set()
                thread.is_given_up.set()
            for thread in threads:
                thread.join(2 * ATTEMPT_TIMEOUT_S)
        judge.check_answers()
        assert not judge.problems, "\n".join([*judge.problems, mesh.logs()])
        judge.check_repeats(mesh, component, dice)
        judge.check_oplogs(mesh, component, dice)
        _check_histories(mesh, judge, dice)
        _check_ends(mesh, judge)
        assert not judge.problems, "\n".join([*judge.problems, mesh.logs()])
        slowest = max(threads, key=lambda thread: thread.slowest_ns)
        return {
            "answered": len(judge.history.operations),
            "attempts": sum(thread.attempts for thread in threads),
            "slowest_s": round(slowest.slowest_ns / 1e9, 2),
            **report,
            **dict(sorted(faults.counts.items())),
            "told": [*faults.told, "the slowest operation", *slowest.slowest],
        }
    finally:
        mesh.kill()


def _heal(mesh: MeshProcess, threads: Sequence[Client]) -> dict[str, Any]:
    """Everything is answered soon, now that nothing hurts any more."""
    for thread in threads:
        thread.is_told_to_stop.set()
    for node in mesh:
        node.wait_ready()
    began = time.monotonic()
    for thread in threads:
        thread.join(max(0.0, HEAL_S - (time.monotonic() - began)))
    waiting = [line for thread in threads if thread.is_alive() for line in (*thread.open[:1], *thread.open[-5:])]
    assert not waiting, "\n".join([f"not answered within {HEAL_S} s after everything healed:", *waiting, mesh.logs(40)])
    answered_s = time.monotonic() - began
    mesh.wait_led(timeout_s=HEAL_S)
    mesh.wait_whole(timeout_s=HEAL_S)
    return {"healed_s": round(time.monotonic() - began, 2), "all_answered_s": round(answered_s, 2)}


def _check_histories(mesh: MeshProcess, judge: Judge, dice: random.Random) -> None:
    """Of some workers: who led them was elected, and what they say they did they do again."""
    for worker in dice.sample(sorted(judge.history.by_worker()), 2):
        node = dice.choice(mesh.nodes)
        asking = node.place.command([str(COMMAND), "worker", "verify", f"errand/{worker}"])
        environment = {**os.environ, "GOLEMP2P_URL": node.url}
        done = subprocess.run(asking, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            judge.problem(f"{worker} at {node.name}: worker verify ends with {done.returncode}: {done.stdout}{done.stderr}")


def _check_ends(mesh: MeshProcess, judge: Judge) -> None:
    """Every node stops when it is told to, has logged no error of ours, and leaves a store behind that is whole."""
    for node in mesh:
        status = node.terminate()
        if status != 0:
            judge.problem(f"{node.name} ended with {status}")
        for line in re.findall(r"^Traceback.*|^.* critical .*|^.*request_failed.*", node.log_path.read_text(), re.MULTILINE)[
            :3
        ]:
            judge.problem(f"{node.name} logged: {line}")
        command = [COMMAND, "storage", "verify", "--data-dir", node.data_dir, "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or json.loads(done.stdout)["damages_count"]:
            judge.problem(f"{node.name}: storage verify: {done.stdout}{done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--wasm", type=Path, default=Path("examples/build/errand.wasm"))
    parser.add_argument("--keep", type=Path, help="leave data and logs of the nodes in this empty directory")
    parser.add_argument("--processes-only", action="store_true", help="kill and freeze, no more")
    parser.add_argument("--verbose", action="store_true", help="tell what was done when, and how the slowest operation went")
    options = parser.parse_args()
    print(
        f"a mesh under fire: seed {options.seed}, {options.nodes} nodes, {options.minutes:g} minutes, {options.clients} clients"
    )
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        network = disk = None
        if not options.processes_only:
            try:
                network = Namespaces(options.nodes)
                stack.callback(network.close)
            except NotPermitted as reason:
                print(f"no link is cut or slowed: {reason}")
            else:
                print(f"links are cut, and slowed by {network.slowing or 'nothing: this kernel cannot'}")
            try:
                disk = stack.enter_context(small_disk())
            except NotPermitted as reason:
                print(f"no disk is filled: {reason}")
        report = run(
            folder, options.wasm, seconds=60 * options.minutes, clients=options.clients, seed=options.seed, nodes=options.nodes,
            network=network, disk=disk,
        )  # fmt: skip
    told = report.pop("told")
    if options.verbose:
        print("\n".join(told))
    print(f"passed: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
