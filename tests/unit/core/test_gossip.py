"""The gossip queue and Lifeguard's timeouts, against their formulas."""

from collections import Counter
from math import ceil, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.core.gossip import Gossip, transmissions
from golemp2p.core.membership_profile import LAN
from golemp2p.core.suspicion import Suspicion
from golemp2p.model.membership import Claim, Status


def claim(number: int, incarnation: int = 0) -> Claim:
    return Claim(number.to_bytes(32, "big"), incarnation, Status.SUSPECT, bytes(32))


@given(st.integers(1, 10**7))
def test_transmissions_are_lambda_log_n(members: int):
    assert transmissions(4, members) == 4 * ceil(log10(members + 1) - 1e-12)


@given(st.lists(st.integers(0, 30), unique=True), st.integers(1, 7), st.integers(1, 500))
def test_each_update_is_sent_equally_often_and_then_forgotten(subjects: list[int], count: int, members: int):
    gossip = Gossip(2)
    for subject in subjects:
        gossip.add(claim(subject))
    sent: Counter[Claim] = Counter()
    while len(gossip):
        message = gossip.take(count, members)
        assert 0 < len(message) <= count
        assert len(set(message)) == len(message)
        sent.update(message)
    assert set(sent.values()) <= {transmissions(2, members)}
    assert set(sent) == {claim(subject) for subject in subjects}


def test_news_goes_first_and_replaces_older_news_of_the_same_member():
    gossip = Gossip(4)
    for subject in (1, 2):
        gossip.add(claim(subject))
    gossip.take(2, 10)
    gossip.add(claim(3))
    gossip.add(claim(1, incarnation=5))
    assert gossip.take(2, 10) == (claim(3), claim(1, incarnation=5))
    assert len(gossip) == 3


def test_a_suspicion_shortens_with_each_confirmation_to_the_minimum():
    suspicion = Suspicion(0, b"a", 1_000, 10, LAN)
    deadlines = [suspicion.deadline_ns]
    for accuser in (b"a", b"b", b"c", b"d", b"e"):
        assert suspicion.confirm(accuser) is (accuser in (b"b", b"c", b"d"))
        deadlines.append(suspicion.deadline_ns)
    assert deadlines[0] == deadlines[1] == 1_000 + LAN.suspicion_min_ns * LAN.suspicion_factor_max
    assert deadlines[1] > deadlines[2] > deadlines[3] > deadlines[4] == deadlines[5] == 1_000 + LAN.suspicion_min_ns


@pytest.mark.parametrize(("members", "expected"), [(2, 0), (3, 1), (4, 2), (5, 3), (1000, 3)])
def test_small_meshes_expect_as_many_confirmations_as_there_can_be(members: int, expected: int):
    assert Suspicion(0, b"a", 0, members, LAN).expected == expected
