"""Resource handles in JSON: ``"urn:worker:<component-id>/<worker>/<n>"``, as Golem writes them.

A handle is good only in the worker that holds the resource, so the text names it and decoding refuses another's.
Neither a component id nor a worker name contains ``/``.
"""

from __future__ import annotations

import re
from typing import Any

from golemp2p.model.ids import WorkerId
from golemp2p.model.wit import Handle
from golemp2p.values.mismatch import Mismatch
from golemp2p.values.type_text import type_text

PREFIX = "urn:worker:"
HANDLE_MAX = (1 << 32) - 1
"""Handles are 32-bit numbers in the component model's tables."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


def handle_text(number: int, worker: WorkerId | None) -> str:
    """The JSON form of handle ``number`` of ``worker``; raises ``Mismatch`` without one: it has no meaning outside."""
    if worker is None:
        raise Mismatch("a value without handles", got=f"handle {number}, and no worker it belongs to")
    return f"{PREFIX}{worker}/{number}"


def parse_handle(type: Handle, value: Any, worker: WorkerId | None) -> int:
    """The number in a handle of ``worker``; raises ``Mismatch`` for anything else."""
    expected = f'a handle of {type_text(type)} ("{PREFIX}{"component/worker" if worker is None else worker}/n")'
    if worker is None or value.__class__ is not str or not value.startswith(PREFIX):
        raise Mismatch(expected, value)
    owner, slash, number = value[len(PREFIX) :].rpartition("/")
    if not slash or owner != str(worker) or not _NUMBER.fullmatch(number) or int(number) > HANDLE_MAX:
        raise Mismatch(expected, value)
    return int(number)
