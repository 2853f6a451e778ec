"""``golemp2p sim``: run whole networks on this machine, from a seed. The simulator itself is ``golemp2p_sim``.

run       many seeds of a scenario            replay    one of them again, with its log
list      scenarios, faults, subjects         shrink    a failing one, made small
report    a page with plots
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golemp2p_node.cli.framework import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, Failure, Group, fail, wants_json
from golemp2p_node.cli.output import facts, print_json, say, show, table

if TYPE_CHECKING:
    from golemp2p_sim.case import Case, Result
    from golemp2p_sim.runner import Play, Summary
    from golemp2p_sim.scenario import Scenario

SHOWN_MAX = 5  # failing seeds shown to people; --format json has all
SCRIPTED, WASM = "scripted", "wasm"  # golemp2p_nodes.guests.KINDS
MEMORY, SQLITE = "memory", "sqlite"  # golemp2p_nodes.stores.KINDS
LOG_SHOWN = 120
"""Lines of a replay on a terminal; --log FILE keeps all."""
JOBS_MAX = 256


@click.group("sim", cls=Group)
def group() -> None:
    """Simulate whole networks on this machine: a seed decides everything."""


@dataclass(frozen=True, slots=True)
class Engine:
    """``run(case, keep_lines=...)``; ``play`` for ``runner.run_seeds``; ``module``, told ``words``, plays a case in another process."""

    run: Callable[..., Result]
    play: Play
    module: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What every command that plays a scenario was told to play."""

    scenario: str
    nodes: int | None
    duration: str | None
    faults: str | None
    protocol: str | None
    mutation: str
    level: int
    guests: str
    storage: str

    def plan(self) -> Scenario:
        """The scenario with its options replaced; ``ValueError`` if something is wrong with them."""
        from golemp2p_sim.scenario import load
        from golemp2p_sim.subjects import make_subject
        from golemp2p_sim.units import duration_ns

        length = None if self.duration is None else duration_ns(self.duration)
        plan = load(self.scenario).changed(nodes=self.nodes, duration_ns=length, profile=self.faults, subject=self.protocol)
        make_subject(
            plan.subject, plan.world.nodes, self.mutation, dict(plan.parameters)
        )  # a wrong --mutate fails before any process
        if self.level:
            from golemp2p_nodes.fitting import check

            check(plan)
            self.check_guests()
        return plan

    def check_guests(self) -> None:
        """Before any process starts and fails for the lack of them."""
        from golemp2p_nodes.guests import make_guests

        make_guests(self.guests)

    def case(self, seed: int) -> Case:
        """Of the scenario, or as it stands in a case file that ``sim shrink`` wrote."""
        given = read_case(self.scenario)
        if self.level == 0:
            return given or self.plan().case(seed, mutation=self.mutation)
        from golemp2p_nodes.fitting import case_of, check_case

        if given is not None:
            check_case(given)
            return given
        return case_of(self.plan(), seed, self.mutation)

    @property
    def engine(self) -> Engine:
        """What plays a case."""
        if self.level:
            from golemp2p_nodes.run import play, run_case

            return Engine(
                partial(run_case, guests=self.guests, storage=self.storage),
                partial(play, guests=self.guests, storage=self.storage),
                "golemp2p_nodes",
                ("--guests", self.guests, "--storage", self.storage),
            )
        from golemp2p_sim.run import run_case as run_cores
        from golemp2p_sim.runner import play as play_cores

        return Engine(run_cores, play_cores, "golemp2p_sim")

    def command(self) -> str:
        """The words that name the same run again."""
        given = (
            ("--nodes", self.nodes),
            ("--duration", self.duration),
            ("--faults", self.faults),
            ("--protocol", self.protocol),
            ("--mutate", self.mutation or None),
            ("--level", self.level or None),
            ("--guests", None if self.guests == SCRIPTED else self.guests),
            ("--storage", None if self.storage == MEMORY else self.storage),
        )
        return " ".join([self.scenario, *(f"{flag} {value}" for flag, value in given if value is not None)])


