"""Every query on a hot path is answered from an index, without sorting: it stays fast with millions of rows."""

from pathlib import Path
from typing import Any

import pytest

from golemp2p.storage import readers, replica_reading, replica_rows
from golemp2p.storage.database import open_writer

QUERIES: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "segments": (readers.SEGMENTS, (b"", 1, 1), "PRIMARY KEY (log=? AND life=? AND first>?)"),
    "segments, small": (readers.SEGMENTS_SMALL, (b"", 1, 1), "PRIMARY KEY (log=? AND life=? AND first>?)"),
    "pieces": (replica_reading.PIECES, (b"", 1, 2), "PRIMARY KEY (log=? AND life=? AND first>? AND first<?)"),
    "pieces at the base": (
        replica_reading.PIECES_AT_BASE,
        (b"", 1, 2),
        "PRIMARY KEY (log=? AND life=? AND first>? AND first<?)",
    ),
    "is here": (replica_reading.IS_HERE, (b"", 1), "sqlite_autoindex_heads_1"),
    "milestones": (replica_reading.MILESTONES, (1,), "PRIMARY KEY"),
    "head": (readers.HEAD, (b"",), "sqlite_autoindex_heads_1"),
    "heads": (readers.HEADS, ("[1]", "worker", "", "", 10), "heads_by_identity"),
    "heads of a prefix": (readers.HEADS_BELOW, ("[1]", "worker", "", "a", 10, "b"), "heads_by_identity"),
    "heads with open work": (readers.HEADS_OPEN, (1,), "heads_open"),
    "heads due": (readers.HEADS_DUE, ("[1]", 1, 10), "heads_waking"),
    "next wake": (readers.NEXT_WAKE, ("[1]",), "COVERING INDEX heads_waking"),
    "meta": (readers.META, ("",), "PRIMARY KEY"),
    "the newest rows of a log": (replica_rows.NEWEST, (b"",), "PRIMARY KEY (log=?)"),
    "the last entry of a log": (replica_rows.LAST_OF_LOG, (1, b""), "entries_by_position (shard=?)"),
    "deletions that are compacted": (replica_rows.DELETIONS, (1, 2), "entries_deleting"),
    "compaction": ("DELETE FROM entries WHERE shard = ? AND position <= ?", (1, 2), "entries_by_position"),
    "the end of a life": ("DELETE FROM segments WHERE log = ? AND life < ?", (b"", 1), "PRIMARY KEY (log=? AND life<?)"),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_an_index_answers(tmp_path: Path, query: tuple[str, tuple[Any, ...], str]) -> None:
    sql, args, index = query
    connection = open_writer(tmp_path / "storage.sqlite")
    plan = [row[-1] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, args)]
    connection.close()
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    assert not any(step.startswith("SCAN") and "INDEX" not in step and step != "SCAN CONSTANT ROW" for step in plan), plan


def test_the_start_reads_every_table_in_one_pass(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "storage.sqlite")
    plan = [row[-1] for row in connection.execute("EXPLAIN QUERY PLAN " + replica_reading.ENTRIES)]
    connection.close()
    assert plan == ["SCAN e", "SEARCH p USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"]
