"""Uploads that show what happens: bytes sent, then how the node's compilation goes, while the request is still under way.

    POST  ──── bytes ────> ....................... waiting for the answer .......................... answer
    GET /v1/mesh/compilations/SHA256               poll     poll     poll  (its own connection and thread)

On a terminal that is a bar and a spinner; otherwise one line per phase. All of it goes to standard error.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import click
import httpx

from golemp2p_node.cli.api import LOOPBACK, Node
from golemp2p_node.cli.framework import wants_json
from golemp2p_node.cli.output import size_text

POLL_INTERVAL_S = 0.25  # smooth to the eye, nothing to the node


class Reporter(Protocol):
    def sent(self, count: int) -> None:
        """``count`` bytes of the file have been sent so far."""
        ...

    def phase(self, name: str) -> None:
        """What the node does with it now: queued, compiling, ready."""
        ...


class Silent:
    """For programs."""

    def sent(self, count: int) -> None: ...

    def phase(self, name: str) -> None: ...


class Lines:
    """For logs and pipes: one line per phase."""

    def __init__(self, file: Path, size: int) -> None:
        self._file, self._size, self._phase = file, size, ""
        click.echo(f"uploading {file.name} ({size_text(size)})", err=True)

    def sent(self, count: int) -> None: ...

    def phase(self, name: str) -> None:
        if name in ("queued", "compiling") and name != self._phase:
            click.echo(f"{name} {self._file.name}", err=True)
        self._phase = name


class Bars:
    """For people at a terminal."""

    def __init__(self, progress: Any, file: Path, size: int) -> None:
        self._progress = progress
        self._task = progress.add_task(f"uploading {file.name}", total=size)
        self._file, self._phase = file, ""

    def sent(self, count: int) -> None:
        self._progress.update(self._task, completed=count)

    def phase(self, name: str) -> None:
        if name != self._phase:
            self._phase = name
            self._progress.update(self._task, description=f"{name} {self._file.name}", total=None)


@contextlib.contextmanager
def reporting(file: Path, size: int) -> Iterator[Reporter]:
    """Whatever suits where standard error goes."""
    if wants_json():
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines(file, size)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield Bars(progress, file, size)


class CountedFile:
    """A file that tells how much of it was read, and when that was all. What httpx's multipart encoder needs, no more."""

    def __init__(self, stream: BinaryIO, report: Callable[[int], None], finished: Callable[[], None]) -> None:
        self._stream, self._report, self._finished, self._count = stream, report, finished, 0

    def fileno(self) -> int:
        return self._stream.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count)
        self._count += len(data)
        self._report(self._count)
        if not data:
            self._finished()
        return data


class CompilationWatch:
    """Polls the state of one compilation from a thread of its own until stopped. Trouble here never hurts the upload."""

    def __init__(self, node: Node, sha256: str, reporter: Reporter) -> None:
        self._url = f"{node.url}/v1/mesh/compilations/{sha256}"
        self._trust_env = httpx.URL(node.url).host not in LOOPBACK
        self._reporter = reporter
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="compilation-watch", daemon=True)

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)

    def _poll(self) -> None:
        with httpx.Client(timeout=5.0, trust_env=self._trust_env) as client:
            while not self._stopped.wait(POLL_INTERVAL_S):
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    response = client.get(self._url)
                    state = response.json() if response.is_success else None
                    if isinstance(state, dict) and isinstance(state.get("phase"), str):
                        self._reporter.phase(state["phase"])


def upload_component(node: Node, path: str, file: Path, fields: dict[str, str]) -> tuple[Any, float]:
    """POST ``file`` as part ``component`` beside ``fields``. Returns the node's answer and the seconds it took."""
    began = time.monotonic()
    size = file.stat().st_size
    with file.open("rb") as stream, reporting(file, size) as reporter:
        watch = CompilationWatch(node, hashlib.file_digest(stream, "sha256").hexdigest(), reporter)
        stream.seek(0)
        body: Any = CountedFile(stream, reporter.sent, watch.start)
        part = {"component": (file.name, body, "application/wasm")}
        try:
            answer = node.json("POST", path, data=fields, files=part, patient=True)
        finally:
            watch.stop()
    return answer, time.monotonic() - began
