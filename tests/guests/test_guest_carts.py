"""The cart in its languages: one WIT, one behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from stock_wasmtime import BUILT, StockGuest
from wasmtime.component import Variant

pytestmark = pytest.mark.guests

STEPS = [
    ("info", "checkout, step 1 of 3: reserving the goods"),
    ("info", "checkout, step 2 of 3: charging the card"),
    ("info", "checkout, step 3 of 3: booking the courier"),
]


@pytest.fixture(params=["c", "zig", "python", "javascript"])
def cart(request: pytest.FixtureRequest) -> StockGuest:
    name = f"cart-{request.param}"
    if request.param == "javascript" and not (BUILT / f"{name}.wasm").exists():
        pytest.skip("there is no npm here to build it with")
    return StockGuest(name)


@dataclass(frozen=True)
class Refused:
    """The error side of a result, in a form that compares."""

    case: str
    text: str | None


def outcome(result: Any) -> Any:
    """ok values are bare and errors are variants for wasmtime, where their classes differ."""
    return Refused(result.tag, result.payload) if isinstance(result, Variant) else result


def items(listed: Any) -> list[tuple[str, int]]:
    return [(item.name, item.quantity) for item in listed]


def test_items_add_up_and_are_listed_by_name(cart: StockGuest) -> None:
    assert items(cart.call("contents")) == []
    assert cart.call("add-item", "pear", 1) == 1
    assert cart.call("add-item", "apple", 3) == 3
    assert cart.call("add-item", "pear", 4) == 5
    assert cart.call("add-item", "äpfel", 2) == 2
    assert items(cart.call("contents")) == [("apple", 3), ("pear", 5), ("äpfel", 2)]


def test_removing_takes_all_of_an_item(cart: StockGuest) -> None:
    cart.call("add-item", "pear", 5)
    cart.call("add-item", "apple", 2)
    assert cart.call("remove-item", "pear") == 5
    assert items(cart.call("contents")) == [("apple", 2)]
    assert outcome(cart.call("remove-item", "pear")) == Refused("unknown-item", "pear")


def test_senseless_requests_are_refused_and_change_nothing(cart: StockGuest) -> None:
    cart.call("add-item", "pear", 1)
    for name, quantity, why in [
        ("", 1, "a name has 1 to 64 bytes"),
        ("é" * 33, 1, "a name has 1 to 64 bytes"),
        ("apple", 0, "a quantity is 1 to 1000000"),
        ("apple", 1_000_001, "a quantity is 1 to 1000000"),
        ("pear", 1_000_000, "a quantity is 1 to 1000000"),
    ]:
        assert outcome(cart.call("add-item", name, quantity)) == Refused("invalid", why)
    assert outcome(cart.call("add-item", "pear", 999_999)) == 1_000_000
    for number in range(31):
        assert cart.call("add-item", f"item {number}", 1) == 1
    assert outcome(cart.call("add-item", "apple", 1)) == Refused("invalid", "a cart holds 32 different items")
    assert len(cart.call("contents")) == 32


def test_an_empty_cart_has_nothing_to_check_out(cart: StockGuest) -> None:
    assert outcome(cart.call("checkout")).case == "empty"
    assert cart.call("last-receipt") is None


@pytest.mark.parametrize("language", ["c", "zig"])
def test_checkout_goes_in_steps_and_empties_the_cart(language: str) -> None:
    cart = StockGuest(f"cart-{language}")
    for number, (bought, pieces) in enumerate([({"pear": 2, "apple": 3}, 5), ({"plum": 7}, 7)], start=1):
        for name, quantity in bought.items():
            cart.call("add-item", name, quantity)
        receipt = cart.call("checkout")
        kept = cart.call("last-receipt")
        for seen in (receipt, kept):
            assert (seen.number, items(seen.items), seen.pieces) == (number, sorted(bought.items()), pieces)
        assert cart.call("contents") == []
    assert cart.log_lines == STEPS * 2
    assert cart.slept_ns == [1_500_000_000] * 6
