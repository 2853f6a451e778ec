"""JSON schemas (2020-12) of what goes over the wire, by the names that ``/openapi.json`` gives them."""

from __future__ import annotations

from typing import Any

from golemp2p.model.worker import WorkerStatus
from golemp2p_gateway.edge import Schema

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TEXT_MAP: Schema = {"type": "object", "additionalProperties": TEXT}
ANYTHING: Schema = {}
BINARY: Schema = {"type": "string", "format": "binary"}
EMPTY: Schema = {"type": "object", "maxProperties": 0}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def record(optional: dict[str, Schema] | None = None, /, **required: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return schema


def one_of(*names: str) -> Schema:
    return {"type": "string", "enum": list(names)}


_COMPARATOR = one_of("Equal", "NotEqual", "Like", "NotLike", "GreaterEqual", "Greater", "LessEqual", "Less")

SCHEMAS: dict[str, Schema] = {
    "Error": record(
        {"errors": TEXTS, "error": TEXT, "golemError": record(type=TEXT), "retryAfterSeconds": {"type": "number"}},
        code=TEXT,
        message=TEXT,
    ),
    "WorkerId": record(componentId=UUID, workerName=TEXT),
    "Typ": record(type=TEXT) | {"description": "the type of a value, a tree tagged by type"},
    "ValueAndType": record(typ=ref("Typ"), value=ANYTHING),
    "InvokeRequest": record(
        params=list_of({"anyOf": [record({"typ": ref("Typ")}, value=ANYTHING), ANYTHING]}),
    ),
    "InvokeResult": record(result=ref("ValueAndType")),
    "Cursor": record(cursor={"type": ["string", "integer"]}, layer=COUNT),
    "WorkerMetadata": record(
        {"lastError": TEXT},
        workerId=ref("WorkerId"),
        args=TEXTS,
        env=TEXT_MAP,
        status=one_of(*(status.value for status in WorkerStatus)),
        componentVersion=COUNT,
        retryCount=COUNT,
        pendingInvocationCount=COUNT,
        updates=list_of(ANYTHING),
        createdAt=TIME,
        componentSize=COUNT,
        totalLinearMemorySize=COUNT,
        ownedResources={
            "type": "object",
            "additionalProperties": record({"indexed": record(resourceName=TEXT, resourceParams=TEXTS)}, createdAt=TIME),
        },
        activePlugins=list_of(UUID),
    ),
    "WorkersPage": record({"cursor": ref("Cursor")}, workers=list_of(ref("WorkerMetadata"))),
    "WorkerFilter": record(
        {
            "comparator": _COMPARATOR,
            "value": {"type": ["string", "integer"]},
            "name": TEXT,
            "filters": list_of({"$ref": "#/components/schemas/WorkerFilter"}),
            "filter": {"$ref": "#/components/schemas/WorkerFilter"},
        },
        type=one_of("Name", "Status", "Version", "CreatedAt", "Env", "And", "Or", "Not"),
    ),
    "FindWorkers": record({"filter": ref("WorkerFilter"), "cursor": ref("Cursor"), "count": COUNT, "precise": BOOLEAN}),
    "NewWorker": record({"args": TEXTS, "env": TEXT_MAP}, name=TEXT),
    "WorkerCreated": record(workerId=ref("WorkerId"), componentVersion=COUNT),
    "CompletePromise": record(oplogIdx=COUNT, data=list_of({"type": "integer", "minimum": 0, "maximum": 255})),
    "OplogPage": record(
        {"next": record(nextOplogIndex=COUNT, currentComponentVersion=COUNT)},
        entries=list_of(record(oplogIndex=COUNT, entry=record(type=TEXT, timestamp=TIME))),
        firstIndexInChunk=COUNT,
        lastIndex=COUNT,
    ),
    "Component": record(
        versionedComponentId=record(componentId=UUID, version=COUNT),
        componentName=TEXT,
        componentSize=COUNT,
        metadata=record(exports=list_of(ANYTHING), memories=list_of(record(initial=COUNT))),
        createdAt=TIME,
        componentType=one_of("Durable", "Ephemeral"),
        files=list_of(ANYTHING),
        installedPlugins=list_of(ANYTHING),
        env=TEXT_MAP,
        sha256=TEXT,
    ),
    "ComponentUpload": record(
        {
            "componentType": one_of("Durable", "Ephemeral"),
            "env": record(keyValues=TEXT_MAP),
            "name": TEXT | {"description": "required for a new component"},
        },
        component=BINARY,
    ),
    "SearchComponents": record(components=list_of(record({"version": COUNT}, name=TEXT))),
    "NodeStatus": record(
        node=TEXT,
        publicKey=TEXT,
        mesh=TEXT,
        state=one_of("alone", "joining", "member", "lonely", "leaving", "left", "removed"),
        isFounder=BOOLEAN,
        keepsOperatorKey=BOOLEAN,
        version=TEXT,
        startedAt=TIME,
        addresses=TEXTS,
        http=TEXT,
        domain=TEXT,
        weight=COUNT,
        incarnation=COUNT,
        health=COUNT,
        members=record(alive=COUNT, suspect=COUNT, dead=COUNT),
        shards=record(count=COUNT, voting=COUNT, learning=COUNT, leading=COUNT),
    ),
    "Peers": record(
        peers=list_of(
            record(
                node=TEXT,
                publicKey=TEXT,
                isSelf=BOOLEAN,
                status=one_of("alive", "suspect", "dead", "left"),
                sinceSeconds={"type": "number"},
                addresses=TEXTS,
                domain=TEXT,
                weight=COUNT,
                incarnation=COUNT,
                http=TEXT,
                version=TEXT_OR_NULL,
                rttSeconds={"type": ["number", "null"]},
                shardsHeld=COUNT_OR_NULL,
                shardsLeading=COUNT_OR_NULL,
            )
        )
    ),
    "Shards": record(
        shards=list_of(
            record(
                shard=COUNT,
                primary=TEXT,
                term=COUNT,
                voters=TEXTS,
                learners=TEXTS,
                seenBy=TEXT,
                role=one_of("primary", "candidate", "follower", "learner", ""),
                isServing=BOOLEAN,
                isDamaged=BOOLEAN,
                position=COUNT,
                commit=COUNT,
            )
        )
    ),
    "Ring": record(
        nodes=list_of(
            record(
                node=TEXT,
                status=TEXT,
                domain=TEXT,
                weight=COUNT,
                voting=COUNT,
                learning=COUNT,
                leading=COUNT,
                share={"type": "number"},
            )
        ),
        shardsCount=COUNT,
        unled=list_of(COUNT),
        silent=TEXTS,
    ),
    "Invite": record(
        invite=TEXT | {"description": "holds the mesh key: whoever has it can join"},
        mesh=TEXT,
        nodes=list_of(record(node=TEXT, addresses=TEXTS)),
        isLocal=BOOLEAN,
    ),
    "ForgetNode": record({"evenAlive": BOOLEAN}, node=TEXT),
    "Forgotten": record(node=TEXT),
    "RecoverShards": record(
        {"shards": list_of(COUNT), "all": BOOLEAN}, force={"const": True, "description": "history may be lost: insist"}
    ),
    "Recovery": record(
        recovered=list_of(
            record(
                shard=COUNT,
                branch=TEXT,
                uncertainFrom=COUNT,
                lastPosition=COUNT,
                lost=TEXTS,
                wasDamaged=BOOLEAN,
            )
        ),
        refused=list_of(record(shard=COUNT, reason=TEXT)),
    ),
    "Node": record(node=TEXT, version=TEXT, mesh=TEXT, startedAt=TIME),
    "Compilation": record(
        phase=one_of("queued", "compiling", "ready", "failed"),
        elapsedSeconds={"type": "number"},
        sizeBytes=COUNT,
        error={"type": ["string", "null"]},
    ),
}


def json_of(schema: Schema) -> dict[str, Any]:
    return {"application/json": schema}
