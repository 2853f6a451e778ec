"""Where our own sources are, as the house tests see them: files that git tracks or would track."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"golemp2p": ROOT / "golemp2p", "golemp2p_node": ROOT / "node", "golemp2p_gateway": ROOT / "gateway"}


@cache
def files() -> tuple[str, ...]:
    """Paths relative to the root; ignored files are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = listed.stdout.decode().split("\0")
    return tuple(sorted(path for path in paths if path and (ROOT / path).is_file()))


def python_files(*folders: str) -> list[str]:
    """Python sources under ``folders``, all of ours by default."""
    chosen = folders or ("golemp2p/", "node/", "gateway/", "tests/", "benchmarks/", "examples/", "simulations/", ".ci/")
    return [path for path in files() if path.endswith(".py") and path.startswith(chosen)]


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def imports(path: str) -> set[str]:
    """Top-level names of everything imported in a file, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
