"""A page about a simulation: one HTML file, self-contained, with the plots in it.

All seeds in figures; one seed in detail (availability, latency, faults, load per node); all seeds again, in histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from golemp2p_sim.case import FaultSpan, Result
from golemp2p_sim.figures import figures
from golemp2p_sim.measured import percentiles, percentiles_ms
from golemp2p_sim.plots import Band, bars, lines, rows, times, whole_numbers
from golemp2p_sim.runner import Summary
from golemp2p_sim.scales import Text, milliseconds, plain
from golemp2p_sim.scenario import Scenario
from golemp2p_sim.units import S, duration_text

BUCKETS = 120
_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}
h1{font-size:1.4em;margin-top:1.6em}h2{font-size:1.05em;margin:2em 0 .4em}svg{width:100%;height:auto;display:block}
svg text{font-size:10px;fill:#59636e}svg text.legend{font-weight:600}.axis{stroke:#59636e}.grid{stroke:#d1d9e0;stroke-width:.5}
.band{fill:#cf222e;opacity:.07}.fault{fill:#cf222e;opacity:.55}.born{fill:#2da44e}.c0{fill:#1f6feb}.c1{fill:#d29922}
.caption{margin:.2em 0 0;text-align:right;color:#59636e;font-size:12px}table{border-collapse:collapse}
td{padding:.15em 1.5em .15em 0;vertical-align:top;border-bottom:1px solid #eef1f4}td:first-child{white-space:nowrap;color:#59636e}
td:last-child{font-variant-numeric:tabular-nums}.bad{color:#cf222e}.good{color:#1a7f37;font-weight:600}
code{background:#f6f8fa;padding:.1em .3em}
"""


def html(scenario: Scenario, result: Result, summary: Summary) -> str:
    """``result``: the seed shown in detail."""
    parts = [
        f"<h1>{escape(scenario.name)}</h1><p>{escape(scenario.summary)}</p>",
        _verdict(summary),
        _table(figures(summary)),
        *_one_seed(scenario, result),
        *_all_seeds(summary),
    ]
    body = "\n".join(parts)
    title = escape(f"golemp2p sim: {scenario.name}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}<body>{body}</body></html>\n'


def _one_seed(scenario: Scenario, result: Result) -> list[str]:
    end_s = result.virtual_ns / S
    bands = [Band(span.start_ns / S, span.end_ns / S, _label(span)) for span in result.spans]
    births = [Band(at_ns / S, at_ns / S, f"n{node} is born", "born") for node, at_ns in enumerate(_births(scenario)) if at_ns]
    parts = [
        f"<h1>Seed {result.seed}</h1><p>{scenario.world.nodes} nodes, faults until {duration_text(result.healed_ns)}, then healed; "
        f"trace <code>{result.trace_hash}</code></p>",
        "<h2>Answered invocations per second</h2>",
        lines([("answered", answered_per_s(result))], bands, x_high=end_s, title="answered per second over time"),
        _faults(result, births, end_s),
        "<h2>Latency</h2>",
        lines(latency_series(result), bands, x_high=end_s, title="latency over time", text=milliseconds, logarithmic=True),
        "<h2>Messages delivered per node and second</h2>",
        bars([("messages", [count / end_s if end_s else 0 for count in result.delivered_by_node])], title="messages by node"),
    ]
    if any(result.held_by_node):
        parts += ["<h2>Shards per node at the end</h2>"]
        parts += [bars([("held", result.held_by_node), ("led", result.led_by_node)], title="shards by node")]
    return parts


def _all_seeds(summary: Summary) -> list[str]:
    measured = summary.measured
    parts = ["<h1>All seeds</h1>"]
    for heading, values in (
        ("Latency", summary.latencies_ns),
        ("From healing to everything answered and equal", summary.recovered_ns),
        ("Failover: from the primary's crash, freeze or cut to the next primary's commit", measured.failovers_ns),
        ("Planned hand-over", measured.handovers_ns),
        ("Detection: from a crash to the first member that holds the node dead", measured.first_verdicts_ns),
        ("Detection: until all members do", measured.all_verdicts_ns),
    ):
        if values:
            plot = times([value / 1e6 for value in values], title=heading, text=milliseconds)
            parts += [f"<h2>{escape(heading)}</h2>", plot, _caption(percentiles_ms(values), milliseconds)]
    for heading, numbers in (
        ("Hops per lookup", [hops for hops, _, _ in measured.lookups]),
        ("Questions per lookup", [rpcs for _, rpcs, _ in measured.lookups]),
    ):
        if numbers:
            plot = whole_numbers(numbers, title=heading)
            parts += [f"<h2>{escape(heading)}</h2>", plot, _caption(percentiles(numbers), plain)]
    if summary.coverage:
        parts += ["<h2>Rare branches reached</h2>", _table([(n, str(c)) for n, c in sorted(summary.coverage.items())])]
    return parts


def _caption(found: dict[str, float], text: Text) -> str:
    said = ", ".join(f"{name} {text(found[name])}" for name in ("p50", "p99", "max"))
    return f'<p class="caption">{said}, of {found["count"]:,g}</p>'


def _births(scenario: Scenario) -> tuple[int, ...]:
    return scenario.growth.births(scenario.world.nodes) if scenario.growth else ()


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


def _faults(result: Result, births: list[Band], end_s: float) -> str:
    by_kind: dict[str, list[Band]] = {}
    for span in result.spans:
        by_kind.setdefault(span.kind, []).append(Band(span.start_ns / S, span.end_ns / S, _label(span)))
    named = [*([("births", births)] if births else []), *sorted(by_kind.items())]
    return rows(named, x_high=end_s, title="faults over time") if named else "<p>no faults</p>"


def _verdict(summary: Summary) -> str:
    if not summary.failed and not summary.differing:
        return f'<p class="good">{summary.seeds} seed{"s" if summary.seeds > 1 else ""}, no violation.</p>'
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
