"""This node's replicas as they are told to others and shown to people: a look at ``core.peer.Peer``, which changes nothing."""

from __future__ import annotations

from golemp2p.core.peer import Peer
from golemp2p.core.replica import Replica
from golemp2p.core.replica_state import Role
from golemp2p.model.node_status import REPORTS_MAX, NodeLoad, ReplicaReport, ReplicaRole, Wanted

ROLES = {Role.FOLLOWER: ReplicaRole.FOLLOWER, Role.CANDIDATE: ReplicaRole.CANDIDATE, Role.PRIMARY: ReplicaRole.PRIMARY}


def load_of(peer: Peer) -> NodeLoad:
    held = peer.shards.held()
    voting = sum(has_vote(replica, peer.own) for replica in held.values())
    leading = sum(replica.role is Role.PRIMARY for replica in held.values())
    return NodeLoad(voting, len(held) - voting, leading)


def reports_of(peer: Peer, wanted: Wanted, first: int = 0, count: int = REPORTS_MAX) -> list[ReplicaReport]:
    """In order of shards, from ``first`` on."""
    found: list[ReplicaReport] = []
    held = peer.shards.held()
    for shard in sorted(held):
        if len(found) == count:
            break
        if shard >= first and (wanted is Wanted.HELD or (wanted is Wanted.LED and held[shard].role is Role.PRIMARY)):
            found.append(report_of(shard, held[shard]))
    return found


def report_of(shard: int, replica: Replica) -> ReplicaReport:
    log = replica.log
    configuration = log.configuration
    return ReplicaReport(
        shard=shard,
        role=ROLES[replica.role],
        is_serving=replica.is_serving,
        is_damaged=replica.is_damaged,
        branch=log.branch,
        term=replica.term,
        primary=replica.primary or b"",
        voters=tuple(dict.fromkeys(voter.public_key for voter in configuration.electors)),
        learners=tuple(dict.fromkeys(learner.public_key for learner in configuration.learners)),
        last_term=log.last_term,
        last_position=log.last_position,
        commit=log.commit,
    )


def has_vote(replica: Replica, own: bytes) -> bool:
    return any(elector.public_key == own for elector in replica.configuration.electors)
