"""COMPONENT/WORKER on the command line: the last slash parts them, since worker names have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Target:
    """``worker`` is ``""`` where only a component was given."""

    component: str
    worker: str

    @property
    def pair(self) -> tuple[str, str]:
        return self.component, self.worker

    def __str__(self) -> str:
        return f"{self.component}/{self.worker}" if self.worker else self.component


class TargetType(click.ParamType[Target]):
    """Parses into ``Target``; ``bare`` also takes a component alone."""

    name = "component/worker"

    def __init__(self, *, bare: bool = False) -> None:
        self.bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        if isinstance(value, Target):
            return value
        component, slash, worker = str(value).rpartition("/")
        if not slash and self.bare and worker:
            return Target(worker, "")
        if not component or not worker:
            self.fail(f"expected COMPONENT/WORKER, for example counter/mine, got {value!r}", param, ctx)
        return Target(component, worker)


WORKER = TargetType()
WORKER_OR_COMPONENT = TargetType(bare=True)
