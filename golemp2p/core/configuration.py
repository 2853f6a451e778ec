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
    if _is_repeated(voters, learners):
        raise InvalidState("a node is named twice")  # but it may learn with a new store while its lost one still is a voter
    if not joint or sorted(voters) == sorted(current.voters):
        return wanted
    return Configuration(current.voters, wanted.learners, wanted.voters)


def _is_repeated(voters: Sequence[Member], learners: Sequence[Member]) -> bool:
    groups = (voters, learners)
    is_shared = any(voter in learners for voter in voters)
    return is_shared or any(len({member.public_key for member in group}) != len(group) for group in groups)


def is_step(before: Configuration, after: Configuration) -> bool:
    """Whether ``after`` may follow ``before`` in a log: other learners of the same voters, a joint configuration to other voters, or
    what a joint one leads to."""
    if before.is_joint:
        return after == final_configuration(before)
    voters = after.incoming or after.voters
    is_sized = len(voters) in VOTERS_COUNTS and len(after.learners) <= LEARNERS_MAX and not _is_repeated(voters, after.learners)
    if after.is_joint:
        return is_sized and after.voters == before.voters and sorted(voters) != sorted(before.voters)
    return is_sized and sorted(voters) == sorted(before.voters)


def final_configuration(joint: Configuration) -> Configuration:
    """What follows a committed joint configuration."""
    return Configuration(joint.incoming, joint.learners)
