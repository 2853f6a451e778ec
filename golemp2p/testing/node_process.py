"""A real node in a process of its own, for tests and benchmarks: started, asked over HTTP, killed, started again on the same data."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid
from pathlib import Path
from typing import Any, Protocol

COMMAND = Path(sys.executable).with_name("golemp2p")
READY_DEADLINE_S = 60.0


class Refused(Exception):
    """The node answered with an error status."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


class Place(Protocol):
    """Where a node runs. ``host``: the address there at which other nodes reach it."""

    host: str

    def command(self, command: list[str]) -> list[str]:
        """``command``, so that it runs there, under the process id that it is started with."""
        ...

    def connect(self, port: int, timeout_s: float) -> socket.socket:
        """To ``port`` of the loopback address there. Raises ``OSError``."""
        ...


class Loopback:
    """This machine's own network."""

    host = "127.0.0.1"

    def command(self, command: list[str]) -> list[str]:
        return command

    def connect(self, port: int, timeout_s: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout_s)


class NodeProcess:
    """``settings`` are environment variables without their ``GOLEMP2P_`` prefix. Its ports are the same over all its lives."""

    def __init__(self, data_dir: Path, place: Place | None = None, **settings: str) -> None:
        self.data_dir = data_dir
        self.name = data_dir.name
        self.place = place or Loopback()
        self.port, self.mesh_port = _free_port(), _free_port()
        self.log_path = data_dir.with_suffix(".log")
        self._environment = {
            **os.environ,
            **{f"GOLEMP2P_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._is_told_to_end = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Also while it is frozen."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_lost(self) -> bool:
        """It ended, and nobody told it to."""
        return not self.is_running and self._process is not None and not self._is_told_to_end

    def start(self, **settings: str) -> None:
        """Returns when the node answers. ``settings``: of this life only."""
        self.spawn(**settings)
        self.wait_ready()

    def spawn(self, **settings: str) -> None:
        """As ``start``, without waiting."""
        self._is_told_to_end = False
        once = {f"GOLEMP2P_{name.upper()}": value for name, value in settings.items()}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                self.place.command(self._command()),
                stdout=log,
                stderr=log,
                env={**self._environment, **once},
            )

    def wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the node ended with {self._process.returncode}:\n{self.log_path.read_text()}")
            if self._answers():
                return
            time.sleep(0.02)
        raise AssertionError(f"the node did not answer within {READY_DEADLINE_S} s:\n{self.log_path.read_text()}")

    def _answers(self) -> bool:
        try:
            self.request("GET", "/healthcheck")
        except OSError:
            return False
        return True

    def _command(self) -> list[str]:
        addresses = ["--http", f"127.0.0.1:{self.port}", "--mesh", f"{self.place.host}:{self.mesh_port}"]
        return [str(COMMAND), "node", "run", "--data-dir", str(self.data_dir), *addresses]

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        if self._process is not None and self._process.poll() is None:
            self._is_told_to_end = True
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it holds everything it has, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._is_told_to_end = True
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float = 30.0) -> int:
        assert self._process is not None
        return self._process.wait(timeout_s)

    # -- HTTP -----------------------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, timeout_s: float = 60.0
    ) -> Any:
        """The decoded JSON answer. Raises ``Refused`` for error statuses, ``OSError`` when the node is not there or dies."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.sock = self.place.connect(self.port, timeout_s)
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            data = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
        content = json.loads(data) if "json" in (response.getheader("content-type") or "") else data
        if response.status >= 400:
            raise Refused(response.status, content)
        return content

    def add_component(self, name: str, wasm: Path, *, ephemeral: bool = False) -> str:
        """Returns the component's id."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode(),
            f'--{boundary}\r\nContent-Disposition: form-data; name="componentType"\r\n\r\n'
            f"{'Ephemeral' if ephemeral else 'Durable'}\r\n".encode(),
            f'--{boundary}\r\nContent-Disposition: form-data; name="component"; filename="c.wasm"\r\n'
            f"Content-Type: application/wasm\r\n\r\n".encode()
            + wasm.read_bytes()
            + b"\r\n",
            f"--{boundary}--\r\n".encode(),
        ]
        answer = self.request(
            "POST",
            "/v1/components",
            b"".join(parts),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
            timeout_s=180,
        )
        return str(answer["versionedComponentId"]["componentId"])

    def invoke(
        self, component: str, worker: str, function: str, *params: Any, key: str | None = None, timeout_s: float = 60.0
    ) -> Any:
        """The bare result value, ``None`` when the function has none."""
        answer = self.request(
            "POST",
            f"{self._worker(component, worker)}/invoke-and-await?function={urllib.parse.quote(function)}",
            json.dumps({"params": list(params)}).encode(),
            {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})},
            timeout_s,
        )
        value = answer["result"]["value"]
        return value[0] if value else None

    def enqueue(self, component: str, worker: str, function: str, *params: Any, key: str | None = None) -> None:
        self.request(
            "POST",
            f"{self._worker(component, worker)}/invoke?function={urllib.parse.quote(function)}",
            json.dumps({"params": list(params)}).encode(),
            {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})},
        )

    def worker(self, component: str, worker: str) -> Any:
        return self.request("GET", self._worker(component, worker))

    def oplog(self, component: str, worker: str) -> list[Any]:
        """All public entries, page by page."""
        entries: list[Any] = []
        first = 1
        while True:
            page = self.request("GET", f"{self._worker(component, worker)}/oplog?count=1000&from={first}")
            entries += page["entries"]
            if not page.get("next"):
                return entries
            first = entries[-1]["oplogIndex"] + 1

    def wait_for(self, component: str, worker: str, status: str, timeout_s: float = 30.0) -> Any:
        """Until the worker exists and has this status; its metadata."""
        deadline = time.monotonic() + timeout_s
        while True:
            metadata = self._worker_if_any(component, worker)
            if metadata is not None and metadata["status"] == status:
                return metadata
            assert time.monotonic() < deadline, f"worker {worker} is {metadata}, not {status}, after {timeout_s} s"
            time.sleep(0.02)

    def _worker_if_any(self, component: str, worker: str) -> Any:
        try:
            return self.worker(component, worker)
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None

    @staticmethod
    def _worker(component: str, worker: str) -> str:
        return f"/v1/components/{component}/workers/{urllib.parse.quote(worker, safe='')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
