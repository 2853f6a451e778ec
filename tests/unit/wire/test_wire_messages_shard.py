"""Messages of a shard over the wire: round trips, hostile bytes, and a shard that runs on the real format and real signatures."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golemp2p.core.effects import Persist, Send
from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model import messages_shard as msg
from golemp2p.model import replication as r
from golemp2p.model.ids import Key
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.messages_shard import MESSAGE_BYTES_MAX, SEGMENTS_MAX, decode_shard_message, encode_shard_message
from golemp2p.wire.notary import ShardNotary, sign_branch
from golemp2p.wire.segment import NO_HASH, open_segment, seal

MESH = b"m" * 32
KEYS = [SigningKey(bytes([n]) * 32) for n in range(1, 4)]
LOG = Key.of("worker", "c/w")

number = st.integers(0, (1 << 63) - 2)
hashes = st.binary(min_size=32, max_size=32)
members = st.builds(r.Member, hashes, st.binary(min_size=16, max_size=16))
groups = st.lists(members, max_size=5).map(tuple)
configurations = st.builds(r.Configuration, groups, groups, groups)
signatures = st.binary(min_size=64, max_size=64)
keys = st.builds(Key, st.binary(min_size=20, max_size=20))
branches = st.binary(min_size=16, max_size=16)
elections = st.builds(r.Election, members, configurations, st.lists(st.tuples(members, signatures), max_size=5).map(tuple))
milestones = st.lists(
    st.builds(
        r.Entry,
        st.integers(1, 1 << 40),
        st.integers(1, 9),
        hashes,
        hashes,
        configurations | elections,
        signatures | st.just(b""),
        hashes,
    ),
    max_size=3,
).map(tuple)
bases = st.builds(r.Base, number, number, hashes, hashes, configurations, number, branches, milestones)


def segment_of(key: SigningKey, term: int, first: int, previous_hash: bytes, payload: bytes) -> r.LogSegment:
    data, _ = seal(key, key=LOG, term=term, first=first, count=1, previous_hash=previous_hash, payload=payload)
    parsed = open_segment(data)
    return r.LogSegment(LOG, term, first, 1, previous_hash, key.public_key, parsed.hash, data)


segments = st.builds(
    segment_of, st.sampled_from(KEYS), st.integers(1, 99), st.integers(1, 99), hashes, st.binary(min_size=3, max_size=50)
)
contents = st.one_of(
    segments,
    configurations,
    elections,
    st.builds(r.Deletion, keys),
    st.just(r.NoOp()),
    st.builds(r.Branch, branches, members, number, number, hashes, hashes, signatures),
)


@st.composite
def appends(draw: st.DrawFn) -> msg.Append:
    position, last_hash = draw(st.integers(0, 1 << 40)), draw(hashes)
    first_hash = last_hash
    entries = []
    for at in range(position + 1, position + 1 + draw(st.integers(0, 4))):
        content = draw(contents)
        if isinstance(content, r.LogSegment):
            content = replace(content, description=draw(st.binary(max_size=9)))
        entry = r.Entry(at, draw(st.integers(1, 9)), last_hash, draw(hashes), content, draw(signatures), draw(hashes))
        last_hash = entry.hash
        entries.append(entry)
    return msg.Append(position, draw(number), first_hash, tuple(entries), draw(number), draw(milestones))


refusals = st.none() | st.sampled_from(msg.Refusal)
heads = st.lists(st.tuples(keys, st.builds(r.Head, number, hashes)), max_size=5).map(tuple)
bodies = st.one_of(
    st.builds(msg.RequestVote, st.booleans(), st.booleans(), number, number, configurations, number, milestones),
    st.builds(msg.Voted, number, st.booleans(), refusals, signatures | st.just(b""), st.sampled_from([b"", bytes(32)])),
    appends(),
    st.builds(msg.Appended, number, refusals, number, st.booleans(), number),
    st.just(msg.TakeOver()),
    st.just(msg.AskPrimary()),
    st.builds(msg.Resigned, number),
    st.builds(msg.Offer, bases, milestones),
    st.builds(msg.FetchManifest, number, st.none() | keys),
    st.builds(msg.ManifestPage, number, st.none() | keys, heads, st.booleans()),
    st.builds(msg.FetchSegments, number, keys, number, number),
    st.builds(msg.FetchedSegments, keys, number, st.lists(segments, max_size=3).map(tuple)),
)
messages = st.builds(msg.ShardMessage, st.integers(0, 1023), branches, number, st.binary(min_size=16, max_size=16), bodies)


@settings(max_examples=150, deadline=None)
@given(messages)
def test_messages_come_back_as_they_were(message: msg.ShardMessage) -> None:
    assert decode_shard_message(encode_shard_message(message)) == message


@settings(max_examples=150, deadline=None)
@given(messages, st.data())
def test_changed_bytes_are_refused_or_another_message(message: msg.ShardMessage, data: st.DataObject) -> None:
    encoded = bytearray(encode_shard_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_shard_message(bytes(encoded))
    except DataDamaged:
        return
    assert decode_shard_message(encode_shard_message(decoded)) == decoded


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_data_damaged(data: bytes) -> None:
    with pytest.raises(DataDamaged):
        decode_shard_message(data)


def test_too_long_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(DataDamaged, match="more than"):
        decode_shard_message(bytes(MESSAGE_BYTES_MAX + 1))


def test_a_notary_tells_true_from_false() -> None:
    notary = ShardNotary(KEYS[0], mesh_id=MESH, shard=3, operator=KEYS[2].public_key)
    other = ShardNotary(KEYS[0], mesh_id=MESH, shard=4)
    key = KEYS[0].public_key
    entry_hash = notary.entry_hash(1, 1, NO_HASH, key, r.NoOp())
    assert entry_hash != other.entry_hash(1, 1, NO_HASH, key, r.NoOp())
    signature = notary.sign_entry(entry_hash)
    assert notary.is_entry_signed(entry_hash, signature, key)
    assert not notary.is_entry_signed(entry_hash, signature, KEYS[1].public_key)
    vote = notary.cast_vote(5, key)
    assert notary.is_vote(5, key, key, vote)
    assert not notary.is_vote(6, key, key, vote)
    assert not other.is_vote(5, key, key, vote)
    segment = segment_of(KEYS[0], 1, 1, NO_HASH, b"payload")
    assert notary.is_segment_signed(segment)
    assert not notary.is_segment_signed(replace(segment, first=2))
    assert not notary.is_segment_signed(replace(segment, data=segment.data[:-1] + b"?"))
    branch = r.Branch(b"b" * 16, r.Member(key, b"s" * 16), 3, 5, NO_HASH, b"", b"")
    signed = sign_branch(KEYS[2], branch, mesh_id=MESH, shard=3)
    assert notary.is_branch_signed(signed)
    assert not notary.is_branch_signed(replace(signed, last_position=6))
    assert not notary.is_branch_signed(sign_branch(KEYS[1], branch, mesh_id=MESH, shard=3))
    assert not other.is_branch_signed(signed)


def test_a_log_lives_in_one_shard_only() -> None:
    """Who leads another shard must not take its place."""
    segment = segment_of(KEYS[0], 1, 1, NO_HASH, b"payload")
    home = LOG.shard(1024)
    at_home, elsewhere = (ShardNotary(KEYS[0], mesh_id=MESH, shard=shard, shards_count=1024) for shard in (home, home + 1))
    assert at_home.is_segment_signed(segment)
    assert not elsewhere.is_segment_signed(segment)


def test_a_shard_grows_and_commits_over_the_real_format() -> None:
    stores = [r.Member(key.public_key, b"s" * 16) for key in KEYS]
    disks = [ReplicaDurable.at_birth(stores[0]), ReplicaDurable(), ReplicaDurable()]
    replicas = [
        Replica(3, member, disk, ShardNotary(key, mesh_id=MESH, shard=3))
        for member, disk, key in zip(stores, disks, KEYS, strict=True)
    ]
    place = {key.public_key: at for at, key in enumerate(KEYS)}
    wire: deque[tuple[int, bytes, bytes]] = deque()

    def carry_out(at: int, effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                wire.append((at, effect.peer, encode_shard_message(effect.message)))
            elif isinstance(effect, Persist):
                disks[at].apply(effect.write)
                carry_out(at, list(effect.then))
                carry_out(at, replicas[at].persisted(effect.token, 0))

    def settle() -> None:
        while wire:
            sender, peer, data = wire.popleft()
            carry_out(place[peer], replicas[place[peer]].receive(KEYS[sender].public_key, decode_shard_message(data), 0))

    carry_out(0, replicas[0].campaign(0))
    carry_out(0, replicas[0].change_members(stores[:1], stores[1:], 0))
    settle()
    carry_out(0, replicas[0].change_members(stores, (), 0))
    settle()
    replicas[0].append([segment_of(KEYS[0], replicas[0].term, 1, NO_HASH, b"payload")])
    carry_out(0, replicas[0].flush(0))
    settle()
    carry_out(0, replicas[0].hand_over(KEYS[2].public_key, 0))
    settle()
    assert [replica.is_serving for replica in replicas] == [False, False, True]
    assert {replica.log.last_hash for replica in replicas} == {replicas[0].log.last_hash}
    assert len(disks[1].read(LOG)) == 1


def test_what_no_reader_takes_is_not_written() -> None:
    segment = r.LogSegment(LOG, 1, 1, 1, NO_HASH, KEYS[0].public_key, NO_HASH, b"")
    body = msg.FetchedSegments(LOG, 1, (segment,) * (SEGMENTS_MAX + 1))
    with pytest.raises(PayloadTooLarge, match=f"{SEGMENTS_MAX + 1} items, at most {SEGMENTS_MAX}"):
        encode_shard_message(msg.ShardMessage(0, bytes(16), 1, bytes(16), body))
    assert encode_shard_message(msg.ShardMessage(0, bytes(16), 1, bytes(16), replace(body, segments=body.segments[1:])))
