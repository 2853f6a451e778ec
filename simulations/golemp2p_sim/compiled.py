"""``python -m golemp2p_sim.compiled build/sim``: a copy of cores and simulator that mypyc has made C of; the same runs, faster.

    golemp2p, golemp2p_sim ──copy──> DIRECTORY ──mypyc, gcc──> extension modules ──play a case here and there──> equal hashes?

    PYTHONPATH=build/sim golemp2p sim run everything --protocol mesh --seeds 2000

For many seeds, not for work on the code: the copy does not follow it (``make simulate`` builds it anew when the source has changed). It
is the same source, but for marks on dataclasses, and asked to prove that it plays the same. Needs mypy (whose compiler mypyc is),
setuptools and a C compiler; ``--check`` says what is missing. Of the dataclasses in compiled modules, light ones (messages, effects)
become C with a constructor that the compiler can see; frozen ones stay Python classes: as native ones they could not be pickled, so not
sent to ``--jobs``.

**Limits:** where mypy goes on believing that an attribute is not ``None`` after a call that made it so, the copy raises ``TypeError``
and the run ends with "nothing-raises": test a local variable instead. And a call between compiled and interpreted code costs more
than between two of a kind, so the whole path of an event is compiled or none of it: with the cores alone the copy is slower than
the source. ``core/routing.py`` is left out: its classes inherit from a package's, which are interpreted.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from golemp2p_sim.case import case_to_json
from golemp2p_sim.run import run_case
from golemp2p_sim.scenario import load
from golemp2p_sim.units import S

CORES = (
    "address_book", "announcements", "beliefs", "catch_up", "configuration", "dht", "dht_records", "effects", "entry_check",
    "following", "gossip", "leading", "liveness", "log_heads", "lookup", "members", "membership", "peer", "peer_effects",
    "peer_shards", "placement", "planner", "probing", "progress", "rendezvous", "replica", "replica_durable",
    "replica_effects", "replica_log", "replica_source", "replica_state", "requests", "seats", "succession", "suspicion", "voting",
)  # fmt: skip
MODEL = ("membership", "messages_dht", "messages_membership", "messages_requests", "messages_shard", "replication")
SIMULATOR = (
    "checkers/agreement", "checkers/ends", "checkers/linearizability", "checkers/once", "disk", "history", "host", "mesh",
    "mesh_copy", "mesh_desk", "mesh_image", "mesh_node", "mesh_wire", "model_worker", "network", "shard_copy", "shard_desk",
    "shard_image", "shard_node", "shard_wire", "toy", "toy_replica", "toy_state", "trace", "workload", "world",
)  # fmt: skip
PROOF = (("everything", "mesh", 2), ("everything", "shard", 3), ("everything", "toy", 4))
"""Scenario, protocol, seed: played in both before the copy may be used."""
BUILD_TIMEOUT_S, PROOF_TIMEOUT_S = 900, 120

SETUP = """from mypyc.build import mypycify
from setuptools import setup

setup(name="compiled", packages=[], ext_modules=mypycify({modules!r}, opt_level="3"))
"""


LIGHT = "@light_dataclass(frozen=True, slots=True)"
VALUE = "@dataclass(frozen=True, slots=True"
FUTURE = "from __future__ import annotations\n"


def modules() -> list[str]:
    """Paths within the copy."""
    places = (("golemp2p/model", MODEL), ("golemp2p/core", CORES), ("golemp2p_sim", SIMULATOR))
    return [f"{place}/{name}.py" for place, names in places for name in names]


def obstacle() -> str:
    """Why nothing can be compiled here, in a line that says what to do; ``""``: it can."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        return f"no C compiler ({command}): apt-get install gcc, or set CC=/path/to/a/compiler; runs from the source need none"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "no headers of this Python: apt-get install python3-dev; runs from the source need none"
    missing = [name for name in ("mypyc", "setuptools") if importlib.util.find_spec(name) is None]
    return f"no {missing[0]}: pip install --editable '.[dev]'; runs from the source need none" if missing else ""


