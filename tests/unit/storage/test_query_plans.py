"""Every query on a hot path is answered from an index, without sorting: it stays fast with millions of rows."""

from pathlib import Path
from typing import Any

import pytest

from golemp2p.storage import readers
from golemp2p.storage.database import open_writer

QUERIES: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "segments": (readers.SEGMENTS, (b"", 1, 1), "segments_by_index"),
    "segments, small": (readers.SEGMENTS_SMALL, (b"", 1, 1), "segments_by_index"),
    "head": (readers.HEAD, (b"",), "sqlite_autoindex_heads_1"),
    "heads": (readers.HEADS, ("worker", "", "", 10), "heads_by_identity"),
    "heads of a prefix": (readers.HEADS_BELOW, ("worker", "", "a", "b", 10), "heads_by_identity"),
    "heads with open work": (readers.HEADS_OPEN, (), "heads_open"),
    "heads due": (readers.HEADS_DUE, (1, 10), "heads_waking"),
    "next wake": (readers.NEXT_WAKE, (), "heads_waking"),
    "meta": (readers.META, ("",), "PRIMARY KEY"),
    "deletion": ("DELETE FROM segments WHERE log = ?", (b"",), "segments_by_index"),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_an_index_answers(tmp_path: Path, query: tuple[str, tuple[Any, ...], str]) -> None:
    sql, args, index = query
    connection = open_writer(tmp_path / "storage.sqlite")
    plan = [row[-1] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, args)]
    connection.close()
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    assert not any(step.startswith("SCAN") and "INDEX" not in step for step in plan), plan
