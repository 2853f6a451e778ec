"""Run one case with whole nodes: faults play while clients ask, everything heals, progress is demanded, judges judge."""

from __future__ import annotations

import gc
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from trio.testing import MockClock

from golemp2p_nodes.fitting import WholeNodes, case_of, subject_of
from golemp2p_nodes.guests import SCRIPTED, ModelGuests, make_guests
from golemp2p_nodes.judges import DONE, Ledger, disagreement, disordered, lost_or_twice
from golemp2p_nodes.loop import deterministic
from golemp2p_nodes.mesh import NodesWorld
from golemp2p_nodes.stores import MEMORY, store_maker
from golemp2p_nodes.telling import Teller, logged
from golemp2p_sim.atlas import Atlas
from golemp2p_sim.case import Case, FaultSpan, Result
from golemp2p_sim.history import History
from golemp2p_sim.injector import Injector
from golemp2p_sim.profiles import PROFILES
from golemp2p_sim.scenario import Scenario
from golemp2p_sim.workload import Clients, Wish

SETTLE_STEP_S = 0.2
"""How often a healed mesh is asked whether it is quiet."""
COLLECT_S = 5.0
"""Cyclic garbage is collected so often, in virtual time: at any other moment two runs might differ by what finalizers do."""
PROBE_CLIENT = 1 << 20
QUIET_AFTER_STOP_S = 10.0


class Run:
    """One case under way, inside a trio run."""

    def __init__(self, case: Case, world: NodesWorld) -> None:
        self.case, self.world = case, world
        self.profile = PROFILES[case.profile]
        self.atlas = Atlas(WholeNodes(), harm=self.profile.harm, away=self.profile.away, groups=world.groups)
        self.history = History()
        self.ledger = Ledger(world)
        self.clients = Clients(world, self.history, case.wishes)
        self.injector = Injector(world, self.atlas, case.faults)
        self.recovered_ns = -1
        self.inconclusive = 0

    async def play(self) -> Result:
        world = self.world
        world.start_all()
        await self._until(self.case.duration_ns / 1e9)
        if not world.violations:
            self.injector.heal()
            await self._recover()
        if not world.violations:
            self._judge()
        return self._result()

    async def _until(self, time_s: float) -> None:
        """Or until a promise is broken."""
        while not self.world.over.is_set() and trio.current_time() < time_s:
            with trio.move_on_at(min(time_s, trio.current_time() + COLLECT_S)):
                await self.world.over.wait()
            gc.collect()

    async def _recover(self) -> None:
        world, case = self.world, self.case
        healed_ns = world.now
        if not self.profile.progress:
            await self._until(trio.current_time() + QUIET_AFTER_STOP_S)
            return
        why, asked = "", False
        while world.now < healed_ns + case.deadline_ns and not world.violations:
            await self._until(trio.current_time() + SETTLE_STEP_S)
            leaving = [machine.index for machine in world.machines if machine.leaving]
            if not self.clients.idle:
                waiting = self.clients.unanswered()
                first = waiting[0] if waiting else None
                why = f"{len(waiting)} operations are not answered, first {first}"
            elif not asked:
                self._ask_what_was_done()
                asked = True
            elif leaving:
                why = f"n{leaving[0]} was told to leave and has not left"
            else:
                why = disagreement(world)
                if not why:
                    self.recovered_ns = world.now - healed_ns
                    return
        if not world.violations:
            world.violate("progress", f"{case.deadline_ns / 1e9:g} s after healing: {why}")

    def _ask_what_was_done(self) -> None:
        for number, worker in enumerate(dict.fromkeys(wish.worker for wish in self.case.wishes)):
            self.clients.add(Wish(self.world.now, PROBE_CLIENT + number, worker, (DONE,), f"done{number}"))

    def _judge(self) -> None:
        text, self.inconclusive = disordered(self.history)
        if text:
            self.world.violate("linearizability", text)
        text = lost_or_twice(self.history)
        if text:
            self.world.violate("exactly-once", text)

    def _result(self) -> Result:
        world, counts, case, clients = self.world, self.world.network.counts, self.case, self.clients
        played = self.injector.happened
        services = [machine.service for machine in world.machines]
        return Result(
            seed=case.seed,
            violations=list(world.violations),
            trace_hash=world.trace.hexdigest(),
            virtual_ns=world.now,
            events=world.clockwork.events,
            faults=self.injector.injected,
            refused=len(played) - self.injector.injected,
            asked=clients.started,
            answered=clients.answered,
            timeouts=clients.timeouts,
            elections=self.ledger.elections,
            messages=counts.sent,
            bytes=counts.bytes,
            dropped=counts.cut + counts.lost + counts.reset + counts.down,
            inconclusive=self.inconclusive,
            healed_ns=min(case.duration_ns, world.now),
            recovered_ns=self.recovered_ns,
            coverage=dict(world.coverage),
            longest_queues={},
            finished=clients.finished,
            spans=[
                FaultSpan(p.fault.kind, p.fault.nodes, p.start_ns, world.now if p.end_ns is None else p.end_ns)
                for p in played
                if not p.refused
            ],
            delivered_by_node=[machine.delivered for machine in world.machines],
            held_by_node=[0 if service is None else len(service.peers.peer.shards.held()) for service in services],
            led_by_node=[machine.led() for machine in world.machines],
            present=list(world.present),
            committed=self.ledger.committed,
            lines=world.trace.lines,
        )


async def _main(case: Case, guests: ModelGuests, storage: str, folder: Path, teller: Teller, *, keep_lines: bool) -> Result:
    subject = subject_of(case)
    async with trio.open_nursery() as nursery:
        world = NodesWorld(
            case.seed, case.options, nursery, births=case.births, profile=subject.profile, shards=subject.shards_count,
            guests=guests, new_store=store_maker(storage), folder=folder, keep_lines=keep_lines,
        )  # fmt: skip
        teller.world = world
        nursery.start_soon(world.clockwork.run)
        result = await Run(case, world).play()
        for machine in world.machines:
            machine.crash("the end")
        nursery.cancel_scope.cancel()
    return result


def run_case(case: Case, *, guests: str | ModelGuests = SCRIPTED, storage: str = MEMORY, keep_lines: bool = False) -> Result:
    """Play ``case``, which ``fitting.case_of`` made, to its end. Must not be called inside a trio run. ``guests``: one of
    ``guests.KINDS``, or others that answer as they do; ``storage``: one of ``stores.KINDS``. Raises ``GuestsMissing``."""
    model = make_guests(guests) if isinstance(guests, str) else guests
    with deterministic(case.seed), logged() as teller, tempfile.TemporaryDirectory(prefix="golemp2p-sim-") as folder:
        clock = MockClock(autojump_threshold=0)
        result = trio.run(partial(_main, case, model, storage, Path(folder), teller, keep_lines=keep_lines), clock=clock)
    gc.collect()
    return result


def play(job: tuple[Scenario, int, str], guests: str = SCRIPTED, storage: str = MEMORY) -> tuple[Result, float]:
    """One seed; returns its result and the CPU seconds it took."""
    scenario, seed, mutation = job
    started = time.process_time()
    result = run_case(case_of(scenario, seed, mutation), guests=guests, storage=storage)
    return result, time.process_time() - started
