"""What clients invoke at level 1: level 0's model workers as scripted guests, and what they should answer.

tests/guests/src/model is the same in C, for runs with WebAssembly guests: who changes one changes both.

    counter-*   add n, get               list-*      append item, read
    account-*   transfer (to, n): takes n away, or "refused"; balance
    timer-*     set ns: sleeps durably for a tenth of it, then counts; fired
    promise-*   complete v: won?, by the worker's own promise; get

Every worker keeps the idempotency keys of the writes that it ran, in order: ``done`` tells them.

**Where it differs from level 0:** guests here have no calls between workers, so money that leaves an account arrives nowhere, and a
timer is awaited by who sets it.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from golemp2p.ports import Guests
from golemp2p.testing.guests import STRING, U64, Script, ScriptedGuest, ScriptedGuests
from golemp2p_sim import model_worker
from golemp2p_sim.model_worker import OPENING_BALANCE

TIMER_DIVISOR = 10
"""A timer is in its worker's way while it sleeps: it sleeps for a tenth of what level 0 waits, up to 0.3 s."""


def apply(worker: str, state: Any, operation: tuple[Any, ...]) -> tuple[Hashable, Any]:
    """State after, and result, of one operation of the model."""
    if operation[0] == "set":
        count, fired = state
        return (count + 1, fired + 1), count + 1
    after, result, _ = model_worker.apply(worker, state, operation)
    return after, result


def _did(guest: ScriptedGuest) -> None:
    guest.memory.setdefault("done", []).append(guest.host.invocation_key() or "")


async def _done(guest: ScriptedGuest) -> str:
    return " ".join(guest.memory.get("done", ()))


async def _add(guest: ScriptedGuest, n: int) -> int:
    _did(guest)
    guest.memory["total"] = guest.memory.get("total", 0) + n
    return int(guest.memory["total"])


async def _get(guest: ScriptedGuest) -> int:
    return int(guest.memory.get("total", 0))


async def _append(guest: ScriptedGuest, item: int) -> int:
    _did(guest)
    length, checksum = guest.memory.get("list", (0, 0))
    guest.memory["list"] = (length + 1, zlib.crc32(str(item).encode(), checksum))
    return int(length) + 1


async def _read(guest: ScriptedGuest) -> str:
    length, checksum = guest.memory.get("list", (0, 0))
    return f"{length} {checksum}"


async def _transfer(guest: ScriptedGuest, to: str, n: int) -> str:
    _did(guest)
    balance = guest.memory.get("balance", OPENING_BALANCE)
    if balance < n or to == guest.host.worker.name:
        return "refused"
    guest.memory["balance"] = balance - n
    return str(balance - n)


async def _balance(guest: ScriptedGuest) -> int:
    return int(guest.memory.get("balance", OPENING_BALANCE))


async def _set(guest: ScriptedGuest, delay_ns: int) -> int:
    await guest.sleep(delay_ns / TIMER_DIVISOR / 1e9)
    _did(guest)
    guest.memory["fired"] = guest.memory.get("fired", 0) + 1
    return int(guest.memory["fired"])


async def _fired(guest: ScriptedGuest) -> int:
    return int(guest.memory.get("fired", 0))


async def _open(guest: ScriptedGuest) -> int:
    """Oplog index of the worker's promise, made at first."""
    if "promise" not in guest.memory:
        guest.memory["promise"] = guest.host.promises.create()
    return int(guest.memory["promise"])


async def _peek(guest: ScriptedGuest) -> str:
    """What the promise was completed with; "" if it was not."""
    return "" if "promise" not in guest.memory else (await guest.poll_promise(guest.memory["promise"]) or b"").decode()


SCRIPT: Script = {
    "add": ((("n", U64),), U64, _add),
    "get": ((), U64, _get),
    "append": ((("item", U64),), U64, _append),
    "read": ((), STRING, _read),
    "transfer": ((("to", STRING), ("n", U64)), STRING, _transfer),
    "balance": ((), U64, _balance),
    "set": ((("delay-ns", U64),), U64, _set),
    "fired": ((), U64, _fired),
    "open": ((), U64, _open),
    "peek": ((), STRING, _peek),
    "done": ((), STRING, _done),
}
COMPONENT = "model"
WRITES = frozenset({"add", "append", "transfer", "set"})
"""Operations that ``done`` tells of."""


class Scripted:
    """``guests.ModelGuests``."""

    wasm = ScriptedGuests.wasm(COMPONENT)

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Guests]:
        yield ScriptedGuests(**{COMPONENT: SCRIPT})

    def params(self, function: str, key: str, params: Sequence[Any]) -> list[Any]:
        """Scripts see the key of the invocation."""
        return list(params)
