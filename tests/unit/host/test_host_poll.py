"""Waiting: what poll answers, when it waits in place, when it has the worker unloaded, and that replay asks nobody."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from host_fakes import BORN_WALL_NS, Instance, Worker
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import GuestTrapped
from golemp2p.ports import Suspended
from golemp2p.runtime.host.poll import WAKE_NS_MAX, Pollable, Ready, Timer, wait_any

POLL, BLOCK, READY = "wasi:io/poll.poll", "wasi:io/poll.[method]pollable.block", "wasi:io/poll.[method]pollable.ready"
MONOTONIC = "wasi:clocks/monotonic-clock"
S = 1_000_000_000


class Door(Pollable):
    """Ready once opened; opened by hand."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.waits = 0

    def ready(self) -> bool:
        return self.opened.is_set()

    async def wait(self) -> None:
        self.waits += 1
        await self.opened.wait()


async def sleeper(instance: Instance, *seconds: float) -> list[int]:
    return [await instance.call(f"{MONOTONIC}.subscribe-duration", round(s * S)) for s in seconds]


async def test_poll_of_nothing_traps(autojump_clock: object) -> None:
    with pytest.raises(GuestTrapped, match="empty"):
        await Worker().start().call(POLL, [])


async def test_poll_of_something_that_is_no_pollable_traps(autojump_clock: object) -> None:
    instance = Worker().start()
    stdout = await instance.call("wasi:cli/stdout.get-stdout")
    with pytest.raises(GuestTrapped):
        await instance.call(POLL, [stdout])


async def test_poll_waits_for_the_earliest_timer(autojump_clock: object) -> None:
    instance = Worker().start()
    timers = await sleeper(instance, 5, 2, 9)
    assert await instance.call(POLL, timers) == [1]
    assert trio.current_time() == pytest.approx(2)
    await instance.call(BLOCK, timers[0])
    assert trio.current_time() == pytest.approx(5)
    assert await instance.call(POLL, timers) == [0, 1]


async def test_poll_answers_repeats_and_all_that_are_ready(autojump_clock: object) -> None:
    instance = Worker().start()
    ready, door = instance.resources.push(Ready()), instance.resources.push(Door())
    assert await instance.call(POLL, [door, ready, door, ready]) == [1, 3]


async def test_a_past_instant_is_ready_and_a_wait_for_it_takes_no_time(autojump_clock: object) -> None:
    instance = Worker().start()
    await trio.sleep(1)
    past = await instance.call(f"{MONOTONIC}.subscribe-instant", S)
    assert await instance.call(READY, past) is True
    await instance.call(BLOCK, past)
    assert trio.current_time() == pytest.approx(1)


async def test_ready_does_not_wait(autojump_clock: object) -> None:
    instance = Worker().start()
    [timer] = await sleeper(instance, 3)
    assert await instance.call(READY, timer) is False
    assert trio.current_time() == 0


async def test_mixed_waits_end_with_the_first(autojump_clock: object, nursery: trio.Nursery) -> None:
    instance = Worker().start()
    slow, fast = Door(), Door()
    handles = [instance.resources.push(slow), instance.resources.push(fast), *(await sleeper(instance, 60, 70))]
    nursery.start_soon(_after, 3, fast.opened.set)
    assert await instance.call(POLL, handles) == [1]
    assert trio.current_time() == pytest.approx(3)
    assert await instance.call(POLL, [handles[0], handles[3]]) == [1]
    assert trio.current_time() == pytest.approx(70)


async def test_repeats_of_one_pollable_wait_once(autojump_clock: object, nursery: trio.Nursery) -> None:
    instance = Worker().start()
    door = Door()
    handle = instance.resources.push(door)
    nursery.start_soon(_after, 1, door.opened.set)
    assert await instance.call(POLL, [handle] * 5) == [0, 1, 2, 3, 4]
    assert door.waits == 1


