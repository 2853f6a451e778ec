"""What toy nodes say to each other."""

from __future__ import annotations

from typing import Any

from golemp2p.model.light import light_dataclass
from golemp2p_sim.toy_state import Entry


@light_dataclass(frozen=True, slots=True)
class Append:
    """From the primary: ``entries`` follow the entry ``previous`` of term ``previous_term``. Without entries: alive."""

    shard: int
    term: int
    previous: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


@light_dataclass(frozen=True, slots=True)
class Acked:
    """``matched``: durable up to here, equal to the primary's log. ``refused``: the log does not reach; start over from matched + 1."""

    shard: int
    term: int
    matched: int
    refused: bool = False


@light_dataclass(frozen=True, slots=True)
class Ask:
    """For a vote."""

    shard: int
    term: int
    last: int
    last_term: int


@light_dataclass(frozen=True, slots=True)
class Vote:
    shard: int
    term: int
    granted: bool


@light_dataclass(frozen=True, slots=True)
class Forward:
    """An invocation on its way to the primary. ``request``: the asker's number for it, -1 for a call between workers."""

    request: int
    key: str
    worker: str
    operation: tuple[Any, ...]


@light_dataclass(frozen=True, slots=True)
class Answer:
    """``ok`` with the result, or try elsewhere: ``hint`` is the index of the primary, -1 if unknown."""

    request: int
    key: str
    ok: bool
    value: Any = None
    hint: int = -1
    shard: int = -1


# -- durable writes -----------------------------------------------------------------------------------------------------------


@light_dataclass(frozen=True, slots=True)
class TermRecord:
    """Newest term of a shard, and the vote in it (node index, -1 for none)."""

    shard: int
    term: int
    vote: int


@light_dataclass(frozen=True, slots=True)
class LogRecord:
    """The log of a shard from position ``first`` on is ``entries``; what was there before is gone. Carries the term, too."""

    shard: int
    first: int
    entries: tuple[Entry, ...]
    term: int
    vote: int


def size_of(message: Any) -> int:
    """Bytes, about as CBOR would take."""
    return 48 + 72 * len(message.entries) if type(message) is Append else 64


def describe(message: Any) -> str:
    match message:
        case Append(shard, term, previous, _, entries, commit):
            if not entries:
                return f"alive shard {shard} term {term} log {previous} commit {commit}"
            keys = " ".join(entry.key or entry.kind for entry in entries[:4])
            return f"append shard {shard} term {term} from {previous + 1}: {keys}{' ...' if len(entries) > 4 else ''} commit {commit}"
        case Acked(shard, term, matched, refused):
            return f"{'refused' if refused else 'ack'} shard {shard} term {term} matched {matched}"
        case Ask(shard, term, last, last_term):
            return f"ask vote shard {shard} term {term} log {last} of term {last_term}"
        case Vote(shard, term, granted):
            return f"vote shard {shard} term {term} {'yes' if granted else 'no'}"
        case Forward(_, key, worker, operation):
            return f"forward {key} {worker} {operation}"
        case Answer(_, key, ok, value, hint, _):
            return f"answer {key} {value!r}" if ok else f"answer {key}: try n{hint}"
    return repr(message)
