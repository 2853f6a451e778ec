"""Settings as tables: for a terminal, for programs, and for ``docs/settings.md``."""

from __future__ import annotations

from typing import Any

from golemp2p_node.setting_docs import DOCS
from golemp2p_node.settings import flatten
from golemp2p_node.sources import MEMORY_SHARE, Loaded, default_settings, variable
from golemp2p_node.units import shown

HEAD = """# Settings

Every setting of a node, with its default. Each comes from the first of these that names it:

1. a flag of `golemp2p node run`: `--data-dir`, `--http`, `--mesh`, `--join`, `--insecure-listen`, or `--set KEY=VALUE` for any other
2. the environment: the variable in the table
3. one TOML file: `--config FILE`, else `$GOLEMP2P_CONFIG`, else `golemp2p.toml` in the data directory if there is one
4. the default

In the file, `log.level` is `level` under `[log]`. Bytes may be written `64MiB`, times are seconds. A key nobody knows is an
error. `golemp2p node config` prints the effective values and where each came from. This page is made by
`golemp2p node config --markdown`.

| setting | environment | default | what it does |
| --- | --- | --- | --- |
"""


def as_json(loaded: Loaded) -> dict[str, Any]:
    """``{"http": {"value": "127.0.0.1:9881", "origin": "flag", "detail": "--http"}, ...}``"""
    return {
        key: {
            "value": value if value is None or isinstance(value, bool | int | float | tuple) else str(value),
            "origin": loaded.origins[key].kind,
            "detail": loaded.origins[key].detail or None,
        }
        for key, value in flatten(loaded.settings).items()
    }


def as_rows(loaded: Loaded) -> list[tuple[str, str, str]]:
    """(setting, value, origin) for people."""
    flat = flatten(loaded.settings)
    return [(key, shown(key, value), str(loaded.origins[key])) for key, value in flat.items()]


def as_markdown() -> str:
    """``docs/settings.md``: the same on every machine."""
    defaults = {key: shown(key, value) for key, value in flatten(default_settings({"HOME": "/"})).items()}
    defaults["data_dir"] = "~/.local/share/golemp2p"
    defaults["memory_budget_bytes"] = MEMORY_SHARE
    rows = (f"| `{key}` | `{variable(key)}` | {defaults[key]} | {doc} |\n" for key, doc in DOCS.items())
    return HEAD + "".join(rows)
