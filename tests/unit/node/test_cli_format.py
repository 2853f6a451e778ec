"""The manners of the command line: --format anywhere, failures of two lines, exit codes, speed, completion, help."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from node_fakes import FakeNode, Run

from golemp2p_node.cli.app import cli

ROOT = Path(__file__).resolve().parents[3]
PATHS = ":".join(str(ROOT / part) for part in ("", "node", "gateway", "simulations"))


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(cli))


def test_the_commands_there_are() -> None:
    assert sorted(" ".join(path) for path in ALL) == sorted(
        [
            "node run", "node config", "component add", "component update", "component list", "component get",
            "component download", "worker new", "worker invoke", "worker get", "worker list", "worker connect",
            "worker oplog", "worker delete", "worker interrupt", "worker resume", "worker simulate-crash", "worker cancel",
            "worker complete-promise", "worker export", "worker verify",
            "mesh invite", "mesh status", "mesh peers", "mesh shards", "mesh ring",
            "mesh leave", "mesh forget", "mesh recover",
            "storage verify", "storage inspect", "storage backup", "sim run", "sim list", "sim replay", "sim shrink",
            "sim report", "completion",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_teaches(path: tuple[str, ...], golemp2p: Run) -> None:
    ran = golemp2p(*path, "--help")
    assert ran.code == 0
    assert f"$ golemp2p {' '.join(path)}" in ran.out or path == ("completion",)
    assert "Examples:" in ran.out
    assert "--format [text|json]" in ran.out


@pytest.mark.parametrize(
    "line",
    [
        ("--format", "json", "component", "list"),
        ("component", "--format", "json", "list"),
        ("component", "list", "--format", "json"),
        ("component", "list", "--format=json"),
        ("--format", "text", "component", "list", "--format", "json"),
    ],
)
def test_format_anywhere(line: tuple[str, ...], golemp2p: Run, node: FakeNode) -> None:
    assert json.loads(golemp2p(*line).out)[0]["componentName"] == "counter"


def test_text_is_the_default_and_can_be_insisted_on(golemp2p: Run, node: FakeNode) -> None:
    assert golemp2p("component", "list").out == golemp2p("--format", "text", "component", "list").out
    assert golemp2p("component", "list").out.splitlines()[0].split() == ["NAME", "VERSION", "KIND", "SIZE", "CREATED", "ID"]


def test_usage_errors_are_two_lines_and_exit_2(golemp2p: Run) -> None:
    ran = golemp2p("worker", "gett", "a/b")
    assert ran.code == 2
    assert ran.err.splitlines() == ["error: No such command 'gett'. Did you mean 'get'?", "  try: see `golemp2p worker --help`"]
    assert ran.out == ""


def test_errors_for_programs(golemp2p: Run) -> None:
    ran = golemp2p("worker", "get", "nowhere", "--format", "json")
    assert ran.code == 2
    error = json.loads(ran.err)["error"]
    assert error["code"] == "usage"
    assert "COMPONENT/WORKER" in error["message"]


def test_no_arguments_is_help(golemp2p: Run) -> None:
    assert "Commands:" in golemp2p().err
    assert golemp2p("worker").code == 2


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_unreachable_says_how_to_start_one(golemp2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = unused_url()
    monkeypatch.setenv("GOLEMP2P_URL", url)
    ran = golemp2p("component", "list")
    assert ran.code == 3
    assert ran.err == (
        f"error: no node answers at {url}\n  try: start one with `golemp2p node run`, or point GOLEMP2P_URL at a running one\n"
    )


@pytest.mark.parametrize("url", ["localhost:9881", "ftp://x", "http://", "http://127.0.0.1:x", "http://[::1"])
def test_bad_url(url: str, golemp2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLEMP2P_URL", url)
    ran = golemp2p("component", "list")
    assert ran.code == 2
    assert "GOLEMP2P_URL" in ran.err


def test_something_else_at_the_address(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/components", b"<html>hello</html>")
    assert "is GOLEMP2P_URL the address of a golemp2p node?" in golemp2p("component", "list").err
    node.on("GET", "/v1/components", b"<html>no</html>", 502)
    assert "502" in golemp2p("component", "list").err


def test_proxies_are_not_asked_about_this_machine(golemp2p: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", unused_url())
    monkeypatch.setenv("http_proxy", unused_url())
    assert golemp2p("component", "list").code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, golemp2p: Run) -> None:
    ran = golemp2p("completion", shell)
    assert ran.code == 0
    assert "_GOLEMP2P_COMPLETE" in ran.out
    assert "%" not in ran.out.replace("%(", "")


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": PATHS, **environment}
    )


def test_completing_asks_the_node(node: FakeNode) -> None:
    node.on(
        "GET", "/v1/components/3f2b8c1e-0000-4000-8000-000000000001/workers", {"workers": [{"workerId": {"workerName": "w1"}}]}
    )
    code = "from golemp2p_node.cli import main; main()"
    asked = {"_GOLEMP2P_COMPLETE": "bash_complete", "GOLEMP2P_URL": node.url, "COMP_CWORD": "3"}
    assert "plain,counter/" in child(code, COMP_WORDS="golemp2p worker get co", **asked).stdout
    assert "plain,counter/w1" in child(code, COMP_WORDS="golemp2p worker get counter/", **asked).stdout
    asked["GOLEMP2P_URL"] = unused_url()
    assert child(code, COMP_WORDS="golemp2p worker get co", **asked).stdout.strip() == ""


def test_help_imports_little() -> None:
    """--help answers at once because nothing heavy is imported."""
    code = (
        "import sys; from golemp2p_node.cli.app import run; run(['--help']); "
        "heavy = {'trio', 'wasmtime', 'hypercorn', 'quart', 'apsw', 'httpx', 'rich', 'nacl', 'cbor2', 'golemp2p'}; "
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    assert "HEAVY []" in child(code).stdout


def test_client_commands_import_no_engine(node: FakeNode) -> None:
    code = (
        "import sys; from golemp2p_node.cli.app import run; assert run(['component', 'list']) == 0; "
        "heavy = {'wasmtime', 'hypercorn', 'quart', 'apsw', 'nacl', 'cbor2'}; "  # httpcore brings trio along
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    ran = child(code, GOLEMP2P_URL=node.url)
    assert "HEAVY []" in ran.stdout, ran.stderr


def test_node_config(golemp2p: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GOLEMP2P_LOG_LEVEL", "debug")
    ran = golemp2p("node", "config", "--http", "127.0.0.1:1", "--set", "limits.memory_bytes_max=1MiB", "--format", "json")
    told = json.loads(ran.out)
    assert told["http"] == {"value": "127.0.0.1:1", "origin": "flag", "detail": "--http"}
    assert told["log.level"] == {"value": "debug", "origin": "environment", "detail": "GOLEMP2P_LOG_LEVEL"}
    assert told["limits.memory_bytes_max"] == {"value": 1 << 20, "origin": "flag", "detail": "--set"}
    assert told["mesh"] == {"value": "127.0.0.1:9882", "origin": "default", "detail": None}
    text = golemp2p("node", "config").out
    assert "environment GOLEMP2P_LOG_LEVEL" in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("--set", "log.levl=debug"), "did you mean log.level"),
        (("--set", "log.level"), "expected KEY=VALUE"),
        (("--http", "0.0.0.0:80"), "no authority configured"),
        (("--config", "/none.toml"), "cannot be read"),
    ],
)
def test_bad_settings_exit_2(line: tuple[str, ...], says: str, golemp2p: Run) -> None:
    ran = golemp2p("node", "config", *line)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.splitlines()) == 2
