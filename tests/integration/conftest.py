"""Real nodes for the tests of this folder: one for all that do not hurt it, and as many as a test wants to kill."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from golemp2p.testing.node_process import NodeProcess

BUILD = Path(__file__).parents[2] / "examples" / "build"


def wasm(name: str) -> Path:
    """A built guest component. Missing is a failure, not a reason to skip: `make test` builds them first."""
    path = BUILD / f"{name}.wasm"
    assert path.exists(), f"{path} is missing: run `make examples`"
    return path


class Components:
    """Components of one node, uploaded on first use."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._ids: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._ids:
            self._ids[name] = self._node.add_component(name, wasm(name))
        return self._ids[name]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Nodes of one's own, started by the test, ended with it. Settings are given as keyword arguments."""
    made: list[NodeProcess] = []

    def make(**settings: str) -> NodeProcess:
        made.append(NodeProcess(tmp_path / f"node{len(made)}", **settings))
        return made[-1]

    yield make
    for node in made:
        node.kill()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The node that tests share. Nobody kills it."""
    shared = NodeProcess(tmp_path_factory.mktemp("shared") / "data")
    shared.start()
    yield shared
    assert shared.terminate() == 0, shared.log_path.read_text()[-4000:]


@pytest.fixture(scope="session")
def components(node: NodeProcess) -> Components:
    return Components(node)


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def worker(request: pytest.FixtureRequest, _numbers: Iterator[int]) -> str:
    """A worker name nobody else uses."""
    return f"{request.node.originalname}-{next(_numbers)}"
