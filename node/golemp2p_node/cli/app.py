"""The root command and the outermost edge of the command line: every failure ends here, in two lines and an exit code."""

from __future__ import annotations

import json
import os
import sys

import click

from golemp2p_node.cli import completion, component, export, mesh, node, sim, storage, verify, worker
from golemp2p_node.cli.framework import EXIT_INTERRUPTED, EXIT_USAGE, Failure, Group, wants_json_raw
from golemp2p_node.cli.output import safe


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"golemp2p {version('golemp2p')}")
        context.exit()


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples="""
        $ golemp2p node run                                start a node on this machine
        $ golemp2p component add counter counter.wasm      give it a component
        $ golemp2p worker invoke counter/mine add 5        call a function of worker "mine"
        $ golemp2p worker oplog counter/mine               see what was recorded
        $ golemp2p mesh invite                             let another node share the work
        $ golemp2p --format json worker list counter       the same for programs
    """,
    epilog="""\b
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 node not reachable, 4 not found, 5 not all shown.
GOLEMP2P_URL picks the node (default http://127.0.0.1:9881); in a mesh any of them will do.""",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
def cli() -> None:
    """Durable WebAssembly workers on a mesh of equals."""


worker.group.add_command(export.export)
worker.group.add_command(verify.verify)  # here, so that all other commands about workers stay light

for group in (node.group, component.group, worker.group, mesh.group, storage.group, sim.group, completion.command):
    cli.add_command(group)


def main() -> None:
    """The ``golemp2p`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code (the table stands in ``golemp2p --help``)."""
    try:
        result = cli.main(arguments, prog_name="golemp2p", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as error:
        return complain(arguments, usage_failure(error))
    except Failure as failure:
        return complain(arguments, failure)
    except click.ClickException as error:
        return complain(arguments, Failure(error.format_message(), code="usage", exit_code=EXIT_USAGE))
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - takes what Python flushes at exit
        return 0  # whoever read us has seen enough
    return result if isinstance(result, int) else 0


def usage_failure(error: click.UsageError) -> Failure:
    path = error.ctx.command_path if error.ctx else "golemp2p"
    return Failure(error.format_message(), f"see `{path} --help`", code="usage", exit_code=EXIT_USAGE)


def complain(arguments: list[str], failure: Failure) -> int:
    """Two lines on standard error, or one JSON object; returns the exit code."""
    if wants_json_raw(arguments):
        body = {"error": {"code": failure.code, "message": failure.message, "hint": failure.hint or None}}
        click.echo(json.dumps(body, ensure_ascii=False), err=True)
    else:
        click.echo(f"error: {safe(failure.message)}", err=True)
        if failure.hint:
            click.echo(f"  try: {safe(failure.hint)}", err=True)
    return failure.exit_code
