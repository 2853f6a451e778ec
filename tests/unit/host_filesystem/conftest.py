from __future__ import annotations

from pathlib import Path

import pytest
from filesystem_fakes import Guest, Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "world" / "files")


@pytest.fixture
def guest(worker: Worker) -> Guest:
    return worker.start()
