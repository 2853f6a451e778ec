"""What nodes log, as lines of the run's log: with the node that said it, at the moment when it did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from golemp2p_nodes.loop import PROCESS

if TYPE_CHECKING:
    from golemp2p_nodes.mesh import NodesWorld

LIBRARY = "golemp2p"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Teller(logging.Handler):
    """``world``: told later, since it is made inside the run that this surrounds; nothing is kept before, and of no node."""

    def __init__(self) -> None:
        super().__init__()
        self.world: NodesWorld | None = None

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        index = getattr(process, "index", None)
        if self.world is not None and self.world.log and index is not None and not getattr(process, "is_dead", True):
            facts = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
            self.world.log("notice", index, None, " ".join([record.getMessage(), *facts]))


@contextmanager
def logged() -> Iterator[Teller]:
    """Around a run: what the library logs goes into the log of the run and nowhere else."""
    logger, teller = logging.getLogger(LIBRARY), Teller()
    kept = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [teller], False
    logger.setLevel(logging.INFO)
    try:
        yield teller
    finally:
        logger.handlers, logger.propagate = kept[0], kept[2]
        logger.setLevel(kept[1])
