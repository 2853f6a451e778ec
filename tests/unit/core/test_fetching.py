"""A blob from peers that have it, have it not, break off, are busy, or lie: whoever lies is found, whoever does not is never blamed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.core.fetching import PAUSES_S, PROGRESS_BYTES, Ask, Fetching, Pause

BLOB = bytes(range(1, 251)) * 1_000  # 250,000 bytes: four times what counts as progress
LIE = bytes(len(BLOB))


class Peer:
    """Gives ``content`` from the offset on, as ``habit`` has it; ``breaks``: bytes after which each of its first transfers breaks."""

    def __init__(self, habit: str, breaks: tuple[int, ...] = ()) -> None:
        self.habit = habit
        self.breaks = list(breaks)
        self.asked_count = 0

    @property
    def is_liar(self) -> bool:
        return self.habit in {"lies", "short", "long", "nonsense"}

    def play(self, fetching: Fetching, offset: int, into: bytearray) -> None:
        self.asked_count += 1
        if self.habit == "absent":
            fetching.answered(held=False)
            return
        if self.habit == "silent":
            fetching.failed()
            return
        if self.habit == "nonsense":
            fetching.nonsense("no answer that makes sense")
            return
        content = {"lies": LIE, "short": BLOB[:-7], "long": BLOB + b"more", "honest": BLOB}[self.habit][offset:]
        breaks_at = self.breaks.pop(0) if self.breaks else None
        if breaks_at is not None:
            content = content[:breaks_at]
        for start in range(0, len(content), 30_000):
            piece = content[start : start + 30_000]
            if not fetching.took(len(piece)):
                return
            into += piece
        if breaks_at is None:
            fetching.answered(held=True)
        else:
            fetching.failed()


def fetch(peers: dict[bytes, Peer], *, steps_max: int = 500) -> tuple[Fetching, bytes | None]:
    """Runs it to its end: the blob, or ``None``."""
    fetching, got = Fetching(len(BLOB), peers), bytearray()
    for _ in range(steps_max):
        if fetching.is_whole:
            right = bytes(got) == BLOB
            fetching.verified(right=right)
            if right:
                return fetching, bytes(got)
            continue
        match fetching.next():
            case None:
                return fetching, None
            case Ask(peer, offset):
                del got[offset:]
                assert len(got) == offset, "nobody is asked for what comes later than what is there"
                peers[peer].play(fetching, offset, got)
            case Pause(seconds):
                assert seconds in PAUSES_S
    raise AssertionError("it goes on for ever")


def test_a_broken_transfer_goes_on_at_the_next_peer():
    peers = {b"a": Peer("honest", (100_000,)), b"b": Peer("honest")}
    fetching, got = fetch(peers)
    assert got == BLOB
    assert (fetching.resumed_count, peers[b"a"].asked_count, peers[b"b"].asked_count) == (1, 1, 1)


def test_a_liar_among_several_is_found_and_the_others_are_not_blamed():
    peers = {b"a": Peer("honest", (100_000, 50_000)), b"liar": Peer("lies", (100_000,)), b"b": Peer("honest")}
    fetching, got = fetch(peers)
    assert got == BLOB
    assert set(fetching.wrong) <= {b"liar"}


def test_a_liar_that_completes_what_others_begin_is_left_out_and_found():
    peers = {b"b": Peer("honest", (130_000,) * 50), b"liar": Peer("lies")}
    fetching, got = fetch(peers, steps_max=50)
    assert got == BLOB
    assert not fetching.wrong
    peers = {b"liar": Peer("lies", (130_000, *(40_000,) * 50)), b"b": Peer("honest", (130_000,) * 50)}
    fetching, got = fetch(peers, steps_max=50)
    assert got == BLOB


@pytest.mark.parametrize("habit", ["lies", "short", "long", "nonsense"])
def test_a_liar_is_struck_off_and_asked_once_only(habit):
    peers = {b"liar": Peer(habit), b"b": Peer("honest")}
    fetching, got = fetch(peers)
    assert got == BLOB
    assert set(fetching.wrong) == {b"liar"}
    assert peers[b"liar"].asked_count == 1


def test_nobody_has_it():
    fetching, got = fetch({b"a": Peer("absent"), b"b": Peer("absent")})
    assert got is None
    assert fetching.silent == []


def test_who_is_silent_is_asked_again_in_rounds_and_named_at_the_end():
    peers = {b"a": Peer("silent"), b"b": Peer("absent")}
    fetching, got = fetch(peers)
    assert got is None
    assert fetching.silent == [b"a"]
    assert (peers[b"a"].asked_count, peers[b"b"].asked_count) == (1 + len(PAUSES_S), 1)


def test_one_byte_at_a_time_is_no_progress():
    peers = {b"a": Peer("honest", (1,) * 100)}
    _, got = fetch(peers)
    assert got is None
    assert peers[b"a"].asked_count == 1 + len(PAUSES_S)


def test_a_peer_that_breaks_off_again_and_again_is_enough_if_it_gets_somewhere():
    breaks = (PROGRESS_BYTES, 0, 0) * 3
    _, got = fetch({b"a": Peer("honest", breaks)})
    assert got == BLOB


def test_more_peers_can_come_meanwhile():
    fetching = Fetching(3, [b"a"])
    assert fetching.next() == Ask(b"a", 0)
    fetching.add([b"a", b"b"])
    fetching.answered(held=False)
    assert fetching.next() == Ask(b"b", 0)
    fetching.answered(held=False)
    assert fetching.next() is None


def test_all_bytes_came_though_the_connection_broke_before_the_answer():
    fetching = Fetching(3, [b"a", b"b"])
    fetching.next()
    assert fetching.took(3)
    fetching.failed()
    assert fetching.is_whole
    fetching.verified(right=False)
    assert set(fetching.wrong) == {b"a"}
    assert fetching.next() == Ask(b"b", 0)


habits = st.sampled_from(["honest", "honest", "lies", "lies", "short", "long", "nonsense", "absent", "silent"])
breaks = st.lists(st.sampled_from([0, 1, 1_000, 70_000, 130_000]), max_size=6).map(tuple)


@given(st.lists(st.tuples(habits, breaks), min_size=1, max_size=6))
def test_any_company(drawn):
    peers = {bytes([number]): Peer(habit, breaks) for number, (habit, breaks) in enumerate(drawn)}
    steady = any(peer.habit == "honest" and not peer.breaks for peer in peers.values())
    fetching, got = fetch(peers)
    assert all(peers[name].is_liar for name in fetching.wrong)
    if steady:
        assert got == BLOB
    if not any(peer.habit == "honest" for peer in peers.values()):
        assert got is None
