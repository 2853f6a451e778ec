"""Log lines: one per event whatever its fields hold, and readable by programs when asked."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from golemp2p_node.logging_setup import configure
from golemp2p_node.settings import LogSettings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(settings: LogSettings, event: str, level: int = logging.INFO, **fields: object) -> str:
    stream = io.StringIO()
    configure(settings, stream)
    logging.getLogger("golemp2p.test").log(level, event, extra=fields)
    return stream.getvalue()


def test_text_line() -> None:
    line = logged(LogSettings(), "worker_resumed", worker="c/w", took_s=0.25, note="two words", none=None)
    assert line.endswith('golemp2p.test worker_resumed worker=c/w took_s=0.25 note="two words" none=null\n')
    assert line[10] == "T"
    assert " info " in line


def test_json_line() -> None:
    body = json.loads(logged(LogSettings(format="json"), "worker_resumed", worker="c/w", count=3))
    assert body["event"] == "worker_resumed"
    assert (body["level"], body["logger"], body["worker"], body["count"]) == ("info", "golemp2p.test", "c/w", 3)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_fields_cannot_forge_lines(kind: str) -> None:
    line = logged(LogSettings(format=kind), "e", worker="x\n2026 forged line\x1b[31m")  # type: ignore[arg-type]
    assert line.count("\n") == 1
    assert "\x1b" not in line


@pytest.mark.parametrize("kind", ["text", "json"])
def test_long_fields_are_cut(kind: str) -> None:
    assert len(logged(LogSettings(format=kind), "e", blob="x" * 100_000)) < 10_000  # type: ignore[arg-type]


def test_levels() -> None:
    assert logged(LogSettings(level="warning"), "quiet") == ""
    assert logged(LogSettings(level="warning"), "loud", logging.WARNING) != ""
    assert logged(LogSettings(level="debug"), "chatty", logging.DEBUG) != ""


def test_traceback_is_indented_in_text_and_a_field_in_json() -> None:
    for kind in ("text", "json"):
        stream = io.StringIO()
        configure(LogSettings(format=kind), stream)  # type: ignore[arg-type]
        try:
            raise ValueError("broken\nin two")
        except ValueError:
            logging.getLogger("t").exception("failed")
        output = stream.getvalue()
        if kind == "json":
            assert "ValueError" in json.loads(output)["exception"]
        else:
            assert all(line.startswith("    ") for line in output.splitlines()[1:])
            assert "ValueError: broken" in output


def test_configuring_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(LogSettings(), first)
    configure(LogSettings(), second)
    logging.getLogger("t").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
