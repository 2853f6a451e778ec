"""What this node knows of other nodes beside their membership: asked of them, and kept as long as they run.

    ask ──STATUS──> the other's serve ──> facts, load, reports                      kept: facts, by peer and incarnation
    known ──> facts, from memory

A record of membership has mesh addresses only: where HTTP is served is a node's own business, and changes with a restart, as its
incarnation does. Nothing here decides anything: who lies about itself is dialled in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import trio

from golemp2p.errors import DataDamaged, FrameMalformed, Golemp2pError
from golemp2p.model.node_status import REPORTS_MAX, NodeFacts, NodeLoad, ReplicaReport, StatusAnswer, StatusAsked, Wanted
from golemp2p.ports import Asked, Mesh
from golemp2p.wire.call_kinds import STATUS
from golemp2p.wire.node_status import decode_status_answer, decode_status_asked, encode_status_answer, encode_status_asked

KEPT_MAX = 4_096
"""Nodes whose facts are kept; who was learnt first goes first."""
ASK_S = 2.0
"""A person waits for the answers, and a node that lives answers in milliseconds."""
PAGES_MAX = 256
"""Of one node's reports: more than it can have shards for. Who sends more is making them up."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a node said of itself. ``rtt_s``: how long its first answer took."""

    facts: NodeFacts
    load: NodeLoad
    rtt_s: float
    reports: tuple[ReplicaReport, ...] = ()


class NodeDirectory:
    """``own``: this node's facts, as soon as it listens. ``load`` and ``reports``: of this node's replicas, the latter from a shard on,
    at most ``REPORTS_MAX``. ``incarnation_of``: of a member, ``None`` for others."""

    def __init__(
        self,
        mesh: Mesh,
        *,
        own: Callable[[], NodeFacts],
        load: Callable[[], NodeLoad],
        reports: Callable[[Wanted, int], Sequence[ReplicaReport]],
        incarnation_of: Callable[[bytes], int | None],
    ) -> None:
        self._mesh = mesh
        self._own, self._load, self._reports = own, load, reports
        self._incarnation_of = incarnation_of
        self._kept: dict[bytes, tuple[int, NodeFacts]] = {}

    # -- the side that is asked

    async def serve(self, asked: Asked) -> bytes:
        """A call of kind ``STATUS``. Raises ``FrameMalformed`` for a question that is none."""
        try:
            question = decode_status_asked(asked.payload)
        except DataDamaged as error:
            raise FrameMalformed(str(error)) from None
        return encode_status_answer(self.answer(question))

    def answer(self, question: StatusAsked) -> StatusAnswer:
        found: Sequence[ReplicaReport] = ()
        if question.wanted is not Wanted.NOTHING:
            found = self._reports(question.wanted, question.first)
        next_shard = None
        if len(found) >= REPORTS_MAX and found[-1].shard + 1 < self._mesh.shards_count:
            next_shard = found[-1].shard + 1
        return StatusAnswer(self._own(), self._load(), tuple(found), next_shard)

    # -- the side that asks

    def known(self, peer: bytes) -> NodeFacts | None:
        """Of the life that ``peer`` (public key) lives now; without asking."""
        if peer == self._mesh.own:
            return self._own()
        kept = self._kept.get(peer)
        return kept[1] if kept is not None and kept[0] == self._incarnation_of(peer) else None

    async def ask(self, peer: bytes, wanted: Wanted = Wanted.NOTHING) -> Told:
        """What ``peer`` says now, all pages of it. Raises any ``WorldError``, and ``FrameMalformed`` for an answer that is none."""
        started_s = trio.current_time()
        incarnation = self._incarnation_of(peer)
        answer = await self._page(peer, StatusAsked(wanted))
        rtt_s = trio.current_time() - started_s
        self._keep(peer, incarnation, answer.facts)
        reports = [*answer.reports]
        pages = 1
        following = answer
        while following.next_shard is not None:
            pages += 1
            if pages > PAGES_MAX or following.next_shard <= reports[-1].shard:
                raise FrameMalformed("reports without an end")
            following = await self._page(peer, StatusAsked(wanted, following.next_shard))
            reports += following.reports
        return Told(answer.facts, answer.load, rtt_s, tuple(reports))

    async def ask_all(self, peers: Sequence[bytes], wanted: Wanted = Wanted.NOTHING) -> dict[bytes, Told]:
        """Of those that answered, in any order."""
        told: dict[bytes, Told] = {}

        async def one(peer: bytes) -> None:
            with suppress(Golemp2pError):
                told[peer] = await self.ask(peer, wanted)

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(one, peer)
        return told

    async def _page(self, peer: bytes, question: StatusAsked) -> StatusAnswer:
        if peer == self._mesh.own:
            return self.answer(question)
        data = await self._mesh.request(peer, STATUS, encode_status_asked(question), deadline_s=ASK_S)
        try:
            answer = decode_status_answer(data)
        except DataDamaged as error:
            raise FrameMalformed(str(error)) from None
        shards = [report.shard for report in answer.reports]
        is_ordered = all(one < other for one, other in pairwise(shards))
        if not is_ordered or (shards and (shards[0] < question.first or shards[-1] >= self._mesh.shards_count)):
            raise FrameMalformed("reports of shards that were not asked for")
        if answer.next_shard is not None and not shards:
            raise FrameMalformed("a page that is empty, and not the last")
        return answer

    def _keep(self, peer: bytes, incarnation: int | None, facts: NodeFacts) -> None:
        if incarnation is None or peer == self._mesh.own:
            return
        self._kept.pop(peer, None)
        self._kept[peer] = (incarnation, facts)
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
