"""Rows that nothing names: nobody would ever delete them."""

from pathlib import Path

import apsw


def nothing_is_left_over(folder: Path) -> None:
    """Bytes without a segment, or segments without bytes, would stay for good."""
    connection = apsw.Connection(str(folder / "storage.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    owned = "SELECT id FROM segments WHERE count > 0 UNION ALL SELECT id FROM staged"
    assert connection.execute(f"SELECT count(*) FROM payloads WHERE id NOT IN ({owned})").get == 0
    assert connection.execute(f"SELECT count(*) FROM ({owned}) WHERE id NOT IN (SELECT id FROM payloads)").get == 0
    named = (
        "SELECT key FROM heads UNION SELECT key FROM undescribed UNION SELECT log FROM base_heads UNION SELECT log FROM entries"
    )
    assert connection.execute(f"SELECT count(*) FROM segments WHERE log NOT IN ({named} WHERE log IS NOT NULL)").get == 0
    tombstones = "SELECT count(*) FROM segments WHERE count = 0 AND id NOT IN (SELECT id FROM entries)"
    assert connection.execute(tombstones).get == 0
    connection.close()
