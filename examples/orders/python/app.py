"""An order that waits for a person and for time. Written as if the process never died: with golemp2p it does not matter.

No database, no queue, no cron: the order's state is the variables below and the place where ``finish`` is waiting.
"""

import json
import os
import secrets
import time
from dataclasses import dataclass, field, replace

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.workflow import (
    Order,
    OrderError_AlreadyPlaced,
    OrderError_BadApproval,
    OrderError_Invalid,
    OrderError_NotPlaced,
    OrderError_Rejected,
    OrderStatus,
    OrderStatus_AwaitingApproval,
    OrderStatus_Confirmed,
    OrderStatus_NotPlaced,
    OrderStatus_Rejected,
    Receipt,
    Ticket,
)
from wit_world.imports import host, logging

TOTAL_CENTS_MAX = 2**63


@dataclass
class State:
    """All there is to know about the order. ``placed_at``: seconds since 1970."""

    status: OrderStatus = field(default_factory=OrderStatus_NotPlaced)
    placed_at: int = 0


state = State()


def log(message: str) -> None:
    logging.log(logging.Level.INFO, "orders", message)


def now() -> int:
    return int(time.time())


def cooling_off_seconds() -> float:
    return float(os.environ.get("COOLING_OFF_SECONDS", "5"))


def total_cents(order: Order) -> int:
    """The price of everything. Raises ``Err`` for an order that makes no sense."""
    if not order.lines:
        raise Err(OrderError_Invalid("an order has at least one line"))
    for line in order.lines:
        if line.quantity == 0:
            raise Err(OrderError_Invalid(f"the quantity of {line.sku} is zero"))
    total = sum(line.quantity * line.unit_cents for line in order.lines)
    if total >= TOTAL_CENTS_MAX:
        raise Err(OrderError_Invalid("nobody has that much money"))
    return total


def decision(data: bytes) -> dict[str, str]:
    """The approval as a person sent it: bytes from outside, not to be trusted. Raises ``ValueError``."""
    match json.loads(data):
        case {"rejected": str(reason)}:
            return {"rejected": reason}
        case {"approved-by": str(name)}:
            return {"approved-by": name}
    raise ValueError('expected {"approved-by": "..."} or {"rejected": "..."}')


class Workflow(exports.Workflow):
    def place(self, order: Order) -> Ticket:
        if isinstance(state.status, OrderStatus_AwaitingApproval | OrderStatus_Confirmed):
            raise Err(OrderError_AlreadyPlaced(state.status.value.order_id))
        total = total_cents(order)
        state.placed_at = now()
        ticket = Ticket(secrets.token_hex(8), total, host.create_promise())
        state.status = OrderStatus_AwaitingApproval(ticket)
        log(f"order {ticket.order_id} of {order.customer}: {total / 100:.2f}, waiting for approval")
        return ticket

    def finish(self) -> Receipt:
        if isinstance(state.status, OrderStatus_Confirmed):
            return state.status.value
        if isinstance(state.status, OrderStatus_Rejected):
            raise Err(OrderError_Rejected(state.status.value))
        if isinstance(state.status, OrderStatus_NotPlaced):
            raise Err(OrderError_NotPlaced())
        ticket = state.status.value

        data = host.await_promise(ticket.approval)  # a person takes their time
        approved_at = now()
        try:
            said = decision(data)
        except ValueError as error:
            # A promise has one value for ever: who wants to try again needs a new one.
            host.delete_promise(ticket.approval)
            state.status = OrderStatus_AwaitingApproval(replace(ticket, approval=host.create_promise()))
            raise Err(OrderError_BadApproval(str(error))) from error
        if "rejected" in said:
            state.status = OrderStatus_Rejected(said["rejected"])
            log(f"order {ticket.order_id} was rejected: {said['rejected']}")
            raise Err(OrderError_Rejected(said["rejected"]))

        log(f"order {ticket.order_id} approved by {said['approved-by']}, cooling off for {cooling_off_seconds():g} s")
        time.sleep(cooling_off_seconds())  # the machine may be rebooted meanwhile

        receipt = Receipt(ticket.order_id, ticket.total_cents, said["approved-by"], state.placed_at, approved_at, now())
        state.status = OrderStatus_Confirmed(receipt)
        log(f"order {ticket.order_id} confirmed")
        return receipt

    def status(self) -> OrderStatus:
        return state.status

    def approval_promise(self) -> host.PromiseId | None:
        return state.status.value.approval if isinstance(state.status, OrderStatus_AwaitingApproval) else None
