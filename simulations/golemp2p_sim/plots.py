"""Small plots as SVG text: nothing to install, nothing to fetch, readable in ten years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from golemp2p_sim.scales import Linear, Logarithmic, Text, plain, seconds

WIDTH, HEIGHT = 860, 188
LEFT, RIGHT, TOP, BOTTOM = 84, 18, 18, 22
_INNER_W, _INNER_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_FLOOR = TOP + _INNER_H

COLORS = ("#1f6feb", "#d29922", "#8957e5", "#2da44e", "#cf222e")
BARS_MAX, BINS_PER_DECADE = 200, 10

Scale = Linear | Logarithmic


@dataclass(frozen=True, slots=True)
class Band:
    """Something that lasted, drawn behind or below the curves."""

    start: float
    end: float
    label: str
    kind: str = "fault"


def _svg(body: list[str], height: int = HEIGHT, title: str = "") -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">'
    return head + "".join(body) + "</svg>"


def _x(share: float) -> float:
    return LEFT + _INNER_W * share


def _y(share: float) -> float:
    return TOP + _INNER_H * (1 - share)


def _rect(kind: str, label: str, *, x: float, y: float, width: float, height: float) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box}><title>{escape(label)}</title></rect>'


def _y_axis(scale: Scale, text: Text) -> list[str]:
    body = [f'<line class="axis" x1="{LEFT}" y1="{_FLOOR}" x2="{WIDTH - RIGHT}" y2="{_FLOOR}"/>']
    for value in scale.ticks():
        y = _y(scale.share(value))
        body.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        body.append(f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{text(value)}</text>')
    return body


def _x_tick(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{escape(text)}</text>'


def _time_axis(x_high: float) -> list[str]:
    ticks = Linear.up_to(x_high, 8).ticks()
    return [_x_tick(_x(value / x_high), seconds(value)) for value in ticks if value <= x_high]


def _legend(names: Sequence[str]) -> list[str]:
    """Above the right corner, each name in its color."""
    body, x = [], WIDTH - RIGHT - 4
    for number in reversed(range(len(names))):
        color = COLORS[number % len(COLORS)]
        body.append(
            f'<text class="legend" x="{x}" y="{TOP - 7}" text-anchor="end" style="fill:{color}">{escape(names[number])}</text>'
        )
        x -= 14 + 6 * len(names[number])
    return body


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    bands: Sequence[Band],
    *,
    x_high: float,
    title: str,
    text: Text = plain,
    logarithmic: bool = False,
) -> str:
    """Curves over time in seconds; ``bands`` are shaded behind them. ``series``: (name, points in order of time)."""
    x_high = x_high or 1.0
    values = [y for _, points in series for _, y in points if y > 0] or [1.0]
    scale: Scale = Logarithmic.around(min(values), max(values)) if logarithmic else Linear.up_to(max(values))
    body = []
    for band in bands:
        x = _x(min(1, band.start / x_high))
        body.append(_rect("band", band.label, x=x, y=TOP, width=max(1.0, _x(min(1, band.end / x_high)) - x), height=_INNER_H))
    body += _y_axis(scale, text) + _time_axis(x_high)
    for number, (_, points) in enumerate(series):
        path = " ".join(f"{_x(min(1, x / x_high)):.1f},{_y(scale.share(y)):.1f}" for x, y in points)
        body.append(f'<polyline fill="none" stroke="{COLORS[number % len(COLORS)]}" stroke-width="1.5" points="{path}"/>')
    if len(series) > 1:
        body += _legend([name for name, _ in series])
    return _svg(body, title=title)


def rows(named: Sequence[tuple[str, Sequence[Band]]], *, x_high: float, title: str) -> str:
    """One row per name with what lasted when: the faults under the curves, on the same time axis."""
    x_high = x_high or 1.0
    height = 16 * max(1, len(named)) + 8
    body = []
    for number, (name, bands) in enumerate(named):
        y = 4 + 16 * number
        body.append(f'<text x="{LEFT - 6}" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
        body.append(f'<line class="grid" x1="{LEFT}" y1="{y + 7}" x2="{WIDTH - RIGHT}" y2="{y + 7}"/>')
        for band in bands:
            x = _x(min(1, band.start / x_high))
            body.append(_rect(band.kind, band.label, x=x, y=y, width=max(2.0, _x(min(1, band.end / x_high)) - x), height=12))
    return _svg(body, height, title)


def bars(series: Sequence[tuple[str, Sequence[float]]], *, title: str) -> str:
    """One bar per node, those of later series in front of the first; where there are more than two hundred, the highest of some."""
    count = max((len(values) for _, values in series), default=0)
    group = max(1, -(-count // BARS_MAX))
    gathered = [[max(values[i : i + group]) for i in range(0, len(values), group)] for _, values in series]
    scale = Linear.up_to(max((value for some in gathered for value in some), default=1) or 1)
    width = _INNER_W / max(1, -(-count // group))
    body = _y_axis(scale, plain)
    for number, ((name, _), some) in enumerate(zip(series, gathered, strict=True)):
        inset = number * min(6.0, width / 4)
        for place, value in enumerate(some):
            y = _y(scale.share(value))
            label = f"n{place * group}{f' to n{min(count, (place + 1) * group) - 1}' if group > 1 else ''}: {name} {value:.4g}"
            kind = f"bar c{number}"
            x = LEFT + place * width + inset
            body.append(
                _rect(kind, label, x=x, y=y, width=max(0.5, width - min(2.0, width / 5) - 2 * inset), height=_FLOOR - y)
            )
    step = max(1, -(-count // group // 20))
    body += [_x_tick(LEFT + (place + 0.5) * width, f"n{place * group}") for place in range(0, -(-count // group), step)]
    if len(series) > 1:
        body += _legend([name for name, _ in series])
    return _svg(body, title=title)


def times(values: Sequence[float], *, title: str, text: Text) -> str:
    """How often durations occur, over decades: ten steps to each."""
    some = [value for value in values if value > 0] or [1.0]
    scale = Logarithmic.around(min(some), max(some))
    count = BINS_PER_DECADE * (scale.high_power - scale.low_power)
    counts = [0] * count
    for value in values:
        counts[min(count - 1, int(scale.share(value) * count))] += 1
    labels = [f"{text(scale.value(i / count))} to {text(scale.value((i + 1) / count))}" for i in range(count)]
    ticks = [(scale.share(value), text(value)) for value in scale.ticks()]
    return _histogram(counts, labels, ticks, title)


def whole_numbers(values: Sequence[int], *, title: str) -> str:
    """How often each whole number from 0 on occurs."""
    counts = [0] * (max(values, default=0) + 1)
    for value in values:
        counts[value] += 1
    step = max(1, len(counts) // 20)
    ticks = [((i + 0.5) / len(counts), str(i)) for i in range(0, len(counts), step)]
    return _histogram(counts, [str(i) for i in range(len(counts))], ticks, title)


def _histogram(counts: Sequence[int], labels: Sequence[str], ticks: Sequence[tuple[float, str]], title: str) -> str:
    scale = Linear.up_to(max(counts, default=1) or 1, whole=True)
    width = min(80.0, _INNER_W / max(1, len(counts)))
    body = _y_axis(scale, plain)
    for number, found in enumerate(counts):
        y = _y(scale.share(found))
        if found:
            body.append(
                _rect(
                    "bar c0",
                    f"{labels[number]}: {found}",
                    x=LEFT + number * width,
                    y=y,
                    width=max(0.5, width - 1),
                    height=_FLOOR - y,
                )
            )
    body += [_x_tick(LEFT + share * width * len(counts), said) for share, said in ticks]
    return _svg(body, title=title)
