"""The node's REST API, as the command line needs it: one connection, errors in two lines, long listings page by page.

Paths and shapes are Golem's (``/openapi.json`` of a running node describes them); ``/v1/mesh`` holds what is ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from golemp2p_node.cli.framework import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNREACHABLE, EXIT_USAGE, Failure, fail

DEFAULT_URL = "http://127.0.0.1:9881"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0  # for everything but waiting for a guest
PRIMARY = "x-golemp2p-primary"  # in answers about a worker: the address of the node that runs it
LOOPBACK = ("127.0.0.1", "localhost", "::1")

MAJORITY = "`golemp2p mesh peers` shows which nodes are there: whatever is asked for needs a majority of its shard's voters"
HINTS = {
    "component-not-found": "`golemp2p component list` shows which there are",
    "component-already-exists": "`golemp2p component update NAME FILE.wasm` adds a version to it",
    "invalid-component": "components are WebAssembly components (not core modules); `wasm-tools validate FILE` says more",
    "worker-not-found": "`golemp2p worker list COMPONENT` shows its workers; the first invocation of a name creates one",
    "worker-already-exists": "invoke it, or delete it first with `golemp2p worker delete COMPONENT/WORKER`",
    "function-not-found": "`golemp2p component get COMPONENT --wit` prints the functions it exports",
    "wrong-arity": "`golemp2p component get COMPONENT --wit` prints the parameters of each function",
    "value-mismatch": "`golemp2p component get COMPONENT --wit` prints the type of every parameter",
    "promise-not-found": "`golemp2p worker oplog COMPONENT/WORKER` shows where promises were created",
    "payload-too-large": "send less; `golemp2p node config` shows the limits that can be raised, requests.*",
    "guest-trapped": "`golemp2p worker oplog COMPONENT/WORKER` shows what it did before",
    "unknown-import": "this node does not provide that host function; the component needs another one",
    "limit-exceeded": "the limits.* settings of the node (`golemp2p node config`) set what one worker may use",
    "previous-invocation-failed": "`golemp2p worker get COMPONENT/WORKER` shows the error; delete the worker to start afresh",
    "previous-invocation-exited": "the worker called exit and is finished; delete it to start afresh",
    "worker-interrupted": "`golemp2p worker resume COMPONENT/WORKER` lets it go on",
    "divergence": "the component does not repeat what it did; `golemp2p worker oplog COMPONENT/WORKER` shows the history",
    "misdirected-request": "use the node's address in GOLEMP2P_URL, or add the name to its setting http_hosts",
    "unknown-route": "GOLEMP2P_URL is the address of a node without any path behind it, like http://127.0.0.1:9881",
    "overloaded": "try again in a moment",
    "draining": "the node is shutting down; try again when it is back, or ask another node",
    "moved": "another node has taken over; try again",
    "unavailable": MAJORITY,
    "deadline-exceeded": MAJORITY,
    "unreachable": MAJORITY,
    "storage-full": "make room on the disk of the node's data directory",
    "node-not-found": "`golemp2p mesh peers` lists the nodes of this mesh",
    "shard-not-found": "`golemp2p mesh shards --all` lists the shards of this mesh",
    "not-local": "run the command on the machine of the node, with GOLEMP2P_URL naming its address there",
    "data-damaged": "`golemp2p storage verify` on the node's machine says what is damaged",
}


class Node:
    """A node as seen from here. A context manager; every method raises ``Failure``."""

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or os.environ.get("GOLEMP2P_URL") or DEFAULT_URL).rstrip("/")
        host = host_of(self.url)
        if host is None:
            fail(
                f"GOLEMP2P_URL is {self.url!r}, which is not an http:// address",
                f"set it like this: export GOLEMP2P_URL={DEFAULT_URL}",
                code="invalid-url",
                exit_code=EXIT_USAGE,
            )
        self.client = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=host not in LOOPBACK,  # no proxy stands between this machine and itself
        )

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, method: str, path: str, *, patient: bool = False, **request: Any) -> httpx.Response:
        """The response, its body read. ``patient`` waits for a guest as long as it takes."""
        if patient:
            request["timeout"] = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        with self.translated():
            response = self.client.request(method, path, **request)
        raise_for_status(response)
        return response

    def json(self, method: str, path: str, *, patient: bool = False, **request: Any) -> Any:
        return decoded(self.send(method, path, patient=patient, **request))

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns httpx's transport errors into ``Failure``."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failure(
                f"no node answers at {self.url}",
                "start one with `golemp2p node run`, or point GOLEMP2P_URL at a running one",
                code="unreachable",
                exit_code=EXIT_UNREACHABLE,
            ) from error
        except httpx.TransportError as error:
            raise Failure(
                f"the connection to {self.url} broke: {error or type(error).__name__}",
                "the request may or may not have been carried out; look before you repeat it",
                code="connection-lost",
                exit_code=EXIT_UNREACHABLE,
            ) from error

    def component_id(self, name_or_id: str) -> str:
        """The id behind a name; an id is taken as it is."""
        try:
            return str(uuid.UUID(name_or_id))
        except ValueError:
            pass
        versions = self.json("GET", "/v1/components", params={"component-name": name_or_id})
        if not versions:
            fail(
                f"there is no component called {name_or_id!r}",
                HINTS["component-not-found"],
                code="component-not-found",
                exit_code=EXIT_NOT_FOUND,
            )
        return str(versions[-1]["versionedComponentId"]["componentId"])

    def workers_path(self, component: str) -> str:
        return f"/v1/components/{self.component_id(component)}/workers"

    def worker_path(self, target: tuple[str, str]) -> str:
        component, worker = target
        return f"{self.workers_path(component)}/{quote(worker, safe='')}"


def host_of(url: str) -> str | None:
    """The host that an http(s) address names; ``None`` when it is not one."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return parsed.host if parsed.scheme in ("http", "https") and parsed.host else None


def decoded(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Failure(
            f"{response.url} answered something that is not JSON: {response.text[:80]!r}",
            "is GOLEMP2P_URL the address of a golemp2p node?",
            code="not-a-node",
        ) from error


def raise_for_status(response: httpx.Response) -> None:
    """Raises the node's own error, with advice; a stranger's error page as well as can be."""
    if response.is_success:
        return
    try:
        body = json.loads(response.text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "code" not in body:
        fail(
            f"{response.url} answered {response.status_code} {response.reason_phrase}",
            "is GOLEMP2P_URL the address of a golemp2p node?",
            code="not-a-node",
        )
    code, message = str(body["code"]), message_of(body)
    exit_code = EXIT_NOT_FOUND if response.status_code == 404 or code == "invocation-not-found" else EXIT_FAILED
    raise Failure(message, HINTS.get(code, ""), code=code, exit_code=exit_code)


def message_of(body: Mapping[str, Any]) -> str:
    for text in (body.get("message"), body.get("error"), *(body.get("errors") or ())):
        if isinstance(text, str):
            return text
    return str(body["code"])
