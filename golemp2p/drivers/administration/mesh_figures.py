"""Metrics of this node's shards and of its peers, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from golemp2p.client import Figure
from golemp2p.core.peer import Peer
from golemp2p.drivers.administration.mesh_names import node_name
from golemp2p.mesh.session import SessionStatistics
from golemp2p.model.membership import Status

TRAFFIC = ("messages_sent", "messages_received", "messages_dropped", "bytes_sent", "bytes_received", "requests_sent")
"""Of the connection that there is now: they start again with a new one, as counters may."""


def figures_of(peer: Peer, traffic: Mapping[bytes, SessionStatistics]) -> list[Figure]:
    return [*_of_shards(peer), *_of_peers(peer, traffic)]


def _of_shards(peer: Peer) -> Iterator[Figure]:
    held = sorted(peer.shards.held().items())
    for name, value_of in (
        ("shard_serving", lambda replica: replica.is_serving),
        ("shard_term", lambda replica: replica.term),
        ("shard_commit_position", lambda replica: replica.commit_position),
        ("shard_voters", lambda replica: len(replica.configuration.voters)),
    ):
        for shard, replica in held:
            yield Figure(name, "shard", str(shard), float(value_of(replica)))


def _of_peers(peer: Peer, traffic: Mapping[bytes, SessionStatistics]) -> Iterator[Figure]:
    members = peer.membership.members
    known = [member for key in sorted(members.others()) if (member := members.get(key)) is not None]
    for member in known:
        yield Figure("peer_alive", "peer", node_name(member.public_key), float(member.status is Status.ALIVE))
    for member in known:
        yield Figure("peer_connected", "peer", node_name(member.public_key), float(member.public_key in traffic))
    for name in TRAFFIC:
        for key, statistics in sorted(traffic.items()):
            yield Figure(f"peer_{name}_total", "peer", node_name(key), float(getattr(statistics, name)))
