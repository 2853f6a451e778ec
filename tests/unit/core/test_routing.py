"""k-buckets: against a naive model, and against the package where the package is right."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from benchmarks.small_world import FAKE, key_of, record_of
from golemp2p.core import routing
from golemp2p.core.routing import Bucket, Contact, Routing, Table, subnet_of
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import NodeRecord

OWN = key_of(0)
NUMBERS = st.lists(st.integers(1, 2_000), unique=True, max_size=150)


def record(number: int, address: str | None = None, incarnation: int = 0) -> NodeRecord:
    made = replace(record_of(number, incarnation=incarnation), signature=FAKE)
    return made if address is None else replace(made, addresses=(address,))


def everybody(bucket: Bucket) -> list[Contact]:
    return [*bucket.nodes.values(), *bucket.replacement_nodes.values()]


def identifier(key: bytes) -> int:
    return int.from_bytes(NodeId.of(key).digest, "big")


@given(NUMBERS, st.binary(min_size=20, max_size=20), st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_the_closest_are_those_of_a_naive_sort(numbers: list[int], target: bytes, count: int):
    table = Routing(OWN)
    for number in numbers:
        table.contacted(record(number), 0)
    known = [record(number) for number in numbers if key_of(number) in table]
    assert len(known) == len(table)
    wanted = int.from_bytes(target, "big")
    naive = sorted(known, key=lambda r: identifier(r.public_key) ^ wanted)
    assert table.closest(target, count) == naive[:count]
    excluded = naive[0].public_key if naive else b""
    assert table.closest(target, count, exclude=excluded) == naive[1 : count + 1]


@given(NUMBERS, st.lists(st.integers(0, 149), max_size=40))
@settings(max_examples=60, deadline=None)
def test_buckets_cover_everything_and_hold_what_belongs_to_them(numbers: list[int], removed: list[int]):
    table = Table(Node(NodeId.of(OWN).digest))
    contacts = [Contact(record(number)) for number in numbers]
    for contact in contacts:
        table.add_contact(contact)
    for place in removed:
        if place < len(contacts):
            table.remove_contact(contacts[place])
    assert [b.range[0] for b in table.buckets] == [0, *(b.range[1] for b in table.buckets[:-1])]
    assert table.buckets[-1].range[1] == 1 << 160
    for bucket in table.buckets:
        assert len(bucket) <= 20
        assert all(bucket.has_in_range(contact) for contact in everybody(bucket))
        low, high = bucket.range
        assert (low ^ (high - 1)).bit_length() == 160 - bucket.depth()
    gone = {contacts[place].id for place in removed if place < len(contacts)}
    assert not gone & {contact.id for bucket in table.buckets for contact in everybody(bucket)}


def test_an_id_at_a_split_point_can_be_removed_again():
    """In the package it cannot: it looks into another bucket than it put it in."""
    middle = Node((1 << 159).to_bytes(20, "big"))
    table = Table(Node(bytes(20)), ksize=2)
    theirs = RoutingTable(None, 2, Node(bytes(20)))
    for number in range(1, 4):
        table.add_contact(Node(number.to_bytes(20, "big")))
        theirs.buckets[theirs.get_bucket_for(Node(number.to_bytes(20, "big")))].add_node(Node(number.to_bytes(20, "big")))
    theirs.split_bucket(0)
    for mesh in (table, theirs):
        mesh.buckets[-1].add_node(middle)
        mesh.buckets[0].remove_node(middle)
    theirs.buckets[0].nodes[middle.id] = middle
    theirs.buckets[-1].remove_node(middle)
    theirs.remove_contact(middle)
    assert middle.id in theirs.buckets[0].nodes
    table.remove_contact(middle)
    assert all(middle.id not in bucket.nodes for bucket in table.buckets)


@given(NUMBERS)
@settings(max_examples=40, deadline=None)
def test_one_bucket_does_what_the_package_does(numbers: list[int]):
    ours, theirs = Bucket(0, 1 << 160, 5), KBucket(0, 1 << 160, 5)
    for number in numbers:
        node = Node(NodeId.of(key_of(number)).digest)
        assert ours.add_node(node) == theirs.add_node(node)
        if number % 3 == 0:
            ours.remove_node(node)
            theirs.remove_node(node)
    assert list(ours.nodes) == list(theirs.nodes)
    assert list(ours.replacement_nodes) == list(theirs.replacement_nodes)
    for half, other in zip(ours.split(), theirs.split(), strict=True):
        assert list(half.nodes) == list(other.nodes)


def test_neighbours_agree_with_the_package_where_it_is_right():
    """Asked for all it has, the package is right about the set, and so are we."""
    table, theirs = Table(Node(NodeId.of(OWN).digest), 20), RoutingTable(None, 20, Node(NodeId.of(OWN).digest))
    for number in range(1, 16):
        node = Node(NodeId.of(key_of(number)).digest, "h", number)
        table.add_contact(node)
        theirs.add_contact(node)
    target = Node(NodeId.of(key_of(99)).digest)
    assert [n.id for n in table.find_neighbors(target)] == [n.id for n in theirs.find_neighbors(target)]
    exclude = table.find_neighbors(target)[3]
    ours = [n.id for n in table.find_neighbors(target, exclude=exclude)]
    assert ours == [n.id for n in theirs.find_neighbors(target, exclude=exclude)]
    assert exclude.id not in ours


def far_bucket() -> tuple[Routing, list[int]]:
    """A table with one full bucket on the far side, and the numbers of nodes that belong into it."""
    own_half = identifier(OWN) >> 155
    far = [n for n in range(1, 6_000) if identifier(key_of(n)) >> 155 == own_half ^ 0b10000]
    table = Routing(OWN)
    for number in range(1, 400):
        table.contacted(record(number), 0)
    for number in far:
        table.contacted(record(number), 0)
    return table, far


def test_who_answers_is_never_replaced_and_who_does_not_is():
    table, far = far_bucket()
    inside = [n for n in far if key_of(n) in table]
    outside = [n for n in far if key_of(n) not in table]
    assert len(inside) == 20
    oldest = table.contacted(record(outside[0]), 1)
    assert oldest == record(inside[0])
    table.contacted(oldest, 2)
    assert table.contacted(record(outside[0]), 3) == record(inside[1])
    table.failed(inside[1] and key_of(inside[1]))
    assert key_of(inside[1]) in table
    table.failed(key_of(inside[1]))
    assert key_of(inside[1]) not in table
    assert key_of(outside[0]) in table, "the latest of the replacements"
    table.failed(key_of(9_999))


def test_a_success_forgives_failures():
    table = Routing(OWN)
    table.contacted(record(1), 0)
    table.failed(key_of(1))
    table.contacted(record(1), 1)
    table.failed(key_of(1))
    assert key_of(1) in table


def test_newer_addresses_replace_older_ones_and_not_the_other_way():
    table = Routing(OWN)
    table.contacted(record(1, incarnation=1), 0)
    table.contacted(record(1, "198.51.100.9:1", incarnation=2), 0)
    table.contacted(record(1, incarnation=1), 0)
    assert table.closest(bytes(20)) == [record(1, "198.51.100.9:1", incarnation=2)]


@pytest.mark.parametrize(
    ("host", "subnet"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("[2001:4860:4860::8888]", "2001:4860:4860::/48"),
        ("10.0.0.1", None),
        ("127.0.0.1", None),
        ("[::1]", None),
        ("node.example", None),
        ("", None),
    ],
)
def test_subnets(host: str, subnet: str | None):
    assert subnet_of(host) == subnet


def test_a_subnet_cannot_crowd_the_table():
    table = Routing(OWN)
    for number in range(1, 200):
        table.contacted(record(number, f"8.8.8.{number}:9882"), 0)
    assert len(table) == routing.SUBNET_PER_BUCKET
    for number in range(200, 400):
        table.contacted(record(number), 0)
    for number in range(400, 900):
        table.contacted(record(number, f"8.8.8.{number % 250}:9882"), 0)
    crowd = [r for r in table.closest(bytes(20), 1_000) if r.addresses[0].startswith("8.8.8.")]
    assert 2 < len(crowd) <= routing.SUBNET_PER_TABLE
    lan = Routing(OWN)
    for number in range(1, 15):
        lan.contacted(record(number, f"10.0.0.{number}:9882"), 0)
    assert len(lan) == 14


def test_we_are_not_in_our_own_table():
    table = Routing(OWN)
    assert table.contacted(record(0), 0) is None
    assert len(table) == 0


def test_buckets_grow_stale_and_are_refreshed_by_lookups():
    table = Routing(OWN)
    table.contacted(record(1), 5)
    assert table.stale(routing.REFRESH_NS) == []
    due_ns = table.next_stale_ns()
    assert table.stale(due_ns) == [(0, 1 << 160)]
    table.looked_up(bytes(20), due_ns)
    assert table.stale(due_ns) == []


def test_ranges_are_half_open():
    low, high = Bucket(0, 1 << 160, 5).split()
    middle = Node((1 << 159).to_bytes(20, "big"))
    assert (low.has_in_range(middle), high.has_in_range(middle)) == (False, True)
    assert low.has_in_range(Node(((1 << 159) - 1).to_bytes(20, "big")))
