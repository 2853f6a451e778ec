"""``golemp2p storage``: look after a data directory on this machine, whether or not a node is running on it."""

from __future__ import annotations

import click

from golemp2p_node.cli.framework import Group


@click.group("storage", cls=Group)
def group() -> None:
    """Look after a data directory on this machine, whether or not a node is running on it."""
