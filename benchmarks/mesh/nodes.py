"""Meshes to measure: started and ended here, and what they have used of the machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.invocations import invoke_path
from benchmarks.loadgen import cpu_s
from benchmarks.node import metrics, wasm, written_bytes
from golemp2p.testing.mesh_process import MeshProcess
from golemp2p.testing.node_process import NodeProcess

GROWN_S_MAX = 120.0
LOOK_S = 2.0
QUIET_MESSAGES = 20
"""Per node and second: what a mesh has left to say after it has grown, or was invoked, is said when there are no more. Watching
each other takes some ten."""
QUIET_S_MAX = 120.0
ADD = "demo:counter/api@1.0.0.{add}"


@contextmanager
def prepared_mesh(count: int, *, shards: int, **settings: str) -> Iterator[MeshProcess]:
    """Nodes that are not started yet, on data directories that are removed with them."""
    with tempfile.TemporaryDirectory(prefix="golemp2p-bench-") as folder:
        mesh = MeshProcess(Path(folder), count, shards_count=str(shards), **settings)
        try:
            yield mesh
        finally:
            mesh.kill()


@contextmanager
def running_mesh(count: int, *, shards: int, **settings: str) -> Iterator[MeshProcess]:
    """A mesh that has grown."""
    with prepared_mesh(count, shards=shards, **settings) as mesh:
        mesh[0].start()
        join(mesh)
        yield mesh


def join(mesh: MeshProcess) -> None:
    """Have all nodes but the first, which runs, join it. Returns when every shard has its voters."""
    invite = mesh.invite(mesh[0])
    for node in mesh.nodes[1:]:
        node.spawn(join=invite)
    for node in mesh.nodes[1:]:
        node.wait_ready()
    mesh.until(lambda: is_grown(mesh), lambda: f"every shard has its voters, but {voting(mesh)}", GROWN_S_MAX)


def voting(mesh: MeshProcess) -> list[int]:
    """Of each node: in how many shards it has a vote."""
    return [int(node.request("GET", "/v1/mesh/status")["shards"]["voting"]) for node in mesh]


def is_grown(mesh: MeshProcess) -> bool:
    replicas = min(3, len(mesh) - 1 + len(mesh) % 2)
    return sum(voting(mesh)) >= replicas * mesh.shards_count


def add_counter(mesh: MeshProcess) -> str:
    """Id of the counter component, which every node has compiled."""
    component = mesh[0].add_component("counter", wasm("counter"))
    for number, node in enumerate(mesh):
        node.invoke(component, mesh.worker_led_by(node, component, f"warm{number}-"), ADD, 1)
    return component


def leaders_of(mesh: MeshProcess, component: str, workers: Sequence[str]) -> list[NodeProcess]:
    """The node that leads each worker."""
    by_id = {mesh.id_of(node): node for node in mesh}
    shards = mesh.shards(mesh[0])
    return [by_id[shards[mesh.shard_of(component, worker)]["primary"]] for worker in workers]


class Use(NamedTuple):
    """Of several processes together, since some moment. ``written_bytes``: to the disk, in pages."""

    cpu_s: float
    invocations: float
    commits: float
    messages: float
    sent_bytes: float
    written_bytes: float


def meter(nodes: Sequence[NodeProcess]) -> Callable[[], Use]:
    """What ``nodes`` have used, from now on, whenever it is called."""

    def read() -> Use:
        told = [metrics(node) for node in nodes]

        def total(name: str) -> float:
            return sum(one[name] for one in told)

        return Use(
            cpu_s([node.pid for node in nodes]),
            total("invocations_completed_total"),
            total("storage_commits"),
            total("mesh_messages_sent_total"),
            total("mesh_bytes_sent_total"),
            sum(written_bytes(node.pid) for node in nodes),
        )

    before = read()
    return lambda: Use(*[now - then for now, then in zip(read(), before, strict=True)])


def wait_quiet(nodes: Sequence[NodeProcess]) -> None:
    until = time.monotonic() + QUIET_S_MAX
    while True:
        used = meter(nodes)
        time.sleep(LOOK_S)
        if used().messages <= QUIET_MESSAGES * len(nodes) * LOOK_S:
            return
        if time.monotonic() > until:
            raise SystemExit(f"not quiet within {QUIET_S_MAX:g} s")


__all__ = [
    "ADD", "Use", "add_counter", "invoke_path", "is_grown", "join", "leaders_of", "meter", "prepared_mesh", "running_mesh", "voting",
    "wait_quiet",
]  # fmt: skip
