"""Who may import whom: the contracts of pyproject.toml hold, and cover everything there is."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house import PACKAGES, ROOT, files, imports, python_files, tree

HOMES = {
    "wasmtime": ("golemp2p/runtime/",),
    "kademlia": ("golemp2p/core/",),
    "apsw": ("golemp2p/storage/",),
    "nacl": ("golemp2p/wire/", "golemp2p/mesh/"),
    "hypercorn": ("gateway/",),
    "quart": ("gateway/",),
    "quart_trio": ("gateway/",),
    "prometheus_client": ("gateway/",),
    "click": ("node/",),
    "rich": ("node/",),
    "httpx": ("node/",),
    "httpx_ws": ("node/",),
    "zeroconf": ("node/",),
    "asyncio": (),
}
"""Outside library -> the only folders that may import it: what is imported in one place can be replaced in one place."""

WORLD = {
    "time", "random", "secrets", "os", "io", "sys", "socket", "select", "selectors", "signal", "subprocess", "threading",
    "multiprocessing", "concurrent", "asyncio", "trio", "anyio", "logging", "tempfile", "shutil", "pathlib", "glob",
    "urllib", "http", "ssl", "sqlite3", "contextvars", "datetime",
}  # fmt: skip
"""What a core must be given instead of reaching for it: time, randomness, files, network, tasks, logs."""

WORLDLY_CALLS = {"open", "print", "input", "exec", "eval", "id", "hash", "uuid1", "uuid4", "now", "utcnow", "urandom"}
"""Calls whose answer is not decided by their arguments (``hash`` of a text varies from process to process)."""


def test_contracts_hold() -> None:
    """In a process of its own: Import Linter configures logging, which turns off every logger there is."""
    tool = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([tool, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_part_of_the_library_has_a_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sources = {name for contract in settings["tool"]["importlinter"]["contracts"] for name in contract["source_modules"]}
    parts = {path.split("/")[1].removesuffix(".py") for path in python_files("golemp2p/")} - {"__init__"}
    unchecked = {part for part in parts if f"golemp2p.{part}" not in sources}
    assert unchecked == set()


@pytest.mark.parametrize("library", HOMES)
def test_outside_libraries_live_in_one_place(library: str) -> None:
    ours = python_files("golemp2p/", "node/", "gateway/")
    strays = [path for path in ours if library in imports(path) and not path.startswith(HOMES[library] or "-")]
    assert strays == []


CORES = python_files("golemp2p/core/", "golemp2p/model/", "golemp2p/errors.py")


def test_thinking_imports_nothing_of_the_world() -> None:
    assert {path: found for path in CORES if (found := imports(path) & WORLD)} == {}


def test_thinking_neither_waits_nor_asks_the_world() -> None:
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    nodes = [(path, node) for path in CORES for node in ast.walk(tree(path))]
    assert [f"{path}:{node.lineno}" for path, node in nodes if isinstance(node, waiting)] == []
    calls = [(path, node) for path, node in nodes if isinstance(node, ast.Call)]
    assert [f"{path}:{call.lineno}" for path, call in calls if called(call) in WORLDLY_CALLS] == []


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def test_the_library_is_imported_by_its_own_name() -> None:
    """Bare ``node`` and ``gateway`` are folders, never packages: those names belong to others."""
    assert [path for path in python_files() if imports(path) & {"node", "gateway"}] == []
    assert not any(path in {"node/__init__.py", "gateway/__init__.py"} for path in files())
    assert all((folder / name).is_dir() or folder.name == name for name, folder in PACKAGES.items())
