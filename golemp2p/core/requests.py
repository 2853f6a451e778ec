"""Requests of this node find the primary of their shard, wherever it is, within their deadline.

    submit --> ASKED(primary in cache, else the best-placed node) --Answer--> Answered
                 |  ^
     NotPrimary, |  | a newer term: at once; otherwise after a pause that grows, with jitter
     peer lost,  v  |
     silence   WAITING ---deadline, or too many attempts---> GaveUp
                 | nobody left to ask: Locate (the DHT has the shard's newest certificate)

A cached primary is a hint with a term: a newer term wins, an older or equal one never replaces it. A hint that turned out wrong is
dropped; the term of the last primary that ever answered is remembered, so that stale hints do not come back. All attempts carry one
idempotency key, so that a failover in the middle shows only as latency, and an answer that was lost is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from golemp2p.core.dice import Dice
from golemp2p.core.effects import Effect, Send
from golemp2p.core.membership_profile import MS
from golemp2p.model.light import light_dataclass
from golemp2p.model.messages_requests import Answer, Busy, Forward, NotPrimary, RequestMessage

FIRST_NUMBER_MAX = 1 << 48


@dataclass(frozen=True, slots=True)
class RequestProfile:
    """All times in nanoseconds."""

    attempt_timeout_ns: int = 2_000 * MS
    """An attempt without any answer is repeated after this; the next waits twice as long, since long work is no silence.
    Connections that break are reported sooner."""
    attempt_timeout_max_ns: int = 30_000 * MS
    backoff_min_ns: int = 20 * MS
    backoff_max_ns: int = 1_000 * MS
    """Doubled from attempt to attempt, each time multiplied by a random factor from 0.5 to 1."""
    attempts_max: int = 32
    """Some 20 s with a few nodes to ask and none that leads: whoever waits hears of the missing majority before his own limits end."""
    redirects_at_once: int = 3
    """So many redirects in a row are followed without a pause: two nodes that name each other must not make a storm."""
    pending_max: int = 10_000
    cache_max: int = 65_536


@light_dataclass(frozen=True, slots=True)
class Answered:
    """Effect: the result of request ``number``."""

    number: int
    payload: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Effect: request ``number`` ended without a result. It may have been executed: repeat it with the same key.

    ``reason``: ``deadline``, ``attempts`` or ``overloaded``.
    """

    number: int
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Locate:
    """Effect: nobody known is primary of ``shard``; look for its newest certificate, and report it as a ``hint``."""

    shard: int


@dataclass(slots=True)
class _Request:
    shard: int
    key: str
    payload: bytes
    deadline_ns: int
    asked: bytes | None = None
    attempts: int = 0
    redirects: int = 0
    silences: int = 0
    tried: list[bytes] = field(default_factory=list)
    ever: list[bytes] = field(default_factory=list)
    due_ns: int = 0


@dataclass(slots=True)
class _Hint:
    """``confirmed_term``: of the newest primary that has answered a request; 0 for none. A liar's invented term is not confirmed, and
    is forgotten with its primary."""

    term: int
    primary: bytes | None
    confirmed_term: int = 0


