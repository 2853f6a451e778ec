"""The mesh over HTTP: what is told, what is ordered, who may order, and that answers are as described."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio
from gateway_harness import Gateway

from golemp2p.errors import InvalidState, NodeNotFound
from golemp2p.testing.client import FakeClient
from golemp2p.testing.mesh_admin import NODE, OTHER
from golemp2p_gateway import GatewaySettings, serve
from golemp2p_gateway.callers import NotLocal, check_local
from golemp2p_gateway.http import Request
from golemp2p_gateway.schemas import SCHEMAS

KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def check(value: Any, schema: Any) -> None:
    """Whether ``value`` is what ``schema`` says; as much of JSON Schema as ours use."""
    if "$ref" in schema:
        check(value, SCHEMAS[schema["$ref"].rpartition("/")[2]])
        return
    kinds = schema["type"]
    named = "boolean" if type(value) is bool else ""
    allowed = kinds if isinstance(kinds, list) else [kinds]
    assert named in allowed if named else any(isinstance(value, KINDS[kind]) for kind in allowed), (value, schema)
    assert value in schema.get("enum", [value])
    if isinstance(value, dict):
        assert value.keys() == schema["properties"].keys()
        for name, one in value.items():
            check(one, schema["properties"][name])
    if isinstance(value, list):
        for one in value:
            check(one, schema["items"])


@pytest.mark.parametrize(
    ("method", "path", "schema"),
    [
        ("GET", "status", "NodeStatus"),
        ("GET", "peers", "Peers"),
        ("GET", "shards", "Shards"),
        ("GET", "shards?all=true", "Shards"),
        ("GET", "ring", "Ring"),
        ("POST", "invite", "Invite"),
        ("POST", "leave", "NodeStatus"),
    ],
)
async def test_answers_are_as_described(gateway: Gateway, method: str, path: str, schema: str) -> None:
    answer = await gateway.http.request(method, f"/v1/mesh/{path}")
    assert answer.status_code == 200
    check(answer.json(), SCHEMAS[schema])


async def test_status_in_full(gateway: Gateway) -> None:
    told = (await gateway.http.get("/v1/mesh/status")).json()
    assert told["node"] == NODE
    assert told["publicKey"] == (b"k" * 32).hex()
    assert told["members"] == {"alive": 2, "suspect": 0, "dead": 1}
    assert told["shards"] == {"count": 4, "voting": 3, "learning": 1, "leading": 2}
    assert told["startedAt"] == "2023-11-14T22:13:20.000000Z"


async def test_shards_of_this_node_or_all(gateway: Gateway) -> None:
    assert len((await gateway.http.get("/v1/mesh/shards")).json()["shards"]) == 1
    assert len((await gateway.http.get("/v1/mesh/shards?all=true")).json()["shards"]) == 4
    assert (await gateway.http.get("/v1/mesh/shards?all=yes")).status_code == 400


async def test_an_invite_is_kept_by_no_cache(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/mesh/invite")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["nodes"] == [{"node": NODE, "addresses": ["10.0.0.1:9882"]}]
    assert (await gateway.http.get("/v1/mesh/invite")).status_code == 405


async def test_forgetting(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/mesh/forget", json={"node": "cdcd"})
    assert answer.json() == {"node": OTHER}
    await gateway.http.post("/v1/mesh/forget", json={"node": "cdcd", "evenAlive": True})
    assert gateway.admin.orders == [("forget", "cdcd", False), ("forget", "cdcd", True)]


@pytest.mark.parametrize("body", [[], {}, {"node": 7}, {"node": "cdcd", "evenAlive": 1}, {"node": "cdcd", "force": True}])
async def test_forgetting_is_asked_for_exactly(gateway: Gateway, body: Any) -> None:
    answer = await gateway.http.post("/v1/mesh/forget", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")
    assert gateway.admin.orders == []


async def test_recovering(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/mesh/recover", json={"shards": [1, 2], "force": True})
    assert answer.status_code == 200
    check(answer.json(), SCHEMAS["Recovery"])
    assert answer.json()["refused"] == [{"shard": 2, "reason": "a majority is there"}]
    await gateway.http.post("/v1/mesh/recover", json={"all": True, "force": True})
    assert gateway.admin.orders == [("recover", [1, 2]), ("recover", None)]


@pytest.mark.parametrize(
    "body",
    [
        {"all": True}, {"all": True, "force": False}, {"all": True, "force": 1}, {"force": True}, {"all": False, "force": True},
        {"all": True, "shards": [1], "force": True}, {"shards": [True], "force": True}, {"shards": "1", "force": True},
    ],
)  # fmt: skip
async def test_nothing_is_recovered_by_accident(gateway: Gateway, body: Any) -> None:
    assert (await gateway.http.post("/v1/mesh/recover", json=body)).status_code == 400
    assert gateway.admin.orders == []


@pytest.mark.parametrize(("error", "status"), [(InvalidState("no key here"), 409), (NodeNotFound("who?"), 404)])
async def test_refusals(gateway: Gateway, error: Exception, status: int) -> None:
    gateway.admin.error = error
    answer = await gateway.http.post("/v1/mesh/forget", json={"node": "cdcd"})
    assert (answer.status_code, answer.json()["message"]) == (status, str(error))


@pytest.mark.parametrize("path", ["invite", "leave", "forget", "recover"])
async def test_web_pages_order_nothing(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.post(f"/v1/mesh/{path}", headers={"origin": "http://evil.example"})
    assert answer.json()["code"] == "foreign-origin"
    assert gateway.admin.orders == []


@pytest.mark.parametrize(
    ("client", "fine"), [(None, True), ("127.0.0.1", True), ("::1", True), ("10.0.0.9", False), ("x", False)]
)
def test_orders_come_from_this_machine(client: str | None, fine: bool) -> None:
    request = Request("POST", {}, b"", (), lambda: pytest.fail("not read"), client)
    if fine:
        check_local(request)
    else:
        with pytest.raises(NotLocal):
            check_local(request)


async def test_where_there_is_no_mesh(nursery: trio.Nursery) -> None:
    settings = GatewaySettings(binds=("127.0.0.1:0",))
    (url,) = await nursery.start(lambda task_status: serve(FakeClient(), settings, task_status=task_status))
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/v1/mesh/status")
    assert (answer.status_code, answer.json()["code"]) == (501, "not-supported")
    nursery.cancel_scope.cancel()


async def test_metrics_of_single_shards_and_peers(gateway: Gateway) -> None:
    metrics = (await gateway.http.get("/metrics")).text
    assert 'golemp2p_shard_term{shard="1"} 3.0' in metrics
    assert f'golemp2p_peer_bytes_sent_total{{peer="{OTHER}"}} 9.0' in metrics
    assert "# TYPE golemp2p_peer_bytes_sent_total counter" in metrics
