"""Prometheus metrics: the edge's own request counters, and what the node's ``statistics()`` and ``figures()`` say when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from golemp2p.client import Figure

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# from a cached answer (0.25 ms) to a long invocation (1 min)
LATENCY_BUCKETS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

UNMATCHED = "unmatched"  # the route label of requests that no route takes: paths of strangers must not become labels


class StatisticsCollector(Collector):
    """Reads the statistics when scraped; names that end in ``_total`` become counters, others gauges. ``figures``: of single shards and
    peers, in the order of their names."""

    def __init__(self, statistics: Callable[[], dict[str, float]], figures: Callable[[], Sequence[Figure]]) -> None:
        self._statistics = statistics
        self._figures = figures

    def describe(self) -> list[Any]:
        return []  # names are known only when scraped

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, value in self._statistics().items():
            full = f"golemp2p_{name}"
            if name.endswith("_total"):
                yield CounterMetricFamily(full, name.replace("_", " "), value=value)
            else:
                yield GaugeMetricFamily(full, name.replace("_", " "), value=value)
        for name, figures in groupby(self._figures(), key=lambda figure: figure.name):
            yield _family(name, list(figures))


def _family(name: str, figures: Sequence[Figure]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(
        f"golemp2p_{name}", name.replace("_", " "), labels=(figures[0].label,)
    )
    for figure in figures:
        family.add_metric((figure.of,), figure.value)
    return family


class EdgeMetrics:
    """``golemp2p_http_request_seconds`` by route, method and status; its ``_count`` is the request counter."""

    def __init__(
        self, statistics: Callable[[], dict[str, float]], figures: Callable[[], Sequence[Figure]] = lambda: ()
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatisticsCollector(statistics, figures))
        self._requests = Histogram(
            "golemp2p_http_request_seconds",
            "time from the request's head to its answer",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self._series: dict[tuple[str, str, int], Any] = {}  # labels() costs as much as observe()
        self.listeners = Gauge("golemp2p_http_event_listeners", "open event streams of workers", registry=self._registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._requests.labels(method, route, str(status))
        series.observe(seconds)

    def render(self) -> bytes:
        return bytes(generate_latest(self._registry))
