"""Who holds how much of the mesh: what the primaries of all shards say, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from golemp2p.client import Ring, RingNode, ShardInfo
from golemp2p.drivers.administration.mesh_names import node_name
from golemp2p.drivers.administration.node_facts import Told
from golemp2p.model.membership import Member
from golemp2p.model.node_status import ReplicaReport, ReplicaRole


def shard_info(seen_by: bytes, report: ReplicaReport) -> ShardInfo:
    is_learner = report.role is ReplicaRole.FOLLOWER and seen_by not in report.voters
    return ShardInfo(
        shard=report.shard,
        primary=node_name(report.primary) if report.primary else "",
        term=report.term,
        voters=tuple(map(node_name, report.voters)),
        learners=tuple(map(node_name, report.learners)),
        seen_by=node_name(seen_by),
        role="learner" if is_learner else report.role.name.lower(),
        is_serving=report.is_serving,
        is_damaged=report.is_damaged,
        position=report.last_position,
        commit=report.commit,
    )


def unseen_shard(shard: int) -> ShardInfo:
    """One that no node reported."""
    return ShardInfo(
        shard, "", 0, (), (), seen_by="", role="", is_serving=False, is_damaged=False, position=0, commit=0
    )  # fmt: skip


def ring_of(members: Iterable[Member], told: Mapping[bytes, Told], shards_count: int, replicas: int) -> Ring:
    """``told``: what each node that answered says of the shards it leads. Where two say so, the higher term counts."""
    led: dict[int, tuple[int, bytes, ReplicaReport]] = {}
    for key, one in told.items():
        for report in one.reports:
            if report.role is ReplicaRole.PRIMARY and (report.shard not in led or led[report.shard][0] < report.term):
                led[report.shard] = (report.term, key, report)
    leading = Counter(key for _, key, _ in led.values())
    voting = Counter(key for _, _, report in led.values() for key in report.voters)
    learning = Counter(key for _, _, report in led.values() for key in report.learners)
    listed = list(members)
    weight = sum(member.record.weight for member in listed if member.is_present)
    takers = sum(member.is_present and member.record.weight > 0 for member in listed)
    wanted = shards_count * min(replicas, takers)
    nodes = []
    for member in sorted(listed, key=lambda member: node_name(member.public_key)):
        key = member.public_key
        if member.is_present or voting[key] or learning[key]:
            share = wanted * member.record.weight / weight if member.is_present and weight else 0.0
            counts = (voting[key], learning[key], leading[key])
            about = (node_name(key), member.status.name.lower(), member.record.domain, member.record.weight)
            nodes.append(RingNode(*about, *counts, round(min(share, float(shards_count)), 1)))
    unled = tuple(shard for shard in range(shards_count) if shard not in led)
    silent = tuple(node_name(member.public_key) for member in listed if member.is_present and member.public_key not in told)
    return Ring(tuple(nodes), shards_count, unled, silent)
