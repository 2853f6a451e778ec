"""A node whose store was lost takes its seats again as another member."""

from golemp2p.core.seats import has_stale, next_seats
from golemp2p.model.replication import Configuration, Member


def member(name: str, store: int = 0) -> Member:
    return Member(name.encode().ljust(32, b"."), b"%d" % store + bytes(15))


A, B, C, D = (member(name) for name in "ABCD")
C2 = member("C", 2)
STORES = {m.public_key: m.store_id for m in (A, B, C2)}


def never(_member: Member) -> bool:
    return False


def test_nothing_to_do_where_all_stores_are_as_named():
    configuration = Configuration((A, B, C), (D,))
    assert not has_stale(configuration, {m.public_key: m.store_id for m in (A, B, C)}.get)
    assert next_seats(configuration, {}.get, never) is None


def test_the_new_store_learns_then_takes_the_vote():
    configuration = Configuration((A, B, C))
    assert has_stale(configuration, STORES.get)
    voters, learners = next_seats(configuration, STORES.get, never)
    assert (voters, learners) == ((A, B, C), (C2,))
    learning = Configuration(voters, learners)
    assert next_seats(learning, STORES.get, never) is None
    assert next_seats(learning, STORES.get, lambda m: m == C2) == ((A, B, C2), ())


def test_a_learner_that_lost_its_store_makes_room_for_itself():
    assert next_seats(Configuration((A,), (C,)), STORES.get, never) == ((A,), ())


def test_one_change_at_a_time():
    joint = Configuration((A, B, C), (), (A, B, D))
    assert next_seats(joint, STORES.get, never) is None
