"""``golemp2p component`` against a scripted node: what is sent, and what is shown."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from node_fakes import COMPONENT_ID, FakeNode, Run, Seen, component

BASE = f"/v1/components/{COMPONENT_ID}"
WASM = b"\0asm\x0d\0\x01\0" + bytes(100_000)


@pytest.fixture
def wasm(tmp_path: Path) -> Path:
    file = tmp_path / "counter.wasm"
    file.write_bytes(WASM)
    return file


def parts(seen: Seen) -> dict[str, bytes]:
    """The multipart body, read by the standard library's parser."""
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + seen.body)
    found: dict[str, bytes] = {}
    for part in message.iter_parts():  # type: ignore[attr-defined]
        name = part.get_param("name", header="content-disposition")
        found[name] = part.get_payload(decode=True)
    return found


def test_add_sends_all_parts(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    node.on("POST", "/v1/components", component())
    ran = golemp2p("component", "add", "counter", str(wasm), "--ephemeral", "--env", "A=1", "--env", "B=x=y")
    assert ran.code == 0
    sent = parts(node.last("POST"))
    assert sent["name"] == b"counter"
    assert sent["componentType"] == b"Ephemeral"
    assert json.loads(sent["env"]) == {"keyValues": {"A": "1", "B": "x=y"}}
    assert sent["component"] == WASM
    assert ran.out.startswith("counter version 0 is ready (durable, 2.0 KiB, ")
    assert COMPONENT_ID in ran.out


def test_add_for_programs_is_the_nodes_answer(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    node.on("POST", "/v1/components", component())
    ran = golemp2p("--format", "json", "component", "add", "counter", str(wasm))
    assert json.loads(ran.out) == component()
    assert ran.err == ""
    assert "env" not in parts(node.last("POST"))


def test_add_shows_compilation_while_it_waits(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    """The POST is answered only after the compilation was polled: progress runs beside the request."""

    polled = threading.Event()

    def slow(request: Seen) -> tuple[int, Any]:
        assert polled.wait(10)
        return 200, component()

    def compiling(request: Seen) -> tuple[int, Any]:
        polled.set()
        return 200, {"phase": "compiling", "elapsedSeconds": 1.0, "sizeBytes": 1, "error": None}

    node.on("POST", "/v1/components", slow)
    node.on("GET", f"/v1/mesh/compilations/{hashlib.sha256(WASM).hexdigest()}", compiling)
    ran = golemp2p("component", "add", "counter", str(wasm))
    assert ran.code == 0
    assert "uploading counter.wasm (97.7 KiB)" in ran.err
    assert "compiling counter.wasm" in ran.err


def test_a_name_taken_says_update(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    body = {"code": "component-already-exists", "message": "component 'counter' exists", "error": "component 'counter' exists"}
    node.on("POST", "/v1/components", body, 409)
    ran = golemp2p("component", "add", "counter", str(wasm))
    assert ran.code == 1
    assert ran.err.splitlines()[-2:] == [
        "error: component 'counter' exists",
        "  try: `golemp2p component update NAME FILE.wasm` adds a version to it",
    ]


@pytest.mark.parametrize("line", [("none.wasm",), ("FILE", "--env", "A"), ("FILE", "--env", "=1")])
def test_add_refuses_before_sending(golemp2p: Run, node: FakeNode, wasm: Path, line: tuple[str, ...]) -> None:
    ran = golemp2p("component", "add", "counter", *(str(wasm) if word == "FILE" else word for word in line))
    assert ran.code == 2
    assert node.seen == []


def test_update_keeps_what_is_not_told(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    node.on("POST", f"{BASE}/updates", component(version=1))
    assert golemp2p("component", "update", "counter", str(wasm)).code == 0
    assert set(parts(node.last("POST"))) == {"component"}
    golemp2p("component", "update", COMPONENT_ID, str(wasm), "--durable", "--env", "A=1")
    assert set(parts(node.last("POST"))) == {"component", "componentType", "env"}


def test_unknown_component_exits_4(golemp2p: Run, node: FakeNode, wasm: Path) -> None:
    ran = golemp2p("component", "update", "nobody", str(wasm))
    assert ran.code == 4
    assert "there is no component called 'nobody'" in ran.err
    assert "component list" in ran.err


def test_list_shows_the_latest_version_of_each(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/components", [component("b", 0), component("a", 1), component("a", 0)])
    lines = golemp2p("component", "list").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["a", "1"], ["b", "0"]]


def test_list_of_one_shows_all_its_versions(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/components", [component("a", 0), component("a", 1)])
    assert len(golemp2p("component", "list", "a").out.splitlines()) == 3
    assert node.last("GET").query == {"component-name": ["a"]}


def test_empty_lists_say_what_to_do(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/components", [])
    assert "component add" in golemp2p("component", "list").out
    assert "no component is called 'x'" in golemp2p("component", "list", "x").out
    assert json.loads(golemp2p("component", "list", "--format", "json").out) == []


def test_get_shows_facts_and_functions(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", f"{BASE}/latest", component())
    out = golemp2p("component", "get", "counter").out
    assert "demo:counter/api.{add}(n: u64) -> u64" in out
    assert "LEVEL=debug" in out
    node.on("GET", f"{BASE}/versions/3", component(version=3))
    assert json.loads(golemp2p("component", "get", COMPONENT_ID, "--version", "3", "--format", "json").out) == component(
        version=3
    )


def test_get_wit(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", f"{BASE}/latest", component(version=2))
    node.on("GET", f"/v1/mesh/components/{COMPONENT_ID}/versions/2/wit", b"package demo:counter;\n")
    assert golemp2p("component", "get", "counter", "--wit").out == "package demo:counter;\n"
    assert json.loads(golemp2p("component", "get", "counter", "--wit", "--format", "json").out) == {
        "wit": "package demo:counter;\n"
    }


def test_download(golemp2p: Run, node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node.on("GET", f"{BASE}/download", WASM)
    assert golemp2p("component", "download", "counter").code == 0
    assert (tmp_path / "counter.wasm").read_bytes() == WASM
    assert golemp2p("component", "download", "counter", "--version", "1", "-o", "one.wasm").code == 0
    assert node.last("GET").query == {"version": ["1"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter.wasm", "one.wasm"]
    ran = golemp2p("component", "download", "counter", "-o", "no/such/place.wasm")
    assert ran.code == 1
    assert "cannot write no/such/place.wasm" in ran.err


def test_names_of_strangers_cannot_steer_the_terminal(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/components", [component("evil\x1b]0;owned\x07[bold]x[/bold]")])
    out = golemp2p("component", "list").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]x[/bold]" in out
