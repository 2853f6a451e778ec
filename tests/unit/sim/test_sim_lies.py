"""Liars: every behaviour is played, each protocol knows what to say instead, and what they say is not believed."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from golemp2p.model.messages_shard import Appended, Refusal, ShardMessage
from golemp2p_sim.byzantine import BEHAVIOURS, LIES
from golemp2p_sim.run import run_case
from golemp2p_sim.scenario import parse
from golemp2p_sim.shard_lies import lie
from golemp2p_sim.subjects import make_subject
from golemp2p_sim.toy_messages import Acked, Answer, Vote

LYING = """
subject = "shard"
duration = "20s"
[[fault]]
kind = "byzantine"
at = "2s"
for = "17s"
nodes = [2]
step = "{}"
[[fault]]
kind = "crash"
at = "4s"
for = "2s"
every = "5s"
nodes = "primary"
"""


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_liar_is_survived(behaviour: str) -> None:
    told = 0
    for seed in range(2):
        result = run_case(parse(LYING.format(behaviour), "lying").case(seed))
        assert result.violations == []
        assert result.answered == result.asked > 0
        told += result.coverage.get(f"lied: {behaviour}", 0)
    assert (told > 0) == (behaviour in LIES)


def acked(position: int) -> ShardMessage:
    return ShardMessage(0, b"", 1, b"", Appended(position, None, position, damaged=False, commit=0))


def test_replicas_lie_about_their_log() -> None:
    dice = Random(1)
    lies: list[Any] = [lie(acked(20), dice, "lie-about-log", 7).body for _ in range(50)]  # type: ignore[union-attr]
    assert {body.refusal for body in lies} == {None, Refusal.CONFLICT}
    assert all(body.hint <= 20 and (body.refusal or body.position <= 20) for body in lies)
    assert lie(lies[0], dice, "lie-about-log", 7) is None


def test_hints_are_forged() -> None:
    answer = Answer(3, "k", True, 5, -1, 0)
    for name in ("toy", "shard"):
        forged = make_subject(name, 7).lie(answer, Random(1), "forge-hints")
        assert isinstance(forged, Answer)
        assert (forged.request, forged.ok, forged.value) == (3, False, "not primary")
        assert 0 <= forged.hint < 7


def test_toys_vote_for_everybody_and_claim_what_they_never_wrote() -> None:
    toy, dice = make_subject("toy", 7), Random(1)
    assert toy.lie(Vote(0, 1, False), dice, "equivocate") == Vote(0, 1, True)
    claimed = toy.lie(Acked(0, 1, 5, refused=True), dice, "lie-about-log")
    assert isinstance(claimed, Acked)
    assert claimed.matched > 5
    assert not claimed.refused
    assert toy.lie(Vote(0, 1, False), dice, "forge-hints") is None
