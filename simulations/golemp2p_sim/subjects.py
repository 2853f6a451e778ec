"""Protocols that can be simulated, by name. A subject of one's own is a function (nodes, mutation, parameters) -> Subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from golemp2p_sim.mesh import Mesh
from golemp2p_sim.node import Subject
from golemp2p_sim.shard_subject import Shards
from golemp2p_sim.toy import Toy
from golemp2p_sim.toy_replica import ToyRules


@dataclass(frozen=True, slots=True)
class Entry:
    """``mutations``: rules that can be switched off."""

    text: str
    make: Callable[[int, str, dict[str, Any]], Subject]
    mutations: tuple[str, ...]
    parameters: tuple[str, ...] = ()


def _toy(nodes: int, mutation: str, parameters: dict[str, Any]) -> Subject:
    toy = Toy(nodes, **parameters)
    return toy.without(mutation) if mutation else toy


def _mesh(nodes: int, mutation: str, parameters: dict[str, Any]) -> Subject:
    mesh = Mesh(nodes, **parameters)
    return mesh.without(mutation) if mutation else mesh


def _shard(nodes: int, mutation: str, parameters: dict[str, Any]) -> Subject:
    shards = Shards(nodes, **parameters)
    return shards.without(mutation) if mutation else shards


SUBJECTS: dict[str, Entry] = {
    "mesh": Entry("whole nodes, grown from one founder", _mesh, Mesh.rule_names(), ("replicas", "shards", "batch", "grown")),
    "toy": Entry("model workers over a plain Raft, to prove the judges", _toy, ToyRules.names(), ("replicas", "shards")),
    "shard": Entry(
        "golemp2p's replica core, many shards per node",
        _shard,
        Shards.rule_names(),
        ("replicas", "shards", "shuffle", "batch"),
    ),
}


def make_subject(name: str, nodes: int, mutation: str = "", parameters: dict[str, Any] | None = None) -> Subject:
    """``ValueError`` names what there is."""
    entry = SUBJECTS.get(name)
    if entry is None:
        raise ValueError(f"no such subject: {name!r}; one of {', '.join(SUBJECTS)}")
    if mutation and mutation not in entry.mutations:
        raise ValueError(f"{name} has no rule {mutation!r}; one of {', '.join(entry.mutations)}")
    unknown = [key for key in parameters or {} if key not in entry.parameters]
    if unknown:
        raise ValueError(f"{name} has no parameter {unknown[0]!r}; one of {', '.join(entry.parameters)}")
    return entry.make(nodes, mutation, parameters or {})
