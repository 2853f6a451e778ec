"""Listings of the whole mesh: every node is asked what the shards that it leads hold, until all shards are covered.

    member 1 ── shards {0, 3}, rows a d g, end g ─┐
    member 2 ── shards {1},    rows b e,   all ───┼─> a b d e f g, and on from g
    member 3 ── shards {2},    rows f k,   end k ─┘       nothing after the least end is told yet: there may be more before it

A shard that changes its primary just now is covered by nobody for a moment; the members are asked again, for a while. Then the listing
fails, and says how many shards have no primary: a listing is complete, or it is none.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import trio

from golemp2p.drivers.routing.local import Local
from golemp2p.errors import Golemp2pError, NotFound, RequestFailed, UsageError, WorldError
from golemp2p.model import listings as m
from golemp2p.model.ids import ComponentId, NodeId
from golemp2p.model.operations import component_log
from golemp2p.model.worker import WorkerMetadata
from golemp2p.ports import Asked, Mesh
from golemp2p.wire import listings as wire
from golemp2p.wire.call_kinds import LISTING
from golemp2p.wire.remote_errors import named

logger = logging.getLogger(__name__)

GATHER_S = 5.0
"""A listing fails after this: a takeover takes less."""

ASK_S = 2.0
"""For one member. Who does not answer in time is asked again in the next round, if it is still missed."""

PAUSE_S = 0.2
"""Between rounds."""

Held = TypeVar("Held", m.WorkersHeld, m.ComponentsHeld)
Learn = Callable[[bytes, str], None]


class Gathering:
    """``http``: where this node serves HTTP. ``learn(node, http)``: where another does."""

    def __init__(self, local: Local, mesh: Mesh, *, http: Callable[[], str], learn: Learn) -> None:
        self._local = local
        self._mesh = mesh
        self._http = http
        self._learn = learn

    async def workers(self, listing: m.ListWorkers) -> tuple[list[WorkerMetadata], str | None]:
        """Up to ``listing.count`` workers by name, and the name after which there may be more. Raises ``WorldError`` when not all
        shards have a primary, ``MalformedRequest`` for a filter that makes no sense."""
        parts = await self._gather(
            wire.encode_asked(listing), lambda: self._workers_here(listing), wire.decode_workers, listing.after
        )
        found = {
            row.worker.name: row
            for held, shards in parts
            for row in held.rows
            if row.worker.component == listing.component and row.worker.key.shard(self._mesh.shards_count) in shards
        }
        names, end = _merged(found, [held.end for held, _ in parts], listing.after, listing.count)
        return [found[name] for name in names], end

    async def components(self, listing: m.ListComponents) -> tuple[list[tuple[ComponentId, int]], str | None]:
        """The same for components, by id: each with the number of its versions."""
        asked = wire.encode_asked(listing)
        parts = await self._gather(asked, lambda: self._components_here(listing), wire.decode_components, listing.after)
        found = {
            str(component): (component, count)
            for held, shards in parts
            for component, count in held.rows
            if component_log(component).shard(self._mesh.shards_count) in shards
        }
        names, end = _merged(found, [held.end for held, _ in parts], listing.after, listing.count)
        return [found[name] for name in names], end

    # -- what this node has

    async def serve(self, asked: Asked) -> bytes:
        """Answers calls of kind ``LISTING``."""
        listing = wire.decode_asked(asked.payload)
        if isinstance(listing, m.ListWorkers):
            return wire.encode_workers(await self._workers_here(listing))
        return wire.encode_components(await self._components_here(listing))

    async def _workers_here(self, listing: m.ListWorkers) -> m.WorkersHeld:
        before = frozenset(self._mesh.ready_shards())
        page = await self._local.workers(
            listing.component, filter=listing.filter, cursor=listing.after or None, count=listing.count
        )
        covered = before.intersection(self._mesh.ready_shards())
        return m.WorkersHeld(covered, page.workers, page.cursor, self._http())

    async def _components_here(self, listing: m.ListComponents) -> m.ComponentsHeld:
        before = frozenset(self._mesh.ready_shards())
        counts: dict[ComponentId, int] = {}
        for info in await self._local.components():
            counts[info.component] = counts.get(info.component, 0) + 1
        covered = before.intersection(self._mesh.ready_shards())
        rows = sorted(
            (str(component), component, count)
            for component, count in counts.items()
            if str(component) > listing.after and component_log(component).shard(self._mesh.shards_count) in covered
        )
        end = rows[listing.count - 1][0] if len(rows) > listing.count else None
        kept = tuple((component, count) for _, component, count in rows[: listing.count])
        return m.ComponentsHeld(covered, kept, end, self._http())

    # -- what all have

    async def _gather(
        self, asked: bytes, here: Callable[[], Awaitable[Held]], decode: Callable[[bytes], Held], after: str
    ) -> list[tuple[Held, frozenset[int]]]:
        """Answers, each with the shards that it is taken for; together they cover all."""
        gathered = _Gathered[Held](self._mesh.shards_count, after)
        with trio.move_on_after(GATHER_S):
            while gathered.missing:
                async with trio.open_nursery() as nursery:
                    gathered.round = nursery.cancel_scope
                    for member in self._mesh.members():
                        nursery.start_soon(self._ask, member.public_key, asked, here, decode, gathered)
                if gathered.refusal is not None:
                    raise gathered.refusal
                if gathered.missing:
                    await trio.sleep(PAUSE_S)
        if gathered.missing:
            told = f" ({gathered.failure})" if gathered.failure is not None else ""
            raise WorldError(
                f"{len(gathered.missing)} of {self._mesh.shards_count} shards have no primary that answers, so the listing would not"
                f" be complete; try again in a moment{told}",
                1.0,
            ) from gathered.failure
        return gathered.parts

    async def _ask(
        self,
        peer: bytes,
        asked: bytes,
        here: Callable[[], Awaitable[Held]],
        decode: Callable[[bytes], Held],
        gathered: _Gathered[Held],
    ) -> None:
        try:
            if peer == self._mesh.own:
                held = await here()
            else:
                held = decode(await self._mesh.request(peer, LISTING, asked, deadline_s=ASK_S))
                self._learn(peer, held.http)
        except Golemp2pError as error:
            failure = named(error) if isinstance(error, RequestFailed) else error
            if isinstance(failure, UsageError) and not isinstance(failure, NotFound):
                gathered.refuse(failure)  # the question was wrong, whomever it is asked
            else:
                gathered.failure = failure
                logger.debug(
                    "member_not_listed", extra={"peer": str(NodeId.of(peer)), "code": failure.code, "error": str(failure)}
                )
        else:
            gathered.take(held)


class _Gathered(Generic[Held]):
    """What came so far. ``round``: ends when nothing is missing any more."""

    def __init__(self, shards_count: int, after: str) -> None:
        self.missing = frozenset(range(shards_count))
        self.parts: list[tuple[Held, frozenset[int]]] = []
        self.refusal: UsageError | None = None
        self.failure: Golemp2pError | None = None
        """The last of those who could not answer."""
        self.round = trio.CancelScope()
        self._after = after

    def take(self, held: Held) -> None:
        """A page that ends where it began would be asked for again and again: it is none."""
        news = held.shards & self.missing
        if news and (held.end is None or held.end > self._after):
            self.parts.append((held, news))
            self.missing -= news
            if not self.missing:
                self.round.cancel()

    def refuse(self, error: UsageError) -> None:
        self.refusal = error
        self.round.cancel()


def _merged(names: Iterable[str], ends: list[str | None], after: str, count: int) -> tuple[list[str], str | None]:
    """Which of ``names`` are told, in order, and after which there may be more."""
    least = min((end for end in ends if end is not None), default=None)
    known = sorted(name for name in names if name > after and (least is None or name <= least))
    if len(known) > count:
        return known[:count], known[count - 1]
    return known, least
