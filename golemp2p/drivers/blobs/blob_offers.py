"""Giving a blob to a group: offered to every voter, until a majority has it.

    voters ──not asked yet, or refused a moment ago──> BLOB_OFFER ──answered──> has it ──a majority──> done
                                                                  ──refused, unreachable──> again after a moment, until the deadline

There is no push between nodes: a voter that is offered a blob fetches it back, and answers when it is durable there.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from golemp2p.errors import Golemp2pError, Moved, Overloaded, RequestFailed, Unreachable
from golemp2p.ports import Mesh
from golemp2p.wire.blob_calls import BlobOffer, encode_offer
from golemp2p.wire.call_kinds import BLOB_OFFER

PATIENCE_S, PATIENCE_BYTES_PER_S = 15.0, 1 << 20
"""For a majority, and for each voter: so long, and longer for what is large. A primary that finds no majority for so long has lost its
shard, or will."""

AGAIN_S = 0.25
"""After a refusal; and how often the voters and who leads are looked at anew."""


async def offer_to_majority(mesh: Mesh, offer: BlobOffer, spawn: Callable[..., None]) -> None:
    """As ``Blobs.spread``. This node has the blob."""
    offering = _Offering(mesh, offer, spawn)
    with trio.move_on_after(offering.patience_s):
        await offering.wait_majority()
        return
    raise offering.failure()


class _Offering:
    """Voters that have the blob, that are asked, that were; ``spawn`` outlives whoever waits, so that a minority gets the blob too."""

    def __init__(self, mesh: Mesh, offer: BlobOffer, spawn: Callable[..., None]) -> None:
        self._mesh = mesh
        self._offer = offer
        self.patience_s = PATIENCE_S + offer.size / PATIENCE_BYTES_PER_S
        self._payload = encode_offer(offer)
        self._spawn = spawn
        self._having = {mesh.own: None}
        self._asked: dict[bytes, None] = {}
        self._refusals: dict[bytes, Golemp2pError] = {}
        self._news = trio.Event()

    async def wait_majority(self) -> None:
        """The voters may change meanwhile: those count who are voters when it is enough. Raises ``Moved``."""
        while True:
            if not self._mesh.is_ready(self._offer.shard):
                raise Moved(f"this node does not lead shard {self._offer.shard}")
            voters = self._mesh.holders(self._offer.shard)
            if 2 * sum(1 for voter in voters if voter in self._having) > len(voters):
                return
            for voter in voters:
                if voter not in self._having and voter not in self._asked:
                    self._asked[voter] = None
                    self._spawn(self._ask, voter)
            self._news = trio.Event()
            with trio.move_on_after(AGAIN_S):
                await self._news.wait()

    def failure(self) -> Golemp2pError:
        """Why there is no majority."""
        refusals = ", ".join(sorted({error.code for error in self._refusals.values()})) or "no answer"
        text = (
            f"only {len(self._having)} replicas of shard {self._offer.shard} have the blob, which is no majority ({refusals})"
        )
        if any(_is_busy(error) for error in self._refusals.values()):
            return Overloaded(text, 1.0)
        return Unreachable(text, 1.0)

    async def _ask(self, voter: bytes) -> None:
        try:
            await self._mesh.request(voter, BLOB_OFFER, self._payload, deadline_s=self.patience_s)
        except Golemp2pError as error:
            self._refusals[voter] = error
            await trio.sleep(AGAIN_S)
        else:
            self._having[voter] = None
            self._refusals.pop(voter, None)
        finally:
            self._asked.pop(voter, None)
            self._news.set()


def _is_busy(error: Golemp2pError) -> bool:
    return isinstance(error, Overloaded) or (isinstance(error, RequestFailed) and error.remote_code == Overloaded.code)