def scenario_options(function: Callable[..., int]) -> Callable[..., int]:
    """The options of ``Asked``; the command receives them as its first argument."""

    @wraps(function)
    def command(
        *,
        scenario: str,
        nodes: int | None,
        duration: str | None,
        faults: str | None,
        protocol: str | None,
        mutation: str,
        level: int,
        guests: str,
        storage: str,
        **rest: Any,
    ) -> int:
        if (guests, storage) != (SCRIPTED, MEMORY) and not level:
            fail(
                "--guests and --storage are for whole nodes: the cores of level 0 have neither",
                "add --level 1",
                code="usage",
                exit_code=EXIT_USAGE,
            )
        return function(Asked(scenario, nodes, duration, faults, protocol, mutation, level, guests, storage), **rest)

    options = [
        click.argument("scenario"),
        click.option("--nodes", type=click.IntRange(1, 10_000), help="Another number of nodes."),
        click.option("--duration", metavar="T", help="Another time under faults, such as 60s or 5m."),
        click.option("--faults", metavar="PROFILE", help="none, light, all or beyond, beside the scenario's own."),
        click.option(
            "--protocol", metavar="SUBJECT", help="shard (golemp2p's replica core) or toy, instead of the scenario's own."
        ),
        click.option(
            "--mutate", "mutation", default="", metavar="RULE", help="Switch one safety rule off: the judges must notice."
        ),
        click.option(
            "--level",
            type=click.IntRange(0, 1),
            default=0,
            show_default=True,
            help="0: cores in a loop of their own; 1: whole nodes, with transport, storage and guests, of which 50 at most.",
        ),
        click.option(
            "--guests",
            type=click.Choice([SCRIPTED, WASM]),
            default=SCRIPTED,
            show_default=True,
            help="Of level 1. scripted: written in Python, fast; wasm: WebAssembly on the real engine (after `make examples`).",
        ),
        click.option(
            "--storage",
            type=click.Choice([MEMORY, SQLITE]),
            default=MEMORY,
            show_default=True,
            help="Of level 1. memory: fast; sqlite: the real one, on a disk that tears and forgets what was not synced.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


seed_option = click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides everything.")


@group.command(
    "run",
    examples="""
        $ golemp2p sim run split-brain
        $ golemp2p sim run everything --seeds 200 --jobs 2
        $ golemp2p sim run ./mine.toml --seed 7 --nodes 31 --duration 5m --faults light
        $ golemp2p sim run everything --level 1 --guests wasm --storage sqlite --nodes 5 --duration 20s
    """,
)
@scenario_options
@seed_option
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many seeds, from --seed on.")
@click.option("--jobs", type=click.IntRange(1, JOBS_MAX), default=1, show_default=True, help="Processes.")
@click.option("--twice", is_flag=True, help="Play every seed again in another process and compare.")
def run(asked: Asked, *, seed: int, seeds: int, jobs: int, twice: bool) -> int:
    """Play SCENARIO (a name of `golemp2p sim list`, or a TOML file) for one or many seeds.

    Exit code 0: no violation; 1: some seed broke a promise, and the output says how to repeat it.
    """
    with simulation_errors():
        plan = asked.plan()
        summary = play_seeds(asked, plan, range(seed, seed + seeds), jobs, twice=twice)
    show(summary.to_json() | {"scenario": plan.name}, lambda: print_summary(summary, plan, asked.command()))
    return EXIT_FAILED if summary.failed or summary.differing else 0


@group.command("list", examples="$ golemp2p sim list")
def list_() -> None:
    """Show the scenarios that ship with golemp2p, fault profiles, kinds of faults, and what can be simulated."""
    from golemp2p_sim.faults import KINDS
    from golemp2p_sim.profiles import PROFILES
    from golemp2p_sim.scenario import load as load_scenario
    from golemp2p_sim.scenario import names
    from golemp2p_sim.subjects import SUBJECTS

    plans = [load_scenario(name) for name in names()]
    data = {
        "scenarios": [{"name": p.name, "nodes": p.world.nodes, "subject": p.subject, "summary": p.summary} for p in plans],
        "profiles": {profile.name: profile.text for profile in PROFILES.values()},
        "faults": {name: kind.text for name, kind in KINDS.items()},
        "subjects": {name: {"summary": entry.text, "rules": list(entry.mutations)} for name, entry in SUBJECTS.items()},
    }

    def text() -> None:
        table(
            ["SCENARIO", "NODES", "SUBJECT", "WHAT IT SHOWS"],
            [(p.name, p.world.nodes, p.subject, p.summary) for p in plans],
            empty="none",
        )
        say("")
        table(["PROFILE", "FAULTS"], [(profile.name, profile.text) for profile in PROFILES.values()], empty="none")
        say("")
        table(["FAULT", "WHAT HAPPENS"], [(name, kind.text) for name, kind in KINDS.items()], empty="none")
        say("")
        table(
            ["SUBJECT", "RULES FOR --mutate"],
            [(name, " ".join(entry.mutations)) for name, entry in SUBJECTS.items()],
            empty="none",
        )

    show(data, text)


@group.command(
    "replay",
    examples="""
        $ golemp2p sim replay split-brain --seed 17
        $ golemp2p sim replay split-brain --seed 17 --log trace.txt
        $ golemp2p sim replay small.json                     a case that `golemp2p sim shrink` wrote
    """,
)
@scenario_options
@seed_option
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="Write every event here, one per line.")
def replay(asked: Asked, *, seed: int, log_file: Path | None) -> int:
    """Play one seed again with its log: time, event, node, peer, detail, one line per event.

    SCENARIO may be a case file of `golemp2p sim shrink`. A terminal gets the end of the log, --log FILE all of it.
    """
    with simulation_errors():
        case = asked.case(seed)
        result = asked.engine.run(case, keep_lines=True)
    return tell_story(result, log_file, shown=LOG_SHOWN)


@group.command(
    "shrink",
    examples="""
        $ golemp2p sim shrink everything --seed 17 --out small.json
        $ golemp2p sim shrink everything --seed 1 --mutate ack_after_durable
    """,
)
@scenario_options
@seed_option
@click.option(
    "--runs", type=click.IntRange(1, 100_000), default=600, show_default=True, help="How many smaller cases to try at most."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the small case here, for `golemp2p sim replay`.")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="Write its events here, one per line.")
def shrink(asked: Asked, *, seed: int, runs: int, out: Path | None, log_file: Path | None) -> int:
    """Make a failing seed small: fewer faults, fewer operations, fewer nodes, less time; then tell what happens in it.

    Exit code 1 as for every run that broke a promise; 2 if the seed does not fail.
    """
    from golemp2p_sim.case import case_to_json
    from golemp2p_sim.shrink import Shrinker

    with simulation_errors(), progress("shrinking", runs) as step:
        case = asked.case(seed)
        shrinker = Shrinker(
            case, runs_max=runs, told=lambda done, f, w: step(done, f"{f} faults, {w} operations left"), play=asked.engine.run
        )
        small = shrinker.shrink()
    if out is not None:
        out.write_text(json.dumps(case_to_json(small.case), indent=1) + "\n", encoding="utf-8")
    if not wants_json():
        left = small.case
        say(f"{len(case.faults)} faults, {len(case.wishes)} operations, {case.options.nodes} nodes -> ")
        say(f"{len(left.faults)} faults, {len(left.wishes)} operations, {left.options.nodes} nodes, after {small.runs} runs")
        for fault in left.faults:
            say(f"  {fault}")
        for wish in left.wishes:
            say(f"  c{wish.client} {wish.at_ns / 1e9:.3f}s {wish.key} {wish.worker} {wish.operation}")
    return tell_story(small.result, log_file, shown=LOG_SHOWN)


@group.command(
    "report",
    examples="""
        $ golemp2p sim report frozen-primary --seeds 20 --out report.html
    """,
)
@scenario_options
@seed_option
@click.option(
    "--seeds", type=click.IntRange(1), default=10, show_default=True, help="How many seeds; the first is drawn in detail."
)
@click.option("--jobs", type=click.IntRange(1, JOBS_MAX), default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("simulation.html"), show_default=True, help="The page.")
def report(asked: Asked, *, seed: int, seeds: int, jobs: int, out: Path) -> int:
    """Write a self-contained HTML page: availability and latency with the faults drawn in, load, failovers, lookups."""
    from golemp2p_sim.report import html

    with simulation_errors():
        plan = asked.plan()
        summary = play_seeds(asked, plan, range(seed, seed + seeds), jobs)
        detail = asked.engine.run(asked.case(seed))
    try:
        out.write_text(html(plan, detail, summary), encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}", "name another file with --out FILE")
    show(
        summary.to_json() | {"report": str(out)},
        lambda: say(f"wrote {out}: {summary.seeds} seeds, {len(summary.failed)} with violations"),
    )
    return EXIT_FAILED if summary.failed else 0


# -- shared -------------------------------------------------------------------------------------------------------------------


@contextmanager
def simulation_errors() -> Iterator[None]:
    """Mistakes in scenarios and options become failures of two lines; a missing simulator says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Failure(
            f"the simulator is not installed ({error.name})", "install golemp2p with its simulations", code="failed"
        ) from error
    except ValueError as error:
        way_out = getattr(error, "way_out", "")  # of guests.GuestsMissing
        missing = way_out or str(error).startswith("no scenario")
        code, exit_code = ("not-found", EXIT_NOT_FOUND) if missing else ("usage", EXIT_USAGE)
        hint = way_out or "`golemp2p sim list` shows what there is"
        raise Failure(str(error), hint, code=code, exit_code=exit_code) from error


def read_case(name: str) -> Case | None:
    """The case in a JSON file; ``None`` if ``name`` is not one."""
    if not name.endswith(".json"):
        return None
    from golemp2p_sim.case import case_from_json

    try:
        return case_from_json(json.loads(Path(name).read_text(encoding="utf-8")))
    except OSError as error:
        return fail(f"cannot read {name}: {error.strerror}", code="not-found", exit_code=EXIT_NOT_FOUND)


def play_seeds(asked: Asked, plan: Scenario, seeds: Sequence[int], jobs: int, *, twice: bool = False) -> Summary:
    from golemp2p_sim.runner import hash_elsewhere, run_seeds, summarize

    engine = asked.engine
    with progress(plan.name, len(seeds)) as step:

        def told(result: Result, summary: Summary) -> None:
            if twice and _elsewhere(result.seed) != result.trace_hash:
                summary.differing.append(result.seed)
            step(summary.seeds, f"{len(summary.failed)} with violations")

        def _elsewhere(seed: int) -> str:
            return hash_elsewhere(asked.case(seed), seed % 1000 + 1, module=engine.module, words=engine.words)

        return summarize(run_seeds(plan, seeds, jobs=jobs, mutation=asked.mutation, play=engine.play), told)


@contextmanager
def progress(title: str, total: int) -> Iterator[Any]:
    """A bar on standard error, if that is a terminal; yields ``step(done, note)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def print_summary(summary: Summary, plan: Scenario, command: str) -> None:
    from golemp2p_sim.figures import figures

    facts({"scenario": f"{plan.name}: {plan.summary}", **dict(figures(summary))})
    for seed in summary.differing:
        say(f"seed {seed} gave another trace in another process: the simulation is not deterministic")
    for result in summary.failed[:SHOWN_MAX]:
        violation = result.violations[0]
        say(f"seed {result.seed} broke {violation.checker} at {violation.time_ns / 1e9:.6f} s: {violation.text}")
        say(f"  again:  golemp2p sim replay {command} --seed {result.seed}        (trace {result.trace_hash})")
        say(f"  small:  golemp2p sim shrink {command} --seed {result.seed}")
    if len(summary.failed) > SHOWN_MAX:
        say(f"and {len(summary.failed) - SHOWN_MAX} seeds more")
    if not summary.failed and not summary.differing:
        say("no violation")


def tell_story(result: Result, log_file: Path | None, *, shown: int) -> int:
    from golemp2p_sim.runner import violations_json

    lines = result.lines or []
    if log_file is not None:
        log_file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    if wants_json():
        print_json(violations_json(result))
        return EXIT_FAILED if result.violations else 0
    if log_file is None:
        say(f"{'time':>12}  {'event':<9}  {'node':<6}  {'peer':<6}  detail")
        if len(lines) > shown:
            say(f"{'...':>12}  {len(lines) - shown} lines before; --log FILE keeps all")
        for line in lines[-shown:]:
            say(line)
    else:
        say(f"wrote {len(lines)} lines to {log_file}")
    for violation in result.violations:
        say(f"broke {violation.checker} at {violation.time_ns / 1e9:.6f} s: {violation.text}")
    say(
        f"seed {result.seed}, trace {result.trace_hash}, {result.events} events, {result.faults} faults"
        + ("" if result.violations else ", no violation")
    )
    return EXIT_FAILED if result.violations else 0
