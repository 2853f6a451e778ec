"""What stands in the files: nothing unfinished, nothing silenced without a reason, nothing too long to hold in the head."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import PurePosixPath

import pytest
from house import ROOT, files, python_files, tree

TOP_LEVEL = {
    "README.md", "LICENSE", "pyproject.toml", "Makefile", ".gitignore", ".ci", "golemp2p", "node", "gateway", "wit", "tests",
    "simulations", "benchmarks", "examples", "docs", "deploy",
}  # fmt: skip

OURS = python_files("golemp2p/", "node/", "gateway/", "simulations/")
LINES_MAX = 500
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
SILENCED = re.compile(r"#\s*(?:type:\s*ignore(?!\[)|noqa(?!:\s*[A-Z]+\d))")
TEXTS = {".py", ".md", ".toml", ".wit", ".wat", ".c", ".zig", ".js", ".rs", ".sh", ".yml", ""}


def test_root_listing() -> None:
    """A newcomer sees the whole map in one listing; a new entry is a decision."""
    assert {path.split("/")[0] for path in files()} - TOP_LEVEL == set()


def test_nothing_unfinished() -> None:
    texts = [path for path in files() if PurePosixPath(path).suffix in TEXTS]
    assert [place for path in texts for place in lines_with(UNFINISHED, path)] == []


def test_nothing_silenced_wholesale() -> None:
    assert [place for path in python_files() for place in lines_with(SILENCED, path)] == []


def lines_with(pattern: re.Pattern[str], path: str) -> list[str]:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [f"{path}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]


def test_modules_fit_in_the_head() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert {path: count for path, count in lengths.items() if count > LINES_MAX} == {}


def test_modules_say_what_they_are_for() -> None:
    assert [path for path in OURS if tree(path).body and not ast.get_docstring(tree(path))] == []


@pytest.mark.parametrize("path", [path for path in OURS if "__all__" in (ROOT / path).read_text(encoding="utf-8")])
def test_exports_are_there(path: str) -> None:
    defined: set[str] = set()
    exported: list[str] = []
    body = tree(path).body
    under_conditions = [inner for node in body if isinstance(node, ast.If) for inner in (*node.body, *node.orelse)]
    for node in (*body, *under_conditions):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                defined.update(alias.asname or alias.name for alias in names)
            case ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                exported = ast.literal_eval(value)
            case ast.Assign(targets=targets):
                defined.update(target.id for target in targets if isinstance(target, ast.Name))
    assert set(exported) - defined == set()
    assert len(exported) == len(set(exported))


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports test files by their base name: two of one name hide each other."""
    names = Counter(PurePosixPath(path).name for path in python_files("tests/") if "/test_" in path)
    assert [name for name, count in names.items() if count > 1] == []


def test_unit_tests_never_sleep() -> None:
    calls = ((path, node) for path in python_files("tests/unit/") for node in ast.walk(tree(path)))
    assert [f"{path}:{node.lineno}" for path, node in calls if isinstance(node, ast.Call) and is_sleep(node)] == []


def is_sleep(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "time.sleep"


def test_no_binaries() -> None:
    """Guests are built from sources that a person can read, never committed."""
    binary = [path for path in files() if b"\0" in (ROOT / path).read_bytes()[:8192]]
    assert binary == []
