"""Whether a worker passes a listing's filter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from golemp2p.errors import MalformedRequest
from golemp2p.model.worker import AllOf, AnyOf, FieldFilter, NotFilter, WorkerFilter, WorkerMetadata, WorkerStatus

_ORDER = {status.value.lower(): rank for rank, status in enumerate(WorkerStatus)}

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
    "like": lambda a, b: b in a,
    "notlike": lambda a, b: b not in a,
    "startswith": lambda a, b: a.startswith(b),
}
_TEXT = {"eq", "ne", "like", "notlike", "startswith"}
_ORDERED = {"eq", "ne", "ge", "gt", "le", "lt"}


def matches(filter: WorkerFilter, worker: WorkerMetadata) -> bool:
    """Raises ``MalformedRequest`` for a field, comparator or value that makes no sense."""
    match filter:
        case AllOf(filters):
            return min(
                [matches(each, worker) for each in filters], default=True
            )  # all are looked at: a wrong one is always told
        case AnyOf(filters):
            return max([matches(each, worker) for each in filters], default=False)
        case NotFilter(inner):
            return not matches(inner, worker)
        case FieldFilter():
            return _field_matches(filter, worker)


def _field_matches(filter: FieldFilter, worker: WorkerMetadata) -> bool:
    name = filter.field
    if name == "name":
        return _compare(filter, worker.worker.name, filter.value, _TEXT)
    if name.startswith("env."):
        value = dict(worker.env).get(name[4:])
        if value is None:
            return filter.comparator in ("ne", "notlike")
        return _compare(filter, value, filter.value, _TEXT)
    if name == "status":
        rank = _ORDER.get(filter.value.lower())
        if rank is None:
            raise MalformedRequest(f"status {filter.value!r} is none of {', '.join(s.value for s in WorkerStatus)}")
        return _compare(filter, _ORDER[worker.status.value.lower()], rank, _ORDERED)
    if name == "version":
        if not filter.value.isdecimal():
            raise MalformedRequest(f"version is compared with a number, got {filter.value!r}")
        return _compare(filter, worker.component_version, int(filter.value), _ORDERED)
    if name == "createdAt":
        created = datetime.fromtimestamp(worker.created_ns / 1e9, UTC)
        return _compare(filter, created, _time(filter.value), _ORDERED)
    raise MalformedRequest(f"unknown filter field {name!r}: use name, status, version, createdAt or env.KEY")


def _compare(filter: FieldFilter, left: Any, right: Any, allowed: set[str]) -> bool:
    if filter.comparator not in allowed:
        raise MalformedRequest(
            f"{filter.field} cannot be compared with {filter.comparator!r}: use {', '.join(sorted(allowed))}"
        )
    return _COMPARE[filter.comparator](left, right)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedRequest(f"createdAt is compared with an ISO 8601 time, got {text!r}") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
