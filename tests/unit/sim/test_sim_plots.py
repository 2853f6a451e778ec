"""Scales hold their values and have round ticks; plots hold whatever they are given."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p_sim.plots import Band, bars, lines, rows, times, whole_numbers
from golemp2p_sim.scales import Linear, Logarithmic, milliseconds, plain

POSITIVE = st.floats(1e-6, 1e9, allow_nan=False)


@given(POSITIVE, st.integers(1, 10), st.booleans())
def test_linear_scales_hold_the_largest_value(largest: float, parts: int, whole: bool) -> None:
    scale = Linear.up_to(largest, parts, whole=whole)
    ticks = scale.ticks()
    assert ticks[0] == 0
    assert ticks[-1] >= largest * (1 - 1e-6)
    assert 2 <= len(ticks) <= parts + 2
    if whole:
        assert all(tick == round(tick) for tick in ticks)


@given(POSITIVE, POSITIVE)
def test_logarithmic_scales_hold_all_values_and_turn_back(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scale = Logarithmic.around(low, high)
    for value in (low, high):
        assert 0 <= scale.share(value) <= 1
        assert scale.value(scale.share(value)) == pytest.approx(value, rel=1e-6)
    assert scale.share(0) == 0


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0 ms"), (0.25, "250 us"), (1, "1 ms"), (40.631, "40.6 ms"), (999, "999 ms"), (7502.95, "7.5 s")]
)
def test_durations_take_the_shortest_unit(value: float, said: str) -> None:
    assert milliseconds(value) == said


def test_numbers_are_grouped() -> None:
    assert (plain(12_345), plain(2.5), plain(0)) == ("12,345", "2.5", "0")


def drawn(svg: str) -> ElementTree.Element:
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
    return ElementTree.fromstring(svg)


VALUES = st.lists(st.floats(0, 1e7), max_size=300)


@given(VALUES, VALUES)
def test_plots_of_anything(some: list[float], others: list[float]) -> None:
    points = [(float(i), value) for i, value in enumerate(some)]
    bands = [Band(1, 2, "<fault>"), Band(5, 1e9, "long")]
    for logarithmic in (False, True):
        drawn(lines([("some", points), ("none", [])], bands, x_high=len(some), title="t", logarithmic=logarithmic))
    drawn(rows([("row", bands), ("none", [])], x_high=len(some), title="t"))
    drawn(bars([("some", some), ("others", others[: len(some)])], title="t"))
    drawn(times(some, title="t", text=milliseconds))
    drawn(whole_numbers([int(value) % 50 for value in some], title="t"))


def test_every_value_is_counted() -> None:
    svg = times([0.5, 5, 50, 50, 50], title="t", text=milliseconds)
    assert svg.count('class="bar c0"') == 3
    assert ": 3</title>" in svg
    assert ">2: 4</title>" in whole_numbers([2, 2, 2, 2, 0], title="t")


def test_many_nodes_share_bars() -> None:
    svg = bars([("load", [1.0] * 999)], title="t")
    assert svg.count("<rect") <= 200
    assert "n0 to n4: load 1" in svg
