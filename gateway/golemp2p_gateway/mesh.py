"""Handlers about the mesh: looking is for everybody who may call; the key to it, and orders, for who sits at the machine."""

from __future__ import annotations

from typing import Any

from golemp2p.client import MeshAdmin, MeshInvite, NodeStatus, PeerInfo, Recovery, Ring, ShardInfo
from golemp2p.errors import MalformedRequest
from golemp2p_gateway.callers import check_local
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.errors_table import NotSupported
from golemp2p_gateway.http import JSON_TYPE, Request, Response, json_bytes, json_response
from golemp2p_gateway.shapes import time_json

BODY_BYTES_MAX = 1 << 20
"""A list of all shards there can be takes 400 KB."""
BODY_DEPTH_MAX = 4


async def status(edge: Edge, request: Request) -> Response:
    return json_response(status_json(_admin(edge).status()))


async def peers(edge: Edge, request: Request) -> Response:
    return json_response({"peers": [peer_json(peer) for peer in await _admin(edge).peers()]})


async def shards(edge: Edge, request: Request) -> Response:
    everywhere = request.flag("all")
    return json_response({"shards": [shard_json(shard) for shard in await _admin(edge).shards(everywhere=everywhere)]})


async def ring(edge: Edge, request: Request) -> Response:
    return json_response(ring_json(await _admin(edge).ring()))


async def invite(edge: Edge, request: Request) -> Response:
    check_local(request)
    made = _admin(edge).invite()
    return Response(200, json_bytes(invite_json(made)), [JSON_TYPE, (b"cache-control", b"no-store")])


async def leave(edge: Edge, request: Request) -> Response:
    check_local(request)
    return json_response(status_json(await _admin(edge).leave()))


async def forget(edge: Edge, request: Request) -> Response:
    check_local(request)
    body = await _object(request, {"node", "evenAlive"})
    node, even_alive = body.get("node"), body.get("evenAlive", False)
    if not isinstance(node, str) or not isinstance(even_alive, bool):
        raise MalformedRequest('expected {"node": "node:...", "evenAlive": false}')
    return json_response({"node": await _admin(edge).forget(node, even_alive=even_alive)})


async def recover(edge: Edge, request: Request) -> Response:
    check_local(request)
    body = await _object(request, {"shards", "all", "force"})
    numbers, everything = body.get("shards"), body.get("all", False)
    if body.get("force") is not True:
        raise MalformedRequest('history may be lost for good: insist with "force": true')
    if not isinstance(everything, bool) or everything == (numbers is not None):
        raise MalformedRequest('expected either "shards": [1, 2, ...] or "all": true')
    if numbers is not None and not (isinstance(numbers, list) and all(type(number) is int for number in numbers)):
        raise MalformedRequest('"shards" is a list of numbers')
    return json_response(recovery_json(await _admin(edge).recover(numbers)))


def _admin(edge: Edge) -> MeshAdmin:
    if edge.admin is None:
        raise NotSupported("this server stands in no mesh")
    return edge.admin


async def _object(request: Request, known: set[str]) -> dict[str, Any]:
    body = await request.json(BODY_BYTES_MAX, BODY_DEPTH_MAX)
    if not isinstance(body, dict) or body.keys() - known:
        raise MalformedRequest(f"expected a JSON object with {', '.join(sorted(known))}")
    return body


# --------------------------------------------------------------------------------------------------------------- shapes


def status_json(status: NodeStatus) -> dict[str, Any]:
    return {
        "node": status.node,
        "publicKey": status.public_key.hex(),
        "mesh": status.mesh,
        "state": status.state,
        "isFounder": status.is_founder,
        "keepsOperatorKey": status.keeps_operator_key,
        "version": status.version,
        "startedAt": time_json(status.started_ns),
        "addresses": list(status.addresses),
        "http": status.http,
        "domain": status.domain,
        "weight": status.weight,
        "incarnation": status.incarnation,
        "health": status.health,
        "members": {"alive": status.members_alive, "suspect": status.members_suspect, "dead": status.members_dead},
        "shards": {
            "count": status.shards_count,
            "voting": status.shards_voting,
            "learning": status.shards_learning,
            "leading": status.shards_leading,
        },
    }


def peer_json(peer: PeerInfo) -> dict[str, Any]:
    return {
        "node": peer.node,
        "publicKey": peer.public_key.hex(),
        "isSelf": peer.is_self,
        "status": peer.status,
        "sinceSeconds": round(peer.since_s, 3),
        "addresses": list(peer.addresses),
        "domain": peer.domain,
        "weight": peer.weight,
        "incarnation": peer.incarnation,
        "http": peer.http,
        "version": peer.version,
        "rttSeconds": None if peer.rtt_s is None else round(peer.rtt_s, 6),
        "shardsHeld": peer.shards_held,
        "shardsLeading": peer.shards_leading,
    }


def shard_json(shard: ShardInfo) -> dict[str, Any]:
    return {
        "shard": shard.shard,
        "primary": shard.primary,
        "term": shard.term,
        "voters": list(shard.voters),
        "learners": list(shard.learners),
        "seenBy": shard.seen_by,
        "role": shard.role,
        "isServing": shard.is_serving,
        "isDamaged": shard.is_damaged,
        "position": shard.position,
        "commit": shard.commit,
    }


def ring_json(ring: Ring) -> dict[str, Any]:
    return {
        "nodes": [node._asdict() for node in ring.nodes],
        "shardsCount": ring.shards_count,
        "unled": list(ring.unled),
        "silent": list(ring.silent),
    }


def invite_json(made: MeshInvite) -> dict[str, Any]:
    return {
        "invite": made.text,
        "mesh": made.mesh,
        "nodes": [{"node": node, "addresses": list(addresses)} for node, addresses in made.nodes],
        "isLocal": made.is_local,
    }


def recovery_json(recovery: Recovery) -> dict[str, Any]:
    return {
        "recovered": [
            {
                "shard": one.shard,
                "branch": one.branch,
                "uncertainFrom": one.uncertain_from,
                "lastPosition": one.last_position,
                "lost": list(one.lost),
                "wasDamaged": one.was_damaged,
            }
            for one in recovery.recovered
        ],
        "refused": [{"shard": shard, "reason": reason} for shard, reason in recovery.refused],
    }
