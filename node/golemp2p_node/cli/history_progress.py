"""How far a verification is: a bar on a terminal, a line per phase elsewhere, nothing for programs. All on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import click

from golemp2p_node.cli.framework import wants_json

PHASES = {
    "checking": "checking hashes, signatures and elections",
    "compiling": "compiling the component",
    "running": "running the worker again",
}


class Watch(Protocol):
    """As ``golemp2p.drivers.histories.verification`` has it."""

    def phase(self, name: str, total: int) -> None: ...

    def done(self, count: int) -> None: ...


class Silent:
    def phase(self, name: str, total: int) -> None: ...

    def done(self, count: int) -> None: ...


class Lines:
    def phase(self, name: str, total: int) -> None:
        click.echo(PHASES.get(name, name), err=True)

    def done(self, count: int) -> None: ...


class Bars:
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def phase(self, name: str, total: int) -> None:
        self._progress.reset(self._task, description=PHASES.get(name, name), total=total or None)

    def done(self, count: int) -> None:
        self._progress.update(self._task, completed=count)


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Whatever suits where standard error goes."""
    if wants_json():
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield Bars(progress)
