"""Scenarios: short TOML files that say what to simulate. Everything has a default; every mistake gets a sentence.

    summary  = "what it shows"
    nodes    = 7                     subject  = "mesh"          options = {replicas = 3, shards = 7}
    duration = "60s"                 deadline = "30s"           faults until duration, progress within deadline after it
    profile  = "all"                 none | light | all | beyond: faults drawn from the seed, beside those listed below

    [network]    latency = "lan" | "1ms" | "region" | "wan" | {distribution = "lognormal", min = "1ms", mean = "5ms", max = "80ms"}
                 bandwidth_bytes_s = 0    zones = 1    zone_factor = 1
    [growth]     founders = 1    first = "2s"    every = "300ms"    together = 1          without it all nodes start at once
    [disk]       sync = "200us"    jitter = "300us"
    [workload]   shape = "uniform" | "skewed" | "bursty"    rate_per_s = 20    clients = 10    workers = 12    mix = {counter = 1}

    [[fault]]    kind = "freeze"    at = "10s"    for = "3s"    every = "15s"    nodes = "primary"    amount = "5%"    step = "..."

``nodes``: a list; or ``each`` (node 0, 1, 2, ... in turn), ``random``, ``pair``, ``half``, ``minority``, drawn anew at each occurrence
among those born by then; or ``primary`` (whoever leads most shards at that moment). ``amount``: a number, a duration, or a percentage
where it is a chance.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from golemp2p_sim.case import Case
from golemp2p_sim.disk import DiskOptions
from golemp2p_sim.faults import KINDS, PRIMARY, Fault
from golemp2p_sim.growth import Growth
from golemp2p_sim.model_worker import KINDS as WORKER_KINDS
from golemp2p_sim.network import DISTRIBUTIONS, LATENCIES, Latency, NetworkOptions
from golemp2p_sim.profiles import PROFILES, draw_tape
from golemp2p_sim.randomness import Streams
from golemp2p_sim.subjects import SUBJECTS, make_subject
from golemp2p_sim.units import S, duration_ns, duration_text
from golemp2p_sim.workload import SHAPES, WorkloadOptions, draw_wishes
from golemp2p_sim.world import WorldOptions

FOLDER = Path(__file__).parent / "scenarios"
NODES_MAX = 10_000
NODE_CHOICES = ("each", "random", "pair", "half", "minority", "primary")


class ScenarioError(ValueError):
    """The file says something that cannot be simulated; the text names the place and what was expected."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A ``[[fault]]`` of the file. ``nodes``: indexes or one of ``NODE_CHOICES``; ``every_ns``: 0 for once."""

    fault: Fault
    nodes: tuple[int, ...] | str
    every_ns: int


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    summary: str
    subject: str = "mesh"
    parameters: tuple[tuple[str, Any], ...] = ()
    world: WorldOptions = field(default_factory=WorldOptions)
    workload: WorkloadOptions = field(default_factory=WorkloadOptions)
    profile: str = "none"
    faults: tuple[PlannedFault, ...] = ()
    duration_ns: int = 60 * S
    deadline_ns: int = 30 * S
    growth: Growth | None = None

    def case(self, seed: int, *, mutation: str = "") -> Case:
        """Everything that ``seed`` decides."""
        streams = Streams(seed)
        nodes = self.world.nodes
        subject = make_subject(self.subject, nodes, mutation, dict(self.parameters))
        births = self.growth.births(nodes) if self.growth else ()
        tape = draw_tape(PROFILES[self.profile], subject, streams, nodes, self.duration_ns)
        for number, planned in enumerate(self.faults):
            tape += _occurrences(planned, births or (0,) * nodes, self.duration_ns, streams.stream(f"scenario/{number}"))
        tape.sort(key=lambda fault: fault.at_ns)
        wishes = draw_wishes(self.workload, streams, self.duration_ns)
        return Case(
            seed, subject=self.subject, mutation=mutation, options=self.world, profile=self.profile, faults=tuple(tape),
            wishes=tuple(wishes), duration_ns=self.duration_ns, deadline_ns=self.deadline_ns, parameters=self.parameters,
            births=births,
        )  # fmt: skip

    def changed(
        self,
        *,
        nodes: int | None = None,
        duration_ns: int | None = None,
        profile: str | None = None,
        subject: str | None = None,
    ) -> Scenario:
        """The same with some options replaced; ``ScenarioError`` if they do not fit."""
        changed = self
        if subject is not None:
            _one_of("subject", subject, SUBJECTS)
            changed = replace(changed, subject=subject)
        if nodes is not None:
            _check(1 <= nodes <= NODES_MAX, f"nodes: expected 1 to {NODES_MAX}, got {nodes}")
            changed = replace(changed, world=replace(changed.world, nodes=nodes))
        if duration_ns is not None:
            changed = replace(changed, duration_ns=duration_ns)
        if profile is not None:
            _one_of("profile", profile, PROFILES)
            changed = replace(changed, profile=profile)
        for planned in changed.faults:
            if not isinstance(planned.nodes, str):
                high = max(planned.nodes, default=0)
                _check(
                    high < changed.world.nodes,
                    f"fault {planned.fault.kind}: node {high} is not among {changed.world.nodes} nodes",
                )
        return changed


