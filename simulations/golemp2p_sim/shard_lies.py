"""What a liar among replicas may say instead: false, and no more than one per group is survived.

    equivocate      entries tampered with, without the keys to sign them
    forge-hints     "I am not the primary, ask that one", to whoever asks
    lie-about-log   a follower refuses what it holds, or acknowledges less than it does

**Not here:** acknowledging what was never written, votes given twice. Majorities that count a liar's word are more than Raft survives.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from golemp2p.model.messages_shard import Appended, Refusal, ShardMessage
from golemp2p_sim.shard_wire import tampered
from golemp2p_sim.toy_messages import Answer


def lie(message: Any, dice: Random, behaviour: str, nodes: int) -> Any | None:
    """``None``: nothing to lie about in this message. ``nodes``: how many there are to point at."""
    match behaviour, message:
        case "equivocate", _:
            return tampered(message, dice)
        case "forge-hints", Answer():
            return replace(message, ok=False, value="not primary", hint=dice.randrange(nodes))
        case "lie-about-log", ShardMessage(body=Appended(refusal=None) as answer):
            less = dice.randint(0, answer.position)
            if dice.random() < 0.5:
                return replace(message, body=replace(answer, refusal=Refusal.CONFLICT, hint=less))
            return replace(message, body=replace(answer, position=less, hint=less, commit=less))
    return None
