"""Prometheus metrics: the edge's own request counters, and whatever the node's ``statistics()`` says when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# from a cached answer (0.25 ms) to a long invocation (1 min)
LATENCY_BUCKETS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

UNMATCHED = "unmatched"  # the route label of requests that no route takes: paths of strangers must not become labels


class StatisticsCollector(Collector):
    """Reads the statistics when scraped; names that end in ``_total`` become counters, others gauges."""

    def __init__(self, statistics: Callable[[], dict[str, float]]) -> None:
        self._statistics = statistics

    def describe(self) -> list[Any]:
        return []  # names are known only when scraped

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, value in self._statistics().items():
            full = f"golemp2p_{name}"
            if name.endswith("_total"):
                yield CounterMetricFamily(full, name.replace("_", " "), value=value)
            else:
                yield GaugeMetricFamily(full, name.replace("_", " "), value=value)


class EdgeMetrics:
    """``golemp2p_http_request_seconds`` by route, method and status; its ``_count`` is the request counter."""

    def __init__(self, statistics: Callable[[], dict[str, float]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatisticsCollector(statistics))
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
