"""A shopping cart in Python. The worker's memory is the database: nothing here knows about durability."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.api import CartError_Empty, CartError_Invalid, CartError_UnknownItem, Item, Receipt
from wit_world.imports import logging, monotonic_clock

ITEMS_MAX = 32
NAME_BYTES_MAX = 64
QUANTITY_MAX = 1_000_000
STEPS = ("reserving the goods", "charging the card", "booking the courier")
STEP_NS = 1_500_000_000

quantities: dict[str, int] = {}
receipts: list[Receipt] = []


def step(number: int, what: str) -> None:
    logging.log(logging.Level.INFO, "cart", f"checkout, step {number} of {len(STEPS)}: {what}")
    with monotonic_clock.subscribe_duration(STEP_NS) as pollable:
        pollable.block()


class Api(exports.Api):
    def add_item(self, name: str, quantity: int) -> int:
        if not 1 <= len(name.encode()) <= NAME_BYTES_MAX:
            raise Err(CartError_Invalid("a name has 1 to 64 bytes"))
        if not 1 <= quantity <= QUANTITY_MAX - quantities.get(name, 0):
            raise Err(CartError_Invalid("a quantity is 1 to 1000000"))
        if name not in quantities and len(quantities) == ITEMS_MAX:
            raise Err(CartError_Invalid("a cart holds 32 different items"))
        quantities[name] = quantities.get(name, 0) + quantity
        return quantities[name]

    def remove_item(self, name: str) -> int:
        if name not in quantities:
            raise Err(CartError_UnknownItem(name))
        return quantities.pop(name)

    def contents(self) -> list[Item]:
        return [Item(name, quantities[name]) for name in sorted(quantities, key=str.encode)]

    def checkout(self) -> Receipt:
        if not quantities:
            raise Err(CartError_Empty())
        for number, what in enumerate(STEPS, start=1):
            step(number, what)
        receipt = Receipt(len(receipts) + 1, self.contents(), sum(quantities.values()))
        receipts.append(receipt)
        quantities.clear()
        return receipt

    def last_receipt(self) -> Receipt | None:
        return receipts[-1] if receipts else None
