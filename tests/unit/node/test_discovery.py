"""Nodes that find each other by multicast DNS: what is said, what is believed, and once for real, on the loopback interface."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceStateChange

from golemp2p.wire.invite import Contact
from golemp2p_node import discovery
from golemp2p_node.discovery import FOUND_MAX, SERVICE, announcement, discover, mesh_tag, read_announcement

MESH, OTHER_MESH = b"i" * 32, b"j" * 32
ONE = Contact(b"1" * 32, ("10.0.0.1:9882", "[2001:db8::1]:9882", "node.example:9882"))
TWO = Contact(b"2" * 32, ("127.0.0.1:9892",))


def test_what_is_announced_is_understood_by_the_same_mesh_only() -> None:
    said = announcement(MESH, ONE)
    assert read_announcement(said.properties, MESH) == ONE
    assert read_announcement(said.properties, OTHER_MESH) is None
    assert said.parsed_addresses() == ["10.0.0.1", "2001:db8::1"]
    assert (said.port, said.type) == (9882, SERVICE)


def test_nothing_secret_is_announced() -> None:
    text = repr(announcement(MESH, ONE))
    assert MESH.hex() not in text
    assert "iiii" not in text
    assert mesh_tag(MESH) != mesh_tag(OTHER_MESH)


def test_many_addresses_are_cut_to_what_a_record_holds() -> None:
    many = Contact(b"1" * 32, tuple("h" * 50 + f"{number}:9882" for number in range(8)))
    heard = read_announcement(announcement(MESH, many).properties, MESH)
    assert heard is not None
    assert heard.addresses == many.addresses[:4]


GOOD = {b"mesh": mesh_tag(MESH).encode(), b"key": ONE.public_key.hex().encode(), b"at": b"10.0.0.1:9882"}


@pytest.mark.parametrize(
    "changed",
    [
        {b"mesh": b"00" * 8}, {b"mesh": None}, {b"key": b"31" * 31}, {b"key": b"zz" * 32}, {b"key": None}, {b"at": b""},
        {b"at": None}, {b"at": b"10.0.0.1"}, {b"at": b"10.0.0.1:0"}, {b"at": b"a b:1"}, {b"at": "é:1".encode()},
        {b"at": b",".join(b"h%d:1" % n for n in range(9))},
    ],
)  # fmt: skip
def test_what_is_not_believed(changed: dict[bytes, Any]) -> None:
    assert read_announcement(GOOD, MESH) == Contact(ONE.public_key, ("10.0.0.1:9882",))
    assert read_announcement({**GOOD, **changed}, MESH) is None


@given(st.dictionaries(st.sampled_from(list(GOOD)), st.one_of(st.none(), st.binary(), st.sampled_from(list(GOOD.values())))))
def test_hostile_records(properties: dict[bytes, Any]) -> None:
    heard = read_announcement(properties, MESH)
    assert heard is None or properties == {**GOOD, b"key": properties[b"key"]}


class Zeroconf:
    """Knows what one node says."""

    def __init__(self, properties: Any) -> None:
        self.properties = properties

    def get_service_info(self, *_: Any, timeout: int) -> Any:
        return self


async def test_a_listener_tells_what_is_new_and_no_more_than_there_can_be() -> None:
    told: list[Contact] = []
    token = trio.lowlevel.current_trio_token()
    listener = discovery._Listener(MESH, TWO.public_key, lambda key, addresses: told.append(Contact(key, addresses)), token)

    def hears(contact: Contact, state: ServiceStateChange = ServiceStateChange.Added) -> None:
        listener.changed(Zeroconf(announcement(MESH, contact).properties), SERVICE, "name", state)

    for state in (ServiceStateChange.Removed, ServiceStateChange.Added, ServiceStateChange.Updated):
        hears(ONE, state)
    hears(TWO)
    moved = Contact(ONE.public_key, ("10.0.0.9:9882",))
    hears(moved)
    await trio.testing.wait_all_tasks_blocked()
    assert told == [ONE, moved]
    for number in range(FOUND_MAX + 5):
        hears(Contact(number.to_bytes(32, "big"), ("a:1",)))
    await trio.testing.wait_all_tasks_blocked()
    assert len(told) == 2 + FOUND_MAX - 1
    listener.is_over = True
    hears(ONE)
    await trio.testing.wait_all_tasks_blocked()
    assert len(told) == 2 + FOUND_MAX - 1


async def test_two_nodes_find_each_other_on_this_machine() -> None:
    """For real: some seconds, as multicast DNS waits for who else may answer."""
    seen: dict[bytes, tuple[bytes, tuple[str, ...]]] = {}
    both = trio.Event()

    async def node(own: Contact) -> None:
        def found(key: bytes, addresses: tuple[str, ...]) -> None:
            seen[own.public_key] = key, addresses
            if len(seen) == 2:
                both.set()

        await discover(MESH, own, found, interfaces=["127.0.0.1"])

    with trio.move_on_after(20) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node, ONE)
            nursery.start_soon(node, TWO)
            await both.wait()
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        pytest.skip("multicast does not work on this machine's loopback interface")
    assert seen == {ONE.public_key: tuple(TWO), TWO.public_key: tuple(ONE)}


async def test_where_it_cannot_be_done_the_node_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_interfaces: Any) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(discovery, "_open", refused)
    with trio.fail_after(5):
        await discover(MESH, ONE, lambda _key, _addresses: None)
    assert "discovery_failed" in caplog.text
