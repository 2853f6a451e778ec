"""``golemp2p storage``: look after a data directory on this machine, whether or not a node is running on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golemp2p_node.cli.framework import EXIT_FAILED, EXIT_USAGE, Failure, Group
from golemp2p_node.cli.output import facts, say, show, size_text

if TYPE_CHECKING:
    from golemp2p.storage.verify import StorageReport

SHOWN_MAX = 100  # damages listed for people; --format json has all that are known


@click.group("storage", cls=Group)
def group() -> None:
    """Look after a data directory on this machine, whether or not a node is running on it."""


data_dir_option = click.option("--data-dir", metavar="DIR", help="Default: as `golemp2p node config` says.")


@group.command(
    "verify",
    examples="""
        $ golemp2p storage verify
        $ golemp2p storage verify --data-dir /srv/golemp2p --format json
    """,
)
@data_dir_option
def verify(data_dir: str | None) -> int:
    """Read everything in a data directory and say what is damaged. Changes nothing.

    Checks the database, every shard's entries and elections, every log's hashes, links and signatures, and every blob against its
    name. Exit code 0: all sound; 1: something is damaged. A shard with damage is mended by the other nodes that hold it when the
    node starts; in a mesh of one it stays closed, and all others go on.
    """
    directory = data_directory(data_dir)
    with storage_errors():
        from golemp2p.storage.verify import verify_storage

        report = verify_storage(directory)
    show(asdict(report), lambda: print_report(directory, report))
    return EXIT_FAILED if report.damages_count else 0


def print_report(directory: Path, report: StorageReport) -> None:
    facts(
        {
            "directory": directory,
            "logs": report.logs,
            "segments": f"{report.segments} with {report.entries} entries ({size_text(report.segment_bytes)})",
            "blobs": f"{report.blobs} ({size_text(report.blob_bytes)})",
        }
    )
    if not report.damages_count:
        say("all sound")
        return
    say(f"damaged: {report.damages_count}")
    for damage in report.damages[:SHOWN_MAX]:
        say(f"  {damage}")
    if report.damages_count > SHOWN_MAX:
        say(f"  and {report.damages_count - SHOWN_MAX} more")
    say(advice({damage.kind for damage in report.damages}))


def advice(kinds: set[str]) -> str:
    """What to do about damages of these kinds."""
    if "database" in kinds:
        return "restore the directory from a backup: no node starts on it as it is"
    if kinds <= {"worker", "shard"}:
        return (
            "start the node: others that hold these shards mend them; if there are none, restore a backup, or have a shard go on"
            " without what is damaged: golemp2p mesh recover --force SHARD"
        )
    return "restore the directory from a backup; whatever needs nothing of what is damaged goes on as it is"


@group.command(
    "backup",
    examples="""
        $ golemp2p storage backup /backups/node-2026-11-22
        $ golemp2p storage backup ./copy --data-dir /srv/golemp2p
    """,
)
@click.argument("target", type=click.Path(path_type=Path))
@data_dir_option
def backup(target: Path, data_dir: str | None) -> int:
    """Copy a data directory to TARGET, one moment of it, while its node goes on running.

    TARGET must not exist. It becomes a complete data directory with the node's secret key: keep it as you keep keys. Never
    run it beside the original.
    """
    directory = data_directory(data_dir)
    if target.exists():
        raise Failure(f"{target} exists already; a backup is made where nothing is yet", "name a TARGET that does not exist")
    with storage_errors():
        from golemp2p.storage.backup import backup as copy

        report = copy(directory, target)

    def text() -> None:
        database, blobs = size_text(report.database_bytes), size_text(report.blob_bytes)
        say(f"copied {directory} to {target}: database {database}, {report.blobs} blobs ({blobs})")
        for name in report.damaged_blobs:
            say(f"  left out, damaged: blob {name}")

    show({"target": str(target), **asdict(report)}, text)
    return EXIT_FAILED if report.damaged_blobs else 0


def data_directory(flag: str | None) -> Path:
    """Where the node would keep its data: flag, environment, file, default."""
    from golemp2p_node.settings import InvalidSetting
    from golemp2p_node.sources import load

    try:
        flags: dict[str, tuple[str, Any]] = {} if flag is None else {"data_dir": ("--data-dir", flag)}
        return load(flags, os.environ).settings.data_dir
    except InvalidSetting as error:
        hint = "`golemp2p node config` shows all settings"
        raise Failure(str(error), hint, code="invalid-setting", exit_code=EXIT_USAGE) from error


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turns the storage's errors into failures of two lines."""
    from golemp2p.errors import Golemp2pError, UsageError

    try:
        yield
    except UsageError as error:
        raise Failure(str(error), "name the right one with --data-dir DIR", code=error.code) from error
    except Golemp2pError as error:
        raise Failure(str(error), code=error.code) from error
