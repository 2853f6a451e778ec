"""Many seeds: here or in several processes, in order, with progress; and one seed again elsewhere, to prove that it is the same.

seeds ──> processes (spawned, each with its own hash seed) ──> results in order of seed ──> Summary
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from golemp2p_sim.case import Case, Result, case_to_json
from golemp2p_sim.measured import Measured, percentiles, percentiles_ms, spread
from golemp2p_sim.run import run_case
from golemp2p_sim.scenario import Scenario
from golemp2p_sim.units import S

AGAIN_TIMEOUT_S = 600

Play = Callable[[tuple[Scenario, int, str]], tuple[Result, float]]
"""Scenario, seed, mutation -> result and CPU seconds."""


@dataclass(slots=True)
class Summary:
    """Figures over all seeds run. ``cpu_s``: of the processes that ran them."""

    seeds: int = 0
    failed: list[Result] = field(default_factory=list)
    virtual_ns: int = 0
    events: int = 0
    faults: int = 0
    refused: int = 0
    answered: int = 0
    elections: int = 0
    messages: int = 0
    bytes: int = 0
    inconclusive: int = 0
    cpu_s: float = 0.0
    coverage: dict[str, int] = field(default_factory=dict)
    committed: int = 0
    measured: Measured = field(default_factory=Measured)
    spreads: dict[str, list[float]] = field(default_factory=dict)
    """``messages``, ``held``, ``led``: what the busiest node had, by the mean over those present, for each run."""
    latencies_ns: list[int] = field(default_factory=list)
    recovered_ns: list[int] = field(default_factory=list)
    differing: list[int] = field(default_factory=list)
    """Seeds that gave another trace hash in another process: the simulation is not deterministic."""

    def add(self, result: Result, cpu_s: float) -> None:
        self.seeds += 1
        if not result.ok:
            self.failed.append(result)
        for name in (
            "virtual_ns",
            "events",
            "faults",
            "refused",
            "answered",
            "elections",
            "messages",
            "bytes",
            "inconclusive",
            "committed",
        ):
            setattr(self, name, getattr(self, name) + getattr(result, name))
        self.measured.add(result.measured)
        for name, loads in (("messages", result.delivered_by_node), ("held", result.held_by_node), ("led", result.led_by_node)):
            found = spread([loads[node] for node in result.present])
            if found is not None:
                self.spreads.setdefault(name, []).append(found)
        self.cpu_s += cpu_s
        for name, count in result.coverage.items():
            self.coverage[name] = self.coverage.get(name, 0) + count
        self.latencies_ns += [latency for _, latency in result.finished]
        if result.recovered_ns >= 0:
            self.recovered_ns.append(result.recovered_ns)

    def to_json(self) -> dict[str, Any]:
        return {
            "seeds": self.seeds,
            "violations": [violations_json(result) for result in self.failed],
            "not_deterministic": self.differing,
            "virtual_s": self.virtual_ns / S,
            "cpu_s": round(self.cpu_s, 3),
            "virtual_s_per_cpu_s": round(self.virtual_ns / S / self.cpu_s, 1) if self.cpu_s else None,
            "events_per_cpu_s": round(self.events / self.cpu_s) if self.cpu_s else None,
            "faults": self.faults,
            "faults_refused": self.refused,
            "faults_per_cpu_hour": round(self.faults / self.cpu_s * 3600) if self.cpu_s else None,
            "answered": self.answered,
            "elections": self.elections,
            "messages": self.messages,
            "bytes": self.bytes,
            "committed": self.committed,
            "messages_per_entry": round(self.messages / self.committed, 2) if self.committed else None,
            "bytes_per_entry": round(self.bytes / self.committed) if self.committed else None,
            "load_max_by_mean": {name: percentiles(found) for name, found in self.spreads.items()},
            "inconclusive": self.inconclusive,
            "latency_ms": percentiles_ms(self.latencies_ns),
            "recovery_ms": percentiles_ms(self.recovered_ns),
            **self.measured.to_json(),
            "sometimes": dict(sorted(self.coverage.items())),
        }


def violations_json(result: Result) -> dict[str, Any]:
    said = [{"checker": v.checker, "time_s": v.time_ns / S, "text": v.text} for v in result.violations]
    return {"seed": result.seed, "trace": result.trace_hash, "violations": said}


def play(job: tuple[Scenario, int, str]) -> tuple[Result, float]:
    """One seed; returns its result and the CPU seconds it took."""
    scenario, seed, mutation = job
    started = time.process_time()
    result = run_case(scenario.case(seed, mutation=mutation))
    return result, time.process_time() - started


def run_seeds(
    scenario: Scenario, seeds: Sequence[int], *, jobs: int = 1, mutation: str = "", play: Play = play
) -> Iterator[tuple[Result, float]]:
    """Results in order of seed. Closing the iterator ends the processes. ``play``: a function of a module, for other levels."""
    work = [(scenario, seed, mutation) for seed in seeds]
    if jobs <= 1 or len(work) <= 1:
        yield from map(play, work)
        return
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(work))) as pool:
        yield from pool.imap(play, work)


def summarize(results: Iterator[tuple[Result, float]], told: Callable[[Result, Summary], None] | None = None) -> Summary:
    summary = Summary()
    for result, cpu_s in results:
        summary.add(result, cpu_s)
        if told is not None:
            told(result, summary)
    return summary


def hash_elsewhere(case: Case, hash_seed: int, *, module: str = "golemp2p_sim", words: Sequence[str] = ()) -> str:
    """The trace hash of ``case`` in a new process with another PYTHONHASHSEED. ``module``: what plays it there, told ``words``."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(  # noqa: S603 - a module of ours
        [sys.executable, "-m", module, *words],
        input=json.dumps(case_to_json(case)),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=AGAIN_TIMEOUT_S,
    )
    return done.stdout.strip()
