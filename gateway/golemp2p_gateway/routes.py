"""Every route of the edge, declared once. The Quart app, the router of the hot path and ``/openapi.json`` are made from this.

Paths, methods and shapes are Golem 1.2's; what goes beyond stands under ``/v1/mesh``.
"""

from __future__ import annotations

from golemp2p_gateway import components, connect, histories, invocations, mesh, node, openapi, oplogs, workers
from golemp2p_gateway.edge import Handler, Parameter, Route, Schema
from golemp2p_gateway.schemas import (
    ANYTHING,
    BINARY,
    BOOLEAN,
    COUNT,
    EMPTY,
    TEXT,
    TEXTS,
    UUID,
    json_of,
    list_of,
    one_of,
    record,
    ref,
)  # fmt: skip

COMPONENT = Parameter("component_id", "path", UUID, "the component", required=True)
WORKER = Parameter("worker_name", "path", TEXT, "the worker's name, percent-encoded", required=True)
VERSION = Parameter("version", "path", COUNT, "a version of the component, counted from 0", required=True)
FUNCTION = Parameter(
    "function", "query", TEXT, "pkg:ns/iface@ver.{name}, or a short form when that is unambiguous", required=True
)
KEY = Parameter("Idempotency-Key", "header", TEXT, "repeating a key returns the recorded result; absent: a fresh one")
CURSOR = Parameter("cursor", "query", TEXT, '"layer/cursor" from the page before')
ONE_COMPONENT, MANY_COMPONENTS = json_of(ref("Component")), json_of(list_of(ref("Component")))
NOTHING = json_of(EMPTY)
OCTETS: dict[str, Schema] = {"application/octet-stream": BINARY}
UPLOAD: dict[str, Schema] = {"multipart/form-data": ref("ComponentUpload")}

C = "/v1/components"
C_ID = C + "/{component_id}"
W = C_ID + "/workers"
W_ID = W + "/{worker_name}"


def _invoke(path: str, operation: str, summary: str, handler: Handler, response: dict[str, Schema]) -> Route:
    where = (COMPONENT, WORKER) if "{worker_name}" in path else (COMPONENT,)
    return Route(
        "POST", path, operation, summary, handler, "invocations", (*where, FUNCTION, KEY),
        json_of(ref("InvokeRequest")), response, hot=True,
    )  # fmt: skip


INVOCATIONS = (
    _invoke(
        W_ID + "/invoke-and-await", "invoke-and-await-worker", "Invoke a function of a worker and wait for its result",
        invocations.invoke_and_await, json_of(ref("InvokeResult")),
    ),
    _invoke(
        C_ID + "/invoke-and-await", "invoke-and-await", "Invoke a function of a fresh worker and wait for its result",
        invocations.invoke_and_await, json_of(ref("InvokeResult")),
    ),
    _invoke(
        W_ID + "/invoke", "invoke-worker", "Invoke a function of a worker; answers once durably accepted",
        invocations.invoke, NOTHING,
    ),
    _invoke(
        C_ID + "/invoke", "invoke", "Invoke a function of a fresh worker; answers once durably accepted",
        invocations.invoke, NOTHING,
    ),
)  # fmt: skip

