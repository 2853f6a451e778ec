"""The operator's orders of forced recovery, as the survivor's node shows them to others: CBOR [[shard, branch], ...]."""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p.model.replication import Branch
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX
from golemp2p.wire.messages_shard import BRANCH_ORDER

ORDERS_MAX = 1_024
"""In one call; 300 KB."""
ORDERS_BYTES_MAX = 1 << 20

_ORDERS = s.array(s.row(s.natural(SHARDS_MAX - 1), BRANCH_ORDER), ORDERS_MAX)


def encode_orders(orders: Sequence[tuple[int, Branch]]) -> bytes:
    return s.encode(_ORDERS, orders, bytes_max=ORDERS_BYTES_MAX)


def decode_orders(data: bytes) -> tuple[tuple[int, Branch], ...]:
    """No signature is checked. Raises ``DataDamaged``."""
    orders: tuple[tuple[int, Branch], ...] = s.decode(_ORDERS, data, what="orders", bytes_max=ORDERS_BYTES_MAX)
    return orders
