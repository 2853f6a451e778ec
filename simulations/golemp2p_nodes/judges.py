"""What must hold at level 1. Everything is seen from outside: disks, answers, and what nodes say of themselves at the end.

Ledger           what replicas write: one entry per position that anyone calls committed, one primary per term
lost_or_twice    every write that was answered is in its worker's history once; none is there twice
disordered       there is an order of each worker's operations that explains all answers
disagreement     all nodes know the same members; each shard has one primary; its voters have equal logs
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Election
from golemp2p.ports import Batch
from golemp2p_nodes.mesh import NodesWorld
from golemp2p_nodes.workers import WRITES, apply
from golemp2p_sim.checkers.linearizability import Verdict, check_worker
from golemp2p_sim.history import History
from golemp2p_sim.model_worker import initial

DONE = "done"
"""Asked of every worker at the end."""


class Ledger:
    """Watches what becomes durable. ``elections``, ``committed``: how many there were."""

    def __init__(self, world: NodesWorld) -> None:
        self._world = world
        self._committed: dict[tuple[int, int], bytes] = {}
        self._primaries: dict[tuple[int, int], bytes] = {}
        self._logs: dict[tuple[int, int, int], dict[int, bytes]] = {}  # (node, store, shard) -> position -> hash
        self._checked: dict[tuple[int, int, int], int] = {}
        world.on_written.append(self._written)

    @property
    def elections(self) -> int:
        return len(self._primaries)

    @property
    def committed(self) -> int:
        return len(self._committed)

    def _written(self, node: int, batch: Batch) -> None:
        for write in batch.replicas:
            self._note(node, write)

    def _note(self, node: int, write: ReplicaWrite) -> None:
        place = node, self._world.machines[node].disk.store, write.shard
        log = self._logs.setdefault(place, {})
        if write.is_forgotten:
            log.clear()
        if write.truncate_from is not None:
            for position in [position for position in log if position >= write.truncate_from]:
                del log[position]
        if write.base is not None:
            if write.is_install:
                log.clear()
            log[write.base.position] = write.base.hash
            self._agree(node, write.shard, write.base.position, write.base.hash)
        for entry in write.entries:
            log[entry.position] = entry.hash
            if isinstance(entry.content, Election):
                self._elected(write.shard, entry.term, entry.content)
        first = min(self._checked.get(place, 0), write.record.commit)
        for position in range(first + 1, write.record.commit + 1):
            if position in log:
                self._agree(node, write.shard, position, log[position])
        self._checked[place] = write.record.commit

    def _agree(self, node: int, shard: int, position: int, found: bytes) -> None:
        if self._committed.setdefault((shard, position), found) != found:
            self._world.violate("one-entry-per-position", f"n{node} committed another entry at {position} of shard {shard}")

    def _elected(self, shard: int, term: int, election: Election) -> None:
        key = election.primary.public_key
        if self._primaries.setdefault((shard, term), key) != key:
            self._world.violate("one-primary-per-term", f"shard {shard} has two primaries in term {term}")


def lost_or_twice(history: History) -> str:
    """Compares answers with what workers told at the end that they had done; ``""``: all is well."""
    for worker, operations in history.by_worker().items():
        told = [operation for operation in operations if operation.operation == (DONE,) and operation.returned_ns is not None]
        if not told:
            continue
        done = str(told[-1].result).split()
        twice = [key for key, count in Counter(done).items() if count > 1]
        if twice:
            return f"{worker} did {twice[0]} more than once"
        answered = [o.key for o in operations if o.operation[0] in WRITES and o.returned_ns is not None]
        lost = [key for key in answered if key not in done]
        if lost:
            return f"{worker} answered {lost[0]} and does not know of it"
        unasked = [key for key in done if key not in history.operations]
        if unasked:
            return f"{worker} did {unasked[0]}, which nobody asked for"
    return ""


def disordered(history: History) -> tuple[str, int]:
    """In words, if some worker's answers have no order; and how many histories were too long to tell."""
    inconclusive = 0
    for worker, operations in history.by_worker().items():
        asked = [operation for operation in operations if operation.operation != (DONE,)]
        verdict = check_worker(asked, initial(worker), partial(apply, worker))
        if verdict is Verdict.VIOLATED:
            return f"{worker}: no order of its operations explains the answers", inconclusive
        inconclusive += verdict is Verdict.UNKNOWN
    return "", inconclusive


def disagreement(world: NodesWorld) -> str:
    """``""``: whoever is there is of one mind."""
    running = {}
    for index in world.present:
        service = world.machines[index].service
        if service is None:
            return f"n{index} does not serve"
        running[index] = service.peers
    everybody = sorted(world.machines[index].key for index in world.present)
    for index, peers in running.items():
        known = sorted(record.public_key for record in peers.members())
        if known != everybody:
            return f"n{index} knows {len(known)} members of {len(everybody)}"
    for shard, group in enumerate(world.groups()):
        leading = [index for index, peers in running.items() if peers.is_ready(shard)]
        if len(leading) != 1:
            return f"shard {shard} has {len(leading)} primaries"
        ends = {_end(running[index].peer.shards.held().get(shard)) for index in group if index in running}
        if len(ends) != 1:
            return f"shard {shard}: logs of its voters differ"
        if not group or any(index not in running for index in group):
            return f"shard {shard}: voters {list(group)} are not all there"
    return ""


def _end(replica: object) -> Iterable[object]:
    """Commit position and hash there; of one that is not held, nothing."""
    if replica is None:
        return ()
    return replica.commit_position, replica.log.last, replica.log.last_hash, replica.is_damaged  # type: ignore[attr-defined]
