"""Records that prove themselves, and one node's part in finding and keeping them."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.small_world import FAKE, Trust, Walker, dht, key_of, record_of
from golemp2p.core.dht import LIFETIME_S, REPUBLISH_NS, Dht, Dial, NodesFound, RecordsFound
from golemp2p.core.dht_records import DhtRecords, RecordLimits
from golemp2p.core.membership_profile import MS, S
from golemp2p.model import messages_dht as msg
from golemp2p.model.dht import ProviderRecord, ShardHint, provider_key, record_key, shard_hint_key
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import NodeRecord

BLOB = b"b" * 32


def signed(number: int, incarnation: int = 0) -> NodeRecord:
    return replace(record_of(number, incarnation=incarnation), signature=FAKE)


def provider(number: int, sequence: int = 0, blob: bytes = BLOB) -> ProviderRecord:
    return ProviderRecord(blob, key_of(number), sequence, FAKE)


def hint(term: int, number: int = 1, shard: int = 7) -> ShardHint:
    return ShardHint(shard, term, key_of(number), b"certificate")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_the_newest_wins_in_any_order(puts: list[tuple[int, int]]):
    store = DhtRecords()
    newest: dict[int, int] = {}
    for number, sequence in puts:
        accepted = store.put(provider(number, sequence), 60, 0)
        assert accepted is (sequence >= newest.get(number, -1))
        newest[number] = max(sequence, newest.get(number, -1))
    held = store.get(provider_key(BLOB), 1)
    assert {record.provider: record.sequence for record in held} == {key_of(n): s for n, s in newest.items()}
    assert len(store) == len(newest)


def test_two_records_of_one_term_do_not_alternate():
    store = DhtRecords()
    assert store.put(hint(3, 1), 60, 0)
    assert not store.put(hint(3, 2), 60, 0)
    assert store.put(hint(4, 2), 60, 0)
    assert store.get(shard_hint_key(7), 0) == [hint(4, 2)]


def test_records_expire_unless_they_are_put_again():
    store = DhtRecords()
    store.put(hint(3), 60, 0)
    store.put(hint(3), 60, 30 * S)
    assert store.get(shard_hint_key(7), 89 * S) == [hint(3)]
    assert store.get(shard_hint_key(7), 90 * S) == []
    assert len(store) == 0
    assert store.put(hint(1), 60, 91 * S), "what has expired is not remembered against anybody"


def test_a_lifetime_has_a_limit():
    store = DhtRecords(RecordLimits(lifetime_s_max=10))
    store.put(hint(3), 10**9, 0)
    assert store.get(shard_hint_key(7), 10 * S) == []


def test_nobody_takes_all_the_room():
    store = DhtRecords(RecordLimits(records_max=10, per_author_max=4, providers_max=3))
    blobs = [bytes([n]) * 32 for n in range(20)]
    assert [store.put(provider(1, blob=blob), 60, 0) for blob in blobs[:6]] == [True] * 4 + [False] * 2
    assert [store.put(provider(n, blob=blobs[19]), 60, 0) for n in range(2, 6)] == [True] * 3 + [False]
    assert [store.put(hint(1, number=50 + n, shard=n), 60, 0) for n in range(5)] == [True] * 3 + [False] * 2
    assert store.put(provider(1, sequence=1, blob=blobs[0]), 60, 0), "a newer one takes the place of the older"
    assert store.put(hint(1, number=99, shard=99), 60, 61 * S), "the expired make room"
    assert len(store) == 1


def node(number: int = 0) -> Dht:
    return Dht(signed(number), Trust(), Random(1))


def test_it_answers_with_the_closest_but_not_with_the_asker():
    member = node()
    for number in range(1, 30):
        member.contacted(signed(number), 0)
    (answer,) = member.receive(signed(5), msg.FindNode(9, bytes(20)), 0)
    assert answer.record == signed(5)
    assert answer.message.number == 9
    assert len(answer.message.closer) == 20
    assert signed(5) not in answer.message.closer


def test_forged_records_are_not_kept_and_forgers_not_known():
    member = node()
    forged = replace(signed(2), signature=b"x")
    assert member.receive(signed(1), msg.Put(1, forged, 60), 0) == [Dial(signed(1), msg.Stored(1, False))]
    assert member.receive(signed(1), msg.Put(1, signed(2), 60), 0) == [Dial(signed(1), msg.Stored(1, True))]
    member.contacted(forged, 0)
    assert key_of(2) not in member.routing


def test_answers_count_only_from_who_was_asked():
    member = node()
    member.contacted(signed(1), 0)
    number, (ask,) = member.find_node(bytes(20), 0)
    liar = member.receive(signed(2), msg.Found(ask.message.number, (), ()), 0)
    assert liar == []
    (found,) = member.receive(signed(1), msg.Found(ask.message.number, (), ()), 0)
    assert found == NodesFound(number, bytes(20), (signed(1),), 1, 1)
    assert member.receive(signed(1), msg.Found(ask.message.number, (), ()), 0) == []


def test_with_nobody_to_ask_the_answer_comes_at_once():
    member = node()
    number, effects = member.find_node(bytes(20), 0)
    assert effects == [NodesFound(number, bytes(20), (), 0, 0)]
    assert member.next_due_ns() is None


def test_who_cannot_be_dialled_is_not_waited_for():
    member = node()
    member.contacted(signed(1), 0)
    number, _ = member.find_node(bytes(20), 0)
    assert member.lost(key_of(1), MS) == [NodesFound(number, bytes(20), (), 0, 1)]
    assert key_of(1) in member.routing
    member.lost(key_of(1), MS)
    assert key_of(1) not in member.routing


def published(walkers: list[Walker], key: bytes, now_ns: int) -> set[bytes]:
    return {walker.record.public_key for walker in walkers if walker.dht.records.get(key, now_ns)}


def test_what_one_publishes_another_finds_until_it_is_withdrawn():
    world, walkers = dht(3, 60)
    author, reader = walkers[5], walkers[40]
    world.settle(author.record.public_key, author.carry(author.dht.publish(provider(5), world.now_ns)))
    world.run(2 * S)
    key = provider_key(BLOB)
    closest = sorted(walkers, key=lambda w: int.from_bytes(NodeId.of(w.record.public_key).digest, "big") ^ int.from_bytes(key))
    holders = published(walkers, key, world.now_ns)
    assert {walker.record.public_key for walker in closest[:15]} <= holders

    def read() -> tuple:
        world.seen.clear()
        _, effects = reader.dht.find_records(key, world.now_ns)
        world.settle(reader.record.public_key, reader.carry(effects))
        world.run(3 * S)
        (found,) = [effect for _, _, effect in world.seen if isinstance(effect, RecordsFound)]
        return found.records

    assert read() == (provider(5),)
    newer = provider(5, sequence=1)
    world.settle(author.record.public_key, author.carry(author.dht.publish(newer, world.now_ns)))
    world.run(2 * S)
    assert read() == (newer,)
    world.run(3 * REPUBLISH_NS)
    assert read() == (newer,), "it is refreshed"
    author.dht.withdraw(newer)
    world.run((LIFETIME_S + 60) * S)
    assert read() == ()


def test_a_lookup_of_records_stops_when_enough_have_them():
    world, walkers = dht(4, 60)
    record = hint(9)
    for walker in walkers:
        walker.dht.records.put(record, 3_600, world.now_ns)
    reader = Walker(999, walkers[0]._book, Random(0), walkers[0].dht._profile)
    world.add(reader.record.public_key, reader)
    reader.dht.contacted(walkers[0].record, world.now_ns)
    world.sent.clear()
    world.settle(reader.record.public_key, reader.carry(reader.dht.find_records(record_key(record), world.now_ns)[1]))
    world.run(2 * S)
    assert world.sent["FindRecords"] <= 6
    assert [e.records for _, _, e in world.seen if isinstance(e, RecordsFound)][-1] == (record,)
