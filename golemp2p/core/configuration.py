"""Who decides in a shard: majorities, simple and joint, and the steps from one configuration to the next (S8).

    {A} --add learners--> {A | B C} --change voters--> {A} x {A B C} (joint) --> {A B C}

Ongaro's thesis, chapter 4, in its general form (4.3: joint consensus). **Where it differs:** voters are an odd number; a voter to
come must be a learner that has caught up; the joint configuration is left by the primary by itself as soon as it is committed.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from golemp2p.errors import InvalidState
from golemp2p.model.replication import Configuration, Member

VOTERS_COUNTS = (1, 3, 5)
LEARNERS_MAX = 8
"""Newcomers of one shard at the same time: a swap of all five voters, and some to spare."""


def is_quorum(configuration: Configuration, agreeing: Container[Member]) -> bool:
    """A majority of the voters, and of the incoming ones too while joint. A blank configuration has no quorum."""
    return _is_majority(configuration.voters, agreeing) and (
        not configuration.incoming or _is_majority(configuration.incoming, agreeing)
    )


def _is_majority(voters: Sequence[Member], agreeing: Container[Member]) -> bool:
    return sum([voter in agreeing for voter in voters]) > len(voters) // 2


def quorum_position(configuration: Configuration, positions: Mapping[Member, int]) -> int:
    """The highest position that a quorum holds. Members without one hold nothing."""
    position = _majority_position(configuration.voters, positions)
    if configuration.incoming:
        position = min(position, _majority_position(configuration.incoming, positions))
    return position


def _majority_position(voters: Sequence[Member], positions: Mapping[Member, int]) -> int:
    held = sorted([positions.get(voter, 0) for voter in voters])
    return held[(len(held) - 1) // 2]


def next_configuration(
    current: Configuration, voters: Sequence[Member], learners: Sequence[Member], *, joint: bool
) -> Configuration:
    """The configuration to append for a change to ``voters`` and ``learners``: joint if the voters change.

    Raises ``InvalidState`` for a change while another is under way, and for sizes that are not allowed.
    """
    if current.is_joint:
        raise InvalidState("the voters of this shard are being changed; one change at a time")
    wanted = Configuration(tuple(voters), tuple(learners))
    if len(voters) not in VOTERS_COUNTS or len(learners) > LEARNERS_MAX:
        raise InvalidState(f"a shard has 1, 3 or 5 voters and up to {LEARNERS_MAX} learners")
    is_repeated = len(set(wanted.members)) != len(voters) + len(learners)
    if is_repeated or any(len({m.public_key for m in group}) != len(group) for group in (voters, learners)):
        raise InvalidState("a node is named twice")  # but it may learn with a new store while its lost one still is a voter
    if not joint or sorted(voters) == sorted(current.voters):
        return wanted
    return Configuration(current.voters, wanted.learners, wanted.voters)


def final_configuration(joint: Configuration) -> Configuration:
    """What follows a committed joint configuration."""
    return Configuration(joint.incoming, joint.learners)
