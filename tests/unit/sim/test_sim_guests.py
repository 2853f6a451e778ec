"""Level 1 with real guests: the model worker as WebAssembly, on the real engine, under a virtual clock. Some ten seconds of CPU."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from golemp2p.runtime import ffi
from golemp2p_node.cli.app import run as command_line
from golemp2p_nodes import guests_wasm
from golemp2p_nodes.fitting import case_of
from golemp2p_nodes.guests import SCRIPTED, WASM, GuestsMissing, make_guests
from golemp2p_nodes.guests_wasm import WasmGuests
from golemp2p_nodes.run import run_case
from golemp2p_sim.case import Case, Result
from golemp2p_sim.model_worker import KINDS
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import load
from golemp2p_sim.units import S

pytestmark = pytest.mark.guests


def case(nodes: int, seconds: int, seed: int) -> Case:
    return case_of(load("everything").changed(nodes=nodes, duration_ns=seconds * S), seed)


def test_real_guests_survive() -> None:
    played = case(5, 12, 31)
    assert {wish.worker.partition("-")[0] for wish in played.wishes} == set(KINDS)
    result = run_case(played, guests=WASM)
    assert result.violations == [], "golemp2p sim replay everything --level 1 --guests wasm --nodes 5 --duration 12s --seed 31"
    assert result.answered == result.asked > 0
    assert result.faults > 0


SMALL = case(3, 5, 13)


@pytest.fixture(scope="module")
def played() -> Result:
    """``SMALL``, played here."""
    result = run_case(SMALL, guests=WASM)
    assert result.faults > 0
    return result


def test_a_seed_is_the_same_in_every_process(played: Result) -> None:
    for hash_seed in (1, 4711):
        assert hash_elsewhere(SMALL, hash_seed, module="golemp2p_nodes", words=("--guests", WASM)) == played.trace_hash
    assert run_case(SMALL, guests=SCRIPTED).trace_hash != played.trace_hash


def test_how_long_a_guest_really_takes_decides_nothing(played: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine; the scheduler of a node shares its event loop's time, and would let others go first."""
    poll, polls = ffi.future_poll, 0

    def slow_poll(future: ffi.Address) -> bool:
        nonlocal polls
        polls += 1
        if polls % 4 == 0:
            later = time.monotonic() + 0.006
            while time.monotonic() < later:
                pass
        return bool(poll(future))

    monkeypatch.setattr(ffi, "future_poll", slow_poll)
    assert run_case(SMALL, guests=WASM).trace_hash == played.trace_hash
    assert polls > 100


def test_it_is_the_component_that_answers(tmp_path: Path) -> None:
    """One constant in its machine code is changed, the polynomial of the lists' checksum: then no list answers as it should."""
    wasm, polynomial = guests_wasm.MODEL.read_bytes(), signed_leb128(0xEDB88320 - (1 << 32))
    assert polynomial in wasm
    other = tmp_path / "other.wasm"
    other.write_bytes(wasm.replace(polynomial, signed_leb128(0xEDB88321 - (1 << 32))))
    lists = replace(SMALL, faults=())
    assert any(wish.operation == ("read",) for wish in lists.wishes)
    result = run_case(lists, guests=WasmGuests.load(other))
    assert [violation.checker for violation in result.violations] == ["linearizability"]
    assert result.violations[0].text.startswith("list-")


def signed_leb128(number: int) -> bytes:
    out = bytearray()
    while not -64 <= number < 64:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number & 0x7F)
    return bytes(out)


def test_it_is_compiled_once() -> None:
    assert make_guests(WASM) is make_guests(WASM)


# -- refusals -----------------------------------------------------------------------------------------------------------------


def test_scripted_runs_know_no_engine() -> None:
    script = "import sys, golemp2p_nodes.run; sys.exit('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0


def test_a_component_that_is_not_built_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(guests_wasm, "MODEL", tmp_path / "model.wasm")
    with pytest.raises(GuestsMissing, match=r"model\.wasm, and it cannot be read: No such file") as caught:
        make_guests(WASM)
    assert "`make examples` builds it" in caught.value.way_out
    (tmp_path / "model.wasm").write_bytes(b"\0asm\x0d\0\x01\0 and then nonsense")
    with pytest.raises(GuestsMissing, match="does not compile"):
        make_guests(WASM)


def test_a_missing_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("golemp2p_nodes.guests_wasm")
    monkeypatch.setitem(sys.modules, "golemp2p_nodes.guests_wasm", None)
    with pytest.raises(GuestsMissing, match="needs the engine") as caught:
        make_guests(WASM)
    assert "`pip install wasmtime`" in caught.value.way_out


# -- commands -----------------------------------------------------------------------------------------------------------------


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = command_line(["sim", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_failing_run_prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    impatient = tmp_path / "impatient.toml"
    crash = '[[fault]]\nkind = "crash"\nat = "1s"\nfor = "1s"'
    impatient.write_text(f'nodes = 3\nduration = "2s"\ndeadline = "1ms"\n{crash}', encoding="utf-8")
    code, out, _ = ran(capsys, "run", str(impatient), "--level", "1", "--guests", "wasm", "--seed", "2")
    assert code == 1
    found = re.search(r"golemp2p sim (replay .* --level 1 --guests wasm --seed 2) +\(trace (\w+)\)", out)
    assert found
    code, out, _ = ran(capsys, *found[1].split())
    assert code == 1
    assert found[2] in out


def test_what_a_command_cannot_play_is_refused_with_a_way_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = ran(capsys, "run", "calm", "--guests", "wasm")
    assert code == 2
    assert "add --level 1" in err
    monkeypatch.setattr(guests_wasm, "MODEL", tmp_path / "model.wasm")
    for command in ("run", "replay"):
        code, _, err = ran(capsys, command, "calm", "--nodes", "3", "--level", "1", "--guests", "wasm")
        assert code == 4
        assert "`make examples` builds it" in err
