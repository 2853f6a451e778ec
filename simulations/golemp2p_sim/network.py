"""The wires: per-link latency, bandwidth, loss, duplication, reordering, clogs, partitions of every shape, resets.

    send(src, dst) ──cut? lost?──> queue of the sender's interface (bandwidth) ──latency──> arrival ──cut meanwhile? reset?──> node

One 64-bit throw of the sender's own stream decides everything about a message, whether faults are on or not: turning a fault off
does not shift the throws of the rest. Messages may overtake each other by jitter; ``reorder`` makes it common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

LATENCY_SAMPLES = 4096
_LOW = LATENCY_SAMPLES - 1
_16 = 1 << 16


@dataclass(frozen=True, slots=True)
class Latency:
    """One way, nanoseconds. ``uniform`` between min and max; ``exponential`` and ``lognormal`` above min, with ``mean``, cut at max."""

    distribution: str = "uniform"
    min_ns: int = 300_000
    max_ns: int = 1_500_000
    mean_ns: int = 0

    def samples(self, dice: Random) -> list[int]:
        """A table to throw into: drawing from it costs one index."""
        span = self.max_ns - self.min_ns
        mean = max(1, (self.mean_ns or (self.min_ns + self.max_ns) // 2) - self.min_ns)
        if self.distribution == "constant":
            return [self.min_ns] * LATENCY_SAMPLES
        if self.distribution == "uniform":
            return [self.min_ns + int(dice.random() * span) for _ in range(LATENCY_SAMPLES)]
        if self.distribution == "exponential":
            draws = [dice.expovariate(1 / mean) for _ in range(LATENCY_SAMPLES)]
        else:
            sigma = 0.8  # a long tail as of a busy WAN: p99 is 6 times the median
            draws = [dice.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma) for _ in range(LATENCY_SAMPLES)]
        return [self.min_ns + min(span, int(draw)) for draw in draws]


DISTRIBUTIONS = ("constant", "uniform", "exponential", "lognormal")

LATENCIES = {
    "lan": Latency("uniform", 300_000, 1_500_000),
    "1ms": Latency("constant", 1_000_000, 1_000_000),
    "region": Latency("lognormal", 1_000_000, 50_000_000, 5_000_000),
    "wan": Latency("lognormal", 20_000_000, 800_000_000, 60_000_000),
}


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """``bandwidth_bytes_s``: of each node's interface, 0 for no limit. ``zones``: nodes are spread over so many zones round robin,
    and links between zones take ``zone_factor`` times as long."""

    latency: Latency = LATENCIES["lan"]
    bandwidth_bytes_s: int = 0
    zones: int = 1
    zone_factor: int = 1


@dataclass(slots=True, eq=False)
class Weather:
    """What one fault does to some links. Chances are of 65,536. Everything at once may hold for a link: chances add up."""

    cut: bool = False
    loss: int = 0
    duplicate: int = 0
    reorder: int = 0
    slow_factor: int = 1
    clogged_until_ns: int = 0
    links: frozenset[tuple[int, int]] | None = None
    """(sender, receiver) pairs; ``None``: every link."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """``side`` cannot reach the other nodes, nor (unless ``one_way``) they it. ``side[i]`` is 1 for its nodes."""

    side: bytearray
    one_way: bool

    def between(self, src: int, dst: int) -> bool:
        return bool(self.side[src]) and not self.side[dst] if self.one_way else self.side[src] != self.side[dst]


@dataclass(slots=True)
class Condition:
    """All weather over one link, added up."""

    cut: bool = False
    loss: int = 0
    duplicate: int = 0
    reorder: int = 0
    slow_factor: int = 1
    clogged_until_ns: int = 0


@dataclass(slots=True)
class Counts:
    """Messages, and what became of them."""

    sent: int = 0
    bytes: int = 0
    cut: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    reset: int = 0
    down: int = 0


@dataclass(slots=True)
class Network:
    """Decides when messages arrive. ``arrivals`` is the only thing called for each of them."""

    options: NetworkOptions
    nodes: int
    dice: list[Random]
    """One stream per sender."""
    table_dice: Random
    counts: Counts = field(default_factory=Counts)
    calm: bool = True
    """No weather and no partition anywhere: nothing to look up."""
    reset_ns: int = -1
    """When the last connection broke: what was sent later was not lost by that."""
    _everywhere: Condition | None = None
    _links: dict[tuple[int, int], Condition] = field(default_factory=dict)
    _weathers: list[Weather] = field(default_factory=list)
    _cuts: list[Cut] = field(default_factory=list)
    _resets: dict[tuple[int, int], int] = field(default_factory=dict)
    _latencies: list[int] = field(init=False)
    _throws: list[Callable[[int], int]] = field(init=False)
    _zones: int = field(init=False)
    _bandwidth: int = field(init=False)
    _free_at: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._latencies = self.options.latency.samples(self.table_dice)
        self._throws = [dice.getrandbits for dice in self.dice]
        self._zones, self._bandwidth = self.options.zones, self.options.bandwidth_bytes_s
        self._free_at = [0] * self.nodes

    def arrivals(self, src: int, dst: int, size: int, now: int) -> tuple[int, ...]:
        """When a message of ``size`` bytes sent now reaches ``dst``: never ``()``, once, or twice."""
        counts = self.counts
        counts.sent += 1
        counts.bytes += size
        throw = self._throws[src](64)
        latency = self._latencies[throw & _LOW]
        if self._zones > 1 and src % self._zones != dst % self._zones:
            latency *= self.options.zone_factor
        depart = now
        if self._bandwidth:
            depart = max(now, self._free_at[src]) + size * 1_000_000_000 // self._bandwidth
            self._free_at[src] = depart
        if self.calm:
            return (depart + latency,)
        if self._cuts and any(cut.between(src, dst) for cut in self._cuts):
            counts.cut += 1
            return ()
        condition = self._links.get((src, dst), self._everywhere) if self._links else self._everywhere
        if condition is None:
            return (depart + latency,)
        return self._through(condition, throw, latency, depart)

    def _through(self, condition: Condition, throw: int, latency: int, depart: int) -> tuple[int, ...]:
        counts = self.counts
        if condition.cut:
            counts.cut += 1
            return ()
        if (throw >> 12) % _16 < condition.loss:
            counts.lost += 1
            return ()
        latency *= condition.slow_factor
        if (throw >> 28) % _16 < condition.reorder:
            counts.reordered += 1
            latency += self._latencies[(throw >> 40) & _LOW] * 8
        arrival = max(depart + latency, condition.clogged_until_ns)
        if (throw >> 44) % _16 < condition.duplicate:
            counts.duplicated += 1
            return (arrival, arrival + self._latencies[(throw >> 52) & _LOW] * 4)
        return (arrival,)

    def lost_on_the_way(self, src: int, dst: int, sent_at: int) -> bool:
        """Whether a cut or a reset since ``sent_at`` swallowed a message that was to arrive now. Asked when not ``calm``, or when
        something was reset since."""
        condition = self._links.get((src, dst), self._everywhere) if self._links else self._everywhere
        if (condition is not None and condition.cut) or (self._cuts and any(cut.between(src, dst) for cut in self._cuts)):
            self.counts.cut += 1
            return True
        if self.reset_ns >= sent_at and self._resets.get((src, dst), -1) >= sent_at:
            self.counts.reset += 1
            return True
        return False

    def reset(self, first: int, second: int, now: int) -> None:
        """The connection breaks: everything under way between the two is lost."""
        self._resets[first, second] = self._resets[second, first] = self.reset_ns = now

    def begin(self, weather: Weather) -> None:
        self._weathers.append(weather)
        self._add_up()

    def end(self, weather: Weather) -> None:
        self._weathers.remove(weather)
        self._add_up()

    def cut_off(self, nodes: Iterable[int], *, one_way: bool = False) -> Cut:
        """Partition ``nodes`` from the rest; ``rejoin`` ends it."""
        side = bytearray(self.nodes)
        for node in nodes:
            side[node] = 1
        cut = Cut(side, one_way)
        self._cuts.append(cut)
        self.calm = False
        return cut

    def rejoin(self, cut: Cut) -> None:
        self._cuts.remove(cut)
        self._add_up()

    def heal(self) -> None:
        self._weathers.clear()
        self._cuts.clear()
        self._add_up()

    def _add_up(self) -> None:
        general = [weather for weather in self._weathers if weather.links is None]
        self._everywhere = _sum(general) if general else None
        over: dict[tuple[int, int], list[Weather]] = {}
        for weather in self._weathers:
            for link in sorted(weather.links or ()):
                over.setdefault(link, []).append(weather)
        self._links = {link: _sum([*general, *some]) for link, some in over.items()}
        self.calm = not self._weathers and not self._cuts


def _sum(weathers: list[Weather]) -> Condition:
    total = Condition()
    for weather in weathers:
        total.cut |= weather.cut
        total.loss += weather.loss
        total.duplicate += weather.duplicate
        total.reorder += weather.reorder
        total.slow_factor *= weather.slow_factor
        total.clogged_until_ns = max(total.clogged_until_ns, weather.clogged_until_ns)
    return total


def between(left: Iterable[int], right: Iterable[int]) -> frozenset[tuple[int, int]]:
    """The links from every node of ``left`` to every one of ``right``, and back."""
    right = list(right)
    there = [(a, b) for a in left for b in right if a != b]
    return frozenset(there + [(b, a) for a, b in there])
