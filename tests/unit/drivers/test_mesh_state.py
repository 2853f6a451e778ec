"""Founding, joining, going on: what a data directory may be told, and what it refuses."""

from __future__ import annotations

import pytest

from golemp2p.drivers.peers.mesh_state import CONTACTS, GENESIS, MeshState, find_or_found_mesh
from golemp2p.errors import OtherMesh
from golemp2p.model.replication import Member, base_at_birth
from golemp2p.storage.memory import MemoryStorage
from golemp2p.wire.certificate import found_mesh, load_genesis
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact, Invite

FOUNDER, NEWCOMER, OPERATOR = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
STORE = bytes(16)
MESH = found_mesh(FOUNDER, mesh_key=b"m" * 32, shards_count=16, created_ns=7)
OTHER = found_mesh(FOUNDER, mesh_key=b"o" * 32, shards_count=16, created_ns=7)
AT_FOUNDER = Contact(FOUNDER.public_key, ("10.0.0.1:9882",))


class Clock:
    def wall_ns(self) -> int:
        return 7

    def monotonic_ns(self) -> int:
        return 0


def invite(*contacts: Contact, genesis=MESH) -> Invite:
    return Invite(genesis, contacts or (AT_FOUNDER,))


async def start(storage: MemoryStorage, join: Invite | None = None, **more) -> MeshState:
    return await find_or_found_mesh(
        storage, NEWCOMER, STORE, shards_count=64, clock=Clock(), random_bytes=lambda count: b"r" * count, join=join, **more
    )


async def test_alone_it_founds_a_mesh_and_goes_on_with_it():
    storage = MemoryStorage()
    first = await start(storage)
    assert (first.is_founder, first.shards_count, first.contacts) == (True, 64, ())
    born = await storage.replicas()
    assert [replica.base for replica in born.values()] == [base_at_birth(Member(NEWCOMER.public_key, STORE))] * 64
    again = await start(storage)
    assert again.genesis == first.genesis


async def test_a_founding_that_was_cut_short_is_no_empty_directory():
    storage = MemoryStorage()
    await start(storage)
    cut_short = storage.crash()
    del cut_short._durable.meta[GENESIS]
    with pytest.raises(OtherMesh, match="empty --data-dir"):
        await start(cut_short, invite())
    assert (await start(cut_short)).is_founder


async def test_the_operator_gets_a_key_of_its_own_when_the_mesh_is_founded():
    asked = []
    storage = MemoryStorage()
    state = await start(storage, operator=lambda: asked.append(1) or OPERATOR.public_key)
    assert state.genesis.operator == OPERATOR.public_key
    await start(storage, operator=lambda: asked.append(1) or b"")
    assert asked == [1]
    assert (await start(MemoryStorage())).genesis.operator == NEWCOMER.public_key


async def test_invited_it_founds_nothing():
    storage = MemoryStorage()
    state = await start(storage, invite(), operator=lambda: pytest.fail("a joiner makes no operator"))
    assert (state.genesis, state.is_founder, state.contacts) == (MESH, False, (AT_FOUNDER,))
    assert await storage.replicas() == {}
    assert load_genesis(await storage.get_meta(GENESIS)) == MESH


async def test_it_finds_whom_it_was_to_call_without_the_invite():
    storage = MemoryStorage()
    await start(storage, invite())
    assert (await start(storage)).contacts == (AT_FOUNDER,)


async def test_a_crash_before_the_mesh_was_recorded_leaves_a_node_that_may_join():
    storage = MemoryStorage()
    put = storage.put_meta

    async def failing(name: str, value: bytes) -> None:
        if name == GENESIS:
            raise OSError
        await put(name, value)

    storage.put_meta = failing
    with pytest.raises(OSError):
        await start(storage, invite())
    storage.put_meta = put
    assert await storage.get_meta(CONTACTS) is not None
    assert (await start(storage, invite())).contacts == (AT_FOUNDER,)


async def test_an_invite_to_the_same_mesh_adds_whom_to_call():
    storage = MemoryStorage()
    await start(storage, invite())
    newer = Contact(FOUNDER.public_key, ("10.0.0.9:9882",))
    third = Contact(OPERATOR.public_key, ("10.0.0.3:9882",))
    myself = Contact(NEWCOMER.public_key, ("10.0.0.2:9882",))
    state = await start(storage, invite(newer, third, myself))
    assert state.contacts == (newer, third)
    assert (await start(storage)).contacts == (newer, third)


async def test_an_invite_to_another_mesh_is_refused_and_nothing_changes():
    storage = MemoryStorage()
    await start(storage, invite())
    with pytest.raises(OtherMesh, match="--data-dir") as caught:
        await start(storage, invite(genesis=OTHER))
    assert OTHER.mesh_key.hex() not in str(caught.value)
    assert (await start(storage)).genesis == MESH


async def test_a_node_that_founded_a_mesh_does_not_join_another():
    storage = MemoryStorage()
    founded = await start(storage)
    with pytest.raises(OtherMesh):
        await start(storage, invite())
    assert (await start(storage)).genesis == founded.genesis