class Requests:
    """``candidates(shard)``: public keys of the nodes that should hold the shard, best first (placement). ``is_alive``: whether a node
    should be asked at all. A request whose primary is this node is sent to it like to any other: the driver turns it round."""

    def __init__(
        self,
        candidates: Callable[[int], Sequence[bytes]],
        dice: Dice,
        profile: RequestProfile | None = None,
        is_alive: Callable[[bytes], bool] = lambda _peer: True,
    ) -> None:
        self._candidates = candidates
        self._is_alive = is_alive
        self._dice = dice
        self._profile = profile or RequestProfile()
        self._number = dice.randrange(FIRST_NUMBER_MAX)  # answers to an earlier life of this node fit none of this one
        self._requests: dict[int, _Request] = {}
        self._hints: dict[int, _Hint] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def primary(self, shard: int) -> tuple[int, bytes | None]:
        """(term, primary) as far as is known; (0, ``None``) if nothing is."""
        hint = self._hints.get(shard)
        return (0, None) if hint is None else (hint.term, hint.primary)

    def submit(
        self, shard: int, idempotency_key: str, payload: bytes, deadline_ns: int, now_ns: int
    ) -> tuple[int, list[Effect]]:
        """Send a request on its way. The number that its result will carry."""
        self._number += 1
        if len(self._requests) >= self._profile.pending_max:
            return self._number, [GaveUp(self._number, "overloaded", 0)]
        self._requests[self._number] = _Request(shard, idempotency_key, payload, deadline_ns)
        return self._number, self._attempt(self._number, now_ns)

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more."""
        self._requests.pop(number, None)

    def hint(self, shard: int, term: int, primary: bytes | None, now_ns: int) -> list[Effect]:
        """Somebody (an election, the DHT, a redirect) says who is primary. Requests that wait for it are sent at once."""
        if not self._learn(shard, term, primary) or primary is None:
            return []
        effects: list[Effect] = []
        for number, request in list(self._requests.items()):
            if request.shard == shard and request.asked is None:
                effects += self._attempt(number, now_ns)
        return effects

    def lost(self, peer: bytes, now_ns: int) -> list[Effect]:
        """``peer`` is dead or its connection broke: what it was asked is asked elsewhere, or again."""
        for shard in [shard for shard, hint in self._hints.items() if hint.primary == peer]:
            self._disbelieve(shard, peer)
        effects: list[Effect] = []
        for number, request in list(self._requests.items()):
            if request.asked == peer:
                effects += self._put_off(number, now_ns)
        return effects

    def receive(self, sender: bytes, message: RequestMessage, now_ns: int) -> list[Effect]:
        """An answer. One from a node that is not being asked any more counts as well: the key is the same."""
        match message:
            case Answer(number, payload):
                request = self._requests.get(number)
                if request is None or sender not in request.ever:
                    return []
                del self._requests[number]
                hint = self._hints.get(request.shard)
                if hint is not None and hint.primary == sender:
                    hint.confirmed_term = hint.term
                return [Answered(number, payload, request.attempts)]
            case NotPrimary():
                return self._on_redirect(sender, message, now_ns)
            case Busy(number, retry_after_ms):
                request = self._requests.get(number)
                if request is None or request.asked != sender:
                    return []
                return self._put_off(number, now_ns, at_least_ns=retry_after_ms * MS, wrong=False)
            case Forward():
                return []

    def next_due_ns(self) -> int | None:
        if not self._requests:
            return None
        return min(min(request.due_ns, request.deadline_ns) for request in self._requests.values())

    def on_time(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for number, request in list(self._requests.items()):
            if request.deadline_ns <= now_ns:
                effects += self._give_up(number, "deadline")
            elif request.due_ns <= now_ns and request.asked is not None:
                request.silences += 1
                effects += self._put_off(number, now_ns)
            elif request.due_ns <= now_ns:
                effects += self._attempt(number, now_ns)
        return effects

    def _on_redirect(self, sender: bytes, redirect: NotPrimary, now_ns: int) -> list[Effect]:
        request = self._requests.get(redirect.number)
        if request is None or request.asked != sender or request.shard != redirect.shard:
            return []
        self._disbelieve(redirect.shard, sender)
        self._learn(redirect.shard, redirect.term, None if redirect.primary == sender else redirect.primary)
        request.redirects += 1
        known = self.primary(redirect.shard)[1]
        if known is None and self._whom(request) is not None:  # each is asked once, until somebody knows
            return self._attempt(redirect.number, now_ns)
        if known is not None and known != sender and request.redirects <= self._profile.redirects_at_once:
            return self._attempt(redirect.number, now_ns)
        return self._put_off(redirect.number, now_ns)

    def _disbelieve(self, shard: int, peer: bytes) -> None:
        """``peer`` is not the shard's primary, or not any more. If it ever was, no older hint is believed again."""
        hint = self._hints.get(shard)
        if hint is None or hint.primary != peer:
            return
        if hint.confirmed_term:
            hint.term, hint.primary = hint.confirmed_term, None
        else:
            del self._hints[shard]

    def _learn(self, shard: int, term: int, primary: bytes | None) -> bool:
        """A newer term wins; in the same term knowing wins over not knowing. Who names nobody teaches nothing: a term is believed
        only together with a primary that can be asked. Whether anything was learned."""
        if primary is None:
            return False
        hint = self._hints.pop(shard, _Hint(0, None))
        news = term > hint.term or (term == hint.term and hint.primary is None)
        if news:
            hint.term, hint.primary = term, primary
        self._hints[shard] = hint
        while len(self._hints) > self._profile.cache_max:
            del self._hints[next(iter(self._hints))]
        return news

    def _attempt(self, number: int, now_ns: int) -> list[Effect]:
        request = self._requests[number]
        if request.deadline_ns <= now_ns:
            return self._give_up(number, "deadline")
        if request.attempts >= self._profile.attempts_max:
            return self._give_up(number, "attempts")
        peer = self._whom(request)
        if peer is None:
            request.tried.clear()
            return [*self._put_off(number, now_ns), Locate(request.shard)]
        request.attempts += 1
        request.asked = peer
        for asked in (request.tried, request.ever):
            if peer not in asked:
                asked.append(peer)
        timeout_ns = self._profile.attempt_timeout_ns << min(request.silences, 16)
        request.due_ns = now_ns + min(timeout_ns, self._profile.attempt_timeout_max_ns)
        left_ms = -(-(request.deadline_ns - now_ns) // MS)
        return [Send(peer, Forward(number, request.shard, request.key, left_ms, request.payload))]

    def _whom(self, request: _Request) -> bytes | None:
        """The primary if it is known, else the best-placed node that this request has not tried since it last waited for news."""
        primary = self.primary(request.shard)[1]
        if primary is not None and self._is_alive(primary):
            return primary
        others = (peer for peer in self._candidates(request.shard) if peer not in request.tried)
        return next((peer for peer in others if self._is_alive(peer)), None)

    def _put_off(self, number: int, now_ns: int, *, at_least_ns: int = 0, wrong: bool = True) -> list[Effect]:
        """Try again a little later; ``wrong``: whoever was asked is not believed to be primary any more."""
        request = self._requests[number]
        if wrong and request.asked is not None:
            self._disbelieve(request.shard, request.asked)
        request.asked = None
        request.redirects = 0
        doubled = self._profile.backoff_min_ns << min(request.attempts, 16)
        pause_ns = int(min(doubled, self._profile.backoff_max_ns) * (0.5 + self._dice.random() / 2))
        request.due_ns = now_ns + max(pause_ns, at_least_ns)
        return []

    def _give_up(self, number: int, reason: str) -> list[Effect]:
        request = self._requests[number]
        if request.asked is not None:
            self._disbelieve(request.shard, request.asked)
        return [GaveUp(number, reason, self._requests.pop(number).attempts)]
