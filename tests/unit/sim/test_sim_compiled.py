"""What ``golemp2p_sim.compiled`` would compile is there. (Compiling takes a minute, and proves itself each time.)"""

from __future__ import annotations

from pathlib import Path

import pytest

import golemp2p
import golemp2p_sim
from golemp2p_sim.compiled import FUTURE, main, modules


def test_every_module_to_be_compiled_exists_and_takes_the_marks() -> None:
    roots = {"golemp2p": golemp2p.__file__, "golemp2p_sim": golemp2p_sim.__file__}
    for path in modules():
        package, _, inside = path.partition("/")
        text = (Path(roots[package] or "").parent / inside).read_text(encoding="utf-8")
        assert FUTURE in text, path


def test_a_directory_that_is_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "is there already" in capsys.readouterr().err
