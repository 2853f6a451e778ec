"""The replica's small parts against slow and obvious ones: heads of logs, majorities, changes of members."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golemp2p.core.configuration import final_configuration, is_quorum, is_step, next_configuration, quorum_position
from golemp2p.core.log_heads import LogHeads
from golemp2p.core.progress import Progress
from golemp2p.errors import InvalidState
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import Appended, Refusal
from golemp2p.model.replication import EMPTY_LOG, Configuration, Content, Deletion, Head, LogSegment, Member, NoOp

LOGS = [Key.of("worker", f"c/{n}") for n in range(3)]
MEMBERS = [Member(bytes([n]) * 32, b"s" * 16) for n in range(6)]


def heads_after(contents: list[Content]) -> dict[Key, Head]:
    """The heads by replaying everything from the start."""
    heads: dict[Key, Head] = {}
    for content in contents:
        if isinstance(content, LogSegment):
            heads[content.log] = Head(content.first + content.count, content.hash)
        elif isinstance(content, Deletion):
            del heads[content.log]
    return heads


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_heads_of_logs_at_every_position(data: st.DataObject) -> None:
    heads, contents, base = LogHeads({}), list[Content](), 0
    for step in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["append", "append", "append", "delete", "no-op", "truncate", "compact"]))
        log = data.draw(st.sampled_from(LOGS))
        held = heads.head(log)
        content: Content = NoOp()
        if action == "append":
            start = held or EMPTY_LOG
            content = LogSegment(log, 1, start.tail, 1 + step % 3, start.hash, b"", bytes([step]) * 32, b"")
        elif action == "delete" and held is not None:
            content = Deletion(log)
        if action == "truncate" and len(contents) > base:
            heads.truncate(contents.pop())
        elif action == "compact":
            position = data.draw(st.integers(base, len(contents)))
            before = heads_after(contents[:base])
            changed = heads.compact(position, contents[base:position])
            after = heads_after(contents[:position])
            assert {**before, **changed} == {**before, **dict.fromkeys(changed), **{k: after.get(k) for k in changed}}
            assert heads.base == after
            base = position
        elif action not in ("truncate", "compact"):
            contents.append(content)
            heads.extend(len(contents), content)
        for position in range(base, len(contents) + 1):
            expected = heads_after(contents[:position])
            assert {log: heads.head(log, at=position) for log in LOGS} == {log: expected.get(log) for log in LOGS}
        assert heads.logs() == sorted(heads_after(contents))


def test_a_segment_must_continue_its_log() -> None:
    heads = LogHeads({LOGS[0]: Head(5, b"h" * 32)})
    assert heads.extends(LogSegment(LOGS[0], 1, 5, 1, b"h" * 32, b"", b"", b""))
    assert not heads.extends(LogSegment(LOGS[0], 1, 4, 1, b"h" * 32, b"", b"", b""))
    assert not heads.extends(LogSegment(LOGS[0], 1, 5, 1, b"?" * 32, b"", b"", b""))
    assert not heads.extends(LogSegment(LOGS[1], 1, 5, 1, b"h" * 32, b"", b"", b""))
    assert not heads.extends(Deletion(LOGS[1]))
    with pytest.raises(AssertionError):
        heads.extend(1, Deletion(LOGS[1]))


groups = st.sampled_from([tuple(group) for size in (1, 3, 5) for group in combinations(MEMBERS, size)])


@given(groups, st.just(()) | groups, st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_a_position_is_held_by_a_quorum_exactly_up_to_the_quorum_position(
    voters: tuple[Member, ...], incoming: tuple[Member, ...], held: list[int]
) -> None:
    configuration = Configuration(voters, (), incoming)
    positions = dict(zip(MEMBERS, held, strict=True))
    for position in range(1, 11):
        holders = [member for member in MEMBERS if positions[member] >= position]
        assert is_quorum(configuration, holders) == (position <= quorum_position(configuration, positions))


@given(groups, groups)
def test_any_two_quorums_of_neighbouring_configurations_meet(old: tuple[Member, ...], new: tuple[Member, ...]) -> None:
    before = Configuration(old)
    joint = next_configuration(before, new, (), joint=True)
    steps = [before, joint, final_configuration(joint)] if joint.is_joint else [before, joint]
    assert sorted(steps[-1].voters) == sorted(new)
    for left, right in pairwise(steps):
        for size in range(1, 5):
            for some in combinations(MEMBERS, size):
                others = [member for member in MEMBERS if member not in some]
                assert not (is_quorum(left, some) and is_quorum(right, others))


@given(groups, groups, groups, st.booleans())
def test_a_step_is_what_a_primary_would_append(
    current: tuple[Member, ...], wanted: tuple[Member, ...], learners: tuple[Member, ...], joint: bool
) -> None:
    before = Configuration(current, (), wanted if joint else ())
    after = [Configuration(wanted, learners), Configuration(current, learners, wanted), Configuration(current, learners)]
    expected: list[Configuration] = []
    if joint:
        expected = [final_configuration(before)]
    else:
        for voters in (current, wanted):
            with suppress(InvalidState):
                expected.append(next_configuration(before, voters, learners, joint=True))
    assert [is_step(before, one) for one in (*after, *expected)] == [one in expected for one in after] + [True] * len(expected)


def test_changes_that_are_refused() -> None:
    one, two, three = MEMBERS[:3]
    current = Configuration((one,))
    for voters in ((), (one, two), (one, one, two)):
        with pytest.raises(InvalidState):
            next_configuration(current, voters, (), joint=True)
    with pytest.raises(InvalidState, match="learners"):
        next_configuration(current, (one,), [Member(bytes(32), bytes([n]) * 16) for n in range(9)], joint=True)
    with pytest.raises(InvalidState, match="one change at a time"):
        next_configuration(Configuration((one,), (), (one, two, three)), (one,), (), joint=True)
    assert not is_quorum(Configuration(()), MEMBERS)


def test_a_follower_that_is_behind_what_it_acknowledged_is_asked_again_by_the_timer_only():
    progress = Progress(next=35, delay_ns=100, match=34)
    progress.sent(35, 35, now_ns=0)
    progress.refused(Appended(position=34, refusal=Refusal.BEHIND, hint=9, damaged=False, commit=0))
    assert (progress.next, list(progress.in_flight), progress.due_ns) == (36, [(35, 35)], 100)
    progress.refused(Appended(position=34, refusal=Refusal.BEHIND, hint=9, damaged=True, commit=0))  # it says that it lost them
    assert (progress.match, progress.next, progress.probing) == (9, 10, True)