def _occurrences(planned: PlannedFault, births: Sequence[int], duration: int, dice: Random) -> list[Fault]:
    faults = []
    at_ns, number = planned.fault.at_ns, 0
    while at_ns < duration:
        chosen = _choose(planned.nodes, [node for node, birth_ns in enumerate(births) if birth_ns <= at_ns], number, dice)
        faults.append(replace(planned.fault, at_ns=at_ns, for_ns=min(planned.fault.for_ns, duration - at_ns), nodes=chosen))
        if not planned.every_ns:
            break
        at_ns, number = at_ns + planned.every_ns, number + 1
    return faults


def _choose(choice: tuple[int, ...] | str, born: Sequence[int], number: int, dice: Random) -> tuple[int, ...]:
    count = len(born)
    match choice:
        case "each":
            return (born[number % count],)
        case "random":
            return (born[dice.randrange(count)],)
        case "pair":
            return tuple(dice.sample(born, min(2, count)))
        case "half":
            return tuple(sorted(dice.sample(born, count // 2)))
        case "minority":
            return tuple(sorted(dice.sample(born, max(1, (count - 1) // 2))))
        case "primary":
            return (PRIMARY,)
    assert not isinstance(choice, str)
    return choice


# -- reading ------------------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Scenarios that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """A shipped scenario by name, or a file by path (anything with a slash or ``.toml``)."""
    path = Path(name) if "/" in name or name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = difflib.get_close_matches(name, names(), n=1)
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names())}"
        raise ScenarioError(f"no scenario {name!r} ({reason}); {hint}") from error
    return parse(text, path.stem)


def parse(text: str, name: str) -> Scenario:
    """``ScenarioError`` for anything that is not as the module says."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not TOML: {error}") from error
    try:
        return _scenario(name, data)
    except ScenarioError as error:
        raise ScenarioError(f"{name}: {error}") from error


_TOP = (
    "summary",
    "subject",
    "options",
    "nodes",
    "duration",
    "deadline",
    "profile",
    "network",
    "disk",
    "growth",
    "workload",
    "fault",
)


def _scenario(name: str, data: Mapping[str, Any]) -> Scenario:
    _known("", data, _TOP)
    nodes = _number("nodes", data.get("nodes", 7), 1, NODES_MAX)
    subject = data.get("subject", "mesh")
    _one_of("subject", subject, SUBJECTS)
    options = _table("options", data.get("options", {}))
    profile = data.get("profile", "none")
    _one_of("profile", profile, PROFILES)
    try:
        made = make_subject(subject, nodes, "", options)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"options: {error}") from error
    faults = data.get("fault", [])
    _check(isinstance(faults, list), "fault: expected tables headed [[fault]]")
    planned = tuple(_planned(number, _table("fault", fault), nodes) for number, fault in enumerate(faults, 1))
    for fault in planned:
        kind = fault.fault.kind
        _check(
            kind in made.survives,
            f"fault {kind}: {subject} does not promise to survive it; remove it, or simulate another subject",
        )
        step = fault.fault.step
        _check(bool(step) == bool(KINDS[kind].step), f"fault {kind}: {'needs' if KINDS[kind].step else 'takes no'} step")
    summary = data.get("summary", "")
    _check(isinstance(summary, str), "summary: expected a text")
    duration = _duration("duration", data.get("duration", "60s"))
    return Scenario(
        name=name,
        summary=summary,
        subject=subject,
        parameters=tuple(options.items()),
        world=WorldOptions(
            nodes, _network(_table("network", data.get("network", {}))), _disk(_table("disk", data.get("disk", {})))
        ),
        workload=_workload(_table("workload", data.get("workload", {}))),
        profile=profile,
        faults=planned,
        duration_ns=duration,
        deadline_ns=_duration("deadline", data.get("deadline", "30s")),
        growth=_growth(_table("growth", data["growth"]), nodes, duration) if "growth" in data else None,
    )


def _growth(data: Mapping[str, Any], nodes: int, duration: int) -> Growth:
    _known("growth.", data, ("founders", "first", "every", "together"))
    growth = Growth(
        founders=_number("growth.founders", data.get("founders", 1), 1, nodes),
        first_ns=_duration("growth.first", data.get("first", "1s")),
        every_ns=_duration("growth.every", data.get("every", "1s")),
        together=_number("growth.together", data.get("together", 1), 1, NODES_MAX),
    )
    last = max(growth.births(nodes))
    _check(last < duration, f"growth: the last of {nodes} nodes would be born at {duration_text(last)}, after the end")
    return growth


def _network(data: Mapping[str, Any]) -> NetworkOptions:
    _known("network.", data, ("latency", "bandwidth_bytes_s", "zones", "zone_factor"))
    return NetworkOptions(
        latency=_latency(data.get("latency", "lan")),
        bandwidth_bytes_s=_number("network.bandwidth_bytes_s", data.get("bandwidth_bytes_s", 0), 0, 1 << 40),
        zones=_number("network.zones", data.get("zones", 1), 1, 1_000),
        zone_factor=_number("network.zone_factor", data.get("zone_factor", 1), 1, 10_000),
    )


def _latency(value: Any) -> Latency:
    if isinstance(value, str):
        _one_of("network.latency", value, LATENCIES)
        return LATENCIES[value]
    data = _table("network.latency", value)
    _known("network.latency.", data, ("distribution", "min", "max", "mean"))
    _one_of("network.latency.distribution", data.get("distribution", "uniform"), DISTRIBUTIONS)
    low = _duration("network.latency.min", data.get("min", "300us"))
    high = _duration("network.latency.max", data.get("max", "1500us"))
    mean = _duration("network.latency.mean", data["mean"]) if "mean" in data else 0
    _check(low <= high, "network.latency: min is above max")
    return Latency(data.get("distribution", "uniform"), low, high, mean)


def _disk(data: Mapping[str, Any]) -> DiskOptions:
    _known("disk.", data, ("sync", "jitter"))
    return DiskOptions(_duration("disk.sync", data.get("sync", "200us")), _duration("disk.jitter", data.get("jitter", "300us")))


def _workload(data: Mapping[str, Any]) -> WorkloadOptions:
    _known("workload.", data, ("shape", "rate_per_s", "clients", "workers", "mix"))
    _one_of("workload.shape", data.get("shape", "uniform"), SHAPES)
    mix = _table("workload.mix", data.get("mix", dict.fromkeys(WORKER_KINDS, 1)))
    _known("workload.mix.", mix, WORKER_KINDS)
    weights = tuple((kind, _number(f"workload.mix.{kind}", weight, 0, 100)) for kind, weight in mix.items())
    _check(any(weight for _, weight in weights), "workload.mix: some kind of worker needs a weight above 0")
    rate = data.get("rate_per_s", 20)
    _check(isinstance(rate, int | float) and 0 <= rate <= 100_000, f"workload.rate_per_s: expected 0 to 100000, got {rate!r}")
    return WorkloadOptions(
        shape=data.get("shape", "uniform"),
        rate_per_s=float(rate),
        clients=_number("workload.clients", data.get("clients", 10), 1, 100_000),
        workers=_number("workload.workers", data.get("workers", 12), 1, 100_000),
        mix=weights,
    )


def _planned(number: int, data: Mapping[str, Any], nodes: int) -> PlannedFault:
    where = f"fault {number}"
    _known(f"{where}: ", data, ("kind", "at", "for", "every", "nodes", "amount", "step"))
    kind = data.get("kind")
    _one_of(f"{where}: kind", kind, KINDS)
    assert isinstance(kind, str)
    chosen = data.get("nodes", () if KINDS[kind].nodes == "any" else "random")
    if isinstance(chosen, str):
        _one_of(f"{where}: nodes", chosen, NODE_CHOICES)
    else:
        _check(
            isinstance(chosen, list | tuple), f"{where}: nodes: expected a list of numbers or one of {', '.join(NODE_CHOICES)}"
        )
        chosen = tuple(_number(f"{where}: nodes", node, 0, nodes - 1) for node in chosen)
    _check(_fits(kind, chosen), f"{where}: {kind} wants {KINDS[kind].nodes} node(s)")
    fault = Fault(
        kind,
        _duration(f"{where}: at", data.get("at", "0s")),
        _duration(f"{where}: for", data.get("for", "0s")),
        amount=_amount(f"{where}: amount", data.get("amount", 0)),
        step=str(data.get("step", "")),
    )
    every = _duration(f"{where}: every", data["every"]) if "every" in data else 0
    return PlannedFault(fault, chosen, every)


def _fits(kind: str, chosen: Sequence[int] | str) -> bool:
    wanted = KINDS[kind].nodes
    if isinstance(chosen, str):
        return chosen in {"one": ("each", "random", "primary"), "two": ("pair",), "any": ()}.get(wanted, NODE_CHOICES)
    return {"one": len(chosen) == 1, "two": len(chosen) == 2, "any": not chosen}.get(wanted, len(chosen) > 0)


def _amount(where: str, value: Any) -> int:
    """Whole number; ``"5%"`` becomes a chance of 65,536; a duration becomes nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ScenarioError(f'{where}: expected a whole number, a duration ("200ms") or a percentage ("5%"), got {value!r}')
    if isinstance(value, int):
        return value
    if value.endswith("%"):
        try:
            percent = float(value[:-1])
        except ValueError:
            percent = -1
        _check(0 <= percent <= 100, f"{where}: expected 0% to 100%, got {value!r}")
        return round(percent * 655.36)
    return _duration(where, value)


def _duration(where: str, value: Any) -> int:
    try:
        return duration_ns(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from error


def _number(where: str, value: Any, low: int, high: int) -> int:
    ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(ok, f"{where}: expected a whole number from {low} to {high}, got {value!r}")
    return int(value)


def _table(where: str, value: Any) -> dict[str, Any]:
    _check(isinstance(value, dict), f"{where}: expected a table, got {value!r}")
    return dict(value)


def _one_of(where: str, value: Any, choices: Any) -> None:
    _check(isinstance(value, str) and value in choices, f"{where}: expected one of {', '.join(choices)}; got {value!r}")


def _known(prefix: str, data: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ScenarioError(
                f"{prefix}{key}: no such entry; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(known)}"
            )


def _check(ok: bool, message: str) -> None:
    if not ok:
        raise ScenarioError(message)