def build(directory: Path) -> None:
    """Copy and compile. ``directory`` is new."""
    directory.mkdir(parents=True)
    for name in ("golemp2p", "golemp2p_sim"):
        source = importlib.import_module(name).__file__
        assert source is not None, "a package of files"
        shutil.copytree(Path(source).parent, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in modules():
        source_text = (directory / path).read_text(encoding="utf-8")
        (directory / path).write_text(prepared(source_text), encoding="utf-8")
    (directory / "setup.py").write_text(SETUP.format(modules=modules()), encoding="utf-8")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=directory,
        env=_environment(directory),
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )


def prepared(text: str) -> str:
    """The text of a module as the compiler gets it."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.ClassDef) and lines[node.decorator_list[0].lineno - 1 if node.decorator_list else 0] == LIGHT:
            _write_constructor(node, lines)
    marked = "\n".join(lines) + "\n"
    marked = marked.replace(f"\n{VALUE}", f"\n@mypyc_attr(native_class=False)\n{VALUE}")
    imports = "from dataclasses import dataclass as native_dataclass\n\nfrom mypy_extensions import mypyc_attr\n"
    return marked.replace(FUTURE, f"{FUTURE}\n{imports}", 1)


def _write_constructor(node: ast.ClassDef, lines: list[str]) -> None:
    """Of the light dataclass ``node``: what ``dataclasses`` makes at import stays interpreted, what is in the text becomes C."""
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    lines[node.decorator_list[0].lineno - 1] = "@native_dataclass(init=False, unsafe_hash=True)"
    if not fields:
        return
    names = [ast.unparse(field.target) for field in fields]
    parameters = ", ".join(ast.unparse(field) for field in fields)
    after = fields[-1].end_lineno
    assert after is not None, "parsed from text"
    for field in fields:
        lines[field.lineno - 1] = f"    {ast.unparse(field.target)}: {ast.unparse(field.annotation)}"
    constructor = [f"    def __init__(self, {parameters}) -> None:", *(f"        self.{name} = {name}" for name in names)]
    lines[after:after] = ["", *constructor, ""]


def prove(directory: Path) -> list[str]:
    """The cases of ``PROOF`` that the copy plays otherwise."""
    differing: list[str] = []
    for name, subject, seed in PROOF:
        case = load(name).changed(subject=subject, duration_ns=20 * S).case(seed)
        there = subprocess.run(
            [sys.executable, "-m", "golemp2p_sim"],
            cwd=directory,  # which comes before the path
            input=json.dumps(case_to_json(case)),
            env=_environment(directory),
            capture_output=True,
            text=True,
            check=True,
            timeout=PROOF_TIMEOUT_S,
        )
        if there.stdout.strip() != run_case(case).trace_hash:
            differing.append(f"{name} {subject} {seed}")
    return differing


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(directory.resolve())}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m golemp2p_sim.compiled", description="Compile the simulator into DIRECTORY."
    )
    parser.add_argument("--check", action="store_true", help="only say what is missing, if anything is")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", nargs="?", help="made anew; it must not be there yet")
    parsed = parser.parse_args(arguments)
    directory: Path | None = parsed.directory
    if missing := obstacle():
        print(f"not compiled: {missing}", file=sys.stderr)
        return 1
    if parsed.check:
        return 0
    if directory is None:
        parser.error("where to? name a DIRECTORY, such as build/sim")
    if directory.exists():
        parser.error(f"{directory} is there already; remove it first")
    build(directory)
    differing = prove(directory)
    if differing:
        print(f"The copy plays {', '.join(differing)} otherwise: do not use it.", file=sys.stderr)
        return 1
    print(f"PYTHONPATH={directory} golemp2p sim run everything --protocol mesh --seeds 2000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
