"""``connection`` replaces parts of Hypercorn 0.18. If what it replaces has changed, this says so before anything subtle does:
read the new version, carry the changes over, and record its hashes here."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import pytest
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer


def fingerprint(part: Any) -> str:
    return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (TCPServer, "5593e38b83d3"),
        (ProtocolWrapper, "caf949187e9b"),
        (H11Protocol, "b32a61e0a8ca"),
        (HTTPStream, "e0f656feb55a"),
        (WSStream, "67434c428a1a"),
        (TaskGroup, "8467a3a16a7e"),
    ],
)
def test_what_we_subclass_is_what_we_read(part: Any, expected: str) -> None:
    assert fingerprint(part) == expected, f"{part.__name__} changed in this version of Hypercorn"
