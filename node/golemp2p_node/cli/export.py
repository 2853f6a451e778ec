"""``golemp2p worker export``: a worker's whole history as a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import Command, Failure
from golemp2p_node.cli.output import say, show, size_text
from golemp2p_node.cli.target import WORKER, Target

STANDARD_OUTPUT = "-"


@click.command(
    "export",
    cls=Command,
    examples="""
        $ golemp2p worker export cart/alice -o alice.history
        $ golemp2p worker export cart/alice -o - --without-component | ssh auditor 'cat > alice.history'
    """,
)
@click.argument("target", metavar="COMPONENT/WORKER", type=WORKER, shell_complete=worker_names)
@click.option("-o", "--output", metavar="FILE", required=True, help="Where to write it; - for standard output.")
@click.option(
    "--without-component", is_flag=True, help="Leave out the component: much smaller, and only `--component` runs it again."
)
def export(target: Target, output: str, without_component: bool) -> None:
    """Write the whole history of a worker to a file that anybody can check: `golemp2p worker verify FILE`.

    It holds every segment of the worker's oplog with its signatures, the elections of who wrote them, what the worker was told and what
    it answered, and the component's bytes. It does not hold the key of the mesh.
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        if output == STANDARD_OUTPUT:
            fetch_history(node, target, sys.stdout.buffer, without_component=without_component)
            return
        path = Path(output)
        with complete_file(path) as file:
            size = fetch_history(node, target, file, without_component=without_component)
    show({"file": str(path), "bytes": size}, lambda: say(f"wrote {path} ({size_text(size)})"))


def fetch_history(node: Any, target: Target, file: BinaryIO, *, without_component: bool = False) -> int:
    """Write the history to ``file`` as it comes; returns its size. Raises ``Failure``, also when it was cut off."""
    from golemp2p_node.cli.api import raise_for_status

    component, size = node.component_id(target.component), 0
    path = f"/v1/mesh/history/{component}/{quote(target.worker, safe='')}"
    query = {"without-component": "true"} if without_component else {}
    with node.translated(), node.client.stream("GET", path, params=query) as response:
        if not response.is_success:
            response.read()
        raise_for_status(response)
        for chunk in response.iter_bytes():
            file.write(chunk)
            size += len(chunk)
    return size


@contextlib.contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place when all of it was written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}", code="file") from error
    finally:
        partial.unlink(missing_ok=True)
