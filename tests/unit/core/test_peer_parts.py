"""The small parts of a peer: what it remembers of the mesh, which certificates it puts into the DHT, where it looks for none."""

from __future__ import annotations

from golemp2p.core.address_book import AddressBook
from golemp2p.core.announcements import Announcements
from golemp2p.core.peer_effects import MembersKnown, PeerProfile
from golemp2p.model.membership import NodeRecord

S = 1_000_000_000


def record(number: int, address: str = "") -> NodeRecord:
    return NodeRecord(bytes([number]) * 32, bytes(16), (address or f"10.0.0.{number}:9882",), 1, "", 1)


def test_newcomers_are_written_at_once_then_together():
    book = AddressBook(S)
    everybody = [record(1)]
    assert book.written(lambda: everybody, 0) == []
    book.met(record(1))
    assert book.written(lambda: everybody, 5) == [MembersKnown((record(1),))]
    everybody += [record(2), record(3)]
    book.met(record(2))
    assert book.written(lambda: everybody, S) == []
    book.met(record(3))
    assert book.written(lambda: everybody, S + 5) == [MembersKnown(tuple(everybody))]
    book.met(record(2))
    assert book.written(lambda: everybody, 9 * S) == []


def test_who_can_be_reached_elsewhere_is_news():
    book = AddressBook(S)
    book.met(record(1))
    assert book.written(lambda: [record(1)], 0)
    book.met(record(1, "10.9.9.9:1"))
    assert book.written(lambda: [record(1, "10.9.9.9:1")], 2 * S)


def test_certificates_are_announced_in_large_meshes_a_few_at_a_time():
    profile = PeerProfile(hints_above=5, hints_at_once=2, hints_pause_ns=S)
    announcements = Announcements(profile)
    announcements.mesh_has(5, [0, 1, 2])
    announcements.serving_began(0)
    assert not announcements.is_due(0)
    announcements.mesh_has(6, [0, 1, 2])
    assert announcements.is_due(0)
    assert announcements.take(0) == [0, 1]
    assert not announcements.is_due(S - 1)
    assert announcements.take(S) == [2]
    assert announcements.take(2 * S) == []
    assert announcements.due_ns is None
    announcements.mesh_has(7, [0, 1, 2])  # not much larger: newcomers alone would find nothing new
    assert not announcements.is_due(3 * S)
    announcements.serving_began(7)
    assert announcements.take(3 * S) == [7]
