"""What ``deploy/`` and the README tell people to type: commands and flags that exist, settings that are known, files that are there."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest

from golemp2p_node.cli.app import cli
from golemp2p_node.sources import environment_keys, load

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy/golemp2p.service").read_text(encoding="utf-8")
CONTAINER = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8")


def written(text: str) -> list[str]:
    """Command lines in code blocks and in `code`, from the program's name on."""
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines = [*blocks, *re.findall(r"`([^`\n]+)`", text)]
    found = [
        line.split("#")[0][match.start(1) :] for line in lines if (match := re.search(r"(?:^|[ /])(golemp2p (?:\w|-).*)", line))
    ]
    return [line.strip().removesuffix("...").strip() for line in found]


def parses(line: str) -> None:
    """As far as click can tell without running it. Raises ``click.UsageError``."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="golemp2p")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no such command: {line}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    command.make_parser(context).parse_args(list(words))


COMMANDS = sorted({line for line in (*written(README), *written(UNIT)) if "/" not in line.split()[1]})


def test_there_are_commands_to_check() -> None:
    assert "golemp2p mesh invite" in COMMANDS
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_there(line: str) -> None:
    parses(line)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT)
    return parser


def test_the_unit_starts_a_node() -> None:
    service = unit()["Service"]
    parses(service["ExecStart"].removeprefix("/opt/golemp2p/bin/"))
    name, _, value = service["Environment"].partition("=")
    assert environment_keys({name: value}) == {"data_dir": name}
    assert value == f"/var/lib/{service['StateDirectory']}"


def test_it_gets_the_time_to_drain_that_it_asks_for(tmp_path: Path) -> None:
    settings = load({}, {"HOME": str(tmp_path)}).settings
    assert float(unit()["Service"]["TimeoutStopSec"]) > settings.drain_timeout_s + 10


def test_the_image_holds_the_packages_and_known_settings(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (.+) \S+$", CONTAINER, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert all((ROOT / source).exists() for source in sources)
    assert {"golemp2p", "node", "gateway", "simulations", "pyproject.toml", "README.md"} <= set(sources)
    environment = dict(re.findall(r"(GOLEMP2P_\w+)=(\S+)", CONTAINER))
    told = {**environment, "GOLEMP2P_MESH_ADVERTISE": "10.0.0.3:9882", "HOME": str(tmp_path)}
    settings = load({}, told).settings
    assert str(settings.data_dir) == "/data"
    assert settings.advertised(["0.0.0.0:9882"]) == ("10.0.0.3:9882",)
    assert settings.http.is_loopback
    parses("golemp2p node run")
    parses("golemp2p mesh status")


def test_settings_named_in_the_readme_are_settings(tmp_path: Path) -> None:
    names = set(re.findall(r"GOLEMP2P_[A-Z0-9_]+", README)) - {"GOLEMP2P_URL", "GOLEMP2P_CONFIG"}
    assert names
    environment_keys(dict.fromkeys(names, ""))


def test_files_named_in_the_readme_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