async def _after(seconds: float, act: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    act()


async def test_parking_starts_a_commit_and_an_immediate_answer_does_not(autojump_clock: object) -> None:
    worker = Worker()
    instance = worker.start()
    await instance.call(BLOCK, instance.resources.push(Ready()))
    assert worker.flushes == 0
    await instance.call(BLOCK, (await sleeper(instance, 1))[0])
    assert worker.flushes == 1


@given(
    due_ms=st.lists(st.integers(0, 9_000), min_size=1, max_size=6),
    opens_ms=st.lists(st.integers(1, 9_000), max_size=3),
)
def test_poll_answers_at_the_first_moment_with_all_that_are_ready_then(due_ms: list[int], opens_ms: list[int]) -> None:
    opens_ms = [at for at in opens_ms if at not in due_ms]  # who wins a tie is nobody's promise

    async def main() -> None:
        instance = Worker().start()
        doors = [Door() for _ in opens_ms]
        handles = await sleeper(instance, *(due / 1000 for due in due_ms))
        handles += [instance.resources.push(door) for door in doors]
        async with trio.open_nursery() as nursery:
            for door, at in zip(doors, opens_ms, strict=True):
                nursery.start_soon(_after, at / 1000, door.opened.set)
            ready = await instance.call(POLL, handles)
            moment = min(due_ms + opens_ms)
            assert trio.current_time() == pytest.approx(moment / 1000, abs=1e-3)
            expected = {position for position, at in enumerate(due_ms + opens_ms) if at == moment}
            assert set(ready) >= {min(expected)}
            assert set(ready) <= expected
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# ----------------------------------------------------------------------------------------------------------- suspension


@pytest.mark.parametrize("seconds", [10, 3600])
async def test_a_long_sleep_suspends_until_its_wall_time(autojump_clock: object, seconds: int) -> None:
    instance = Worker(suspend_after_s=10).start()
    await trio.sleep(7)
    timers = await sleeper(instance, seconds + 5, seconds)
    with pytest.raises(Suspended) as caught:
        await instance.call(POLL, timers)
    assert caught.value.wake_ns == BORN_WALL_NS + (7 + seconds) * S
    assert trio.current_time() == pytest.approx(7)


async def test_a_wait_just_below_the_limit_stays(autojump_clock: object) -> None:
    instance = Worker(suspend_after_s=10).start()
    assert await instance.call(POLL, await sleeper(instance, 9.999)) == [0]


async def test_a_wait_that_something_else_may_end_stays(autojump_clock: object, nursery: trio.Nursery) -> None:
    instance = Worker(suspend_after_s=10).start()
    door = Door()
    handles = [instance.resources.push(door), *(await sleeper(instance, 3600))]
    nursery.start_soon(_after, 100, door.opened.set)
    assert await instance.call(POLL, handles) == [0]


async def test_ephemeral_workers_never_suspend(autojump_clock: object) -> None:
    instance = Worker(suspend_after_s=math.inf).start()
    assert await instance.call(POLL, await sleeper(instance, 1e7)) == [0]
    assert trio.current_time() == pytest.approx(1e7)


async def test_waiting_for_ever_wakes_at_the_last_time_that_can_be_stored(autojump_clock: object) -> None:
    instance = Worker(suspend_after_s=10).start()
    forever = await instance.call(f"{MONOTONIC}.subscribe-duration", 2**64 - 1)
    with pytest.raises(Suspended) as caught:
        await instance.call(BLOCK, forever)
    assert caught.value.wake_ns == WAKE_NS_MAX


async def test_after_suspension_the_same_wait_ends_at_the_first_deadline(autojump_clock: object) -> None:
    worker = Worker(suspend_after_s=10)
    with pytest.raises(Suspended):
        await _sleep_an_hour(worker.start())
    await trio.sleep(3600)
    assert await _sleep_an_hour(worker.start()) == [0]
    assert trio.current_time() == pytest.approx(3600)


async def test_waking_too_early_suspends_again_until_the_first_deadline(autojump_clock: object) -> None:
    worker = Worker(suspend_after_s=10)
    for wait in (1000, 500):
        with pytest.raises(Suspended) as caught:
            await _sleep_an_hour(worker.start())
        assert caught.value.wake_ns == BORN_WALL_NS + 3600 * S
        await trio.sleep(wait)


async def _sleep_an_hour(instance: Instance) -> list[int]:
    answer: list[int] = await instance.call(POLL, await sleeper(instance, 3600))
    return answer


# --------------------------------------------------------------------------------------------------------------- replay


async def test_replay_gives_the_recorded_answers_without_waiting(autojump_clock: object) -> None:
    worker = Worker()

    async def story(instance: Instance) -> list[object]:
        timers = await sleeper(instance, 3, 2)
        seen: list[object] = [timers, await instance.call(POLL, timers), await instance.call(READY, timers[0])]
        await instance.call(BLOCK, timers[0])
        return [*seen, await instance.call(f"{MONOTONIC}.now")]

    lived = await story(worker.start())
    entries, then = list(worker.entries), trio.current_time()
    replaying = worker.start()
    assert await story(replaying) == lived
    assert worker.entries == entries
    assert trio.current_time() == then
    assert not replaying.host.journal.replaying


async def test_cancelling_a_wait_leaves_nothing_behind(autojump_clock: object) -> None:
    worker = Worker()
    instance = worker.start()
    timers = await sleeper(instance, 5)
    door = instance.resources.push(Door())
    entries = list(worker.entries)
    with trio.move_on_after(1) as scope:
        await instance.call(POLL, [*timers, door])
    assert scope.cancelled_caught
    assert worker.entries == entries


async def test_a_virtual_clock_of_years_does_not_stall_a_timer(autojump_clock: trio.testing.MockClock) -> None:
    worker = Worker(suspend_after_s=math.inf)
    instance = worker.start()
    autojump_clock.jump(1e9)  # at this age a float of seconds cannot express nanoseconds
    timer = Timer(instance.host, worker.elapsed_ns() + 1)
    assert await wait_any(instance.host, [timer]) == [0]
