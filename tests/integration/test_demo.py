"""The demonstration: it tells its story to the end, and when it cannot, says so. Either way it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wasm

DEMO = Path(__file__).parents[2] / "examples/demo.py"
PATIENCE_S = 300.0


class Demo:
    """A run of it with the cart written in C, which compiles at once. Its nodes' directories are made in ``directory``."""

    def __init__(self, directory: Path) -> None:
        wasm("cart-c")
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, DEMO, "--language", "c"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "TMPDIR": str(directory)},
        )  # fmt: skip
        self.told = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Reads its output up to a line that fits."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no line fits {pattern!r}:\n{self.told}")

    def end(self) -> int:
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        self.told += rest
        return self.process.returncode

    def left(self) -> list[str]:
        """What it has not cleaned up: files, and processes that were started on them."""
        files = [path.name for path in self.directory.iterdir()]
        return files + [command for command in commands() if str(self.directory) in command]


def commands() -> Iterator[str]:
    """Of all processes that run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    directory = tmp_path / "demo"
    directory.mkdir()
    running = Demo(directory)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
    running.end()


def test_the_story_ends_well(demo: Demo) -> None:
    assert demo.end() == 0, demo.told
    killed, (pid,) = re.findall(r"kill -9 of (node [23])\.", demo.told), re.findall(r"\$ kill -9 (\d+)", demo.told)
    assert re.search(rf"{killed[0]} is ready|nodes 2 and 3 are ready.*\b{pid}\b", demo.told)
    assert re.search(r"ok: kill to answer: \d+\.\d s, from node \d to the caller at node \d", demo.told)
    assert demo.told.count('has the answer: {"ok": {"number": 1,') == 2
    assert "caught up after" in demo.told
    assert len(re.findall(r"\d +node \d  elected by a majority", demo.told)) >= 2, demo.told
    assert re.search(r"\nAll was as it should be, in \d+ seconds\.\n$", demo.told)
    assert demo.left() == []


def test_it_says_when_a_node_dies_that_should_not(demo: Demo) -> None:
    pid = int(demo.wait_for(r"nodes 2 and 3 are ready after .*, processes \d+ and (\d+)")[1])
    os.kill(pid, signal.SIGKILL)
    assert demo.end() == 1
    assert "NOT AS IT SHOULD BE: node 3 ended by itself, with status -9" in demo.told
    assert "The end of the log of node 3:" in demo.told
    assert demo.left() == []


def test_it_can_be_ended(demo: Demo) -> None:
    demo.wait_for(r"node 1 is ready")
    demo.process.terminate()
    assert demo.end() == 128 + signal.SIGTERM, demo.told
    assert demo.left() == []
