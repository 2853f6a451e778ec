"""Where a number lies on an axis, and which round numbers stand beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Text = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Linear:
    """From 0 to a round number at or above the largest value."""

    step: float
    high: float

    @staticmethod
    def up_to(largest: float, parts: int = 4, *, whole: bool = False) -> Linear:
        """About ``parts`` steps; ``whole``: of whole numbers."""
        rough = max(largest, 1e-9) / parts
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
        if whole:
            step = math.ceil(step)
        return Linear(step, step * math.ceil(largest / step - 1e-9) or step)

    def share(self, value: float) -> float:
        return min(1.0, max(0.0, value / self.high))

    def ticks(self) -> list[float]:
        return [self.step * part for part in range(round(self.high / self.step) + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """Whole decades around all values above 0: for times, of which the slow ones are rare and matter."""

    low_power: int
    high_power: int

    @staticmethod
    def around(smallest: float, largest: float) -> Logarithmic:
        low, high = math.floor(math.log10(max(smallest, 1e-9))), math.ceil(math.log10(max(largest, 1e-9)))
        return Logarithmic(low, max(high, low + 1))

    def share(self, value: float) -> float:
        if value <= 0:
            return 0.0
        return min(1.0, max(0.0, (math.log10(value) - self.low_power) / (self.high_power - self.low_power)))

    def value(self, share: float) -> float:
        """The inverse of ``share``."""
        return float(10.0 ** (self.low_power + share * (self.high_power - self.low_power)))

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low_power, self.high_power + 1)]


def plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def seconds(value: float) -> str:
    return f"{value:.4g} s"


def milliseconds(value: float) -> str:
    """The shortest of us, ms and s."""
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value >= 1 or not value else f"{value * 1000:.3g} us"
