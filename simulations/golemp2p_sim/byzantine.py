"""A peer that lies: a mangler stands between a node and the wire and changes what leaves. The node behind it stays honest.

Connections are authenticated, so a liar speaks under its own key, or under keys that it invents and that nobody has admitted.
What it may say *instead* of a message is the protocol's to know (``Subject.lie``).
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from golemp2p.core.effects import Send
from golemp2p_sim import trace as tr
from golemp2p_sim.node import Forger

if TYPE_CHECKING:
    from golemp2p_sim.host import Host

LIES = ("equivocate", "forge-hints", "lie-about-log")
"""Behaviours that say something else instead: what, ``Subject.lie`` knows. Different things to different peers; a wrong primary to
whoever asks; more or less than its log holds."""
BEHAVIOURS = (*LIES, "drop-after-ack", "flood", "replay", "invent-identities", "mute")
AIMED_BEHAVIOURS = ("rewrite-history", "usurp", "pose")
"""For scenarios that ask for them; none is drawn from a seed."""
MEMORY_MAX = 64
"""Old messages that a replaying liar keeps."""


class Mangler(Protocol):
    """Has the last word on what a node sends."""

    def send(self, host: Host, effect: Send) -> None: ...


class Liar:
    """One of these behaviours, half of the time (an eighth for floods): a liar that always lies is found out at once."""

    __slots__ = ("_behaviour", "_dice", "_memory")

    def __init__(self, behaviour: str, dice: Random) -> None:
        known = BEHAVIOURS + AIMED_BEHAVIOURS
        if behaviour not in known:
            raise ValueError(f"no such behaviour: {behaviour}; one of {', '.join(known)}")
        self._behaviour, self._dice = behaviour, dice
        self._memory: deque[Send] = deque(maxlen=MEMORY_MAX)

    def send(self, host: Host, effect: Send) -> None:
        world = host.world
        if self._behaviour == "mute" or (self._behaviour == "drop-after-ack" and self._dice.random() < 0.5):
            world.sometimes("a liar kept silent")
            return
        message = effect.message
        if self._behaviour in LIES and self._dice.random() < 0.5:
            message = self._said(host, message, world.subject.lie(message, self._dice, self._behaviour))
        if self._behaviour in AIMED_BEHAVIOURS and self._dice.random() < 0.5:
            message = self._said(host, message, self._forged(host, effect))
        world.send(host.index, effect.peer, message)
        if self._behaviour == "flood" and self._dice.random() < 0.125:
            for _ in range(16):
                world.send(host.index, effect.peer, message)
            world.sometimes("a liar flooded a peer")
        if self._behaviour == "replay":
            self._memory.append(effect)
            if self._dice.random() < 0.25:
                old = self._memory[self._dice.randrange(len(self._memory))]
                world.send(host.index, effect.peer, old.message)
                world.sometimes("a liar replayed an old message")
        if self._behaviour == "invent-identities" and self._dice.random() < 0.25:
            victim = world.hosts[self._dice.randrange(len(world.hosts))]
            world.after(1_000_000, victim.on_stranger, self._dice.randbytes(32), message)
            world.sometimes("a liar spoke under an invented key")

    def _forged(self, host: Host, effect: Send) -> Any | None:
        world = host.world
        victim = next((other for other in world.hosts if other.key == effect.peer), None)
        subject = world.subject
        if victim is None or victim.node is None or host.node is None or not isinstance(subject, Forger):
            return None
        behaviour = self._behaviour
        return subject.forged(effect.message, behaviour, liar=host.node, victim=victim.node, disk=victim.disk.image)

    def _said(self, host: Host, message: Any, lie: Any | None) -> Any:
        if lie is None:
            return message
        world = host.world
        world.trace.add(world.now, tr.LIE, host.index, 0)
        world.sometimes("a liar changed a message")
        world.sometimes(f"lied: {self._behaviour}")
        if world.log:
            world.log("lie", host.index, None, world.subject.describe(lie))
        return lie
