"""Components, workers and events as JSON, in Golem 1.2's shapes (camelCase).

Where we differ: a cursor's ``cursor`` is a text unless it happens to be a number; ``metadata.producers`` and ``binaryWit`` stay
empty, because types are reflected from the binary; a component also tells its ``sha256``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from golemp2p.client import NodeInfo, WorkersPage
from golemp2p.errors import MalformedRequest
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import ComponentInfo, OwnedResource, WorkerEvent, WorkerMetadata
from golemp2p.ports import CompilationState
from golemp2p.values.analysed import analysed_exports

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,14}")  # numbers that survive a JavaScript client


def time_json(time_ns: int) -> str:
    """ISO 8601 in UTC with microseconds."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def worker_id_json(worker: WorkerId) -> dict[str, Any]:
    return {"componentId": str(worker.component), "workerName": worker.name}


def worker_urn(worker: WorkerId) -> str:
    return f"urn:worker:{worker.component}/{worker.name}"


def worker_json(metadata: WorkerMetadata) -> dict[str, Any]:
    body: dict[str, Any] = {
        "workerId": worker_id_json(metadata.worker),
        "args": list(metadata.args),
        "env": dict(metadata.env),
        "status": metadata.status.value,
        "componentVersion": metadata.component_version,
        "retryCount": metadata.retry_count,
        "pendingInvocationCount": metadata.pending_invocations,
        "updates": [],
        "createdAt": time_json(metadata.created_ns),
        "componentSize": metadata.component_size,
        "totalLinearMemorySize": metadata.memory_bytes,
        "ownedResources": {str(number): _resource_json(resource) for number, resource in metadata.resources},
        "activePlugins": [],
    }
    if metadata.last_error is not None:
        body["lastError"] = metadata.last_error
    return body


def _resource_json(resource: OwnedResource) -> dict[str, Any]:
    body: dict[str, Any] = {"createdAt": time_json(resource.created_ns)}
    if resource.indexed_params is not None:
        body["indexed"] = {"resourceName": resource.name, "resourceParams": list(resource.indexed_params)}
    return body


def component_json(info: ComponentInfo) -> dict[str, Any]:
    return {
        "versionedComponentId": {"componentId": str(info.component), "version": info.version},
        "componentName": info.name,
        "componentSize": info.size_bytes,
        "metadata": {
            "exports": analysed_exports(info.type),
            "producers": [],
            "memories": [{"initial": info.memory_initial}] if info.memory_initial else [],
            "binaryWit": "",
            "dynamicLinking": {},
        },
        "createdAt": time_json(info.created_ns),
        "componentType": "Ephemeral" if info.ephemeral else "Durable",
        "files": [],
        "installedPlugins": [],
        "env": dict(info.env),
        "sha256": info.sha256.hex(),
    }


def cursor_json(cursor: str) -> dict[str, Any]:
    """``layer`` is always 0: one layer of storage. The inverse is ``parse_cursor`` of ``"layer/cursor"`` or of this object."""
    return {"cursor": int(cursor) if _DECIMAL.fullmatch(cursor) else cursor, "layer": 0}


def parse_cursor(value: Any) -> str:
    """A cursor as ``"0/CURSOR"`` (query) or ``{"cursor", "layer"}`` (body). Raises ``MalformedRequest``."""
    if isinstance(value, str):
        layer, separator, cursor = value.partition("/")
        if separator and layer == "0" and cursor:
            return cursor
    elif isinstance(value, dict):
        given = value.get("cursor")
        if value.get("layer", 0) == 0 and type(given) in {str, int} and given != "":
            return str(given)
    raise MalformedRequest('a cursor is given back as it was handed out: {"cursor", "layer"}, or "layer/cursor" in a query')


def workers_page_json(page: WorkersPage) -> dict[str, Any]:
    body: dict[str, Any] = {"workers": [worker_json(metadata) for metadata in page.workers]}
    if page.cursor is not None:
        body["cursor"] = cursor_json(page.cursor)
    return body


def node_json(info: NodeInfo) -> dict[str, Any]:
    return {
        "node": info.node, "version": info.version, "mesh": info.mesh, "startedAt": time_json(info.started_ns),
    }  # fmt: skip


def compilation_json(state: CompilationState) -> dict[str, Any]:
    return {
        "phase": state.phase,
        "elapsedSeconds": round(state.elapsed_s, 3),
        "sizeBytes": state.size_bytes,
        "error": state.error,
    }


_EVENT_NAMES = {
    "stdout": "StdOut", "stderr": "StdErr", "log": "Log",
    "invocation-start": "InvocationStart", "invocation-finished": "InvocationFinished", "close": "Close",
}  # fmt: skip


def event_json(event: WorkerEvent) -> Any:
    """A worker's event as serde tags it from outside: ``{"StdOut": {...}}``, or the bare text ``"Close"``."""
    name = _EVENT_NAMES[event.kind]
    if name == "Close":
        return name
    body: dict[str, Any] = {"timestamp": time_json(event.time_ns)}
    if name in {"StdOut", "StdErr"}:
        body["bytes"] = list(event.message.encode("utf-8", "replace"))
    elif name == "Log":
        body.update(level=event.level, context=event.context, message=event.message)
    else:
        body.update(function=event.function, idempotency_key=event.idempotency_key)
    return {name: body}
