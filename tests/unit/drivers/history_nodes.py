"""Histories of workers that ran on machines in memory, judged; and the same told otherwise by who holds the node's key."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from history_forge import closed, cut

from golemp2p.client import Histories
from golemp2p.drivers.histories.verification import verify_file
from golemp2p.model import entries as e
from golemp2p.model.history import HistoryReport
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.ports import GuestLimits, Guests
from golemp2p.testing.guests import STRING, U64, Script
from golemp2p.wire import history as h
from golemp2p.wire.certificate import load_birth
from golemp2p.wire.entry import decode_payload, encode_payload
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.segment import NO_HASH, open_segment, seal

_numbers = itertools.count()


async def _add(guest: Any, number: int) -> int:
    guest.memory["sum"] = guest.memory.get("sum", 0) + number
    guest.say(f"now {guest.now()}")
    await guest.effect(f"add {number}")
    return int(guest.memory["sum"])


async def _sleep(guest: Any, seconds: int) -> int:
    await guest.sleep(float(seconds))
    guest.say("awake")
    return seconds


async def _promise(guest: Any) -> str:
    return (await guest.promise()).decode()


async def _fail(guest: Any, reason: str) -> None:
    guest.say(reason)
    guest.now()
    guest.trap(reason)


async def _large(guest: Any, count: int) -> str:
    guest.now()
    return "x" * count


COUNTER: Script = {
    "add": ((("number", U64),), U64, _add),
    "sleep": ((("seconds", U64),), U64, _sleep),
    "promise": ((), STRING, _promise),
    "fail": ((("reason", STRING),), None, _fail),
    "large": ((("count", U64),), STRING, _large),
}


async def exported(histories: Histories, component: ComponentId, name: str, **options: Any) -> bytes:
    return b"".join([piece async for piece in await histories.export_worker(WorkerId(component, name), **options)])


async def judged(file: bytes, guests: Guests, tmp_path: Path, **options: Any) -> HistoryReport:
    work = tmp_path / f"judged{next(_numbers)}"
    work.mkdir()
    path = work / "history"
    path.write_bytes(file)
    return await verify_file(path, guests, work_dir=work, limits=GuestLimits(), **options)


def entries_of(file: bytes) -> list[e.Entry]:
    """Of the worker's log."""
    found: list[e.Entry] = []
    for frame in cut(file):
        read = h.opened(frame)
        if isinstance(read, h.SegmentFrame):
            segment = open_segment(read.data)
            found += decode_payload(segment.payload, segment.count)
        elif isinstance(read, h.SealFrame):
            break
    return found


def rewritten(file: bytes, key: SigningKey, change: Callable[[list[e.Entry]], list[e.Entry]]) -> bytes:
    """The history as ``key``, whose node led every term, would have it: other entries, in one segment of the first term, every hash and
    signature made anew."""
    birth: bytes = b""
    opening: h.LogOpening | None = None
    before: list[bytes] = []
    kept: list[bytes] = []
    blobs: list[bytes] = []
    term = 0
    after: list[bytes] = []
    is_over = False
    for frame in cut(file):
        read = h.opened(frame)
        if is_over:
            after.append(frame)
        elif isinstance(read, h.Opening):
            birth = read.birth
            before.append(frame)
        elif isinstance(read, h.LogOpening):
            opening = read
            kept.append(frame)
        elif isinstance(read, h.SegmentFrame):
            term = term or open_segment(read.data).term
        elif isinstance(read, h.SealFrame):
            is_over = True
        elif isinstance(read, h.Milestone):
            kept.append(frame)
        else:
            blobs.append(frame)
    assert opening is not None
    entries = change(entries_of(file))
    log = WorkerId(*_worker(opening.identity)).key
    data, digest = seal(
        key, key=log, term=term, first=1, count=len(entries), previous_hash=NO_HASH, payload=encode_payload(entries)
    )
    sealing = h.Sealing(load_birth(birth).mesh_id)
    part = [sealing.add(frame) for frame in (*kept, h.encode_frame(h.SegmentFrame(data)), *blobs)]
    ended = sealing.sealed(key, tail=len(entries) + 1, head_hash=digest, position=1 << 20, time_ns=1)
    return closed([*before, *part, ended, *after])


def _worker(identity: str) -> tuple[ComponentId, str]:
    component, _, name = identity.partition("/")
    return ComponentId.parse(component), name
