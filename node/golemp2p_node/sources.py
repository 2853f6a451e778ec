"""Where settings come from: flags, the environment, one TOML file, the defaults. First found wins, setting by setting.

The file is the first of these that applies, and no other is read:

1. ``--config FILE``
2. ``$GOLEMP2P_CONFIG``
3. ``golemp2p.toml`` in the data directory, if there is one (it cannot itself move the data directory)

Nothing is guessed: a key nobody knows is an error that names the likeliest right one, in file and environment alike.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golemp2p_node import units
from golemp2p_node.setting_docs import DOCS
from golemp2p_node.settings import InvalidSetting, Settings, build, flatten

PREFIX = "GOLEMP2P_"
NOT_SETTINGS = frozenset({"GOLEMP2P_URL", "GOLEMP2P_CONFIG"})  # what the command line itself reads
FILE_NAME = "golemp2p.toml"
FILE_BYTES_MAX = 1 << 20  # a settings file has a few hundred lines at most
MEMORY_SHARE = "50%"  # half for workers, the rest for page cache, compilation and the neighbours


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was found. ``kind``: flag, environment, file or default; ``detail``: the flag, variable or file."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}".strip()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Effective settings, the origin of each by key, and the file that was read, if any."""

    settings: Settings
    origins: dict[str, Origin]
    file: Path | None


def load(flags: Mapping[str, tuple[str, Any]], environment: Mapping[str, str], config: str | None = None) -> Loaded:
    """``flags``: key -> (flag as typed, value). Raises ``InvalidSetting``; its text names setting and source."""
    found: dict[str, tuple[Any, Origin]] = {}
    for key, (flag, value) in flags.items():
        found[known(key, flag)] = value, Origin("flag", flag)
    for key, name in environment_keys(environment).items():
        found.setdefault(key, (environment[name], Origin("environment", name)))
    file = find_file(config, environment, found)
    if file is not None:
        for key, value in read_file(file, moves_data_dir=config is not None or "GOLEMP2P_CONFIG" in environment).items():
            found.setdefault(key, (value, Origin("file", str(file))))
    return assemble(found, environment, file)


def assemble(found: Mapping[str, tuple[Any, Origin]], environment: Mapping[str, str], file: Path | None) -> Loaded:
    defaults = flatten(default_settings(environment))
    values, origins = dict(defaults), dict.fromkeys(defaults, Origin("default"))
    for key, (value, origin) in found.items():
        origins[key] = origin
        values[key] = parse(key, value, origin, defaults[key])
    try:
        return Loaded(build(values), origins, file)
    except InvalidSetting as error:
        origin = origins.get(error.key, Origin("default"))
        if origin.kind == "default":
            raise
        raise InvalidSetting(error.key, f"{str(error).removeprefix(error.key + ': ')} (from {origin})") from error


def parse(key: str, value: Any, origin: Origin, example: Any) -> Any:
    try:
        return units.parser(key, example)(value)
    except ValueError as error:
        raise InvalidSetting(key, f"{error} (from {origin})") from error


def default_settings(environment: Mapping[str, str]) -> Settings:
    return Settings(data_dir=default_data_dir(environment), memory_budget_bytes=units.budget(MEMORY_SHARE))


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """``$XDG_DATA_HOME/golemp2p``, else ``~/.local/share/golemp2p``."""
    base = environment.get("XDG_DATA_HOME", "")
    home = environment.get("HOME") or os.path.expanduser("~")
    return (Path(base) if base.startswith("/") else Path(os.path.abspath(home), ".local", "share")) / "golemp2p"


def variable(key: str) -> str:
    """The environment variable of a setting: ``log.level`` is ``GOLEMP2P_LOG_LEVEL``."""
    return PREFIX + key.replace(".", "_").upper()


def environment_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Setting -> variable, for all of ours in ``environment``."""
    by_variable = {variable(key): key for key in DOCS}
    keys: dict[str, str] = {}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        if name not in by_variable:
            raise InvalidSetting(name, f"no such setting in the environment{suggestion(name, by_variable)}")
        keys[by_variable[name]] = name
    return keys


def find_file(config: str | None, environment: Mapping[str, str], found: Mapping[str, tuple[Any, Origin]]) -> Path | None:
    explicit = config or environment.get("GOLEMP2P_CONFIG")
    if explicit:
        return units.path(explicit)
    if "data_dir" in found:
        value, origin = found["data_dir"]
        data_dir = parse("data_dir", value, origin, Path("/"))
    else:
        data_dir = default_data_dir(environment)
    beside: Path = data_dir / FILE_NAME
    return beside if beside.is_file() else None


def read_file(file: Path, *, moves_data_dir: bool) -> dict[str, Any]:
    """Settings by key. Tables are sections; unknown keys and unreadable files raise ``InvalidSetting``."""
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise InvalidSetting(str(file), f"is larger than {FILE_BYTES_MAX} bytes, so hardly a settings file")
        tree = tomllib.loads(text.decode())
    except OSError as error:
        raise InvalidSetting(str(file), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(str(file), f"is not valid TOML: {error}") from error
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values.update({known(f"{name}.{inner}", str(file)): item for inner, item in value.items()})
        else:
            values[known(name, str(file))] = value
    if "data_dir" in values and not moves_data_dir:
        raise InvalidSetting(
            "data_dir", f"cannot be set in {file}, which was found through it; use --data-dir or GOLEMP2P_DATA_DIR"
        )
    return values


def known(key: str, source: str) -> str:
    if key not in DOCS:
        raise InvalidSetting(key, f"no such setting (in {source}){suggestion(key, DOCS)}")
    return key


def suggestion(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; `golemp2p node config` lists all settings"
