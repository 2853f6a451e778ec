"""A worker's events over WebSocket, from a real node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from asking import Call, path, post, unless
from httpx_ws import WebSocketDisconnect, WebSocketSession, WebSocketUpgradeError, connect_ws

FRAME_TIMEOUT_S = 30.0


@contextmanager
def connected(node, component: str, worker: str) -> Iterator[WebSocketSession]:
    """Connected to a worker, which is made if it does not exist."""
    unless(
        ("worker-already-exists", "component-not-found"),
        lambda: post(node, f"/v1/components/{component}/workers", {"name": worker, "args": [], "env": {}}),
    )
    with httpx.Client() as client, connect_ws(f"{node.url}{path(component, worker, '/connect')}", client) as socket:
        yield socket


def events(socket: WebSocketSession, last: Callable[[str, Any], bool]) -> list[tuple[str, Any]]:
    """(kind, body) of each frame, up to and with the one that ``last`` says yes to."""
    found: list[tuple[str, Any]] = []
    while not found or not last(*found[-1]):
        ((kind, body),) = json.loads(socket.receive_text(timeout=FRAME_TIMEOUT_S)).items()
        assert body.pop("timestamp").endswith("Z")
        found.append((kind, body))
    return found


def finished(key: str) -> Callable[[str, Any], bool]:
    return lambda kind, body: kind == "InvocationFinished" and body["idempotency_key"] == key


def output(found: list[tuple[str, Any]], kind: str = "StdOut") -> str:
    return b"".join(bytes(body["bytes"]) for name, body in found if name == kind).decode()


def test_everything_a_worker_does_is_shown_in_order(node, components, worker):
    probe = components["probe"]
    full = "test:probe/api.{print}"
    with connected(node, probe, worker) as socket:
        node.invoke(probe, worker, "print", "hällo", key="one")
        node.invoke(probe, worker, "print-error", "oh", key="two")
        node.invoke(probe, worker, "log", "warn", "shop", "low", key="three")
        found = events(socket, finished("three"))
    kinds = [kind for kind, _ in found]
    assert kinds[0] == "InvocationStart"
    assert set(found[0][1]) == {"function", "idempotency_key"}
    assert found[0][1]["idempotency_key"] == "one"
    assert found[0][1]["function"].replace("@1.0.0", "") == full
    assert kinds.count("InvocationStart") == kinds.count("InvocationFinished") == 3
    assert output(found) == "hällo\n"
    assert output(found, "StdErr") == "oh\n"
    assert [body for kind, body in found if kind == "Log"] == [{"level": "warn", "context": "shop", "message": "low"}]
    assert kinds.index("StdOut") < kinds.index("InvocationFinished") < kinds.index("StdErr") < kinds.index("Log")


def test_a_late_listener_sees_what_was_recent_and_two_listeners_see_the_same(node, components, worker):
    probe = components["probe"]
    node.invoke(probe, worker, "print", "early", key="one")
    with connected(node, probe, worker) as one, connected(node, probe, worker) as other:
        node.invoke(probe, worker, "print", "late", key="two")
        seen = events(one, finished("two"))
        assert events(other, finished("two")) == seen
    assert output(seen) == "early\nlate\n"


def test_a_simulated_crash_shows_nothing_twice(node, components, worker):
    probe = components["probe"]
    with connected(node, probe, worker) as socket:
        waiting = Call(lambda: node.invoke(probe, worker, "sleep-in-steps", 400, key="steps"))
        before = events(socket, lambda kind, body: kind == "StdOut" and b"before" in bytes(body["bytes"]))
        post(node, path(probe, worker, "/interrupt", **{"recovery-immediately": "true"}))
        after = events(socket, finished("steps"))
        waiting.outcome()
        node.invoke(probe, worker, "print", "end", key="end")
        rest = events(socket, finished("end"))
    found = before + after + rest
    assert output(found) == "before\nbetween\nafter\nend\n"
    keys = [(kind, body["idempotency_key"]) for kind, body in found if kind.startswith("Invocation")]
    assert keys == [(kind, key) for key in ("steps", "end") for kind in ("InvocationStart", "InvocationFinished")]


def test_deleting_the_worker_ends_the_stream(node, components, worker):
    counter = components["counter"]
    with connected(node, counter, worker) as socket:
        node.invoke(counter, worker, "add", 1, key="one")
        events(socket, finished("one"))
        node.request("DELETE", path(counter, worker))
        code = None
        while code is None:
            try:
                assert json.loads(socket.receive_text(timeout=FRAME_TIMEOUT_S)) == "Close"
            except WebSocketDisconnect as ended:
                code = ended.code
    assert code == 1000


def test_errors_come_before_the_upgrade(node, components):
    with (
        httpx.Client() as client,
        pytest.raises(WebSocketUpgradeError) as caught,
        connect_ws(f"{node.url}{path(components['counter'], 'nobody', '/connect')}", client),
    ):
        pass
    assert caught.value.response.status_code == 404
    with pytest.raises(WebSocketUpgradeError) as caught, connected(node, "00000000-0000-4000-8000-000000000000", "w"):
        pass
    assert caught.value.response.status_code == 404
    plain = httpx.get(f"{node.url}{path(components['counter'], 'w', '/connect')}")
    assert (plain.status_code, plain.json()["code"]) == (400, "upgrade-required")
