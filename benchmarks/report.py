"""What a benchmark found: tables, printed as they come for people and kept as JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cell = str | int | float | None


class Report:
    """``path``: where ``save`` writes the JSON; ``None`` for nowhere."""

    def __init__(self, name: str, path: Path | None) -> None:
        self._path = path
        self._tables: list[dict[str, Any]] = []
        self._name = name
        self._load_before = os.getloadavg()[0]
        self._started = time.time()
        print(f"load average {self._load_before:.1f}")

    def note(self, text: str) -> None:
        """Progress, which is not kept."""
        print(f"  ... {text}", flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Every row has one cell per column; the first column is text."""
        texts = [list(columns), *([_text(cell) for cell in row] for row in rows)]
        widths = [max(len(line[place]) for line in texts) for place in range(len(columns))]
        print(f"\n{title}")
        for line in texts:
            first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            print("  " + "  ".join([line[0].ljust(len(first)), *others]))
        print(flush=True)
        self._tables.append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})

    def save(self) -> None:
        if self._path is None:
            return
        self._path.write_text(
            json.dumps(
                {
                    "benchmark": self._name,
                    "started": self._started,
                    "seconds": round(time.time() - self._started, 1),
                    "load_before": self._load_before,
                    "load_after": os.getloadavg()[0],
                    "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
                    "tables": self._tables,
                }
            )
        )


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case float() if abs(cell) >= 100:
            return f"{cell:,.0f}"
        case float() if abs(cell) >= 10:
            return f"{cell:.1f}"
        case float():
            return f"{cell:.2f}"
        case int():
            return f"{cell:,}"
    return cell


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs, not for figures")
    parser.add_argument("--json", type=Path, default=None, help="write the tables there as well")
    return parser


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of ascending values; 0 when there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
