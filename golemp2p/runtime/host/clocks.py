"""wasi:clocks: wall-clock, monotonic-clock, timezone.

Every reading is journalled, so a replayed worker sees the times it saw. The monotonic clock is the worker's own: it
starts at 0 with the worker and goes on counting through restarts, which is what lets a deadline outlive the process.
A worker's time zone is UTC wherever it runs.
"""

from __future__ import annotations

from typing import Any

from golemp2p.runtime.host.declare import PURE, READ_LOCAL, HostContext, HostInterface
from golemp2p.runtime.host.encoding import journal_name
from golemp2p.runtime.host.poll import Timer

WALL = HostInterface("wasi:clocks/wall-clock")
MONOTONIC = HostInterface("wasi:clocks/monotonic-clock")
TIMEZONE = HostInterface("wasi:clocks/timezone")
INTERFACES = (WALL, MONOTONIC, TIMEZONE)

RESOLUTION_NS = 1

SUBSCRIBE_DURATION = journal_name(MONOTONIC.name, "subscribe-duration")

Datetime = tuple[int, int]
"""Seconds since the Unix epoch, and nanoseconds below a second."""


@WALL.function("now", READ_LOCAL)
def wall_now(ctx: HostContext) -> Datetime:
    return divmod(ctx.host.wall_ns(), 1_000_000_000)


@WALL.function("resolution", READ_LOCAL)
def wall_resolution(ctx: HostContext) -> Datetime:
    return (0, RESOLUTION_NS)


@MONOTONIC.function("now", READ_LOCAL)
def monotonic_now(ctx: HostContext) -> int:
    return ctx.host.monotonic_ns()


@MONOTONIC.function("resolution", READ_LOCAL)
def monotonic_resolution(ctx: HostContext) -> int:
    return RESOLUTION_NS


@MONOTONIC.function("subscribe-instant", PURE)
def subscribe_instant(ctx: HostContext, when_ns: int) -> int:
    return ctx.resources.push(Timer(ctx.host, when_ns))


@MONOTONIC.function("subscribe-duration", PURE)
def subscribe_duration(ctx: HostContext, duration_ns: int) -> int:
    """Journals the time it was asked at: after a restart the deadline is where it was, not a duration away again."""
    now_ns = ctx.journalled(SUBSCRIBE_DURATION, READ_LOCAL, (duration_ns,), ctx.host.monotonic_ns)
    return ctx.resources.push(Timer(ctx.host, now_ns + duration_ns))


@TIMEZONE.function("display", READ_LOCAL)
def timezone_display(ctx: HostContext, when: Any) -> tuple[int, str, bool]:
    return (0, "UTC", False)


@TIMEZONE.function("utc-offset", READ_LOCAL)
def utc_offset(ctx: HostContext, when: Any) -> int:
    return 0
