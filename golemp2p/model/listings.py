"""Listings of the whole mesh, put together from what every node has in the shards that it leads.

who is asked says    shards   which shards the answer is complete for, up to ``end``
                     rows     what lives in them, in order
                     end      the last that was looked at, if there may be more after it; ``None``: that was all
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.model.ids import ComponentId
from golemp2p.model.worker import WorkerFilter, WorkerMetadata


@dataclass(frozen=True, slots=True)
class ListWorkers:
    """Workers of ``component`` whose name comes after ``after`` (``""``: from the first), at most ``count`` looked at."""

    component: ComponentId
    filter: WorkerFilter | None
    after: str
    count: int


@dataclass(frozen=True, slots=True)
class ListComponents:
    """Components whose id, as text, comes after ``after``."""

    after: str
    count: int


Listing = ListWorkers | ListComponents


@dataclass(frozen=True, slots=True)
class WorkersHeld:
    """``http``: where the answering node serves HTTP, ``""`` if it does not say."""

    shards: frozenset[int]
    rows: tuple[WorkerMetadata, ...]
    end: str | None
    http: str


@dataclass(frozen=True, slots=True)
class ComponentsHeld:
    """Rows: a component's id and how many versions it has."""

    shards: frozenset[int]
    rows: tuple[tuple[ComponentId, int], ...]
    end: str | None
    http: str
