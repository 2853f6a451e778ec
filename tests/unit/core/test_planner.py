"""The planner against shards that do what it proposes: growth, repair, rebalance, farewells, limits."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.small_world import key_of, record_of
from golemp2p.core.membership_profile import MS, S
from golemp2p.core.placement import targets
from golemp2p.core.planner import HandOver, PlacementProfile, Planner, ProposeConfiguration, ShardView
from golemp2p.model.membership import Member, Status


class Mesh:
    """``count`` nodes, each with a planner; proposals are carried out one round later, learners catch up in the round after."""

    def __init__(self, count: int, shards: int, *, size_bytes: int = 0, profile: PlacementProfile | None = None) -> None:
        self.now_ns = 0
        self.members = {key_of(n): Member(record_of(n), Status.ALIVE, 0) for n in range(count)}
        self.planners = {key: Planner(key, shards, profile) for key in self.members}
        founder = key_of(0)
        self.views = {shard: ShardView(shard, (founder,), size_bytes=size_bytes) for shard in range(shards)}
        self.primaries = dict.fromkeys(range(shards), founder)
        self.history: list = []
        self.gone: set[bytes] = set()

    def round(self, duration_ns: int = 10 * MS) -> int:
        """Everybody hears everything and proposes; what was proposed happens. How many proposals there were."""
        self.now_ns += duration_ns
        self.gone = {key for key, member in self.members.items() if not member.is_present}
        steps = []
        for key, planner in self.planners.items():
            if key in self.gone:
                continue
            mine = [view for shard, view in self.views.items() if self.primaries[shard] == key]
            planner.members_changed(self.members.values(), self.now_ns)
            planner.shards_changed(mine, self.now_ns)
            steps += planner.on_time(self.now_ns)
        self.views = {shard: replace(view, caught_up=frozenset(view.learners)) for shard, view in self.views.items()}
        for step in steps:
            self.carry_out(step)
        self.history += steps
        return len(steps)

    def carry_out(self, step) -> None:
        view = self.views[step.shard]
        if isinstance(step, HandOver):
            assert step.successor in view.voters
            assert step.successor not in self.gone
            self.planners[self.primaries[step.shard]].shard_lost(step.shard)
            self.primaries[step.shard] = step.successor
            return
        assert len(step.voters) in (1, 3, 5)
        assert not set(step.voters) & set(step.learners)
        assert step.voters == view.voters or set(step.voters) - set(view.voters) <= view.caught_up
        assert self.primaries[step.shard] in step.voters
        alive = [key for key in step.voters if key not in self.gone]
        assert len(alive) > len(step.voters) // 2
        self.views[step.shard] = replace(view, voters=step.voters, learners=step.learners, caught_up=frozenset())

    def settle(self, limit: int = 400, duration_ns: int = S) -> int:
        """Rounds until nobody proposes anything for a minute and more."""
        quiet = 0
        for rounds in range(limit):
            quiet = 0 if self.round(duration_ns) else quiet + 1
            if quiet * duration_ns > 70 * S:
                return rounds
        raise AssertionError("never settles")

    def kill(self, number: int, status: Status = Status.DEAD) -> None:
        key = key_of(number)
        self.members[key] = Member(record_of(number), status, self.now_ns)

    def voters(self) -> set[frozenset[bytes]]:
        return {frozenset(view.voters) for view in self.views.values()}


def test_one_node_has_nothing_to_do():
    mesh = Mesh(1, 16)
    mesh.settle()
    assert mesh.history == []
    assert mesh.planners[key_of(0)].next_due_ns() is None


def test_two_nodes_keep_one_voter_and_one_learner():
    mesh = Mesh(2, 16)
    mesh.settle()
    assert all(view.voters == (key_of(0),) and view.learners == (key_of(1),) for view in mesh.views.values())
    assert len(mesh.history) == 16


def test_a_thousand_empty_shards_grow_in_as_many_rounds_as_one():
    def rounds_to_grow(shards: int) -> int:
        mesh = Mesh(3, shards)
        for rounds in range(20):
            if all(len(view.voters) == 3 for view in mesh.views.values()):
                return rounds
            mesh.round()
        raise AssertionError("never grown")

    assert rounds_to_grow(1024) == rounds_to_grow(1) <= 4


def test_settled_shards_are_where_the_targets_say():
    mesh = Mesh(10, 64)
    mesh.settle()
    found = targets([planner_place(mesh, key) for key in mesh.members], 64)
    same = [frozenset(keys) == frozenset(mesh.views[shard].voters) for shard, keys in enumerate(found.replicas)]
    assert sum(same) >= 55, "hysteresis may leave a few"
    assert sum(mesh.primaries[shard] == keys[0] for shard, keys in enumerate(found.replicas)) >= 55


def planner_place(mesh: Mesh, key: bytes):
    return mesh.planners[key]._present[key]


def test_a_dead_voter_is_replaced_after_a_minute_and_not_before():
    mesh = Mesh(5, 32)
    mesh.settle()
    mesh.kill(4)
    held = [shard for shard, view in mesh.views.items() if key_of(4) in view.voters]
    for shard in held:
        others = [key for key in mesh.views[shard].voters if key != key_of(4)]
        if mesh.primaries[shard] == key_of(4):
            mesh.primaries[shard] = others[0]
    assert held
    mesh.history.clear()
    for _ in range(58):
        mesh.round(S)
    assert not [step for step in mesh.history if isinstance(step, ProposeConfiguration)]
    mesh.settle()
    assert all(key_of(4) not in view.voters and len(view.voters) == 3 for view in mesh.views.values())


def test_without_a_replacement_the_dead_keep_their_seats():
    mesh = Mesh(3, 8)
    mesh.settle()
    mesh.kill(2)
    mesh.primaries = {shard: key_of(0) if key == key_of(2) else key for shard, key in mesh.primaries.items()}
    before = mesh.voters()
    mesh.settle()
    assert mesh.voters() == before


def test_who_says_farewell_frees_its_seat_and_two_nodes_are_one_voter_and_a_learner():
    mesh = Mesh(3, 8)
    mesh.settle()
    mesh.kill(2, Status.LEFT)
    mesh.primaries = {shard: key_of(0) if key == key_of(2) else key for shard, key in mesh.primaries.items()}
    mesh.settle()
    assert all(len(view.voters) == len(view.learners) == 1 for view in mesh.views.values())
    assert all(key_of(2) not in view.voters + view.learners for view in mesh.views.values())


def wanted(
    alive: str, voters: str = "012", *, dead: str = "", draining: str = "", learners: str = ""
) -> tuple[str, str] | None:
    """Which (voters, learners) node 0, primary of the shard, proposes; nodes are named by digits."""

    def keys(names: str) -> tuple[bytes, ...]:
        return tuple(key_of(int(name)) for name in names)

    def names(group: tuple[bytes, ...]) -> str:
        return "".join(sorted(name for name in alive + dead if key_of(int(name)) in group))

    def member(name: str) -> Member:
        record = record_of(int(name), weight=0 if name in draining else 1)
        return Member(record, Status.DEAD if name in dead else Status.ALIVE, 0)

    planner = Planner(key_of(0), 1)
    planner.members_changed([member(name) for name in alive + dead], 0)
    planner.shards_changed([ShardView(0, keys(voters), keys(learners), frozenset(keys(learners)))], 0)
    steps = planner.on_time(S)
    assert len(steps) <= 1
    return (names(steps[0].voters), names(steps[0].learners)) if steps else None


def test_those_who_leave_do_not_leave_the_decision_to_the_dead():
    leaving = {"dead": "2", "draining": "01"}
    assert wanted("0134", **leaving) == ("012", "34")
    assert wanted("0134", learners="34", **leaving) == ("234", "")  # the dead one may come back, and is outvoted until then
    assert wanted("013", **leaving) == ("012", "3")
    assert wanted("013", learners="3", **leaving) == ("3", "")
    assert wanted("01", **leaving) is None  # nobody can take over what they have
    assert wanted("012", draining="2") == ("0", "")
    assert wanted("013", dead="2", draining="1", learners="3") == ("023", "")


def test_full_shards_are_copied_a_few_at_a_time():
    mesh = Mesh(3, 32, size_bytes=1 << 30)
    mesh.round()
    assert len(mesh.history) == PlacementProfile().copies_max
    mesh.settle()
    assert all(len(view.voters) == 3 for view in mesh.views.values())


def test_so_many_shards_are_changed_at_once_and_the_others_follow():
    mesh = Mesh(3, 32, profile=PlacementProfile(moves_max=4))
    seen = []
    while any(len(view.voters) == 1 for view in mesh.views.values()):
        mesh.round()
        seen.append(sum(len(view.learners) > 0 for view in mesh.views.values()))
        assert len(seen) < 100
    assert max(seen) == 4
    assert len(mesh.history) == 2 * 32


def test_a_change_that_never_ends_holds_the_others_up_for_a_moment_only():
    planner = Planner(key_of(0), 2, PlacementProfile(moves_max=1))
    planner.members_changed([Member(record_of(n), Status.ALIVE, 0) for n in range(3)], 0)
    planner.shards_changed([ShardView(shard, (key_of(0),)) for shard in range(2)], 0)
    (step,) = planner.on_time(0)
    planner.shards_changed([ShardView(step.shard, step.voters, step.learners)], 0)
    assert planner.on_time(0) == []
    due_ns = planner.next_due_ns()
    assert due_ns == PlacementProfile().retry_ns
    assert [step.shard for step in planner.on_time(due_ns)] == [1]


def test_shards_of_two_nodes_are_done_when_their_learner_has_caught_up():
    planner = Planner(key_of(0), 3, PlacementProfile(moves_max=1))
    planner.members_changed([Member(record_of(n), Status.ALIVE, 0) for n in range(2)], 0)
    planner.shards_changed([ShardView(shard, (key_of(0),)) for shard in range(3)], 0)
    now_ns, done = 0, []
    while len(done) < 3:
        for step in planner.on_time(now_ns):
            planner.shards_changed([ShardView(step.shard, step.voters, step.learners, frozenset(step.learners))], now_ns)
            done.append(step.shard)
        assert planner.next_due_ns() is not None or len(done) == 3
        now_ns = planner.next_due_ns() or now_ns
    assert now_ns <= 10 * MS


def test_nothing_moves_while_members_come_and_go():
    mesh = Mesh(6, 32)
    mesh.settle()
    mesh.history.clear()
    mesh.members[key_of(6)] = Member(record_of(6), Status.ALIVE, mesh.now_ns)
    for _ in range(9):
        mesh.round(S)
    assert mesh.history == []
    mesh.settle()
    assert mesh.history


def test_a_proposal_that_nothing_came_of_is_repeated_but_not_at_once():
    planner = Planner(key_of(0), 1)
    members = [Member(record_of(n), Status.ALIVE, 0) for n in range(2)]
    planner.members_changed(members, 0)
    planner.shards_changed([ShardView(0, (key_of(0),))], 0)
    assert planner.on_time(0) == [ProposeConfiguration(0, (key_of(0),), (key_of(1),))]
    assert planner.on_time(S) == []
    due_ns = planner.next_due_ns()
    assert due_ns == 2 * S
    assert planner.on_time(due_ns) != []


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from([Status.ALIVE, Status.DEAD, Status.LEFT])), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_it_settles_and_never_breaks_a_quorum(events: list[tuple[int, Status]]):
    mesh = Mesh(5, 6)
    mesh.settle(duration_ns=5 * S)
    for number, status in events:
        if status is not Status.ALIVE and not can_go(mesh, key_of(number)):
            continue
        mesh.members[key_of(number)] = Member(record_of(number), status, mesh.now_ns)
        mesh.planners.setdefault(key_of(number), Planner(key_of(number), 6))
        for shard, view in mesh.views.items():
            if not mesh.members[mesh.primaries[shard]].is_present:
                mesh.planners[mesh.primaries[shard]].shard_lost(shard)
                mesh.primaries[shard] = next(key for key in view.voters if mesh.members[key].is_present)
        mesh.settle(duration_ns=5 * S)


def can_go(mesh: Mesh, key: bytes) -> bool:
    """Whether every shard keeps a majority of its voters without ``key``."""
    return all(
        sum(mesh.members[voter].is_present and voter != key for voter in view.voters) > len(view.voters) // 2
        for view in mesh.views.values()
    )


def test_the_profile_is_odd():
    assert PlacementProfile().replicas % 2 == 1


@pytest.mark.parametrize("replicas", [3, 5])
def test_as_many_voters_as_asked(replicas: int):
    mesh = Mesh(7, 8, profile=PlacementProfile(replicas=replicas))
    mesh.settle()
    assert {len(view.voters) for view in mesh.views.values()} == {replicas}
