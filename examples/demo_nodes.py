"""What the demonstration stands on: node processes of its own, questions to them over HTTP, and a cart that any of them answers for."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sysconfig
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

GOLEMP2P = Path(sysconfig.get_path("scripts")) / "golemp2p"

READY_WITHIN_S = 30
ANSWERED_WITHIN_S = 60
COMPILED_WITHIN_S = 150  # 15 CPU-seconds for a Python guest on the machine this was written on
STOPPED_WITHIN_S = 20
PRIMARY = "x-golemp2p-primary"


class DemoFailed(Exception):
    """Something was not as it should be."""


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


def patiently(seconds: float, otherwise: str, nodes: Sequence[Node], pause_s: float = 0.1) -> Iterator[float]:
    """Yields the seconds that have passed, again and again. Raises ``DemoFailed`` when there were too many, or when one of ``nodes``
    has ended."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        yield passed
        for node in nodes:
            node.check_running()
        time.sleep(pause_s)
    raise DemoFailed(f"{otherwise} within {seconds} s")


@dataclass
class Took:
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.seconds * 1000:.0f} ms" if self.seconds < 1 else f"{self.seconds:.1f} s"


@contextmanager
def timed() -> Iterator[Took]:
    """How long the block took, once it is over."""
    took, began = Took(), time.monotonic()
    yield took
    took.seconds = time.monotonic() - began


# -------------------------------------------------------------------------------------------------------------- the nodes


@dataclass(eq=False)
class Node:
    """A node process of our own. ``log`` is its output, of all its lives."""

    number: int
    data_dir: Path
    port: int
    mesh_port: int
    process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"node {self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir.with_suffix(".log")

    @property
    def pid(self) -> int:
        return self.running.pid

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "it was started"
        return self.process

    def command(self, *more: str) -> list[str]:
        addresses = ["--http", f"127.0.0.1:{self.port}", "--mesh", f"127.0.0.1:{self.mesh_port}"]
        return [str(GOLEMP2P), "node", "run", "--data-dir", str(self.data_dir), *addresses, *more]

    def as_typed(self, *more: str) -> str:
        return shlex.join(["golemp2p", *self.command(*more)[1:]])

    def start(self, *more: str) -> None:
        # Nothing of the caller's settings may leak in: the demonstration is of nodes as they come.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLEMP2P_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*more), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def wait_ready(self) -> None:
        for _ in patiently(READY_WITHIN_S, f"{self} did not answer", [self], 0.05):
            try:
                if request(self, "GET", "/healthcheck", timeout_s=2).status == 200:
                    return
            except OSError:
                continue

    def check_running(self) -> None:
        status = self.running.poll()
        check(status is None, f"{self} ended by itself, with status {status}")

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed, nobody says goodbye."""
        self.running.kill()
        status = self.running.wait(timeout=10)
        check(status == -signal.SIGKILL, f"{self} was already gone, with status {status}")

    def end(self) -> None:
        """Whatever state it is in; repeating it is safe."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


def stop(nodes: Sequence[Node]) -> None:
    """SIGTERM to all, and wait."""
    for node in nodes:
        node.running.terminate()
    for node in nodes:
        status = node.running.wait(timeout=STOPPED_WITHIN_S)
        check(status == 0, f"{node} ended with status {status}")


def make_nodes(directory: Path, count: int) -> list[Node]:
    """Not started yet; on ports that are free now."""
    ports = free_ports(2 * count)
    return [Node(n + 1, directory / f"node{n + 1}", ports[2 * n], ports[2 * n + 1]) for n in range(count)]


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


# -------------------------------------------------------------------------------------------------------------- their HTTP


class Answer(NamedTuple):
    """``primary``: where the node that runs the worker serves HTTP, in answers about a worker."""

    status: int
    body: bytes
    primary: str | None


