"""A page about a simulation: one HTML file, self-contained, with the plots in it.

One seed in detail (availability, latency, faults, load per node), all seeds in figures and histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from golemp2p_sim.case import FaultSpan, Result
from golemp2p_sim.figures import figures
from golemp2p_sim.plots import Band, bars, histogram, lines, rows
from golemp2p_sim.runner import Summary
from golemp2p_sim.scenario import Scenario
from golemp2p_sim.units import S, duration_text

BUCKETS = 120
_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}
h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}svg{width:100%;height:auto;display:block}svg text{font-size:10px;fill:#59636e}
svg text.small{font-size:9px}.axis{stroke:#59636e}.grid{stroke:#d1d9e0;stroke-width:.5}.band{fill:#cf222e;opacity:.07}
.fault{fill:#cf222e;opacity:.55}.bar{fill:#1f6feb}table{border-collapse:collapse}td{padding:.1em 1.2em .1em 0;vertical-align:top}
td:last-child{font-variant-numeric:tabular-nums}.bad{color:#cf222e}.good{color:#1a7f37}code{background:#f6f8fa;padding:.1em .3em}
"""


def html(scenario: Scenario, result: Result, summary: Summary) -> str:
    """``result``: the seed shown in detail."""
    end_s = result.virtual_ns / S
    bands = [Band(span.start_ns / S, span.end_ns / S, _label(span)) for span in result.spans]
    parts = [
        f"<h1>{escape(scenario.name)}</h1><p>{escape(scenario.summary)}</p>",
        _verdict(summary),
        f"<h2>Seed {result.seed}</h2><p>trace <code>{result.trace_hash}</code>, {scenario.world.nodes} nodes, faults until "
        f"{duration_text(result.healed_ns)}, then healed</p>",
        "<h2>Answered invocations per second</h2>",
        lines([("answered", answered_per_s(result))], bands, x_high=end_s, unit="", title="answered per second over time"),
        _faults(result, end_s),
        "<h2>Latency</h2>",
        lines(latency_series(result), bands, x_high=end_s, unit=" ms", title="latency over time"),
        "<h2>Messages delivered per node and second</h2>",
        bars([count / end_s if end_s else 0 for count in result.delivered_by_node], unit="", title="load per node"),
        "<h2>All seeds</h2>",
        _table(figures(summary)),
    ]
    if summary.latencies_ns:
        cut = sorted(summary.latencies_ns)[int((len(summary.latencies_ns) - 1) * 0.99)]
        values = [latency / 1e6 for latency in summary.latencies_ns if latency <= cut]
        parts += ["<h2>Latency, all seeds, without the slowest hundredth</h2>", histogram(values, unit="ms", title="latencies")]
    if len(summary.recovered_ns) > 1:
        values = [recovered / S for recovered in summary.recovered_ns]
        parts += ["<h2>From healing to everything answered and equal</h2>", histogram(values, unit="s", title="recovery times")]
    if summary.coverage:
        parts += ["<h2>Rare branches reached</h2>", _table([(n, str(c)) for n, c in sorted(summary.coverage.items())])]
    body = "\n".join(parts)
    title = escape(f"golemp2p sim: {scenario.name}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}<body>{body}</body></html>\n'


def answered_per_s(result: Result) -> list[tuple[float, float]]:
    """(second, answers per second) over ``BUCKETS`` equal steps."""
    step = max(1, result.virtual_ns // BUCKETS)
    counts = [0] * (BUCKETS + 1)
    for when, _ in result.finished:
        counts[min(BUCKETS, when // step)] += 1
    return [(i * step / S, count * S / step) for i, count in enumerate(counts[:BUCKETS])]


def latency_series(result: Result) -> list[tuple[str, list[tuple[float, float]]]]:
    """Median and slowest latency per step, in milliseconds, by the time of the answer."""
    step = max(1, result.virtual_ns // BUCKETS)
    found: dict[int, list[int]] = {}
    for when, latency in result.finished:
        found.setdefault(when // step, []).append(latency)
    middle = [(i * step / S, sorted(values)[len(values) // 2] / 1e6) for i, values in sorted(found.items())]
    slowest = [(i * step / S, max(values) / 1e6) for i, values in sorted(found.items())]
    return [("median", middle), ("slowest", slowest)]


def _label(span: FaultSpan) -> str:
    where = ", ".join(f"n{node}" for node in span.nodes[:12]) or "everywhere"
    return f"{span.kind} {where} {span.start_ns / S:.2f}-{span.end_ns / S:.2f} s"


def _faults(result: Result, end_s: float) -> str:
    by_kind: dict[str, list[Band]] = {}
    for span in result.spans:
        by_kind.setdefault(span.kind, []).append(Band(span.start_ns / S, span.end_ns / S, _label(span)))
    return rows(sorted(by_kind.items()), x_high=end_s, title="faults over time") if by_kind else "<p>no faults</p>"


def _verdict(summary: Summary) -> str:
    if not summary.failed and not summary.differing:
        return f'<p class="good">{summary.seeds} seeds, no violation.</p>'
    said = [
        f"<li>seed {result.seed}: {escape(v.checker)} at {v.time_ns / S:.3f} s: {escape(v.text)}</li>"
        for result in summary.failed[:50]
        for v in result.violations[:1]
    ]
    said += [f"<li>seed {seed} gave another trace in another process</li>" for seed in summary.differing]
    return f'<p class="bad">{len(summary.failed)} of {summary.seeds} seeds with violations:</p><ul class="bad">{"".join(said)}</ul>'


def _table(pairs: Sequence[tuple[str, str]]) -> str:
    return (
        "<table>" + "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in pairs) + "</table>"
    )
