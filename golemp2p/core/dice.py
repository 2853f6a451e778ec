"""Chance as an argument: what cores ask of a random source, and the two things they do with it.

``random.Random`` fits. Cores take dice in their constructors, so that a seed decides everything.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Dice(Protocol):
    def randrange(self, stop: int, /) -> int:
        """A number from 0 to ``stop`` - 1, all equally likely."""
        ...

    def random(self) -> float:
        """A number from [0, 1)."""
        ...


def shuffle(items: MutableSequence[T], dice: Dice) -> None:
    """Fisher and Yates, in place."""
    for last in range(len(items) - 1, 0, -1):
        other = dice.randrange(last + 1)
        items[last], items[other] = items[other], items[last]


def sample(items: Sequence[T], count: int, dice: Dice) -> list[T]:
    """Up to ``count`` different items, in random order. Costs ``count`` steps, however many items there are (Floyd)."""
    length = len(items)
    places: list[int] = []
    for limit in range(max(length - count, 0), length):
        place = dice.randrange(limit + 1)
        places.append(limit if place in places else place)
    shuffle(places, dice)
    return [items[place] for place in places]
