"""A scripted node for tests of the command line: real HTTP on a free loopback port, canned answers, requests recorded.

Not faithful: it checks nothing about requests, and answers one at a time per connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

COMPONENT_ID = "3f2b8c1e-0000-4000-8000-000000000001"


@dataclass
class Seen:
    """One request as it came. ``path`` is decoded, ``raw_path`` as sent."""

    method: str
    raw_path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Ran(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
Answer = tuple[int, Any]
Responder = Callable[[Seen], Answer]


@dataclass
class FakeNode:
    """``answers``: (method, path) -> (status, JSON or bytes), or a function of the request. Unknown paths are 404. ``headers``: in all
    answers."""

    answers: dict[tuple[str, str], Answer | Responder] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        self.answers[method, path] = answer if callable(answer) else (status, answer)

    def last(self, method: str) -> Seen:
        return [request for request in self.seen if request.method == method][-1]

    def answer(self, request: Seen) -> Answer:
        self.seen.append(request)
        found = self.answers.get((request.method, request.path))
        if found is None:
            return 404, {"code": "unknown-route", "message": f"no {request.path}", "error": ""}
        return found(request) if callable(found) else found


def component(name: str = "counter", version: int = 0, **more: Any) -> dict[str, Any]:
    """A component as the REST API tells it."""
    u64 = {"type": "U64"}
    add = {"name": "add", "parameters": [{"name": "n", "typ": u64}], "results": [{"name": None, "typ": u64}]}
    return {
        "versionedComponentId": {"componentId": COMPONENT_ID, "version": version},
        "componentName": name,
        "componentSize": 2048,
        "metadata": {"exports": [{"type": "Instance", "name": "demo:counter/api", "functions": [add]}]},
        "createdAt": "2026-11-22T10:00:00.000000Z",
        "componentType": "Durable",
        "env": {"LEVEL": "debug"},
        **more,
    }


def worker(name: str = "mine", **more: Any) -> dict[str, Any]:
    return {
        "workerId": {"componentId": COMPONENT_ID, "workerName": name},
        "args": [],
        "env": {},
        "status": "Idle",
        "componentVersion": 0,
        "retryCount": 0,
        "pendingInvocationCount": 0,
        "createdAt": "2026-11-22T10:00:00.000000Z",
        "totalLinearMemorySize": 65536,
        "ownedResources": {},
        **more,
    }


def serve(node: FakeNode) -> ThreadingHTTPServer:
    """Start answering for ``node`` on a thread; the caller shuts the server down."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qs(parts.query, keep_blank_values=True)
            request = Seen(self.command, parts.path, query, headers, self.rfile.read(length))
            status, answer = node.answer(request)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in {"Content-Type": "application/json", **node.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PUT = handle_any

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    node.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
