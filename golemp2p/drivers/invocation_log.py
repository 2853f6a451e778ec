"""One line per finished invocation, at the node that finished it, which tells its whole story."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from golemp2p.core.worker_state import Invocation
from golemp2p.errors import Golemp2pError
from golemp2p.model.ids import WorkerId

logger = logging.getLogger(__name__)

COMPLETED = "completed"


def log_finished(worker: WorkerId, ended: Iterable[Invocation], now_ns: int, error: Golemp2pError | None) -> None:
    """``outcome``: ``completed``, or the code of the error. ``duration_s``: by the worker's clock, from the beginning of the execution
    to now, over restarts and moves; for one that never began, from its acceptance."""
    if not logger.isEnabledFor(logging.INFO):
        return
    outcome = COMPLETED if error is None else error.code
    for each in ended:
        told = {
            "worker": str(worker),
            "function": each.function,
            "key": each.key,
            "duration_s": round((now_ns - each.time_ns) / 1e9, 6),
            "outcome": outcome,
        }
        logger.info("invocation_finished", extra=told)
