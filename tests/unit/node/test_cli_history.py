"""``golemp2p worker export`` and ``worker verify`` against a scripted node, and over files that were made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from history_forge import STRANGER, A, B, Forge
from node_fakes import COMPONENT_ID, FakeNode, Run

from golemp2p.model import entries as e

HISTORY = f"/v1/mesh/history/{COMPONENT_ID}/mine"


def forged(*entries: object) -> Forge:
    return Forge().usual(*entries)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.history"
    path.write_bytes(forged().file())
    return path


# -------------------------------------------------------------------------------------------------------------------- export


def test_export_writes_what_the_node_gives(golemp2p: Run, node: FakeNode, tmp_path: Path) -> None:
    node.on("GET", HISTORY, lambda request: (200, b"h" * 3000))
    path = tmp_path / "mine.history"
    ran = golemp2p("worker", "export", "counter/mine", "-o", str(path))
    assert (ran.code, ran.out) == (0, f"wrote {path} (2.9 KiB)\n")
    assert path.read_bytes() == b"h" * 3000
    assert node.last("GET").query == {}
    ran = golemp2p("worker", "export", "counter/mine", "-o", str(path), "--without-component", "--format", "json")
    assert json.loads(ran.out) == {"file": str(path), "bytes": 3000}
    assert node.last("GET").query == {"without-component": ["true"]}
    assert list(tmp_path.iterdir()) == [path]


def test_export_to_standard_output(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", HISTORY, lambda request: (200, b"history"))
    ran = golemp2p("worker", "export", "counter/mine", "-o", "-")
    assert (ran.code, ran.out) == (0, "history")


def test_export_of_nothing_leaves_nothing(golemp2p: Run, node: FakeNode, tmp_path: Path) -> None:
    node.on("GET", HISTORY, {"code": "worker-not-found", "message": "no such worker", "error": ""}, status=404)
    ran = golemp2p("worker", "export", "counter/mine", "-o", str(tmp_path / "mine"))
    assert (ran.code, ran.err.splitlines()[0]) == (4, "error: no such worker")
    assert list(tmp_path.iterdir()) == []


def test_export_to_where_nothing_can_be_written(golemp2p: Run, node: FakeNode, tmp_path: Path) -> None:
    node.on("GET", HISTORY, lambda request: (200, b"h"))
    ran = golemp2p("worker", "export", "counter/mine", "-o", str(tmp_path / "nowhere" / "mine"))
    assert ran.code == 1
    assert "cannot be written: No such file or directory" in ran.err


# -------------------------------------------------------------------------------------------------------------------- verify


def test_verify_tells_everything(golemp2p: Run, sound: Path) -> None:
    forge = forged()
    ran = golemp2p("worker", "verify", str(sound), "--no-run")
    assert ran.code == 5
    for text in (
        f"mesh:{forge.genesis.mesh_id.hex()}",
        str(forge.id),
        "1 entries in 1 segments",
        "elected by a majority",
        "not shown: 1",
        "was not run again, as asked",
        "incomplete: nothing is wrong, but not all of it could be shown",
    ):
        assert text in ran.out, text
    assert "checking hashes" in ran.err


def test_verify_for_programs(golemp2p: Run, sound: Path) -> None:
    ran = golemp2p("worker", "verify", str(sound), "--no-run", "--format", "json")
    told = json.loads(ran.out)
    assert (ran.code, ran.err, told["verdict"]) == (5, "", "incomplete")
    assert told["logs"][0]["terms"] == [
        {
            "term": 1,
            "node": told["logs"][0]["terms"][0]["node"],
            "publicKey": A.public_key.hex(),
            "firstIndex": 1,
            "lastIndex": 1,
            "segments": 1,
            "standing": "elected",
            "vouchedByTerm": None,
        }
    ]
    assert told["logs"][0]["seal"]["position"] == 99
    assert [log["kind"] for log in told["logs"]] == ["worker", "component"]
    assert told["run"] is None
    assert told["wrong"] == {"count": 0, "listed": []}
    assert told["notShown"]["count"] == 1


def test_verify_says_what_is_wrong(golemp2p: Run, tmp_path: Path) -> None:
    forge = forged()
    forge.worker.write(STRANGER, 2, e.NoOp(1))
    forge.worker.write(B, 1, e.NoOp(1))
    path = tmp_path / "forged.history"
    path.write_bytes(forge.file())
    ran = golemp2p("worker", "verify", str(path))
    assert ran.code == 1
    assert "wrong: 1\n  worker log, index 2: written in term 2 by" in ran.out
    assert ran.out.splitlines()[-1].startswith("WRONG")
    told = json.loads(golemp2p("worker", "verify", str(path), "--format", "json").out)
    assert told["wrong"]["listed"][0]["index"] == 2


def test_verify_of_bytes_that_are_no_history(golemp2p: Run, tmp_path: Path) -> None:
    path = tmp_path / "picture.gif"
    path.write_bytes(b"GIF89a" + bytes(500))
    ran = golemp2p("worker", "verify", str(path))
    assert ran.code == 1
    assert "not the history of a worker" in ran.out


def test_verify_forges_no_terminal(golemp2p: Run, tmp_path: Path) -> None:
    forge = forged(e.ExportedFunctionInvoked(1, "f", "\x1b[2Jkey", b""), e.ExportedFunctionInvoked(1, "f", "other", b""))
    path = tmp_path / "h"
    path.write_bytes(forge.file())
    ran = golemp2p("worker", "verify", str(path), "--no-run")
    assert "\\x1b[2Jkey" in ran.out
    assert "\x1b" not in ran.out


def test_verify_demands_a_mesh(golemp2p: Run, sound: Path) -> None:
    mesh = forged().genesis.mesh_id.hex()
    for text in (f"mesh:{mesh}", mesh):
        assert golemp2p("worker", "verify", str(sound), "--no-run", "--mesh", text).code == 5
    ran = golemp2p("worker", "verify", str(sound), "--no-run", "--mesh", "mesh:" + "00" * 32)
    assert ran.code == 1
    assert f"is of mesh {mesh}, not of mesh 0000" in ran.out


def test_verify_asks_a_node(golemp2p: Run, node: FakeNode) -> None:
    forge = forged()
    node.on("GET", HISTORY, lambda request: (200, forge.file()))
    node.on("GET", "/v1/mesh/node", {"node": "node:1", "mesh": f"mesh:{forge.genesis.mesh_id.hex()}"})
    assert golemp2p("worker", "verify", "counter/mine", "--no-run").code == 5
    node.on("GET", "/v1/mesh/node", {"node": "node:1", "mesh": "mesh:" + "11" * 32})
    assert golemp2p("worker", "verify", "counter/mine", "--no-run").code == 1  # of another mesh than the node's


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no-such-file"], "there is no file 'no-such-file', and it names no worker"),
        (["{nowhere}"], "there is no file '/"),
        (["./alice.history"], "there is no file './alice.history'"),
        (["{sound}", "--mesh", "mesh:abc"], "expected mesh: and 64 hexadecimal digits"),
        (["{sound}", "--wall-time-max", "0"], "must be positive"),
        (["{sound}", "--memory-max", "much"], "Invalid value for --memory-max"),
        (["{sound}", "--component", "{nowhere}"], "does not exist"),
    ],
)
def test_wrong_usage(golemp2p: Run, sound: Path, arguments: list[str], text: str) -> None:
    filled = [argument.format(sound=sound, nowhere=sound.with_name("nowhere")) for argument in arguments]
    ran = golemp2p("worker", "verify", *filled)
    assert ran.code == 2
    assert text in ran.err


def test_verify_with_another_component(golemp2p: Run, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = tmp_path / "other.wasm"
    other.write_bytes(b"\0asm")
    ran = golemp2p("worker", "verify", str(sound), "--component", str(other))
    assert ran.code == 2
    assert "is not the component that the worker runs" in ran.err


def test_verify_of_a_component_that_cannot_be_run(
    golemp2p: Run, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ran = golemp2p("worker", "verify", str(sound))
    assert ran.code == 5
    assert "cannot be run here" in ran.out
    assert (tmp_path / "cache" / "golemp2p" / "verify").stat().st_mode & 0o077 == 0