WORKERS = (
    Route(
        "GET", W, "list-workers", "Workers of a component, page by page", workers.list_workers, "workers",
        (
            COMPONENT,
            Parameter("filter", "query", TEXTS, '"field operator value", repeatable; all must hold'),
            CURSOR,
            Parameter("count", "query", COUNT, "at most this many (50)"),
            Parameter("precise", "query", BOOLEAN, "accepted; answers are always precise"),
        ),
        response=json_of(ref("WorkersPage")),
    ),
    Route(
        "POST", W, "create-worker", "Create a worker", workers.create_worker, "workers", (COMPONENT,),
        json_of(ref("NewWorker")), json_of(ref("WorkerCreated")),
    ),
    Route(
        "POST", W + "/find", "find-workers", "Workers of a component by a tree of filters", workers.find_workers,
        "workers", (COMPONENT,), json_of(ref("FindWorkers")), json_of(ref("WorkersPage")),
    ),
    Route(
        "GET", W_ID, "get-worker", "A worker's metadata", workers.get_worker, "workers", (COMPONENT, WORKER),
        response=json_of(ref("WorkerMetadata")),
    ),
    Route(
        "DELETE", W_ID, "delete-worker", "Delete a worker and its oplog", workers.delete_worker, "workers",
        (COMPONENT, WORKER), response=NOTHING,
    ),
    Route(
        "POST", W_ID + "/complete", "complete-promise", "Complete a promise; false when it was completed before",
        workers.complete_promise, "workers", (COMPONENT, WORKER), json_of(ref("CompletePromise")), json_of(BOOLEAN),
    ),
    Route(
        "POST", W_ID + "/interrupt", "interrupt-worker", "Interrupt a worker, or simulate a crash",
        workers.interrupt_worker, "workers",
        (
            COMPONENT, WORKER,
            Parameter("recovery-immediately", "query", BOOLEAN, "simulate a crash: the worker replays and goes on"),
        ),
        response=NOTHING,
    ),
    Route(
        "POST", W_ID + "/resume", "resume-worker", "Let an interrupted worker go on", workers.resume_worker, "workers",
        (COMPONENT, WORKER), response=NOTHING,
    ),
    Route(
        "GET", W_ID + "/oplog", "get-oplog", "A worker's oplog, or a search in it", oplogs.get_oplog, "workers",
        (
            COMPONENT, WORKER,
            Parameter("count", "query", COUNT, "at most this many entries", required=True),
            Parameter("from", "query", COUNT, "first index; not together with query"),
            Parameter("query", "query", TEXT, 'words, "phrases", field:value, AND, OR, NOT, parentheses'),
            Parameter("cursor", "query", TEXT, "nextOplogIndex-currentComponentVersion of the page before"),
        ),
        response=json_of(ref("OplogPage")),
    ),
    Route(
        "DELETE", W_ID + "/invocations/{idempotency_key}", "cancel-invocation", "Cancel a pending invocation",
        workers.cancel_invocation, "workers",
        (COMPONENT, WORKER, Parameter("idempotency_key", "path", TEXT, "of the invocation", required=True)),
        response=json_of(record(canceled=BOOLEAN)),
    ),
    Route(
        "GET", W_ID + "/connect", "connect-worker", "A worker's events as WebSocket text frames",
        connect.upgrade_required, "workers", (COMPONENT, WORKER), websocket=True,
    ),
)  # fmt: skip

COMPONENTS = (
    Route(
        "GET", C, "get-components", "All versions of all components, or of one name", components.list_components,
        "components", (Parameter("component-name", "query", TEXT, "only this one"),), response=MANY_COMPONENTS,
    ),
    Route(
        "POST", C, "create-component", "Upload a new component; answers when it is compiled",
        components.add_component, "components", request=UPLOAD, response=ONE_COMPONENT,
    ),
    Route(
        "POST", C + "/search", "search-components", "Components by name and version", components.search_components,
        "components", request=json_of(ref("SearchComponents")), response=MANY_COMPONENTS,
    ),
    Route(
        "POST", C_ID + "/updates", "update-component", "Upload a new version", components.update_component,
        "components", (COMPONENT,), UPLOAD, ONE_COMPONENT,
    ),
    Route(
        "PUT", C_ID + "/upload", "upload-component", "Upload a new version as bare bytes", components.upload_component,
        "components",
        (COMPONENT, Parameter("component_type", "query", one_of("Durable", "Ephemeral"), "absent: as before")),
        OCTETS, ONE_COMPONENT,
    ),
    Route(
        "GET", C_ID, "get-component-versions", "All versions of a component", components.component_versions,
        "components", (COMPONENT,), response=MANY_COMPONENTS,
    ),
    Route(
        "GET", C_ID + "/versions/{version}", "get-component", "One version", components.component_version,
        "components", (COMPONENT, VERSION), response=ONE_COMPONENT,
    ),
    Route(
        "GET", C_ID + "/latest", "get-latest-component", "The latest version", components.component_latest,
        "components", (COMPONENT,), response=ONE_COMPONENT,
    ),
    Route(
        "GET", C_ID + "/download", "download-component", "The component's bytes", components.download_component,
        "components", (COMPONENT, Parameter("version", "query", COUNT, "absent: the latest")), response=OCTETS,
    ),
    Route(
        "GET", C_ID + "/versions/{version}/file-contents/{key}", "get-component-file", "An initial file's bytes",
        components.component_file_contents, "components",
        (COMPONENT, VERSION, Parameter("key", "path", TEXT, "of the file", required=True)), response=OCTETS,
    ),
)  # fmt: skip

