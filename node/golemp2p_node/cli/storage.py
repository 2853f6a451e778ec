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
from golemp2p_node.cli.output import facts, say, show, size_text, table

if TYPE_CHECKING:
    from golemp2p.storage.inspect import ShardSummary, StorageSummary
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

    Checks the database; every shard's entries, who wrote them, and the votes of who was elected to; every log's hashes, links and
    signatures; every blob against its name. Exit code 0: all sound; 1: something is damaged.
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
            "shards": f"{report.shards} with {report.positions} entries that are not compacted, {report.elections} elections",
            "logs": report.logs,
            "segments": f"{report.segments} with {report.entries} entries ({size_text(report.segment_bytes)})",
            "blobs": f"{report.blobs} ({size_text(report.blob_bytes)})",
            "blobs elsewhere": f"{report.blobs_elsewhere} that other nodes hold" if report.blobs_elsewhere else None,
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
        return "restore the directory from a backup, or join the mesh with an empty one: no node starts on it as it is"
    if kinds <= {"worker"}:
        return "restore the directory from a backup, or delete the damaged workers; all others go on as they are"
    if kinds <= {"worker", "component", "log", "shard", "fetched"}:
        return "other nodes of the mesh repair it; a node that is alone goes on with what is sound, or from a backup"
    return "restore the directory from a backup; whatever needs nothing of what is damaged goes on as it is"


@group.command(
    "inspect",
    examples="""
        $ golemp2p storage inspect
        $ golemp2p storage inspect --shard 17 --data-dir /srv/golemp2p
    """,
)
@click.option(
    "--shard", type=click.IntRange(min=0), metavar="N", help="Show this shard: its record, members and newest entries."
)
@data_dir_option
def inspect(shard: int | None, data_dir: str | None) -> None:
    """Show what a data directory holds, in numbers. Changes nothing, checks nothing."""
    directory = data_directory(data_dir)
    with storage_errors():
        from golemp2p.storage.inspect import inspect_shard, inspect_storage

        if shard is None:
            summary = inspect_storage(directory)
            show(asdict(summary), lambda: print_summary(directory, summary))
        else:
            detail = inspect_shard(directory, shard)
            show(asdict(detail), lambda: print_shard(detail))


def print_summary(directory: Path, summary: StorageSummary) -> None:
    logs = ", ".join(f"{count} {kind}" for kind, count in summary.logs.items()) or "none"
    facts(
        {
            "directory": directory,
            "store": summary.store_id or "no id yet",
            "shards": f"{summary.shards} with {summary.entries} entries that are not compacted",
            "logs": f"{logs}; {summary.open_logs} with open work, {summary.waking_logs} to be woken",
            "undescribed logs": summary.undescribed_logs or None,
            "damaged logs": summary.damaged_logs or None,
            "segments": f"{summary.segments} ({size_text(summary.segment_bytes)})",
            "fetched segments": summary.fetched_segments or None,
            "milestones": summary.milestones,
            "blobs": f"{summary.blobs} ({size_text(summary.blob_bytes)})",
        }
    )


def print_shard(detail: ShardSummary) -> None:
    facts(
        {
            "shard": detail.shard,
            "term": detail.term,
            "voted for": detail.voted_for or "nobody",
            "positions": f"base {detail.base_position}, committed {detail.commit}, last {detail.last_position}",
            "acknowledged": "term {}, position {}".format(*detail.high_water),
            "voters": "\n".join(detail.voters) or "none",
            "voters to come": "\n".join(detail.incoming) or None,
            "learners": "\n".join(detail.learners) or None,
            "logs": detail.logs,
            "fetched logs": detail.fetched_logs or None,
            "damaged logs": detail.damaged_logs or None,
            "elections": "\n".join(f"term {term}: {author}" for term, author in detail.elections.items()) or "none",
        }
    )
    columns = ("position", "term", "what", "log", "first", "count")
    rows = [(entry.position, entry.term, entry.kind, entry.log, entry.first, entry.count) for entry in detail.entries]
    table(columns, rows, empty="no entries after the base")


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
    if target.resolve().is_relative_to(directory.resolve()):
        raise Failure(f"{target} is inside of {directory}", "name a TARGET elsewhere, best on another disk")
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
