"""Requests that look for their primary: hints, redirects, failover, limits; and against a shard that moves all the time."""

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.small_world import key_of
from golemp2p.core.effects import Send
from golemp2p.core.membership_profile import MS, S
from golemp2p.core.requests import Answered, GaveUp, Locate, RequestProfile, Requests
from golemp2p.model.messages_requests import Answer, Busy, Forward, NotPrimary

A, B, C, D = (key_of(n) for n in range(4))
SHARD = 7


def requests(*candidates: bytes, profile: RequestProfile | None = None) -> Requests:
    return Requests(lambda _shard: candidates or (A, B, C), Random(1), profile)


def submit(core: Requests, now_ns: int = 0, deadline_ns: int = 60 * S) -> tuple[int, bytes | None]:
    number, effects = core.submit(SHARD, "key", b"args", deadline_ns, now_ns)
    return number, asked(effects)


def asked(effects: list) -> bytes | None:
    forwards = [effect for effect in effects if isinstance(effect, Send)]
    assert len(forwards) <= 1
    return forwards[0].peer if forwards else None


def wait(core: Requests) -> list:
    """What happens next when nothing is heard."""
    effects: list = []
    while not effects and (due_ns := core.next_due_ns()) is not None:
        effects = core.on_time(due_ns)
    return effects


def test_the_cached_primary_is_asked_and_its_answer_is_the_result():
    core = requests()
    core.hint(SHARD, 3, B, 0)
    number, peer = submit(core)
    assert peer == B
    assert core.receive(B, Answer(number, b"result"), MS) == [Answered(number, b"result", 1)]
    assert core.receive(B, Answer(number, b"again"), MS) == []
    assert core.next_due_ns() is None


def test_without_a_hint_the_best_placed_is_asked_and_its_redirect_is_followed_at_once():
    core = requests()
    number, peer = submit(core)
    assert peer == A
    (forward,) = core.receive(A, NotPrimary(number, SHARD, 5, C), MS)
    assert (forward.peer, forward.message.idempotency_key, forward.message.payload) == (C, "key", b"args")
    assert forward.message.deadline_ms == 59_999
    core.receive(C, Answer(number, b""), MS)
    assert core.primary(SHARD) == (5, C)
    assert submit(core)[1] == C


def test_a_newer_term_wins_and_an_older_one_does_not():
    core = requests()
    core.hint(SHARD, 5, A, 0)
    core.hint(SHARD, 4, B, 0)
    core.hint(SHARD, 5, B, 0)
    assert core.primary(SHARD) == (5, A)
    core.hint(SHARD, 6, B, 0)
    assert core.primary(SHARD) == (6, B)


def test_stale_redirects_do_not_revive_a_primary_that_was():
    core = requests()
    core.hint(SHARD, 5, B, 0)
    number, _ = submit(core)
    core.receive(B, Answer(number, b""), 0)
    core.lost(B, 0)
    number, peer = submit(core)
    assert peer == A
    (forward,) = core.receive(A, NotPrimary(number, SHARD, 4, C), 0)
    assert forward.peer == B, "the next in line, not the stale hint"
    assert core.primary(SHARD) == (5, None)


def test_a_term_that_a_liar_invented_is_forgotten_with_it():
    core = requests(A, B, C)
    number, _ = submit(core)
    (forward,) = core.receive(A, NotPrimary(number, SHARD, 1 << 60, D), 0)
    core.receive(forward.peer, NotPrimary(number, SHARD, 3, B), 0)
    assert core.primary(SHARD) == (3, B)


def test_a_lie_without_a_primary_teaches_nothing():
    core = requests()
    number, _ = submit(core)
    core.receive(A, NotPrimary(number, SHARD, 1 << 60, None), 0)
    assert core.primary(SHARD) == (0, None)
    core.hint(SHARD, 5, B, 0)
    assert core.primary(SHARD) == (5, B)


def test_a_lie_about_a_higher_term_takes_nothing_from_what_was_confirmed():
    core = requests()
    core.hint(SHARD, 5, B, 0)
    number, _ = submit(core)
    core.receive(B, Answer(number, b"done"), 0)
    core.hint(SHARD, 1 << 60, D, 0)
    core.lost(D, 0)
    assert core.primary(SHARD) == (5, None)  # no older hint is believed, and a newer one is
    core.hint(SHARD, 4, A, 0)
    assert core.primary(SHARD) == (5, None)
    core.hint(SHARD, 6, C, 0)
    assert core.primary(SHARD) == (6, C)


def test_two_that_name_each_other_make_no_storm():
    core = requests(A, B)
    number, peer = submit(core)
    forwards = 1
    for term in range(1, 50):
        other = B if peer == A else A
        effects = core.receive(peer, NotPrimary(number, SHARD, term, other), 0)
        if not effects:
            break
        forwards += 1
        peer = asked(effects)
    assert forwards == 1 + RequestProfile().redirects_at_once
    assert core.next_due_ns() > 0


def test_who_is_lost_is_asked_no_more_and_the_next_gets_the_same_key():
    core = requests()
    core.hint(SHARD, 1, A, 0)
    number, _ = submit(core)
    assert core.lost(A, MS) == []
    (forward,) = wait(core)
    assert forward.peer == B
    assert forward.message == Forward(number, SHARD, "key", forward.message.deadline_ms, b"args")


