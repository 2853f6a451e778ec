"""Faults as data: what kinds there are, and the tape of them that a run plays. Explicit, ordered, writable as JSON.

A tape is drawn from the seed before the run (``profiles``) or written in a scenario, and is all that a shrinker edits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

PRIMARY: Final = -1
"""Instead of a node: whoever is primary of most shards when the fault begins."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``durable``: harms what is stored, so the atlas keeps it to a minority of each group until repaired. ``down``: the node is
    away while it lasts. ``final``: it is gone for good, and healing does not bring it back. ``amount``: meaning of ``Fault.amount``;
    ``text``: one line for people."""

    text: str
    durable: bool = False
    down: bool = False
    final: bool = False
    nodes: str = "one"
    """``one`` node, ``two`` nodes, a ``side`` (the nodes of one side of a cut), or ``any`` (none: everywhere)."""
    amount: str = ""
    step: str = ""


KINDS: Final[dict[str, Kind]] = {
    "crash": Kind("process and power gone; restarted at the end", down=True),
    "aimed-crash": Kind("crash at a protocol step", down=True, amount="nth time the step is reached", step="protocol step"),
    "churn": Kind("a node leaves for long and comes back", down=True),
    "freeze": Kind("process stopped, later goes on (SIGSTOP, a long pause)", down=True),
    "clock-jump": Kind("the node's clock jumps ahead", amount="nanoseconds"),
    "clock-skew": Kind("the node's clock runs wrong", amount="millionths, signed"),
    "partition": Kind("a side is cut off in both directions", down=True, nodes="side"),
    "one-way": Kind("a side can hear and not speak", down=True, nodes="side"),
    "partial": Kind("two nodes cannot reach each other; everyone else reaches both", nodes="two"),
    "flap": Kind("the link of two nodes goes up and down", nodes="two", amount="nanoseconds per phase"),
    "clog": Kind("a node's links hold everything until the end"),
    "loss": Kind("messages are lost", nodes="any", amount="of 65,536"),
    "duplicate": Kind("messages arrive twice", nodes="any", amount="of 65,536"),
    "reorder": Kind("messages overtake each other", nodes="any", amount="of 65,536"),
    "slow-link": Kind("a node's links are slow", amount="times as slow"),
    "reset": Kind("the connection of two nodes breaks: what was under way is lost", nodes="two"),
    "disk-slow": Kind("syncs take long", amount="times as long"),
    "disk-full": Kind("writes are refused: no space", down=True),
    "disk-error": Kind("writes are refused: input/output error", down=True),
    "bit-rot": Kind("something durable reads wrong at the next start", durable=True, down=True),
    "store-lost": Kind("the disk is replaced by an empty one with a new store id", durable=True, down=True),
    "store-restored": Kind("an old copy of the disk, taken when the fault begins, is put back when it ends", durable=True, down=True),
    "sync-dropped": Kind("the disk says durable and is not", durable=True),
    "byzantine": Kind("the node lies", durable=True, step="behaviour"),
    "destroyed": Kind("the machine is gone for good, disk and all", durable=True, down=True, final=True),
    "leave": Kind("the node is told to leave; it hands over what it has and goes for good", final=True),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """From ``at_ns`` for ``for_ns`` (virtual time). ``nodes``, ``amount`` and ``step`` as the kind says."""

    kind: str
    at_ns: int
    for_ns: int = 0
    nodes: tuple[int, ...] = ()
    amount: int = 0
    step: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}; one of {', '.join(KINDS)}")

    @property
    def end_ns(self) -> int:
        return self.at_ns + self.for_ns

    def __str__(self) -> str:
        where = ",".join("primary" if node == PRIMARY else f"n{node}" for node in self.nodes) or "everywhere"
        parts = [self.kind, where, f"at {self.at_ns / 1e9:.3f}s"]
        if self.for_ns:
            parts.append(f"for {self.for_ns / 1e9:.3f}s")
        if self.amount:
            parts.append(f"amount {self.amount}")
        if self.step:
            parts.append(f"step {self.step}")
        return " ".join(parts)

    def to_json(self) -> dict[str, Any]:
        named = {"kind": self.kind, "at_ns": self.at_ns, "for_ns": self.for_ns, "nodes": list(self.nodes)}
        return named | {"amount": self.amount, "step": self.step}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Fault:
        return Fault(data["kind"], data["at_ns"], data["for_ns"], tuple(data["nodes"]), data["amount"], data["step"])
