"""What ``golemp2p_sim.compiled`` would compile is there. (Compiling takes a minute, and proves itself each time.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import golemp2p
import golemp2p_sim
from golemp2p_sim.compiled import FUTURE, main, modules, obstacle, prepared


def test_every_module_to_be_compiled_exists_and_takes_the_marks() -> None:
    roots = {"golemp2p": golemp2p.__file__, "golemp2p_sim": golemp2p_sim.__file__}
    for path in modules():
        package, _, inside = path.partition("/")
        text = (Path(roots[package] or "").parent / inside).read_text(encoding="utf-8")
        assert FUTURE in text, path


def test_light_dataclasses_get_a_constructor_that_does_the_same() -> None:
    text = f'''{FUTURE}
from golemp2p.model.light import light_dataclass


@light_dataclass(frozen=True, slots=True)
class Point:
    """In a plane."""

    x: int
    y: int = 7
    """Upwards."""

    def sum(self) -> int:
        return self.x + self.y
'''
    module: dict[str, Any] = {}
    exec(prepared(text), module)
    point = module["Point"](5)
    assert (repr(point), point.sum(), replace(point, y=1).y) == ("Point(x=5, y=7)", 12, 1)
    assert point == module["Point"](5, 7)


def test_without_a_compiler_one_line_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main([str(tmp_path / "copy")]) == main(["--check"]) == 1
    assert "apt-get install gcc" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


@pytest.mark.skipif(bool(obstacle()), reason="nothing can be compiled here")
def test_a_directory_that_is_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "is there already" in capsys.readouterr().err