def test_a_new_primary_is_told_at_once_to_those_who_wait():
    core = requests()
    core.hint(SHARD, 1, A, 0)
    submit(core)
    core.lost(A, MS)
    assert asked(core.hint(SHARD, 2, C, 2 * MS)) == C
    assert core.hint(SHARD, 2, C, 2 * MS) == []


def test_when_all_have_been_asked_the_dht_is():
    core = requests(A, B)
    number, _ = submit(core)
    (forward,) = core.receive(A, NotPrimary(number, SHARD, 0, None), 0)
    core.receive(forward.peer, NotPrimary(number, SHARD, 0, None), 0)
    assert wait(core) == [Locate(SHARD)]
    assert asked(wait(core)) == A, "and again from the first"


def test_a_late_answer_counts_whoever_is_being_asked():
    core = requests()
    core.hint(SHARD, 1, A, 0)
    number, _ = submit(core)
    core.on_time(core.next_due_ns())
    assert core.receive(B, Answer(number, b"forged"), 3 * S) == []
    assert core.receive(A, Answer(number, b"late"), 3 * S) == [Answered(number, b"late", 1)]


def test_busy_waits_as_told_and_stays():
    core = requests()
    core.hint(SHARD, 1, A, 0)
    number, _ = submit(core)
    assert core.receive(A, Busy(number, 700), 0) == []
    assert core.next_due_ns() == 700 * MS
    assert asked(core.on_time(700 * MS)) == A


def test_silence_is_asked_again_less_and_less_often():
    core = requests(A)
    core.hint(SHARD, 1, A, 0)
    submit(core, deadline_ns=1_000 * S)
    times = []
    while (due_ns := core.next_due_ns()) is not None and due_ns < 1_000 * S:
        times += [due_ns] if asked(core.on_time(due_ns)) else []
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > 2 * S
    assert 30 * S < max(gaps) < 32 * S
    assert 30 < len(times) < 40


def test_the_deadline_ends_it_wherever_it_is():
    core = requests()
    number, _ = submit(core, deadline_ns=S)
    effects = []
    while core.next_due_ns() is not None:
        effects += core.on_time(core.next_due_ns())
    assert effects[-1] == GaveUp(number, "deadline", effects[-1].attempts)
    assert len(core) == 0
    assert core.submit(SHARD, "late", b"", 0, 0)[1] == [GaveUp(number + 1, "deadline", 0)]


def test_attempts_and_pending_requests_are_bounded():
    core = requests(A, profile=RequestProfile(attempts_max=3, pending_max=1))
    number, _ = submit(core, deadline_ns=10**18)
    assert core.submit(SHARD, "k", b"", S, 0)[1] == [GaveUp(number + 1, "overloaded", 0)]
    ended = []
    while core.next_due_ns() is not None:
        ended += [e for e in core.on_time(core.next_due_ns()) if isinstance(e, GaveUp)]
    assert ended == [GaveUp(number, "attempts", 3)]


def test_the_cache_is_bounded_and_forgets_the_oldest():
    core = requests(profile=RequestProfile(cache_max=2))
    for shard in (1, 2, 1, 3):
        core.hint(shard, shard, A, 0)
    assert [core.primary(shard)[1] for shard in (1, 2, 3)] == [A, None, A]


def test_who_waits_no_more_is_forgotten():
    core = requests()
    number, _ = submit(core)
    core.cancel(number)
    assert core.receive(A, Answer(number, b""), 0) == []
    assert core.next_due_ns() is None


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=8))
@settings(max_examples=80, deadline=None)
def test_it_arrives_whatever_moves(seed: int, moves: list[tuple[int, int]]):
    """Four nodes, a primary that moves; nodes know terms of the past; some messages are lost. In the end it is answered, once."""
    dice = Random(seed)
    core = Requests(lambda _shard: (A, B, C), dice)
    history = [(1, A)]
    schedule = sorted((at * 10 * MS, key_of(number)) for number, at in moves)
    now_ns = 0
    number, effects = core.submit(SHARD, "key", b"", 600 * S, 0)
    results: list = []
    for _ in range(2_000):
        while schedule and schedule[0][0] <= now_ns:
            history.append((len(history) + 1, schedule.pop(0)[1]))
        for effect in list(effects):
            effects.remove(effect)
            if isinstance(effect, Answered | GaveUp):
                results.append(effect)
            elif isinstance(effect, Locate):
                effects += core.hint(SHARD, *history[-1], now_ns)
            elif dice.random() > 0.2:
                term, primary = history[-1] if dice.random() < 0.7 else dice.choice(history)
                is_primary = effect.peer == history[-1][1]
                answer = Answer(number, b"done") if is_primary else NotPrimary(number, SHARD, term, primary)
                effects += core.receive(effect.peer, answer, now_ns)
        if not effects:
            due_ns = core.next_due_ns()
            if due_ns is None:
                break
            now_ns = max(now_ns, due_ns)
            effects = core.on_time(now_ns)
    assert [type(result) for result in results] == [Answered]
