"""Fixtures of the command-line tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "drivers"))  # histories are forged there

from node_fakes import FakeNode, Ran, Run, component, serve

from golemp2p_node.cli.app import run


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    """A scripted node that has the component ``counter``; ``GOLEMP2P_URL`` points at it."""
    fake = FakeNode()
    server = serve(fake)
    fake.on("GET", "/v1/components", lambda request: (200, _named(request)))
    monkeypatch.setenv("GOLEMP2P_URL", fake.url)
    yield fake
    server.shutdown()
    server.server_close()


def _named(request: Any) -> list[Any]:
    name = request.query.get("component-name", ["counter"])[0]
    return [component()] if name == "counter" else []


@pytest.fixture
def golemp2p(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line in this process."""

    def go(*arguments: str) -> Ran:
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return go
