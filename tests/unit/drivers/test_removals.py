"""The operator's removals on the disk."""

from __future__ import annotations

import pytest

from golemp2p.drivers.peers import removals as module
from golemp2p.drivers.peers.removals import REMOVALS, Removals
from golemp2p.errors import DataDamaged
from golemp2p.model.membership import Removal
from golemp2p.storage.memory import MemoryStorage


def removal(number: int) -> Removal:
    return Removal(bytes([number]) * 32, bytes([number]) * 64)


async def test_they_are_there_after_a_restart():
    storage = MemoryStorage()
    kept = Removals(storage)
    assert await kept.load() == ()
    await kept.add(removal(1))
    await kept.add(removal(2))
    await kept.add(removal(1))
    assert await Removals(storage).load() == (removal(1), removal(2))


async def test_what_is_there_already_is_not_written_again():
    storage = MemoryStorage()
    kept = Removals(storage)
    await kept.load()
    await kept.add(removal(1))
    await storage.put_meta(REMOVALS, b"touched")
    await kept.add(removal(1))
    assert await storage.get_meta(REMOVALS) == b"touched"


async def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    storage = MemoryStorage()
    kept = Removals(storage)
    await kept.load()
    for number in (1, 2, 3):
        await kept.add(removal(number))
    assert await Removals(storage).load() == (removal(2), removal(3))


async def test_a_damaged_list_is_not_taken_for_none():
    storage = MemoryStorage()
    await storage.put_meta(REMOVALS, b"nonsense")
    with pytest.raises(DataDamaged):
        await Removals(storage).load()
