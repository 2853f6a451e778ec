"""Three real nodes, one system: whichever of them is asked, whichever dies, freezes or is restarted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from asking import Call, logged, names, path, post, refused, until
from conftest import wasm
from httpx_ws import connect_ws
from test_events import events, finished

from golemp2p.testing.mesh_process import MeshProcess
from golemp2p.testing.node_process import NodeProcess

SUSPEND_AFTER_S = "0.3"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshProcess]:
    mesh = MeshProcess(tmp_path_factory.mktemp("mesh"), workers_suspend_after_s=SUSPEND_AFTER_S)
    try:
        mesh.start()
        yield mesh
    finally:
        mesh.kill()


@pytest.fixture(scope="module")
def errand(shared: MeshProcess) -> str:
    """Uploaded at a node that founded nothing."""
    return shared[1].add_component("errand", wasm("errand"))


@pytest.fixture
def mesh(shared: MeshProcess, errand: str) -> MeshProcess:
    """All three nodes run, and every shard is led, whatever the test before did to them."""
    for node in shared:
        if not node.is_running:
            node.spawn()
    for node in shared:
        node.wait_ready()
    shared.wait_led()
    return shared


def roles(mesh: MeshProcess, component: str, worker: str) -> tuple[NodeProcess, NodeProcess, NodeProcess]:
    """Who leads the worker, and two who do not."""
    leader = mesh.leader(component, worker)
    return leader, *(node for node in mesh if node is not leader)  # type: ignore[return-value]


def test_a_component_uploaded_anywhere_runs_everywhere(mesh, errand):
    for number, node in enumerate(mesh):
        assert [c["componentName"] for c in node.request("GET", "/v1/components")] == ["errand"]
        assert node.invoke(errand, f"everywhere-{number}", "add", 1) == 1
    for node in mesh:
        assert [node.invoke(errand, f"everywhere-{number}", "get") for number in range(3)] == [1, 1, 1]


def test_any_node_answers_for_a_worker_that_another_leads(mesh, errand, worker):
    leader, other, third = roles(mesh, errand, worker)
    post(other, path(errand), {"name": worker, "args": ["x"], "env": {"A": "b"}})
    with refused(409, "worker-already-exists"):
        post(third, path(errand), {"name": worker, "args": [], "env": {}})
    assert third.worker(errand, worker) == other.worker(errand, worker) == leader.worker(errand, worker)
    for node in mesh:
        assert httpx.get(f"{node.url}{path(errand, worker)}").headers["x-golemp2p-primary"] == leader.url
    with httpx.Client() as client, connect_ws(f"{third.url}{path(errand, worker, '/connect')}", client) as socket:
        assert other.invoke(errand, worker, "work", 50, key="one") == 1
        found = events(socket, finished("one"))
    assert [body["message"] for kind, body in found if kind == "Log"] == ["began", "ended"]
    assert other.invoke(errand, worker, "work", 50, key="one") == 1  # the same key, the same work
    assert other.oplog(errand, worker) == third.oplog(errand, worker) == leader.oplog(errand, worker)
    for node in mesh:
        assert worker in names(node.request("GET", path(errand, count=100)))
    other.request("DELETE", path(errand, worker))
    for node in mesh:
        with refused(404, "worker-not-found"):
            node.worker(errand, worker)
        assert worker not in names(node.request("GET", path(errand, count=100)))


def test_a_promise_is_completed_through_a_node_that_does_not_lead(mesh, errand, worker):
    leader, other, third = roles(mesh, errand, worker)
    index = other.invoke(errand, worker, "ask")
    waiting = Call(lambda: third.invoke(errand, worker, "answer", key="answer"))
    until(lambda: leader.worker(errand, worker)["status"] in ("Running", "Suspended"), "it waits for the promise")
    assert complete(other, errand, worker, index, b"yes") is True
    assert waiting.outcome() == list(b"yes")
    assert complete(third, errand, worker, index, b"no") is False


def complete(node: NodeProcess, component: str, worker: str, index: int, data: bytes) -> bool:
    return bool(post(node, path(component, worker, "/complete"), {"oplogIdx": index, "data": list(data)}))


def test_a_caller_at_a_third_node_gets_its_answer_although_the_owner_is_killed(mesh, errand, worker):
    leader, other, third = roles(mesh, errand, worker)
    waiting = Call(lambda: third.invoke(errand, worker, "work", 2000, key="k"))
    until(lambda: logged(other, errand, worker) == ["began"], "it works")
    leader.kill()
    assert waiting.outcome() == 1
    for node in (other, third):
        assert node.invoke(errand, worker, "work", 2000, key="k") == 1
        assert node.invoke(errand, worker, "get") == 1
        assert logged(node, errand, worker) == ["began", "ended"]  # each once, over both nodes


def test_timers_and_promises_of_a_dead_node_fire_elsewhere(mesh, errand, worker):
    leader, other, third = roles(mesh, errand, worker)
    asking = mesh.worker_led_by(leader, errand, "asking")
    index = third.invoke(errand, asking, "ask")
    third.enqueue(errand, asking, "answer", key="answer")
    third.enqueue(errand, worker, "work", 2500, key="nap")
    for name in (worker, asking):
        third.wait_for(errand, name, "Suspended")
    leader.kill()
    assert complete(other, errand, asking, index, b"\x07") is True
    assert third.invoke(errand, asking, "answer", key="answer") == [7]
    until(lambda: logged(other, errand, worker) == ["began", "ended"], "the timer fires")
    assert third.invoke(errand, worker, "work", 0, key="nap") == 1


def test_a_frozen_node_commits_and_answers_nothing_stale_when_it_thaws(mesh, errand, worker):
    leader, other, third = roles(mesh, errand, worker)
    acknowledged = other.invoke(errand, worker, "add", 1)
    load = Load(mesh, errand, worker, other)
    try:
        until(lambda: load.count > 5, "there is load")
        leader.freeze()
        stuck = [
            Call(lambda: leader.invoke(errand, worker, "get")),
            Call(lambda: leader.invoke(errand, worker, "add", 1, key="x")),
        ]
        before = load.count
        until(lambda: load.count > before + 5, "others go on")
        acknowledged = third.invoke(errand, worker, "add", 1, key="x")
        leader.thaw()
        assert stuck[0].outcome() >= acknowledged
        assert stuck[1].outcome() == acknowledged
        mesh.wait_led()
        before = load.count
        until(lambda: load.count > before + 5, "and on")
    finally:
        leader.thaw()
        load.stop()
    assert load.problems == []
    assert {node.invoke(errand, worker, "get") for node in mesh} == {load.count + 2}
    assert leader.request("GET", "/v1/mesh/status")["state"] == "member"


class Load(threading.Thread):
    """Adds one again and again through ``node``; ``count``: so often."""

    def __init__(self, mesh: MeshProcess, component: str, worker: str, node: NodeProcess) -> None:
        super().__init__()
        self.count = 0
        self.problems: list[str] = []
        self._ask: Callable[[], int] = lambda: node.invoke(component, worker, "add", 1)
        self._told_to_stop = threading.Event()
        self.start()

    def run(self) -> None:
        last = 0
        while not self._told_to_stop.is_set():
            try:
                value = self._ask()
            except Exception as error:
                self.problems.append(repr(error))
                return
            if value <= last:
                self.problems.append(f"{value} after {last}")
            last = value
            self.count += 1

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(60)
        assert not self.is_alive()


def test_nodes_find_each_other_again_without_the_founder(mesh, errand, worker):
    founder, *others = mesh
    assert founder.request("GET", "/v1/mesh/status")["isFounder"] is True
    assert others[0].invoke(errand, worker, "add", 5) == 5
    for node in mesh:
        node.kill()
    for node in others:
        node.spawn()
    for node in others:
        node.wait_ready()
    mesh.wait_led(others)
    assert [node.invoke(errand, worker, "add", 1) for node in others] == [6, 7]


def test_a_rolling_restart_fails_no_request(mesh, errand):
    """Each client goes to whatever node is in rotation and retries nothing; what a node that is stopped has taken, it answers."""
    rotation = Rotation(list(mesh))
    clients = [Client(rotation, errand, f"rolling-{number}") for number in range(4)]
    try:
        for node in mesh:
            until(lambda: all(client.fresh > 10 for client in clients), "clients are served")
            rotation.leave(node)
            assert node.terminate() == 0, node.log_path.read_text()[-4000:]
            node.start()
            mesh.wait_led()
            rotation.enter(node)
            for client in clients:
                client.fresh = 0
    finally:
        for client in clients:
            client.stop()
    assert [problem for client in clients for problem in client.problems] == []
    assert {client.worker: mesh[0].invoke(errand, client.worker, "get") for client in clients} == {
        client.worker: client.count for client in clients
    }


class Rotation:
    """The nodes that clients are sent to, in turn."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        self._nodes = nodes
        self._turn = 0

    def leave(self, node: NodeProcess) -> None:
        self._nodes = [other for other in self._nodes if other is not node]

    def enter(self, node: NodeProcess) -> None:
        self._nodes = [*self._nodes, node]

    def next(self) -> NodeProcess:
        nodes, self._turn = self._nodes, self._turn + 1
        return nodes[self._turn % len(nodes)]


class Client(threading.Thread):
    """``count``: answers so far, each one more than the last; ``fresh``: of these, since it was last set to 0."""

    def __init__(self, rotation: Rotation, component: str, worker: str) -> None:
        super().__init__()
        self.count = self.fresh = 0
        self.worker = worker
        self.problems: list[str] = []
        self._rotation, self._component = rotation, component
        self._told_to_stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._told_to_stop.is_set():
            node = self._rotation.next()
            began = time.monotonic()
            try:
                value = node.invoke(self._component, self.worker, "add", 1)
            except Exception as error:
                self.problems.append(f"after {time.monotonic() - began:.2f} s at {node.data_dir.name}: {error!r}")
                return
            self.count += 1
            self.fresh += 1
            if value != self.count:
                self.problems.append(f"{value} instead of {self.count}")

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(60)
        assert not self.is_alive()