def request(
    node: Node,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout_s: float = ANSWERED_WITHIN_S,
) -> Answer:
    """Raises ``OSError`` (also for a connection that breaks in the middle of an answer), ``DemoFailed`` when the node has ended."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=timeout_s)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.getheader(PRIMARY))
    except (OSError, http.client.HTTPException) as broken:
        with suppress(subprocess.TimeoutExpired):  # a process that is killed loses its connections first
            node.running.wait(0.1)
        node.check_running()
        raise ConnectionError(f"the connection to {node} broke: {broken!r}") from broken
    finally:
        connection.close()


def succeeded(answer: Answer, what: str) -> Any:
    """The JSON in it."""
    check(answer.status == 200, f"{what} was answered with {answer.status}: {answer.body[:500].decode(errors='replace')}")
    return json.loads(answer.body)


def request_json(node: Node, method: str, path: str, **arguments: Any) -> Any:
    return succeeded(request(node, method, path, **arguments), f"{method} {path} at {node}")


def upload(node: Node, name: str, wasm: bytes) -> str:
    """Adds a component; returns its id."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="component"; filename="{name}.wasm"\r\n'.encode(),
        b"Content-Type: application/wasm\r\n\r\n" + wasm + f"\r\n--{boundary}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = request_json(node, "POST", "/v1/components", body=b"".join(parts), headers=headers, timeout_s=COMPILED_WITHIN_S)
    return str(answer["versionedComponentId"]["componentId"])


@dataclass(frozen=True)
class Cart:
    """A worker of the component, asked through any node."""

    component: str
    worker: str

    @property
    def path(self) -> str:
        return f"/v1/components/{self.component}/workers/{self.worker}"

    def call(self, node: Node, function: str, *params: Any, key: str | None = None) -> tuple[Any, str | None]:
        """The function's result as JSON, and where the node that computed it serves HTTP."""
        query = urllib.parse.urlencode({"function": function})
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        body = json.dumps({"params": params}).encode()
        answer = request(node, "POST", f"{self.path}/invoke-and-await?{query}", body, headers, timeout_s=COMPILED_WITHIN_S)
        return succeeded(answer, f"{function} of {self.worker} at {node}")["result"]["value"][0], answer.primary

    def invoke(self, node: Node, function: str, *params: Any, key: str | None = None) -> Any:
        return self.call(node, function, *params, key=key)[0]

    def as_typed(self, node: Node, function: str, *params: Any, key: str | None = None) -> tuple[str, str]:
        """The call as curl and as a command line."""
        url = f"{node.url}{self.path}/invoke-and-await?function={function}"
        header = f" -H 'Idempotency-Key: {key}'" if key else ""
        arguments = " ".join(shlex.quote(json.dumps(param)) for param in params)
        option = f" --idempotency-key {key}" if key else ""
        return (
            f"curl '{url}'{header} --json {shlex.quote(json.dumps({'params': params}))}",
            f"GOLEMP2P_URL={node.url} golemp2p worker invoke cart/{self.worker} {function} {arguments}".rstrip() + option,
        )

    def oplog(self, node: Node) -> list[dict[str, Any]]:
        """All entries: each has ``type``, and a line of the log ``message``."""
        entries: list[dict[str, Any]] = []
        while True:
            page = request_json(node, "GET", f"{self.path}/oplog?from={len(entries) + 1}&count=200")
            entries += [item["entry"] for item in page["entries"]]
            if not page["entries"] or len(entries) >= page["lastIndex"]:
                return entries

    def log_lines(self, node: Node) -> list[str]:
        return [entry["message"].strip() for entry in self.oplog(node) if entry["type"] == "Log"]


@dataclass
class Call:
    """An invocation on a thread of its own: ``answer`` or ``broken`` when it is over, at ``over_at`` of the monotonic clock."""

    cart: Cart
    node: Node
    function: str
    key: str
    answer: Any = None
    primary: str | None = None
    broken: Exception | None = None
    over_at: float = 0.0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.answer, self.primary = self.cart.call(self.node, self.function, key=self.key)
        except Exception as error:  # noqa: BLE001 - looked at by whoever waits for the thread
            self.broken = error
        self.over_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        return not self.thread.is_alive()

    def check_answered(self) -> None:
        if self.broken is not None:
            raise DemoFailed(f"who waits at {self.node} got no answer: {self.broken}") from self.broken
