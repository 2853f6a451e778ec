"""``golemp2p worker invoke``: call a function and print what it returns.

Every call carries an idempotency key, made here when none is given: whatever breaks on the way, repeating the line with that
key never does the work twice, and the error text says which key it was.
"""

from __future__ import annotations

import json
import shlex
import uuid
from typing import Any
from urllib.parse import quote

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import EXIT_INTERRUPTED, EXIT_USAGE, Command, Failure, fail
from golemp2p_node.cli.output import say, show
from golemp2p_node.cli.target import WORKER_OR_COMPONENT, Target


@click.command(
    "invoke",
    cls=Command,
    context_settings={"ignore_unknown_options": True},  # so that -5 is an argument
    examples="""
        $ golemp2p worker invoke counter/mine add 5
        $ golemp2p worker invoke counter/mine 'demo:counter/api@1.0.0.{add}' 5
        $ golemp2p worker invoke cart/anna add-item '{"id": "p1", "name": "Pen", "price": 1.5}' 2
        $ golemp2p worker invoke greeter/hello greet '"World"'      a string keeps its quotes
        $ golemp2p worker invoke orders/42 start --trigger          do not wait for it
        $ golemp2p worker invoke resize shrink '[1, 2]'             a fresh worker for this call
    """,
)
@click.argument("target", metavar="COMPONENT/WORKER", type=WORKER_OR_COMPONENT, shell_complete=worker_names)
@click.argument("function")
@click.argument("arguments", metavar="[JSON-ARG]...", nargs=-1)
@click.option(
    "--idempotency-key", metavar="K", help="Name of this invocation: the same key never runs twice. Default: a new one."
)
@click.option("--trigger", is_flag=True, help="Return when the invocation is durably accepted, not when it is done.")
def invoke(target: Target, function: str, arguments: tuple[str, ...], idempotency_key: str | None, trigger: bool) -> None:
    """Call FUNCTION of a worker and print its result as JSON.

    Each argument is one JSON value: 5, true, '"text"', '[1, 2]', '{"name": "Pen"}'. FUNCTION may be short (add, api.{add})
    when that is unambiguous. Without /WORKER the call goes to a fresh worker.
    """
    if idempotency_key == "":  # most often a variable of the shell that is not set: no two calls would be the same
        raise click.BadParameter("is empty; leave it out for a new one", param_hint="--idempotency-key")
    params = [{"value": parse_argument(number, text)} for number, text in enumerate(arguments, 1)]
    key = idempotency_key or str(uuid.uuid4())
    try:
        answer = send(target, function, params, key, trigger=trigger)
    except Failure as failure:
        if failure.code == "connection-lost":
            failure.hint = f"the invocation may be under way; the same line with --idempotency-key {key} never runs it twice"
        elif failure.code in ("wrong-arity", "value-mismatch", "function-not-found"):
            failure.hint = f"`golemp2p component get {shlex.quote(target.component)} --wit` prints functions and types"
        raise
    except KeyboardInterrupt:
        fail(
            "stopped waiting; the invocation goes on in the node",
            f"the same line with --idempotency-key {key} gets its result",
            code="interrupted",
            exit_code=EXIT_INTERRUPTED,
        )
    if trigger:
        show({"idempotencyKey": key}, lambda: say(f"accepted; idempotency key {key}"))
    else:
        show(answer, lambda: print_result(answer))


def send(target: Target, function: str, params: list[Any], key: str, *, trigger: bool) -> Any:
    from golemp2p_node.cli.api import Node

    with Node() as node:
        component_path = f"/v1/components/{node.component_id(target.component)}"
        base = f"{component_path}/workers/{quote(target.worker, safe='')}" if target.worker else component_path
        return node.json(
            "POST",
            f"{base}/{'invoke' if trigger else 'invoke-and-await'}",
            patient=True,
            params={"function": function},
            headers={"Idempotency-Key": key},
            json={"params": params},
        )


def print_result(answer: Any) -> None:
    """The result as JSON text, so that it can be told apart and used again as an argument; nothing for no result."""
    values = answer["result"]["value"]
    for value in values if isinstance(values, list) else [values]:
        say(json.dumps(value, ensure_ascii=False))


def parse_argument(number: int, text: str) -> Any:
    """One JSON value. What is not JSON is most often a string without its quotes, so the error shows it with them."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        pass
    if text.startswith("--"):
        raise click.NoSuchOption(text, ctx=click.get_current_context())
    raise Failure(
        f"argument {number} is not JSON: {text}",
        f"strings keep their quotes, quoted once more for the shell: {shlex.quote(json.dumps(text, ensure_ascii=False))}",
        code="malformed-argument",
        exit_code=EXIT_USAGE,
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
