"""A mesh of real nodes, each a process of its own: the first founds it, the others join with its invite.

    MeshProcess ──> NodeProcess   founder ──invite──> joiners; killed, frozen, started again one by one
                └─> questions     who leads a worker, are all shards led, has it grown

Every wait is for a condition that the nodes themselves report, and ends with an ``AssertionError`` that says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from golemp2p.model.ids import Key
from golemp2p.testing.node_process import NodeProcess, Place, Refused

SHARDS_COUNT = 16
"""Few, so that a mesh grows in a second or two; enough for every node to lead some."""

VOTERS = 3
TICK_S = 0.05


class MeshProcess:
    """``places``: where each node runs, one after another; without them all are on loopback. ``settings``: of every node."""

    def __init__(self, folder: Path, count: int = 3, *, places: Sequence[Place] = (), **settings: str) -> None:
        settings.setdefault("shards_count", str(SHARDS_COUNT))
        self.shards_count = int(settings["shards_count"])
        self.nodes = [
            NodeProcess(folder / f"node{number}", places[number] if places else None, **settings) for number in range(count)
        ]
        self._ids: dict[NodeProcess, str] = {}

    def __getitem__(self, number: int) -> NodeProcess:
        return self.nodes[number]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[NodeProcess]:
        return iter(self.nodes)

    # -- life

    def start(self) -> None:
        """Founder, then joiners side by side; returns when the mesh has grown."""
        founder, *joiners = self.nodes
        founder.start()
        invite = self.invite(founder)
        for node in joiners:
            node.spawn(join=invite)
        for node in joiners:
            node.wait_ready()
        self.wait_grown()

    def invite(self, node: NodeProcess) -> str:
        return str(node.request("POST", "/v1/mesh/invite")["invite"])

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    # -- questions

    def id_of(self, node: NodeProcess) -> str:
        """The node's id, which is the same over all its lives. It must answer when first asked for."""
        if node not in self._ids:
            self._ids[node] = str(node.request("GET", "/v1/mesh/status")["node"])
        return self._ids[node]

    def shard_of(self, component: str, worker: str) -> int:
        return Key.of("worker", f"{component}/{worker}").shard(self.shards_count)

    def leader(self, component: str, worker: str, *, asked: NodeProcess | None = None) -> NodeProcess:
        """The node that leads the worker's shard, as soon as one does. ``asked``: the node that is asked for it."""
        shard = self.shard_of(component, worker)
        by_id = {self.id_of(node): node for node in self.running() if node in self._ids or self._can_tell(node)}
        found = self.until(lambda: by_id.get(self._primary(shard, asked)), f"somebody leads shard {shard}")
        assert isinstance(found, NodeProcess)
        return found

    def worker_led_by(self, node: NodeProcess, component: str, prefix: str = "w", *, asked: NodeProcess | None = None) -> str:
        """The name of a worker that ``node`` leads: ``prefix`` and a number."""
        own, led = self.id_of(node), self.shards(asked or node)
        for number in range(100 * self.shards_count):
            name = f"{prefix}{number}"
            shard = led[self.shard_of(component, name)]
            if shard["primary"] == own and shard["isServing"]:
                return name
        raise AssertionError(f"{own} leads no shard")

    def shards(self, asked: NodeProcess) -> list[Any]:
        """All shards of the mesh, in order, each as its primary sees it."""
        return list(asked.request("GET", "/v1/mesh/shards?all=true")["shards"])

    def running(self) -> list[NodeProcess]:
        return [node for node in self.nodes if node.is_running]

    def _can_tell(self, node: NodeProcess) -> bool:
        try:
            self.id_of(node)
        except (OSError, Refused):
            return False
        return True

    def _primary(self, shard: int, asked: NodeProcess | None) -> str:
        one = self.shards(asked or self.running()[0])[shard]
        return str(one["primary"]) if one["isServing"] else ""

    # -- waiting

    def wait_led(self, nodes: Sequence[NodeProcess] = (), *, timeout_s: float = 60.0) -> None:
        """Until every shard is led by one of ``nodes`` (by default: of those that run), and each of them sees it so."""
        self._wait_seen(nodes, timeout_s, lambda _shards, _ids: True)

    def wait_grown(self, timeout_s: float = 60.0) -> None:
        """As well until every shard has as many voters as the nodes that run can give it."""
        self._wait_seen((), timeout_s, self._is_grown)

    def wait_spread(self, timeout_s: float = 60.0) -> None:
        """As well until every node that runs leads some shards: a newcomer is given a lead after ten seconds."""
        self._wait_seen((), timeout_s, lambda shards, ids: self._is_grown(shards, ids) and len(leaders(shards)) == len(ids))

    def wait_whole(self, timeout_s: float = 60.0) -> None:
        """Until every replica on a node that runs, of those that its shard's primary counts as members, has caught up and is not
        damaged."""
        lacking: list[str] = []

        def is_whole() -> bool:
            lacking.clear()
            led = {shard["shard"]: shard for shard in self.shards(self.running()[0]) if shard["isServing"]}
            for node in self.running():
                for one in node.request("GET", "/v1/mesh/shards")["shards"]:
                    primary = led.get(one["shard"])
                    if primary is None:
                        lacking.append(f"{node.name}: nobody leads shard {one['shard']}")
                    elif one["seenBy"] in (*primary["voters"], *primary["learners"]) and (
                        one["isDamaged"] or one["position"] < primary["commit"]
                    ):
                        lacking.append(f"{node.name}: {one}, led as {primary}")
            return not lacking

        self.until(is_whole, lambda: "\n".join(["every replica has caught up", *lacking]), timeout_s)

    @staticmethod
    def _is_grown(shards: Sequence[Any], ids: Collection[str]) -> bool:
        voters = min(VOTERS, len(ids) - 1 + len(ids) % 2)
        return all(len(shard["voters"]) >= voters for shard in shards)

    def _wait_seen(
        self, nodes: Sequence[NodeProcess], timeout_s: float, is_enough: Callable[[Sequence[Any], Collection[str]], bool]
    ) -> None:
        nodes = nodes or self.running()
        ids = {self.id_of(node) for node in nodes}
        seen: dict[str, Any] = {}

        def is_seen() -> bool:
            for node in nodes:
                try:
                    shards = self.shards(node)
                except (OSError, Refused) as error:
                    seen[self.id_of(node)] = error
                    return False
                unled = [shard["shard"] for shard in shards if shard["primary"] not in ids or not shard["isServing"]]
                voters = sorted({len(shard["voters"]) for shard in shards})
                seen[self.id_of(node)] = f"unled {unled}, voters {voters}, leaders {sorted(leaders(shards))}"
                if unled or not is_enough(shards, ids):
                    return False
            return True

        self.until(is_seen, lambda: f"all shards are led by {ids}, but {seen}", timeout_s)

    def until(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = 60.0) -> Any:
        """The first true answer of ``condition``."""
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            if time.monotonic() >= deadline:
                text = what if isinstance(what, str) else what()
                raise AssertionError(f"{text}: not within {timeout_s} s\n{self.logs()}")
            time.sleep(TICK_S)
        return answer

    def logs(self, lines: int = 12) -> str:
        """The last lines of every node's log."""
        told = []
        for number, node in enumerate(self.nodes):
            text = node.log_path.read_text(errors="replace") if node.log_path.exists() else ""
            told.append(f"-- node {number}" + ("" if node.is_running else ", which does not run"))
            told += text.splitlines()[-lines:]
        return "\n".join(told)


def leaders(shards: Sequence[Any]) -> set[str]:
    return {str(shard["primary"]) for shard in shards if shard["isServing"]}
