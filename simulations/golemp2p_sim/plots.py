"""Small plots as SVG text: nothing to install, nothing to fetch, readable in ten years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 180
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 8, 22
_INNER_W, _INNER_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

COLORS = ("#1f6feb", "#d29922", "#8957e5", "#2da44e", "#cf222e")


@dataclass(frozen=True, slots=True)
class Band:
    """Something that lasted, drawn behind or below the curves."""

    start: float
    end: float
    label: str


def _x(value: float, high: float) -> float:
    return LEFT + _INNER_W * min(value, high) / (high or 1)


def _y(value: float, high: float) -> float:
    return TOP + _INNER_H * (1 - min(value, high) / (high or 1))


def _svg(body: list[str], height: int = HEIGHT, title: str = "") -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">'
    return head + "".join(body) + "</svg>"


def _axes(x_high: float, y_high: float, unit: str) -> list[str]:
    body = [f'<line class="axis" x1="{LEFT}" y1="{TOP + _INNER_H}" x2="{WIDTH - RIGHT}" y2="{TOP + _INNER_H}"/>']
    for part in range(5):
        value = y_high * part / 4
        y = _y(value, y_high)
        body.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        body.append(f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{value:.4g}{unit}</text>')
    for part in range(7):
        value = x_high * part / 6
        body.append(f'<text x="{_x(value, x_high):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{value:.4g} s</text>')
    return body


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]], bands: Sequence[Band], *, x_high: float, unit: str, title: str
) -> str:
    """Curves over time in seconds; ``bands`` are shaded behind them. ``series``: (name, points in order of time)."""
    y_high = max((y for _, points in series for _, y in points), default=1) or 1
    body = [
        f'<rect class="band" x="{_x(b.start, x_high):.1f}" y="{TOP}" width="{max(1.0, _x(b.end, x_high) - _x(b.start, x_high)):.1f}" '
        f'height="{_INNER_H}"><title>{escape(b.label)}</title></rect>'
        for b in bands
    ]
    body += _axes(x_high, y_high, unit)
    for number, (name, points) in enumerate(series):
        path = " ".join(f"{_x(x, x_high):.1f},{_y(y, y_high):.1f}" for x, y in points)
        color = COLORS[number % len(COLORS)]
        body.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{path}"/>')
        body.append(f'<text x="{WIDTH - RIGHT - 90 * (number + 1)}" y="{TOP + 12}" fill="{color}">{escape(name)}</text>')
    return _svg(body, title=title)


def rows(named: Sequence[tuple[str, Sequence[Band]]], *, x_high: float, title: str) -> str:
    """One row per name with what lasted when: the faults under the curves, on the same time axis."""
    height = 16 * max(1, len(named)) + 8
    body = []
    for number, (name, bands) in enumerate(named):
        y = 4 + 16 * number
        body.append(f'<text x="{LEFT - 5}" y="{y + 10}" text-anchor="end" class="small">{escape(name)}</text>')
        body.append(f'<line class="grid" x1="{LEFT}" y1="{y + 7}" x2="{WIDTH - RIGHT}" y2="{y + 7}"/>')
        for band in bands:
            x = _x(band.start, x_high)
            width = max(2.0, _x(band.end, x_high) - x)
            body.append(
                f'<rect class="fault" x="{x:.1f}" y="{y}" width="{width:.1f}" height="12"><title>{escape(band.label)}</title></rect>'
            )
    return _svg(body, height, title)


def bars(values: Sequence[float], *, unit: str, title: str) -> str:
    """One bar per node; more than two hundred are gathered."""
    group = -(-len(values) // 200)
    gathered = [max(values[i : i + group]) for i in range(0, len(values), group)]
    y_high = max(gathered, default=1) or 1
    width = _INNER_W / max(1, len(gathered))
    body = []
    for part in range(5):
        y = _y(y_high * part / 4, y_high)
        body.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        body.append(f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{y_high * part / 4:.4g}{unit}</text>')
    for number, value in enumerate(gathered):
        y = _y(value, y_high)
        label = f"node {number * group}: {value:.4g}{unit}"
        body.append(
            f'<rect class="bar" x="{LEFT + number * width:.1f}" y="{y:.1f}" width="{max(0.5, width - 1):.1f}" '
            f'height="{TOP + _INNER_H - y:.1f}"><title>{escape(label)}</title></rect>'
        )
    return _svg(body, title=title)


def histogram(values: Sequence[float], *, unit: str, title: str, count: int = 40) -> str:
    """How often values fall into equal steps up to the largest."""
    high = max(values, default=1) or 1
    counts = [0] * count
    for value in values:
        counts[min(count - 1, int(value / high * count))] += 1
    y_high = max(counts, default=1) or 1
    width = _INNER_W / count
    body = []
    for number, found in enumerate(counts):
        y = _y(found, y_high)
        label = f"{high * number / count:.4g} to {high * (number + 1) / count:.4g} {unit}: {found}"
        body.append(
            f'<rect class="bar" x="{LEFT + number * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
            f'height="{TOP + _INNER_H - y:.1f}"><title>{escape(label)}</title></rect>'
        )
    for part in range(6):
        x = LEFT + _INNER_W * part / 5
        body.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{high * part / 5:.4g} {unit}</text>')
    body.append(f'<text x="{LEFT - 5}" y="{TOP + 8}" text-anchor="end">{y_high}</text>')
    return _svg(body, title=title)
