"""The order workflow's own logic, with promises answered by the test."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from stock_wasmtime import StockGuest
from wasmtime.component import Variant

pytestmark = pytest.mark.guests

GOLEM = "golem:api/host@1.1.6"


@dataclass(frozen=True)
class Fields:
    """A record: whatever attributes it is given, with WIT names."""

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


def record(**values: Any) -> Fields:
    return Fields({name.replace("_", "-"): value for name, value in values.items()})


ORDER = record(
    customer="Ada",
    lines=[record(sku="book", quantity=2, unit_cents=1250), record(sku="pen", quantity=1, unit_cents=99)],
)


@dataclass
class Promises:
    """``golem:api/host`` with a value ready for every promise, in order."""

    values: list[bytes]
    made: int = 0
    deleted: list[int] = field(default_factory=list)

    def create(self, store: Any) -> Fields:
        self.made += 1
        uuid = record(high_bits=1, low_bits=2)
        return record(worker_id=record(component_id=record(uuid=uuid), worker_name="ada"), oplog_idx=self.made)

    def wait(self, store: Any, promise: Any) -> bytes:
        return self.values[getattr(promise, "oplog-idx") - 1]

    def delete(self, store: Any, promise: Any) -> None:
        self.deleted.append(getattr(promise, "oplog-idx"))


def orders(*approvals: bytes) -> tuple[StockGuest, Promises]:
    promises = Promises(list(approvals))
    functions = {"create-promise": promises.create, "await-promise": promises.wait, "delete-promise": promises.delete}
    imports = {GOLEM: functions, "golem:rpc/types@0.2.0": {}}
    return StockGuest("orders", env={"COOLING_OFF_SECONDS": "0"}, imports=imports), promises


def test_an_approved_order_is_confirmed_once() -> None:
    guest, _ = orders(b'{"approved-by": "Grace"}')
    ticket = guest.call("place", ORDER)
    assert getattr(ticket, "total-cents") == 2599
    assert getattr(ticket.approval, "oplog-idx") == 1
    assert getattr(guest.call("approval-promise"), "oplog-idx") == 1
    assert guest.call("status").tag == "awaiting-approval"

    receipt = guest.call("finish")
    assert getattr(receipt, "approved-by") == "Grace"
    times = [getattr(receipt, name) for name in ("placed-at", "approved-at", "confirmed-at")]
    assert times == sorted(times)
    assert guest.call("status").tag == "confirmed"
    assert guest.call("approval-promise") is None
    assert vars(guest.call("finish")) == vars(receipt)
    assert guest.call("place", ORDER).tag == "already-placed"
    order_id = getattr(ticket, "order-id")
    assert guest.log_lines == [
        ("info", f"order {order_id} of Ada: 25.99, waiting for approval"),
        ("info", f"order {order_id} approved by Grace, cooling off for 0 s"),
        ("info", f"order {order_id} confirmed"),
    ]


def test_a_rejected_order_makes_room_for_another() -> None:
    guest, _ = orders(b'{"rejected": "too many pens"}')
    guest.call("place", ORDER)
    for _attempt in range(2):
        refused = guest.call("finish")
        assert (refused.tag, refused.payload) == ("rejected", "too many pens")
    assert guest.call("status").payload == "too many pens"
    assert getattr(guest.call("place", ORDER), "total-cents") == 2599


@pytest.mark.parametrize("nonsense", [b"", b"\xff\xfe", b"[]", b"{}", b'{"approved-by": 7}', json.dumps("x").encode()])
def test_an_approval_of_another_form_is_refused_and_may_be_given_again(nonsense: bytes) -> None:
    guest, promises = orders(nonsense, b'{"approved-by": "Grace"}')
    guest.call("place", ORDER)
    assert guest.call("finish").tag == "bad-approval"
    assert promises.deleted == [1]
    assert getattr(guest.call("approval-promise"), "oplog-idx") == 2
    assert getattr(guest.call("finish"), "approved-by") == "Grace"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "an order has at least one line"),
        ([record(sku="pen", quantity=0, unit_cents=1)], "the quantity of pen is zero"),
        ([record(sku="pen", quantity=2**31, unit_cents=2**40)], "nobody has that much money"),
    ],
)
def test_senseless_orders_are_refused(lines: list[Fields], why: str) -> None:
    guest, promises = orders()
    refused = guest.call("place", record(customer="Ada", lines=lines))
    assert isinstance(refused, Variant)
    assert (refused.tag, refused.payload) == ("invalid", why)
    assert promises.made == 0
    assert guest.call("finish").tag == "not-placed"
    assert guest.call("status").tag == "not-placed"
