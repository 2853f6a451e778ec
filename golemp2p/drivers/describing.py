"""Heads of logs that came without a description: read the log, say what it is.

A log's first entry names its owner; the fold over all of them gives the rest.
"""

from __future__ import annotations

import logging

from golemp2p.core.worker_state import WorkerState
from golemp2p.drivers.oplog import read_log
from golemp2p.drivers.summary import head_of
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import DataDamaged
from golemp2p.model import entries as e
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.ports import Batch, LogHead, Storage

logger = logging.getLogger(__name__)

COMPONENT = "component"
WORKER = "worker"


async def described(storage: Storage, head: LogHead) -> None:
    """Write down what the log of ``head`` is. A damaged one stays undescribed, which the node's log says. Raises ``WorldError``."""
    try:
        whole = _described(head, await read_log(storage, head))
    except DataDamaged as error:
        logger.error("log_not_described", extra={"log": str(head.key), "error": str(error)})  # noqa: TRY400  # the text says it all
        return
    waiter = Waiter()
    storage.submit(Batch(heads=[whole]), lambda error: waiter.settle(None, error))
    await waiter.wait()


def _described(head: LogHead, entries: list[e.Entry]) -> LogHead:
    first = entries[0] if entries else None
    match first:
        case e.Create():
            worker = WorkerId(ComponentId.parse(first.component_id), first.worker_name)
            whole = head_of(head.key, str(worker), head.shard, WorkerState.of(entries))._replace(head_hash=head.head_hash)
        case e.ComponentVersionAdded():
            whole = head._replace(kind=COMPONENT, identity=first.component_id, has_open_work=False, wake_ns=None, summary=b"")
        case _:
            raise DataDamaged(str(head.key), "does not begin with an entry that names its owner")
    if Key.of(whole.kind, whole.identity) != head.key:
        raise DataDamaged(str(head.key), f"says that it is {whole.kind} {whole.identity}, whose key is another")
    return whole
