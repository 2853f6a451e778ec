"""How much goes wrong: profiles, and the tape that a seed draws from one.

    none     nothing                      light    a minority at a time: the mesh should stay available
    all      everything that the protocol promises to survive, in any number where safety does not depend on it
    beyond   the same, and durable harm to majorities: it may stop, it must not diverge

Each kind has a stream of its own, and each seed switches some kinds off (swarm testing: a run without crashes reaches places
that crashes hide).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from golemp2p_sim.atlas import Limit
from golemp2p_sim.byzantine import BEHAVIOURS
from golemp2p_sim.faults import KINDS, Fault
from golemp2p_sim.host import WORLD_STEPS
from golemp2p_sim.node import Subject
from golemp2p_sim.randomness import Streams
from golemp2p_sim.units import MS, S


@dataclass(frozen=True, slots=True)
class Profile:
    """``intensity`` multiplies the rates of ``KIND_DRAWS``; ``kinds``: those that may be drawn."""

    name: str
    text: str
    intensity: float
    kinds: tuple[str, ...]
    harm: Limit = Limit.MINORITY
    away: Limit = Limit.NONE
    kept: float = 0.6
    """Chance of each kind to be on in a seed."""
    progress: bool = True
    """Whether progress is demanded after healing."""


@dataclass(frozen=True, slots=True)
class Draw:
    """``per_minute``: for seven nodes; node faults grow with the number of nodes. Durations and amounts: between two bounds."""

    per_minute: float
    for_ns: tuple[int, int] = (0, 0)
    amount: tuple[int, int] = (0, 0)


KIND_DRAWS = {
    "crash": Draw(8, (50 * MS, 5 * S)),
    "aimed-crash": Draw(16, (1 * S, 8 * S), (1, 6)),
    "churn": Draw(1, (5 * S, 20 * S)),
    "freeze": Draw(4, (200 * MS, 5 * S)),
    "clock-jump": Draw(2, (0, 0), (10 * MS, 5 * S)),
    "clock-skew": Draw(2, (5 * S, 30 * S), (-50_000, 50_000)),
    "partition": Draw(3, (500 * MS, 8 * S)),
    "one-way": Draw(3, (500 * MS, 8 * S)),
    "partial": Draw(4, (500 * MS, 8 * S)),
    "flap": Draw(2, (1 * S, 6 * S), (20 * MS, 800 * MS)),
    "clog": Draw(4, (100 * MS, 3 * S)),
    "loss": Draw(3, (1 * S, 10 * S), (300, 20_000)),
    "duplicate": Draw(3, (1 * S, 10 * S), (600, 20_000)),
    "reorder": Draw(3, (1 * S, 10 * S), (600, 30_000)),
    "slow-link": Draw(3, (1 * S, 8 * S), (5, 200)),
    "reset": Draw(10),
    "disk-slow": Draw(4, (500 * MS, 5 * S), (10, 1_000)),
    "disk-full": Draw(1, (500 * MS, 4 * S)),
    "disk-error": Draw(1, (10 * MS, 2 * S)),
    "bit-rot": Draw(0.7, (100 * MS, 2 * S)),
    "store-lost": Draw(0.7, (100 * MS, 2 * S)),
    "store-restored": Draw(0.7, (1 * S, 15 * S)),
    "sync-dropped": Draw(0.7, (1 * S, 10 * S)),
    "byzantine": Draw(0.7, (5 * S, 40 * S)),
    "destroyed": Draw(0.5),
    "leave": Draw(1),
}

_LIGHT = ("crash", "freeze", "partition", "partial", "loss", "slow-link", "reset", "disk-slow", "clock-jump")

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("none", "nothing goes wrong", 0, ()),
        Profile("light", "a minority of each group at a time", 0.35, _LIGHT, away=Limit.MINORITY, kept=1),
        Profile("all", "everything that the protocol promises to survive", 1, tuple(KINDS)),
        Profile(
            "beyond", "more than it promises: it may stop, never diverge", 1.5, tuple(KINDS), harm=Limit.NONE, progress=False
        ),
    )
}


def draw_tape(profile: Profile, subject: Subject, streams: Streams, nodes: int, duration_ns: int) -> list[Fault]:
    """The faults of a seed, in order of time. All end by ``duration_ns``."""
    tape: list[Fault] = []
    mask = streams.stream("faults/mask")
    for kind in KINDS:
        kept = mask.random() < profile.kept
        if not kept or kind not in profile.kinds or kind not in subject.survives:
            continue
        tape += _draw_kind(kind, profile, subject, streams.stream(f"faults/{kind}"), nodes=nodes, duration_ns=duration_ns)
    return sorted(tape, key=lambda fault: fault.at_ns)


def _draw_kind(kind: str, profile: Profile, subject: Subject, dice: Random, *, nodes: int, duration_ns: int) -> list[Fault]:
    draw = KIND_DRAWS[kind]
    scale = 1.0 if KINDS[kind].nodes in ("any", "side") else nodes / 7
    rate = draw.per_minute * profile.intensity * scale * (10 if KINDS[kind].durable and not profile.progress else 1)
    drawn: list[Fault] = []
    now = dice.expovariate(rate) * 60 * S if rate else duration_ns
    while now < duration_ns:
        at_ns = int(now)
        length = min(dice.randint(*draw.for_ns), duration_ns - at_ns)
        drawn.append(
            Fault(kind, at_ns, length, _nodes(kind, nodes, dice), dice.randint(*draw.amount), _step(kind, subject, dice))
        )
        now += dice.expovariate(rate) * 60 * S
    return drawn


def _nodes(kind: str, nodes: int, dice: Random) -> tuple[int, ...]:
    match KINDS[kind].nodes:
        case "one":
            return (dice.randrange(nodes),)
        case "two":
            return tuple(dice.sample(range(nodes), 2)) if nodes > 1 else (0, 0)
        case "side":
            # Cutting off few is the common case in life and in protocols; half against half the interesting one.
            size = 1 if dice.random() < 0.5 else dice.randint(1, max(1, nodes // 2))
            return tuple(sorted(dice.sample(range(nodes), size)))
    return ()


def _step(kind: str, subject: Subject, dice: Random) -> str:
    if kind == "aimed-crash":
        return dice.choice(WORLD_STEPS + subject.steps)
    return dice.choice(BEHAVIOURS) if kind == "byzantine" else ""
