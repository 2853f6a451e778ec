"""What clients want: a tape of operations drawn from the seed, and the clients that carry it out with keys and retries.

tape: (when at the earliest, client, worker, operation, idempotency key)          explicit, so that a shrinker can drop some
client: one operation after another; each is tried at one gateway after another, under one key, until it is answered
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from golemp2p_sim import trace as tr
from golemp2p_sim.history import History
from golemp2p_sim.model_worker import KINDS
from golemp2p_sim.node import Reply, Request
from golemp2p_sim.randomness import Streams
from golemp2p_sim.stage import Stage
from golemp2p_sim.units import MS, S

SHAPES = ("uniform", "skewed", "bursty")

CLIENT_LATENCY_NS = 200_000
"""One way between a client and its gateway."""
ATTEMPT_TIMEOUT_NS = 1_500 * MS
BACKOFF_NS, BACKOFF_MAX_NS = 40 * MS, 800 * MS


@dataclass(frozen=True, slots=True)
class WorkloadOptions:
    """``rate_per_s`` over all clients. ``mix``: kind of worker -> weight. ``skewed``: worker i is asked 1/(i+1) as often as worker 0.
    ``bursty``: five times the rate for a fifth of each second pair."""

    shape: str = "uniform"
    rate_per_s: float = 30
    clients: int = 10
    workers: int = 12
    mix: tuple[tuple[str, int], ...] = tuple((kind, 1) for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Wish:
    """One operation of the tape."""

    at_ns: int
    client: int
    worker: str
    operation: tuple[Any, ...]
    key: str

    def to_json(self) -> list[Any]:
        return [self.at_ns, self.client, self.worker, list(self.operation), self.key]

    @staticmethod
    def from_json(data: Sequence[Any]) -> Wish:
        at_ns, client, worker, operation, key = data
        return Wish(at_ns, client, worker, tuple(operation), key)


def draw_wishes(options: WorkloadOptions, streams: Streams, duration_ns: int) -> list[Wish]:
    """The operations of a seed, in order of time."""
    dice = streams.stream("workload")
    kinds = [kind for kind, weight in options.mix for _ in range(weight)]
    workers = [f"{kinds[index % len(kinds)]}-{index}" for index in range(options.workers)]
    weights = [1 / (index + 1) if options.shape == "skewed" else 1.0 for index in range(len(workers))]
    accounts = [worker for worker in workers if worker.startswith("account")]
    wishes: list[Wish] = []
    now = 0.0
    while options.rate_per_s:
        now += dice.expovariate(options.rate_per_s) * S
        at_ns = int(now)
        if options.shape == "bursty":
            at_ns -= at_ns % (2 * S) * 4 // 5  # the work of two seconds comes in the first 0.4 s of them
        if now >= duration_ns:
            break
        worker = dice.choices(workers, weights)[0]
        number = len(wishes)
        operation = draw_operation(worker, accounts, number, dice)
        wishes.append(Wish(at_ns, dice.randrange(options.clients), worker, operation, f"k{number}"))
    return sorted(wishes, key=lambda wish: wish.at_ns)


def draw_operation(worker: str, accounts: Sequence[str], number: int, dice: Random) -> tuple[Any, ...]:
    """Three writes to one read."""
    read = dice.random() < 0.25
    match worker.partition("-")[0]:
        case "counter":
            return ("get",) if read else ("add", dice.randint(1, 9))
        case "list":
            return ("read",) if read else ("append", number)
        case "account":
            return ("balance",) if read else ("transfer", dice.choice(accounts), dice.randint(1, 30))
        case "timer":
            return ("fired",) if read else ("set", dice.randint(10 * MS, 3 * S))
    return ("get",) if read else ("complete", number)


class Client:
    """Carries out its part of the tape. ``done`` is told of every answered operation, with its latency."""

    __slots__ = ("_attempt", "_backoff_ns", "_clients", "_request_id", "_started_ns", "index", "queue", "wish")

    def __init__(self, clients: Clients, index: int) -> None:
        self._clients, self.index = clients, index
        self.queue: deque[Wish] = deque()
        self.wish: Wish | None = None
        self._attempt = self._request_id = self._started_ns = 0
        self._backoff_ns = BACKOFF_NS

    def add(self, wish: Wish) -> None:
        self.queue.append(wish)
        if self.wish is None and len(self.queue) == 1:
            self._clients.world.at(max(self._clients.world.now, wish.at_ns), self._next)

    def _next(self, _a: Any, _b: Any, _c: Any) -> None:
        world = self._clients.world
        if self.wish is not None or not self.queue:
            return
        self.wish = wish = self.queue.popleft()
        self._attempt, self._backoff_ns, self._started_ns = 0, BACKOFF_NS, world.now
        self._clients.history.invoke(wish.key, wish.worker, wish.operation, world.now)
        world.trace.add(world.now, tr.INVOKE, self.index, self._clients.started)
        self._clients.started += 1
        if world.log:
            world.trace.line(world.now, "invoke", f"c{self.index}", "-", f"{wish.key} {wish.worker} {wish.operation}")
        self._try()

    def _try(self) -> None:
        wish, clients = self.wish, self._clients
        assert wish is not None
        world = clients.world
        self._attempt += 1
        self._request_id = request_id = clients.new_request(self)
        if not world.present:  # nobody is born yet
            world.after(BACKOFF_MAX_NS, self._again, request_id)
            return
        gateway = world.present[zlib.crc32(f"{wish.key}/{self._attempt}".encode()) % len(world.present)]
        request = Request(request_id, wish.worker, wish.operation, wish.key)
        world.trace.add(world.now, tr.REQUEST, gateway, request_id)
        if world.log:
            world.trace.line(world.now, "request", f"c{self.index}", f"n{gateway}", f"{wish.key} attempt {self._attempt}")
        world.after(CLIENT_LATENCY_NS, world.machines[gateway].on_request, request)
        world.after(ATTEMPT_TIMEOUT_NS, self._timeout, request_id)

    def _timeout(self, request_id: int, _b: Any, _c: Any) -> None:
        if request_id == self._request_id and self.wish is not None:
            self._clients.forget(request_id)
            self._clients.timeouts += 1
            self._try()

    def _again(self, request_id: int, _b: Any, _c: Any) -> None:
        if request_id == self._request_id and self.wish is not None:
            self._try()

    def on_reply(self, reply: Reply, _b: Any, _c: Any) -> None:
        """Called a network delay after the gateway answered."""
        wish, clients = self.wish, self._clients
        if wish is None or reply.request_id != self._request_id:
            return
        world = clients.world
        clients.forget(reply.request_id)
        if not reply.ok:
            clients.refused += 1
            world.after(self._backoff_ns, self._again, reply.request_id)
            self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_MAX_NS)
            return
        self.wish = None
        self._request_id = 0
        clients.complete(wish, reply.value, self._started_ns)
        if world.log:
            world.trace.line(world.now, "complete", f"c{self.index}", "-", f"{wish.key} -> {reply.value!r}")
        if self.queue:
            world.at(max(world.now, self.queue[0].at_ns), self._next)


class Clients:
    """All clients of a run. ``finished``: (when, latency) of every answered operation, for the report."""

    def __init__(self, world: Stage, history: History, wishes: Sequence[Wish]) -> None:
        self.world, self.history = world, history
        self._clients: dict[int, Client] = {}
        self._asking: dict[int, Client] = {}
        self._request_ids = 0
        self.started = self.answered = self.timeouts = self.refused = 0
        self.finished: list[tuple[int, int]] = []
        world.on_reply = self._replied
        for wish in wishes:
            self.add(wish)

    def add(self, wish: Wish) -> None:
        client = self._clients.get(wish.client)
        if client is None:
            client = self._clients[wish.client] = Client(self, wish.client)
        client.add(wish)

    @property
    def idle(self) -> bool:
        """Everything that was asked is answered."""
        return all(client.wish is None and not client.queue for client in self._clients.values())

    def unanswered(self) -> list[Wish]:
        return [client.wish for client in self._clients.values() if client.wish is not None]

    def new_request(self, client: Client) -> int:
        self._request_ids += 1
        self._asking[self._request_ids] = client
        return self._request_ids

    def forget(self, request_id: int) -> None:
        self._asking.pop(request_id, None)

    def _replied(self, _node: int, reply: Reply) -> None:
        client = self._asking.get(reply.request_id)
        if client is not None:
            self.world.after(CLIENT_LATENCY_NS, client.on_reply, reply)

    def complete(self, wish: Wish, result: Any, started_ns: int) -> None:
        world = self.world
        self.answered += 1
        self.finished.append((world.now, world.now - started_ns))
        world.trace.add(world.now, tr.COMPLETE, zlib.crc32(wish.key.encode()), zlib.crc32(repr(result).encode()))
        wrong = self.history.complete(wish.key, result, world.now)
        if wrong:
            world.violate("exactly-once", wrong)