NODE = (
    Route("GET", "/healthcheck", "healthcheck", "Alive", node.healthcheck, "node", response=NOTHING),
    Route("GET", "/version", "version", "The node's version", node.version, "node", response=json_of(record(version=TEXT))),
    Route("GET", "/metrics", "metrics", "Prometheus metrics", node.metrics, "node", response={"text/plain": TEXT}),
    Route(
        "GET", "/openapi.json", "openapi", "This description", openapi.serve_document, "node",
        response=json_of(ANYTHING),
    ),
    Route("GET", "/v1/mesh/node", "get-node", "This node", node.node, "mesh", response=json_of(ref("Node"))),
    Route(
        "GET", "/v1/mesh/compilations/{sha256}", "get-compilation", "How far the compilation of a component is",
        node.compilation, "mesh", (Parameter("sha256", "path", TEXT, "of the component's bytes, hex", required=True),),
        response=json_of(ref("Compilation")),
    ),
    Route(
        "GET", "/v1/mesh/components/{component_id}/versions/{version}/wit", "get-component-wit",
        "The exports of a component as WIT text", components.component_wit, "mesh",
        (COMPONENT, VERSION, Parameter("imports", "query", BOOLEAN, "true: the imports as well")),
        response={"text/plain": TEXT},
    ),
)  # fmt: skip

MESH = (
    Route(
        "GET", "/v1/mesh/status", "get-mesh-status", "This node's place in the mesh", mesh.status, "mesh",
        response=json_of(ref("NodeStatus")),
    ),
    Route(
        "GET", "/v1/mesh/peers", "list-peers", "All nodes as this one knows them, and what they say of themselves", mesh.peers,
        "mesh", response=json_of(ref("Peers")),
    ),
    Route(
        "GET", "/v1/mesh/shards", "list-shards", "Shards, their primaries and members", mesh.shards, "mesh",
        (Parameter("all", "query", BOOLEAN, "true: every shard of the mesh, not only those of this node"),),
        response=json_of(ref("Shards")),
    ),
    Route(
        "GET", "/v1/mesh/ring", "get-ring", "How much each node holds", mesh.ring, "mesh", response=json_of(ref("Ring")),
    ),
    Route(
        "POST", "/v1/mesh/invite", "make-invite", "What another node needs to join; only for callers on this machine",
        mesh.invite, "mesh", response=json_of(ref("Invite")),
    ),
    Route(
        "POST", "/v1/mesh/leave", "leave-mesh", "Hand everything over, then stop; only for callers on this machine",
        mesh.leave, "mesh", response=json_of(ref("NodeStatus")),
    ),
    Route(
        "POST", "/v1/mesh/forget", "forget-node", "Remove a node from the mesh, for ever; only for callers on this machine",
        mesh.forget, "mesh", request=json_of(ref("ForgetNode")), response=json_of(ref("Forgotten")),
    ),
    Route(
        "POST", "/v1/mesh/recover", "recover-shards",
        "Go on from this node's replicas of shards that lost their majority; only for callers on this machine", mesh.recover,
        "mesh", request=json_of(ref("RecoverShards")), response=json_of(ref("Recovery")),
    ),
    Route(
        "GET", "/v1/mesh/history/{component_id}/{worker_name}", "export-worker",
        "A worker's whole history as a file that anybody can check", histories.export_worker, "mesh",
        (
            COMPONENT, WORKER,
            Parameter("without-component", "query", BOOLEAN, "true: leave out the component's log and its bytes"),
        ),
        response={"application/vnd.golemp2p.history": BINARY},
    ),
)  # fmt: skip

ROUTES: tuple[Route, ...] = INVOCATIONS + WORKERS + COMPONENTS + NODE + MESH
