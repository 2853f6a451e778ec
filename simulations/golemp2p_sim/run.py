"""Run one case: build the world, let the faults play while the judges watch, heal, demand progress, ask the judges again."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from pathlib import Path

from golemp2p_sim.atlas import Atlas
from golemp2p_sim.case import Case, FaultSpan, Result
from golemp2p_sim.checkers import Checker, End
from golemp2p_sim.checkers.agreement import AnsweredIsCommitted, OneEntryPerPosition, OnePrimaryPerTerm
from golemp2p_sim.checkers.ends import BoundedQueues, Convergence, Progress, divergence
from golemp2p_sim.checkers.linearizability import Linearizability
from golemp2p_sim.checkers.logs import Logs
from golemp2p_sim.checkers.memory import Memory
from golemp2p_sim.checkers.once import ExactlyOnce
from golemp2p_sim.checkers.quorums import Quorums
from golemp2p_sim.checkers.votes import Votes
from golemp2p_sim.history import History
from golemp2p_sim.injector import Injector
from golemp2p_sim.node import Answered, Invoked
from golemp2p_sim.profiles import PROFILES
from golemp2p_sim.stopwatch import Stopwatch, shards_by_node
from golemp2p_sim.subjects import make_subject
from golemp2p_sim.units import MS, S
from golemp2p_sim.workload import Clients, Wish
from golemp2p_sim.world import World

SETTLE_STEP_NS = 200 * MS
"""How often a healed world is asked whether it is quiet."""
PROBE_CLIENT = 1 << 20
QUIET_AFTER_STOP_NS = 10 * S
"""Beyond the promise: how long a healed world runs on without anything being demanded but safety."""


class Run:
    """One case under way; ``extra`` judges join the standing ones. Without ``rules``, only outcomes are judged: what was committed,
    answered and served; not what each replica did for it."""

    def __init__(self, case: Case, *, keep_lines: bool = False, extra: Sequence[Checker] = (), rules: bool = True) -> None:
        self.case = case
        nodes = case.options.nodes
        subject = make_subject(case.subject, nodes, case.mutation, dict(case.parameters))
        self.world = World(case.seed, subject, case.options, births=case.births, keep_lines=keep_lines)
        self.profile = PROFILES[case.profile]
        self.atlas = Atlas(subject, harm=self.profile.harm, away=self.profile.away, groups=self.world.groups)
        self.history = History()
        self.positions, self.primaries = OneEntryPerPosition(), OnePrimaryPerTerm()
        self.queues, self.orders = BoundedQueues(), Linearizability()
        votes = Votes()
        inside: list[Checker] = [votes, Logs(votes), Quorums(), Memory()]
        self.checkers: list[Checker] = [
            self.positions, ExactlyOnce(), AnsweredIsCommitted(self.positions), self.queues, self.orders,
            Progress(), Convergence(), self.primaries, *(inside if rules else ()), *extra,
        ]  # fmt: skip
        for checker in self.checkers:
            checker.watch(self.world)
        self._calls: dict[str, None] = {}
        self.world.watch(Invoked, self._invoked)
        self.world.watch(Answered, self._answered)
        self.clients = Clients(self.world, self.history, case.wishes)
        self.injector = Injector(self.world, self.atlas, case.faults)
        self.stopwatch = Stopwatch(self.world)
        self.injector.told.append(self.stopwatch.on_fault)

    def _invoked(self, time_ns: int, _node: int, seen: Invoked) -> None:
        self._calls[seen.key] = None
        self.history.invoke(seen.key, seen.worker, seen.operation, time_ns)

    def _answered(self, time_ns: int, _node: int, seen: Answered) -> None:
        if seen.key in self._calls:
            self.history.complete(seen.key, seen.result, time_ns)

    def play(self) -> Result:
        world, case = self.world, self.case
        recovered_ns = -1
        try:
            world.start_all()
            world.run_until(case.duration_ns)
            if not world.violations:
                self.injector.heal()
                recovered_ns = self._recover()
        except Exception as error:  # noqa: BLE001 - a core that raises is a finding, with seed and trace like any other
            place = traceback.extract_tb(error.__traceback__)[-1]
            world.violate("nothing-raises", f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
        end = End(world, self.history, self.clients, self.atlas, progress=self.profile.progress)
        for checker in self.checkers:
            if not world.violations:
                checker.finish(end)
        return self._result(recovered_ns)

    def _recover(self) -> int:
        """Healed: run until all is answered and equal, or the deadline passes. Returns how long it took."""
        world, case = self.world, self.case
        healed_ns = world.now
        if not self.profile.progress:
            world.run_until(healed_ns + QUIET_AFTER_STOP_NS)
            return -1
        self._probe()
        while world.now < healed_ns + case.deadline_ns and not world.violations:
            world.run_until(world.now + SETTLE_STEP_NS)
            leaving = any(host.leaving for host in world.hosts)
            if self.clients.idle and not leaving and not self._open_calls() and not divergence(world):
                return world.now - healed_ns
        return -1

    def _probe(self) -> None:
        """One read of every worker asked so far: every shard in use must commit something new."""
        workers = dict.fromkeys(wish.worker for wish in self.case.wishes)
        reads = {"counter": "get", "list": "read", "account": "balance", "timer": "fired", "promise": "get"}
        for number, worker in enumerate(workers):
            operation = (reads[worker.partition("-")[0]],)
            self.clients.add(Wish(self.world.now, PROBE_CLIENT + number, worker, operation, f"probe{number}"))

    def _open_calls(self) -> bool:
        return any(self.history.operations[key].returned_ns is None for key in self._calls)

    def _result(self, recovered_ns: int) -> Result:
        world, counts, case = self.world, self.world.network.counts, self.case
        played = self.injector.happened
        nobody = [0] * len(world.hosts)
        held, led = (nobody, nobody) if world.violations else shards_by_node(world)  # a core that broke may not be asked
        return Result(
            seed=case.seed,
            violations=list(world.violations),
            trace_hash=world.trace.hexdigest(),
            virtual_ns=world.now,
            events=world.events,
            faults=self.injector.injected,
            refused=len(played) - self.injector.injected,
            asked=self.clients.started,
            answered=self.clients.answered,
            timeouts=self.clients.timeouts,
            elections=self.primaries.elections,
            messages=counts.sent,
            bytes=counts.bytes,
            dropped=counts.cut + counts.lost + counts.reset + counts.down,
            inconclusive=self.orders.inconclusive,
            healed_ns=min(case.duration_ns, world.now),
            recovered_ns=recovered_ns,
            coverage=dict(world.coverage),
            longest_queues=dict(self.queues.longest),
            finished=self.clients.finished,
            spans=[
                FaultSpan(p.fault.kind, p.fault.nodes, p.start_ns, world.now if p.end_ns is None else p.end_ns)
                for p in played
                if not p.refused
            ],
            delivered_by_node=[host.delivered for host in world.hosts],
            held_by_node=held,
            led_by_node=led,
            present=list(world.present),
            committed=sum(map(len, self.positions.chains.values())),
            measured=self.stopwatch.measured,
            lines=world.trace.lines,
        )


def run_case(case: Case, *, keep_lines: bool = False, rules: bool = True) -> Result:
    """Play ``case`` to its end. ``rules`` as for ``Run``."""
    collecting = gc.isenabled()
    gc.disable()  # a run makes few cycles, and looking for them takes a tenth of the time
    try:
        return Run(case, keep_lines=keep_lines, rules=rules).play()
    finally:
        if collecting:
            gc.enable()
