"""What every command shares: ``--format`` before and after any subcommand, and failures that say what to do next."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import click

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_NOT_FOUND, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 130

FORMAT_KEY = "golemp2p.format"


class Failure(Exception):
    """One line what went wrong, one line what to do next (``""``: nothing sensible). ``code`` is stable, as the node's are."""

    def __init__(self, message: str, hint: str = "", *, code: str = "failed", exit_code: int = EXIT_FAILED) -> None:
        self.message = " ".join(message.split())
        super().__init__(self.message)
        self.hint, self.code, self.exit_code = hint, code, exit_code


def _remember_format(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[FORMAT_KEY] = value  # meta is shared by a context and all its children; the last one given wins


def _format_option() -> click.Option:
    return click.Option(
        ["--format"],
        type=click.Choice(["text", "json"]),
        expose_value=False,
        callback=_remember_format,
        help="Output for people (text, the default) or programs (json). Accepted anywhere.",
    )


def wants_json() -> bool:
    """What ``--format`` says, for the command being run."""
    return click.get_current_context().meta.get(FORMAT_KEY) == "json"


def wants_json_raw(arguments: list[str]) -> bool:
    """The same from raw arguments, for errors found before they could be parsed."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(a == "--format=json" or (a, b) == ("--format", "json") for a, b in pairs)


class Command(click.Command):
    """A command with ``--format``. ``examples``, one per line, end the help text; ``$`` stands for the prompt."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs["params"] = [*kwargs.get("params", []), _format_option()]
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(context, formatter)
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A group with ``--format`` whose commands and groups are of these classes, and which suggests names nearly right."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs["params"] = [*kwargs.get("params", []), _format_option()]
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(context, formatter)
        write_examples(formatter, self.examples)

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)  # in the order a newcomer needs them, not of the alphabet


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in inspect.cleandoc(examples).splitlines():
                formatter.write(f"  {line}\n" if line else "\n")


def fail(message: str, hint: str = "", *, code: str = "failed", exit_code: int = EXIT_FAILED) -> NoReturn:
    raise Failure(message, hint, code=code, exit_code=exit_code)


def env_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--env K=V``, repeatable; the command receives ``env: dict[str, str]``."""
    return click.option("--env", "env", metavar="K=V", multiple=True, callback=_parse_env, help=text)


def _parse_env(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    env: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"expected K=V, for example --env LEVEL=debug, got {text!r}", context, parameter)
        env[name] = value
    return env
