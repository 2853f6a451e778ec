"""Worker filters as users write them: texts ``"field op value"`` in queries, trees in the body of ``/workers/find``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from golemp2p.errors import MalformedRequest
from golemp2p.model.worker import AllOf, AnyOf, Comparator, FieldFilter, NotFilter, WorkerFilter, WorkerStatus

TEXT_OPERATORS: dict[str, Comparator] = {
    "eq": "eq", "equal": "eq", "=": "eq", "==": "eq",
    "ne": "ne", "notequal": "ne", "!=": "ne",
    "like": "like", "notlike": "notlike", "startswith": "startswith",
    "ge": "ge", "greaterequal": "ge", ">=": "ge", "gt": "gt", "greater": "gt", ">": "gt",
    "le": "le", "lessequal": "le", "<=": "le", "lt": "lt", "less": "lt", "<": "lt",
}  # fmt: skip

TEXT_COMPARATORS: frozenset[Comparator] = frozenset({"eq", "ne", "like", "notlike", "startswith"})
ORDER_COMPARATORS: frozenset[Comparator] = frozenset({"eq", "ne", "ge", "gt", "le", "lt"})

FIELDS_BY_TYPE = {"Name": "name", "Status": "status", "Version": "version", "CreatedAt": "createdAt"}
STATUSES = {status.value.lower(): status.value for status in WorkerStatus}

FILTERS_MAX = 256  # nodes of one tree; a listing evaluates them for every worker


def field_filter(field: str, operator: str, value: str) -> FieldFilter:
    """A checked filter on one field. Raises ``MalformedRequest``."""
    comparator = TEXT_OPERATORS.get(operator.lower())
    if comparator is None:
        raise MalformedRequest(f"unknown filter operator {operator!r}; known are {', '.join(sorted(TEXT_OPERATORS))}")
    is_text = field == "name" or field.startswith("env.")
    if not is_text and field not in FIELDS_BY_TYPE.values():
        raise MalformedRequest(f"unknown filter field {field!r}; known are name, status, version, createdAt, env.KEY")
    if comparator not in (TEXT_COMPARATORS if is_text else ORDER_COMPARATORS):
        raise MalformedRequest(f"field {field!r} cannot be compared with {operator!r}")
    match field:
        case "status":
            canonical = STATUSES.get(value.lower())
            if canonical is None:
                raise MalformedRequest(f"unknown worker status {value!r}; known are {', '.join(STATUSES.values())}")
            value = canonical
        case "version":
            if not (value.isascii() and value.isdigit() and len(value) <= 20):
                raise MalformedRequest(f"a component version is a number from 0 up, got {value!r}")
        case "createdAt":
            try:
                datetime.fromisoformat(value)
            except ValueError as error:
                raise MalformedRequest(f"createdAt is compared with an ISO 8601 time, got {value!r}") from error
        case _:
            pass
    return FieldFilter(field, comparator, value)


def parse_filter_texts(texts: Sequence[str]) -> WorkerFilter | None:
    """``["name like a", "version >= 2"]``: all must hold. ``None`` when there are none."""
    filters: list[WorkerFilter] = []
    for text in texts:
        parts = text.split(maxsplit=2)
        if len(parts) != 3:
            raise MalformedRequest(f'a filter reads "field operator value", got {text!r}')
        filters.append(field_filter(*parts))
    if not filters:
        return None
    return filters[0] if len(filters) == 1 else AllOf(tuple(filters))


def parse_filter_tree(tree: Any) -> WorkerFilter:
    """Golem's ``WorkerFilter`` JSON, tagged by ``type``. Raises ``MalformedRequest`` naming the path of the fault."""
    budget = [FILTERS_MAX]
    return _parse_tree(tree, "filter", budget)


def _parse_tree(tree: Any, path: str, budget: list[int]) -> WorkerFilter:
    budget[0] -= 1
    if budget[0] < 0:
        raise MalformedRequest(f"a filter has at most {FILTERS_MAX} nodes")
    if not isinstance(tree, dict):
        raise MalformedRequest(f"{path}: expected an object with a type")
    kind = tree.get("type")
    if kind in {"And", "Or"}:
        children = tree.get("filters")
        if not isinstance(children, list):
            raise MalformedRequest(f"{path}.filters: expected a list of filters")
        parsed = tuple(_parse_tree(child, f"{path}.filters[{i}]", budget) for i, child in enumerate(children))
        return AllOf(parsed) if kind == "And" else AnyOf(parsed)
    if kind == "Not":
        return NotFilter(_parse_tree(tree.get("filter"), f"{path}.filter", budget))
    if kind == "Env":
        name = tree.get("name")
        if not isinstance(name, str) or not name:
            raise MalformedRequest(f"{path}.name: expected the name of an environment variable")
        field = f"env.{name}"
    elif kind in FIELDS_BY_TYPE:
        field = FIELDS_BY_TYPE[cast("str", kind)]
    else:
        raise MalformedRequest(f"{path}.type: expected Name, Status, Version, CreatedAt, Env, And, Or or Not")
    comparator, value = tree.get("comparator"), tree.get("value")
    if not isinstance(comparator, str):
        raise MalformedRequest(f"{path}.comparator: expected a text")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedRequest(f"{path}.value: expected a text or a number")
    try:
        return field_filter(field, comparator, str(value))
    except MalformedRequest as error:
        raise MalformedRequest(f"{path}: {error}") from error
