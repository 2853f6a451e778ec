"""Batches on their way to the writer: as many as come before the loop waits, and never for long."""

import time

import trio
from trio.testing import wait_all_tasks_blocked

from golemp2p.storage.gathering import GATHER_S_MAX, GATHERED_MAX, Gathering


async def test_what_comes_in_one_turn_goes_together_as_soon_as_the_loop_waits():
    groups: list[list[int]] = []
    gathering: Gathering[int] = Gathering(groups.append)
    gathering.open()
    for item in range(3):
        gathering.add(item)
    assert groups == []
    await wait_all_tasks_blocked(0.001)
    assert groups == [[0, 1, 2]]
    gathering.close()


async def test_a_busy_loop_makes_nobody_wait_for_long():
    groups: list[list[int]] = []
    gathering: Gathering[int] = Gathering(groups.append)
    gathering.open()
    gathering.add(1)
    begin = time.monotonic()
    while not groups:
        await trio.lowlevel.checkpoint()  # the loop never waits
        assert time.monotonic() - begin < 1.0
    assert time.monotonic() - begin >= GATHER_S_MAX
    gathering.close()


async def test_so_many_are_not_kept_back():
    groups: list[list[int]] = []
    gathering: Gathering[int] = Gathering(groups.append)
    for item in range(GATHERED_MAX + 1):
        gathering.add(item)
    assert [len(group) for group in groups] == [GATHERED_MAX]


async def test_closing_hands_over_the_rest():
    groups: list[list[int]] = []
    gathering: Gathering[int] = Gathering(groups.append)
    gathering.open()
    gathering.add(1)
    gathering.close()
    gathering.close()
    assert groups == [[1]]
    await wait_all_tasks_blocked(0.001)
    assert groups == [[1]]
