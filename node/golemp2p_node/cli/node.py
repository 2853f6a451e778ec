"""``golemp2p node``: run a node on this machine, and show how it is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from golemp2p_node.cli.framework import EXIT_USAGE, Failure, Group, wants_json
from golemp2p_node.cli.output import print_json, print_json_line, table

if TYPE_CHECKING:
    from golemp2p_node.sources import Loaded


@click.group("node", cls=Group)
def group() -> None:
    """Run a node on this machine, and show how it is set."""


def setting_options(function: Any) -> Any:
    """The flags that set settings; the command receives them as ``flags``."""
    options = (
        click.option("--data-dir", metavar="DIR", help="Where everything durable lives. Default: ~/.local/share/golemp2p"),
        click.option("--http", metavar="HOST:PORT", help="Where to serve HTTP. Default: 127.0.0.1:9881"),
        click.option("--mesh", metavar="HOST:PORT", help="Where other nodes reach this one; or off. Default: 127.0.0.1:9882"),
        click.option("--join", metavar="INVITE", help="Join the mesh of an invite (see `mesh invite`); @FILE reads it there."),
        click.option("--insecure-listen", is_flag=True, default=None, help="Allow --http on an address others can reach."),
        click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any other setting; repeatable."),
        click.option("--config", metavar="FILE", help="TOML file. Default: $GOLEMP2P_CONFIG, else DIR/golemp2p.toml"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def loaded_settings(assignments: tuple[str, ...], config: str | None, **named: Any) -> Loaded:
    """Settings from flags, environment and file; a bad one ends the command with exit code 2."""
    from golemp2p_node.settings import InvalidSetting
    from golemp2p_node.sources import load

    flags = {key: (f"--{key.replace('_', '-')}", value) for key, value in named.items() if value is not None}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"expected KEY=VALUE, for example --set log.level=debug, got {text!r}", param_hint="--set")
        flags[key.strip()] = "--set", value
    try:
        return load(flags, os.environ, config)
    except InvalidSetting as error:
        hint = "`golemp2p node config` shows all settings; docs/settings.md explains them"
        raise Failure(str(error), hint, code="invalid-setting", exit_code=EXIT_USAGE) from error


@group.command(
    "run",
    examples="""
        $ golemp2p node run
        $ golemp2p node run --data-dir ./data --http 127.0.0.1:8080
        $ golemp2p node run --mesh 10.0.0.2:9882 --join @invite.txt
        $ golemp2p node run --data-dir ./second --http 127.0.0.1:9891 --mesh 127.0.0.1:9892 --join @invite.txt
        $ golemp2p node run --set workers.idle_ttl_s=60 --set limits.memory_bytes_max=256MiB
    """,
)
@setting_options
def run(**options: Any) -> None:
    """Run a node until it is told to stop (Ctrl-C, SIGTERM).

    The first node founds a mesh, others join it with --join, once; each needs a data directory of its own.

    Prints one line per address it listens on, then logs to standard error. Stopping lets work under way finish within
    drain_timeout_s, and hands the rest to other nodes of its mesh; a second Ctrl-C ends at once. Either way nothing acknowledged
    is lost.
    """
    loaded = loaded_settings(**options)
    from golemp2p_node.daemon import Listening, run_node

    as_json = wants_json()

    def announce(listening: Listening) -> None:
        if as_json:
            print_json_line({"listener": listening.name, "url": listening.url, "node": listening.node})
        else:
            click.echo(f"{listening.name} listening on {listening.url}")

    run_node(loaded, announce)


@group.command(
    "config",
    examples="""
        $ golemp2p node config
        $ golemp2p node config --set log.level=debug --format json
    """,
)
@setting_options
@click.option("--markdown", is_flag=True, hidden=True, help="Print docs/settings.md.")
def config(markdown: bool, **options: Any) -> None:
    """Show the effective settings, and where each comes from.

    Flags win over the environment (GOLEMP2P_...), which wins over the TOML file, which wins over the defaults.
    """
    from golemp2p_node import config_text

    if markdown:
        click.echo(config_text.as_markdown(), nl=False)
        return
    loaded = loaded_settings(**options)
    if wants_json():
        print_json(config_text.as_json(loaded))
    else:
        table(("SETTING", "VALUE", "ORIGIN"), config_text.as_rows(loaded), empty="")
