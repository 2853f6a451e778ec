"""A node whose store was lost takes its own seats again: as another member (S9), through learning and joint consensus (S8).

    {A B C}, C lost its store, is C' now --> {A B C | C'} --C' caught up--> {A B C'}

Pure function of one shard's configuration and what is known of the nodes. Where replicas should be at all is the planner's business.
"""

from __future__ import annotations

from collections.abc import Callable

from golemp2p.model.replication import Configuration, Member

Seats = tuple[tuple[Member, ...], tuple[Member, ...]]


def next_seats(
    configuration: Configuration, store_of: Callable[[bytes], bytes | None], is_caught_up: Callable[[Member], bool]
) -> Seats | None:
    """(voters, learners) to propose next; ``None`` if nothing can be done now. ``store_of``: id of the store that the node with this
    public key has now, ``None`` if unknown, or if the node is not there to take a seat. See also ``has_stale``."""
    if configuration.is_joint:
        return None
    successors = {voter: successor for voter in configuration.voters if (successor := _successor(voter, store_of)) != voter}
    kept = [learner for learner in configuration.learners if _successor(learner, store_of) == learner]
    learners = tuple(dict.fromkeys((*kept, *successors.values())))
    if learners != configuration.learners:
        return configuration.voters, learners
    ready = {voter: successor for voter, successor in successors.items() if is_caught_up(successor)}
    if not ready:
        return None
    voters = tuple(ready.get(voter, voter) for voter in configuration.voters)
    return voters, tuple(learner for learner in learners if learner not in voters)


def has_stale(configuration: Configuration, store_of: Callable[[bytes], bytes | None]) -> bool:
    """Whether some member's store is known to be gone."""
    return any(store_of(member.public_key) not in (None, member.store_id) for member in configuration.members)


def _successor(member: Member, store_of: Callable[[bytes], bytes | None]) -> Member:
    store_id = store_of(member.public_key)
    return member if store_id in (None, member.store_id) else Member(member.public_key, store_id)
