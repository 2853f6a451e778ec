"""What all seeds of a scenario came to: pairs of name and value, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence

from golemp2p_sim.measured import percentiles, percentiles_ms
from golemp2p_sim.runner import Summary
from golemp2p_sim.scales import Text, milliseconds, plain
from golemp2p_sim.units import S


def figures(summary: Summary) -> list[tuple[str, str]]:
    """Rows without anything to tell are left out."""
    seconds, measured = summary.virtual_ns / S, summary.measured
    cpu = summary.cpu_s or 1e-9
    told = [
        ("seeds", f"{summary.seeds}, {len(summary.failed)} with violations"),
        ("virtual time", f"{seconds:,.0f} s, {seconds / cpu:.1f} per second of CPU"),
        ("events", f"{summary.events:,}, {summary.events / cpu:,.0f} per second of CPU"),
        (
            "faults",
            f"{summary.faults:,} injected ({summary.faults / cpu * 3600:,.0f} per hour of CPU), {summary.refused} refused",
        ),
        ("answered", f"{summary.answered:,}{_each(summary, summary.answered)}"),
        ("committed", f"{summary.committed:,} entries{_each(summary, summary.committed)}"),
        ("latency", _times(summary.latencies_ns)),
        ("recovery", _times(summary.recovered_ns)),
        ("elections", f"{summary.elections:,}"),
        ("failover", _times(measured.failovers_ns)),
        ("planned hand-over", _times(measured.handovers_ns)),
        ("first to hold dead", _times(measured.first_verdicts_ns)),
        ("all to hold dead", _times(measured.all_verdicts_ns)),
        ("held dead", f"{measured.verdicts} times, {measured.false_verdicts} of them falsely" if measured.verdicts else ""),
        ("hops per lookup", _numbers([hops for hops, _, _ in measured.lookups])),
        ("questions per lookup", _numbers([rpcs for _, rpcs, _ in measured.lookups])),
        ("dead in results", str(sum(dead for _, _, dead in measured.lookups)) if measured.lookups else ""),
        ("load, max by mean", _spreads(summary)),
        ("inconclusive", f"{summary.inconclusive} histories"),
    ]
    return [(name, value) for name, value in told if value]


def _each(summary: Summary, count: int) -> str:
    return f", with {summary.messages / count:.1f} messages and {summary.bytes / count:,.0f} bytes each" if count else ""


def _times(values_ns: Sequence[int]) -> str:
    return _said(percentiles_ms(values_ns), milliseconds)


def _numbers(values: Sequence[float]) -> str:
    return _said(percentiles(values), plain)


def _said(found: dict[str, float], text: Text) -> str:
    if not found:
        return ""
    return ", ".join(f"{name} {text(found[name])}" for name in ("p50", "p99", "max")) + f", of {found['count']:,g}"


def _spreads(summary: Summary) -> str:
    """The middle one of all runs."""
    names = {"messages": "messages", "held": "shards held", "led": "shards led"}
    return ", ".join(
        f"{text} {percentiles(summary.spreads[name])['p50']:g}" for name, text in names.items() if name in summary.spreads
    )
