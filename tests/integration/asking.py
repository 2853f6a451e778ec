"""What the tests of this folder ask again and again, and how they wait."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golemp2p.testing.node_process import NodeProcess, Refused

JSON = {"Content-Type": "application/json"}


@contextmanager
def refused(status: int, code: str) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """The block must end in an answer with this status and code."""
    with pytest.raises(Refused) as caught:
        yield caught
    assert (caught.value.status, caught.value.body["code"]) == (status, code), caught.value


def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """The first true answer of ``condition``."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)
    return answer


def unless(codes: tuple[str, ...], call: Callable[[], Any]) -> Any:
    """The answer of ``call``, or ``None`` when it is refused with one of these codes; other refusals are raised."""
    try:
        return call()
    except Refused as refusal:
        if refusal.body["code"] not in codes:
            raise
        return None


class Call(threading.Thread):
    """``call`` on a thread of its own. ``outcome()`` waits for the result, or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self._result: Any = None
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:
            self._error = error

    def outcome(self, timeout_s: float = 60.0) -> Any:
        self.join(timeout_s)
        assert not self.is_alive(), f"no answer within {timeout_s} s"
        if self._error is not None:
            raise self._error
        return self._result


def path(component: str, worker: str = "", suffix: str = "", **query: Any) -> str:
    """The path of a worker, or with ``worker=""`` of all workers of a component."""
    name = f"/{urllib.parse.quote(worker, safe='')}" if worker else ""
    asked = f"?{urllib.parse.urlencode(query, doseq=True)}" if query else ""
    return f"/v1/components/{component}/workers{name}{suffix}{asked}"


def post(node: NodeProcess, where: str, body: Any = None) -> Any:
    return node.request("POST", where, None if body is None else json.dumps(body).encode(), JSON)


def names(page: Any) -> list[str]:
    return [worker["workerId"]["workerName"] for worker in page["workers"]]


def types(entries: list[Any]) -> list[str]:
    return [item["entry"]["type"] for item in entries]


def logged(node: NodeProcess, component: str, worker: str) -> list[str]:
    """What the worker printed and logged; the ends of lines, which Python writes apart, are left out."""
    try:
        entries = node.oplog(component, worker)
    except Refused:
        return []  # it does not exist yet
    messages = [item["entry"]["message"] for item in entries if item["entry"]["type"] == "Log"]
    return [message for message in messages if message != "\n"]


def metric(node: NodeProcess, name: str) -> float:
    """A counter or gauge of the node; 0 when it has none of that name yet."""
    text = node.request("GET", "/metrics").decode()
    found = re.search(rf"^golemp2p_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
