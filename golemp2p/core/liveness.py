"""The faster trigger of takeover: nodes that share shards *with work* hear each other every 100 ms, or ask, or act.

    primary's node: work in a shard --Heartbeat(working) every 100 ms, or any message instead--> nodes of its other voters
                    no work left    --Heartbeat(not working)--> they stop listening
    follower's node: working, heard --silent 500 ms--> asks, every 100 ms --silent 1 s--> PeerSilent: its shards may campaign

**Decision** (against deriving it from membership): SWIM needs a second in small meshes and more in large ones, since only some member
probes a given one, and the verdict waits for refutations. Whoever waits for work in progress should not. So there is one
coalesced heartbeat per *pair of nodes*, however many shards they share, and only while one of them works on a shard of both. A
mesh of idle shards sends none and holds no timer here: it has the probes of membership, which do not know of shards at all.

A lost farewell costs one question. As everywhere, being wrong costs a takeover, never a second writer (S11); and a node that hears
nobody must not act on it (``Membership.may_campaign``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from golemp2p.core.effects import Effect, Send
from golemp2p.core.membership_profile import MS
from golemp2p.model.messages_membership import Heartbeat, HeartbeatAsked


@dataclass(frozen=True, slots=True)
class LivenessProfile:
    """All times in nanoseconds."""

    heartbeat_ns: int = 100 * MS
    """Work that ends sooner is not announced: most invocations last some milliseconds."""
    ask_after_ns: int = 500 * MS
    silent_after_ns: int = 1_000 * MS
    """Ten heartbeats missed, as etcd and Restate do: the same at any size of the mesh."""
    pause_ns: int = 250 * MS
    """A timer this late means that we stood still: everybody gets the time back."""


@dataclass(frozen=True, slots=True)
class PeerSilent:
    """Effect: ``peer``, primary of shards with work, was not heard since ``heard_ns``. Reported once, until it is heard again."""

    peer: bytes
    heard_ns: int


@dataclass(frozen=True, slots=True)
class PeerHeard:
    """Effect: a peer reported silent speaks again."""

    peer: bytes


@dataclass(slots=True)
class _Watched:
    heard_ns: int
    asked_ns: int | None = None
    silent: bool = False


class Liveness:
    """One per node. All peers are public keys."""

    def __init__(self, profile: LivenessProfile | None = None) -> None:
        self._profile = profile or LivenessProfile()
        self._shares: dict[int, tuple[bytes, ...]] = {}
        self._working: dict[bytes, int] = {}
        self._sent_ns: dict[bytes, int] = {}
        self._announced: dict[bytes, None] = {}
        self._watched: dict[bytes, _Watched] = {}

    # --- as primary

    def work_began(self, shard: int, followers: Sequence[bytes], now_ns: int) -> list[Effect]:
        """This node works on ``shard``, replicated to ``followers``. May be repeated when they change."""
        effects = self.work_ended(shard, others=followers) if shard in self._shares else []
        self._shares[shard] = tuple(followers)
        for peer in followers:
            self._working[peer] = self._working.get(peer, 0) + 1
            if self._working[peer] == 1:
                self._sent_ns[peer] = now_ns
        return effects

    def work_ended(self, shard: int, *, others: Sequence[bytes] = ()) -> list[Effect]:
        """Nothing is left to do in ``shard``, or this node is not its primary any more. ``others`` are about to be added again."""
        effects: list[Effect] = []
        for peer in self._shares.pop(shard, ()):
            self._working[peer] -= 1
            if self._working[peer] == 0:
                del self._working[peer]
                self._sent_ns.pop(peer, None)
                if peer in self._announced and peer not in others:
                    del self._announced[peer]
                    effects.append(Send(peer, Heartbeat(working=False)))
        return effects

    def sent_to(self, peer: bytes, now_ns: int) -> None:
        """Something else was sent to ``peer``: it stands for a heartbeat."""
        if peer in self._announced:
            self._sent_ns[peer] = now_ns

    # --- as follower

    def heard_from(self, peer: bytes, now_ns: int) -> list[Effect]:
        """``peer`` said anything at all."""
        watched = self._watched.get(peer)
        if watched is None:
            return []
        watched.heard_ns = now_ns
        watched.asked_ns = None
        if not watched.silent:
            return []
        watched.silent = False
        return [PeerHeard(peer)]

    def receive(self, sender: bytes, message: Heartbeat | HeartbeatAsked, now_ns: int) -> list[Effect]:
        effects = self.heard_from(sender, now_ns)
        match message:
            case Heartbeat(working=True):
                self._watched.setdefault(sender, _Watched(now_ns))
            case Heartbeat(working=False):
                self._watched.pop(sender, None)
            case HeartbeatAsked():
                effects.append(self._heartbeat(sender, now_ns))
        return effects

    def forget(self, peer: bytes) -> None:
        """``peer`` is no member, or its shards have been taken over: its silence is no news."""
        self._watched.pop(peer, None)

    def is_silent(self, peer: bytes) -> bool:
        watched = self._watched.get(peer)
        return watched is not None and watched.silent

    # --- time

    def next_due_ns(self) -> int | None:
        """``None`` when no shard with work is shared with anybody."""
        if not self._working and not self._watched:
            return None
        profile = self._profile
        soonest_ns: int | None = None
        for peer in self._working:  # asked after every message: no lists are made
            due_ns = self._sent_ns[peer] + profile.heartbeat_ns
            if soonest_ns is None or due_ns < soonest_ns:
                soonest_ns = due_ns
        for watched in self._watched.values():
            if watched.silent:
                continue
            asks_ns = watched.heard_ns + profile.ask_after_ns
            if watched.asked_ns is not None:
                asks_ns = watched.asked_ns + profile.heartbeat_ns
            due_ns = min(asks_ns, watched.heard_ns + profile.silent_after_ns)
            if soonest_ns is None or due_ns < soonest_ns:
                soonest_ns = due_ns
        return soonest_ns

    def on_time(self, now_ns: int) -> list[Effect]:
        due_ns = self.next_due_ns()
        if due_ns is not None and now_ns - due_ns > self._profile.pause_ns:
            for watched in self._watched.values():
                watched.heard_ns += now_ns - due_ns
        effects: list[Effect] = [
            self._heartbeat(peer, now_ns)
            for peer in self._working
            if self._sent_ns[peer] + self._profile.heartbeat_ns <= now_ns
        ]
        for peer, watched in self._watched.items():
            if not watched.silent:
                self._watch(peer, watched, now_ns, effects)
        return effects

    def _watch(self, peer: bytes, watched: _Watched, now_ns: int, effects: list[Effect]) -> None:
        silent_ns = now_ns - watched.heard_ns
        if silent_ns >= self._profile.silent_after_ns:
            watched.silent = True
            effects.append(PeerSilent(peer, watched.heard_ns))
        elif silent_ns >= self._profile.ask_after_ns and (
            watched.asked_ns is None or now_ns - watched.asked_ns >= self._profile.heartbeat_ns
        ):
            watched.asked_ns = now_ns
            effects.append(Send(peer, HeartbeatAsked()))

    def _heartbeat(self, peer: bytes, now_ns: int) -> Send:
        working = peer in self._working
        if working:
            self._sent_ns[peer] = now_ns
            self._announced[peer] = None
        return Send(peer, Heartbeat(working=working))
