"""``golemp2p worker verify``: check a worker's history, from a node or from a file, and run the worker again.

What it says is made here, on this machine, from bytes that anybody may have given: nothing of the node is believed but its answer.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, Command, Failure
from golemp2p_node.cli.target import WORKER, Target

if TYPE_CHECKING:
    from golemp2p.model.history import HistoryReport

MESH_ID_HEX = 64
PATH_STARTS = ("/", "./", "../", "~/")  # no component is called that
EXIT_OF = {"verified": 0, "wrong": EXIT_FAILED, "incomplete": EXIT_INCOMPLETE}


@click.command(
    "verify",
    cls=Command,
    examples="""
        $ golemp2p worker verify cart/alice
        $ golemp2p worker verify alice.history --mesh mesh:5f0c…
        $ golemp2p worker verify alice.history --format json
    """,
)
@click.argument("source", metavar="COMPONENT/WORKER|FILE", shell_complete=worker_names)
@click.option("--mesh", "mesh", metavar="MESH", help="The mesh it must be of, as `golemp2p mesh status` names it.")
@click.option(
    "--component", "wasm", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The component's bytes, where the history was exported without them.",
)  # fmt: skip
@click.option("--no-run", is_flag=True, help="Check hashes, signatures and elections only; do not run the worker again.")
@click.option("--memory-max", metavar="SIZE", help="Memory the worker may use, if its node allows more than 1 GiB.")
@click.option("--wall-time-max", metavar="SECONDS", type=float, help="Computing time between two host calls; default 60.")
def verify(
    *, source: str, mesh: str | None, wasm: Path | None, no_run: bool, memory_max: str | None, wall_time_max: float | None
) -> int:
    """Check the whole history of a worker: every hash, every signature, every election; and run its component again from its journal,
    comparing every host call, every line and every result.

    Takes it from a node, whichever has it, or from a FILE that `worker export` wrote; for a file no node is needed. Nothing is
    changed anywhere, and the worker that is run again reaches nothing outside.

    Exit code 0: verified. 1: something is wrong. 5: nothing is wrong, but not all of it could be shown.
    """
    from golemp2p_node.cli.history_report import report_json, report_text
    from golemp2p_node.cli.output import show

    limits = _limits(memory_max, wall_time_max)
    with _file(source) as (path, mesh_id), _stored():
        report = _judge(path, _mesh_id(mesh) or mesh_id, wasm, limits, run=not no_run)
    show(report_json(report), lambda: report_text(report))
    return EXIT_OF[report.verdict]


@contextlib.contextmanager
def _file(source: str) -> Iterator[tuple[Path, bytes | None]]:
    """The history as a file, and the mesh that it must be of: that of the node it was asked of."""
    path = Path(source)
    if path.is_file():
        yield path, None
        return
    if "/" not in source or source.startswith(PATH_STARTS):
        raise Failure(
            f"there is no file {source!r}, and it names no worker",
            "give COMPONENT/WORKER, for example cart/alice, or a file that `golemp2p worker export` wrote",
            code="no-such-file", exit_code=EXIT_USAGE,
        )  # fmt: skip
    target: Target = WORKER.convert(source, None, None)
    from golemp2p_node.cli.api import Node
    from golemp2p_node.cli.export import fetch_history

    with tempfile.TemporaryDirectory(prefix="golemp2p-verify-") as directory, Node() as node:
        mesh_id = _mesh_id(node.json("GET", "/v1/mesh/node").get("mesh"))
        path = Path(directory) / "history"
        with path.open("wb") as file:
            fetch_history(node, target, file)
        yield path, mesh_id


def _judge(path: Path, mesh_id: bytes | None, wasm: Path | None, limits: Any, *, run: bool) -> HistoryReport:
    import trio

    from golemp2p.drivers.histories.verification import verify_file
    from golemp2p_node.cli.history_progress import watching

    async def judge() -> HistoryReport:
        with tempfile.TemporaryDirectory(prefix="golemp2p-verify-") as directory, watching() as watch:
            async with contextlib.AsyncExitStack() as stack:
                guests = None
                if run:
                    from golemp2p.runtime.guests import open_guests

                    guests = await stack.enter_async_context(open_guests(_cache()))
                return await verify_file(
                    path, guests, work_dir=Path(directory), limits=limits, mesh_id=mesh_id, wasm=wasm, watch=watch
                )

    return trio.run(judge)


def _cache() -> Path:
    """Compiled code is kept between runs; it is the engine's to know whose it is."""
    home = os.environ.get("XDG_CACHE_HOME")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    path = base / "golemp2p" / "verify"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _limits(memory_max: str | None, wall_time_max: float | None) -> Any:
    from golemp2p.ports import GuestLimits
    from golemp2p_node.units import size

    given: dict[str, Any] = {}
    try:
        if memory_max is not None:
            given["memory_bytes_max"] = size(memory_max)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--memory-max") from error
    if wall_time_max is not None:
        if not wall_time_max > 0:
            raise click.BadParameter("must be positive", param_hint="--wall-time-max")
        given["wall_time_s"] = wall_time_max
    return GuestLimits(**given)


def _mesh_id(text: str | None) -> bytes | None:
    """From ``mesh:`` and 64 hexadecimal digits, the prefix being optional."""
    if text is None:
        return None
    digits = text.removeprefix("mesh:")
    try:
        mesh_id = bytes.fromhex(digits)
    except ValueError:
        mesh_id = b""
    if len(digits) != MESH_ID_HEX or not mesh_id:
        raise click.BadParameter(f"expected mesh: and {MESH_ID_HEX} hexadecimal digits, got {text!r}", param_hint="--mesh")
    return mesh_id


@contextlib.contextmanager
def _stored() -> Iterator[None]:
    """Turns errors of files, and of options that do not fit, into failures of two lines."""
    from golemp2p.errors import UsageError

    try:
        yield
    except OSError as error:
        raise Failure(f"{error.filename or 'a file'}: {error.strerror or error}", code="file") from error
    except UsageError as error:
        raise Failure(str(error), code=error.code, exit_code=EXIT_USAGE) from error
