"""``golemp2p worker connect``: a worker's output and events as they happen, over a WebSocket."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from golemp2p_node.cli.complete import worker_names
from golemp2p_node.cli.framework import EXIT_UNREACHABLE, Command, fail, wants_json
from golemp2p_node.cli.output import print_json_line, safe, say
from golemp2p_node.cli.target import WORKER, Target


@click.command(
    "connect",
    cls=Command,
    examples="""
        $ golemp2p worker connect counter/mine
        $ golemp2p worker connect counter/mine --format json      one event per line
    """,
)
@click.argument("target", metavar="COMPONENT/WORKER", type=WORKER, shell_complete=worker_names)
def connect(target: Target) -> None:
    """Follow a worker: its output, log lines and invocations, first recent ones, then live. Ctrl-C ends it.

    Recent ones are those that its node has in memory: after a sleep, a restart or a move `worker oplog` shows what was before.

    In a mesh it goes on when the worker does so at another node.
    """
    from httpx_ws import HTTPXWSException, WebSocketDisconnect, WebSocketSession, WebSocketUpgradeError, connect_ws

    from golemp2p_node.cli.api import Node

    with Node() as node, node.translated():
        worker = node.worker_path(target.pair)
        url = f"{node.url}{worker}/connect"
        try:
            socket: WebSocketSession
            with connect_ws(url, node.client) as socket:
                if not wants_json():
                    click.echo(f"connected to {safe(str(target))}; Ctrl-C ends", err=True)
                while print_event(json.loads(socket.receive_text())):
                    pass
        except KeyboardInterrupt:
            return
        except WebSocketUpgradeError as error:
            node.json("GET", worker)  # says why in words, if it is the worker; the refusal's own are gone with its connection
            lost(node.url, f"refused with HTTP status {error.response.status_code}")
        except WebSocketDisconnect as end:
            if end.code not in (1000, 1001):
                lost(node.url, f"closed with code {end.code} {end.reason or ''}")
        except HTTPXWSException as error:
            lost(node.url, str(error) or type(error).__name__)


def lost(url: str, why: str) -> None:
    fail(
        f"the connection to {url} ended: {why}",
        "connect again; recent events are shown first",
        code="connection-lost",
        exit_code=EXIT_UNREACHABLE,
    )


def print_event(event: Any) -> bool:
    """Print one event; false after the last one."""
    if wants_json():
        print_json_line(event)
        return bool(event != "Close")
    match event:
        case "Close":
            return False
        case {"StdOut": {"bytes": data}}:
            write(sys.stdout, bytes(data))
        case {"StdErr": {"bytes": data}}:
            write(sys.stderr, bytes(data))
        case {"Log": {"timestamp": time, "level": level, "message": message, **rest}}:
            context = f" {rest['context']}" if rest.get("context") else ""
            say(f"{time} {str(level).upper()}{context}: {message}")
        case {"InvocationStart": {"timestamp": time, "function": function, "idempotency_key": key}}:
            say(f"{time} begin {function} ({key})")
        case {"InvocationFinished": {"timestamp": time, "function": function, "idempotency_key": key}}:
            say(f"{time} end   {function} ({key})")
        case _:
            say(json.dumps(event, ensure_ascii=False))
    return True


def write(stream: Any, data: bytes) -> None:
    """A guest's output: as it is into files and pipes, made safe for a terminal."""
    if stream.isatty():
        stream.write(safe(data.decode("utf-8", "replace")))
    else:
        stream.buffer.write(data)
    stream.flush()
