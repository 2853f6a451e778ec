"""What the shell offers for COMPONENT and COMPONENT/WORKER: asked of the node, briefly, and silent when it does not answer."""

from __future__ import annotations

import click

from golemp2p_node.cli.framework import Failure

PATIENCE_S = 1.0  # a key press waits for this
OFFERED_MAX = 200  # beyond it a list helps nobody


def component_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of components that start with what was typed."""
    try:
        return [name for name in _names() if name.startswith(incomplete)][:OFFERED_MAX]
    except Failure:
        return []


def worker_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Components with a slash until there is one, then workers of that component."""
    component, slash, beginning = incomplete.rpartition("/")
    try:
        if not slash:
            return [f"{name}/" for name in _names() if name.startswith(incomplete)][:OFFERED_MAX]
        return [f"{component}/{name}" for name in _workers(component) if name.startswith(beginning)]
    except Failure:
        return []


def node_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the other nodes of the mesh."""
    from golemp2p_node.cli.api import Node

    try:
        with Node() as node:
            peers = node.json("GET", "/v1/mesh/peers", timeout=PATIENCE_S)["peers"]
    except Failure:
        return []
    return [peer["node"] for peer in peers if not peer["isSelf"] and peer["node"].startswith(incomplete)][:OFFERED_MAX]


def _names() -> list[str]:
    from golemp2p_node.cli.api import Node

    with Node() as node:
        return sorted({c["componentName"] for c in node.json("GET", "/v1/components", timeout=PATIENCE_S)})


def _workers(component: str) -> list[str]:
    from golemp2p_node.cli.api import Node

    with Node() as node:
        page = node.json("GET", node.workers_path(component), params={"count": str(OFFERED_MAX)}, timeout=PATIENCE_S)
        return [worker["workerId"]["workerName"] for worker in page["workers"]]
