"""What commands print: tables and sentences for people, exactly the node's JSON for programs.

Names, messages and output of guests come from strangers. On their way to a terminal control characters are shown as escapes,
so that no worker can move the cursor, retitle the window or forge a prompt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from golemp2p_node.cli.framework import wants_json


def show(data: Any, text: Callable[[], None]) -> None:
    """``data`` as JSON, or whatever ``text`` prints: by ``--format``."""
    if wants_json():
        print_json(data)
    else:
        text()


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


def print_json_line(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False))


def say(message: str) -> None:
    """A sentence for people, on standard output."""
    click.echo(safe(message))


def safe(text: str) -> str:
    """``text`` with control characters (but newline and tab) and bidirectional overrides written as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """``empty`` is the sentence when there are no rows. Numbers are right-aligned; piped output is never cut or wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [tuple(row) for row in rows]
    if not listed:
        say(empty)
        return
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int | float) for row in listed)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        grid.add_row(*(Text(safe(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False).print(grid, soft_wrap=False)


def facts(pairs: Mapping[str, object]) -> None:
    """Name and value, one pair a line, aligned; values of ``None`` are left out."""
    shown = {name: value for name, value in pairs.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        lines = safe(str(value)).splitlines() or [""]
        click.echo(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            click.echo(" " * (width + 2) + line)


def size_text(count: int) -> str:
    """Bytes for people: ``18.3 MiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable: GiB always returns")
