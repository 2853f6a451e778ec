"""Clocks, randomness, environment, sockets: what is read from the world is read once and replayed ever after."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from host_fakes import BORN_WALL_NS, Instance, Worker, listed

from golemp2p.errors import Divergence, GuestTrapped, LimitExceeded
from golemp2p.runtime.host.random import RANDOM_BYTES_MAX

S = 1_000_000_000
READINGS: tuple[tuple[Any, ...], ...] = (
    ("wasi:clocks/wall-clock.now",),
    ("wasi:clocks/wall-clock.resolution",),
    ("wasi:clocks/monotonic-clock.now",),
    ("wasi:clocks/monotonic-clock.resolution",),
    ("wasi:clocks/timezone.display", (0, 0)),
    ("wasi:clocks/timezone.utc-offset", (0, 0)),
    ("wasi:random/random.get-random-bytes", 5),
    ("wasi:random/random.get-random-u64",),
    ("wasi:random/insecure.get-insecure-random-bytes", 5),
    ("wasi:random/insecure.get-insecure-random-u64",),
    ("wasi:random/insecure-seed.insecure-seed",),
    ("wasi:cli/environment.get-environment",),
    ("wasi:cli/environment.get-arguments",),
    ("wasi:cli/environment.initial-cwd",),
    ("golem:api/host.get-self-metadata",),
    ("golem:api/host.get-retry-policy",),
)


async def story(instance: Instance) -> list[Any]:
    return [listed(await instance.call(*reading)) for reading in READINGS]


async def test_readings_replay_as_they_were(autojump_clock: object) -> None:
    worker = Worker()
    await trio.sleep(1)
    lived = await story(worker.start())
    assert len(worker.entries) == len(READINGS)
    await trio.sleep(100)
    replaying = worker.start()
    assert await story(replaying) == lived
    assert await story(replaying) != lived  # live again: the clocks have moved on


async def test_replay_notices_another_request(autojump_clock: object) -> None:
    worker = Worker()
    await worker.start().call("wasi:random/random.get-random-bytes", 5)
    with pytest.raises(Divergence):
        await worker.start().call("wasi:random/random.get-random-bytes", 6)


async def test_clocks(autojump_clock: object) -> None:
    instance = Worker().start()
    await trio.sleep(1.25)
    assert await instance.call("wasi:clocks/wall-clock.now") == (BORN_WALL_NS // S + 1, 250_000_000)
    assert await instance.call("wasi:clocks/monotonic-clock.now") == 1_250_000_000
    assert await instance.call("wasi:clocks/timezone.display", (0, 0)) == (0, "UTC", False)
    assert await instance.call("wasi:clocks/timezone.utc-offset", (0, 0)) == 0


async def test_a_replayed_duration_keeps_its_deadline(autojump_clock: object) -> None:
    worker = Worker()
    subscribe = ("wasi:clocks/monotonic-clock.subscribe-duration", 5 * S)
    await worker.start().call(*subscribe)
    await trio.sleep(4)
    instance = worker.start()
    timer = await instance.call(*subscribe)
    await instance.call("wasi:io/poll.[method]pollable.block", timer)
    assert trio.current_time() == pytest.approx(5)
    with pytest.raises(Divergence):
        await worker.start().call(subscribe[0], 6 * S)


async def test_environment_order_and_arguments(autojump_clock: object) -> None:
    instance = Worker().start()
    environment = await instance.call("wasi:cli/environment.get-environment")
    assert [name for name, _ in environment] == ["B", "A", "GOLEM_WORKER_NAME"]
    assert await instance.call("wasi:cli/environment.get-arguments") == ["-v", "ü"]
    assert await instance.call("wasi:cli/environment.initial-cwd") == "/"


@pytest.mark.parametrize("function", ["wasi:random/random.get-random-bytes", "wasi:random/insecure.get-insecure-random-bytes"])
async def test_randomness_is_limited_before_it_is_made(autojump_clock: object, function: str) -> None:
    worker = Worker()
    for length in (RANDOM_BYTES_MAX + 1, 2**64 - 1):
        with pytest.raises(LimitExceeded) as caught:
            await worker.start().call(function, length)
        assert caught.value.limit == "random_bytes_max"
    assert worker.seed == 0
    assert await worker.start().call(function, 0) == b""
    assert len(await worker.start().call(function, 0)) == 0


# -------------------------------------------------------------------------------------------------------------- sockets


class Resolver(trio.abc.HostnameResolver):
    def __init__(self, *outcomes: list[str] | Exception) -> None:
        self.outcomes, self.asked = list(outcomes), []

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *rest: int, **flags: int) -> Any:
        self.asked.append(host)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in outcome]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


LOOKUP = "wasi:sockets/ip-name-lookup."


async def walk(instance: Instance, name: str) -> Sequence[Any]:
    network = await instance.call("wasi:sockets/instance-network.instance-network")
    case, stream = await instance.call(LOOKUP + "resolve-addresses", network, name)
    if case == "err":
        return [stream]
    pollable = await instance.call(LOOKUP + "[method]resolve-address-stream.subscribe", stream)
    await instance.call("wasi:io/poll.[method]pollable.block", pollable)
    answers = []
    while True:
        case, address = await instance.call(LOOKUP + "[method]resolve-address-stream.resolve-next-address", stream)
        answers.append(address)
        if case == "err" or address is None:
            return answers


async def test_a_lookup_is_replayed_without_asking(autojump_clock: object) -> None:
    resolver = Resolver(["192.0.2.7", "192.0.2.7", "fe80::1:2%eth0"])
    trio.socket.set_custom_hostname_resolver(resolver)
    worker = Worker()
    lived = await walk(worker.start(), "example.test")
    assert lived == [("ipv4", (192, 0, 2, 7)), ("ipv6", (0xFE80, 0, 0, 0, 0, 0, 1, 2)), None]
    assert await walk(worker.start(), "example.test") == lived
    assert len(resolver.asked) == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), "name-unresolvable"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "temporary-resolver-failure"),
        (socket.gaierror(socket.EAI_FAIL, "never"), "permanent-resolver-failure"),
        (OSError("strange"), "unknown"),
    ],
)
async def test_a_failed_lookup_is_told_and_replayed(autojump_clock: object, failure: Exception, code: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(failure))
    worker = Worker()
    assert await walk(worker.start(), "example.test") == [code]
    assert await walk(worker.start(), "example.test") == [code]


async def test_literal_addresses_ask_nobody(autojump_clock: object) -> None:
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    assert await walk(Worker().start(), "203.0.113.9") == [("ipv4", (203, 0, 113, 9)), None]
    assert await walk(Worker().start(), "::1") == [("ipv6", (0, 0, 0, 0, 0, 0, 0, 1)), None]
    assert resolver.asked == []


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "a\nb", "x" * 254])
async def test_impossible_names_are_refused_unasked(autojump_clock: object, name: str) -> None:
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    worker = Worker()
    assert await walk(worker.start(), name) == ["invalid-argument"]
    assert (resolver.asked, worker.entries) == ([], [])


async def test_a_name_that_idna_refuses_is_invalid(autojump_clock: object) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    worker = Worker()
    assert await walk(worker.start(), "ü" * 70 + ".test") == ["invalid-argument"]
    assert await walk(worker.start(), "ü" * 70 + ".test") == ["invalid-argument"]


async def test_sockets_are_refused(autojump_clock: object) -> None:
    instance = Worker().start()
    for kind in ("tcp", "udp"):
        answer = await instance.call(f"wasi:sockets/{kind}-create-socket.create-{kind}-socket", "ipv4")
        assert answer == ("err", "access-denied")
        with pytest.raises(GuestTrapped, match="socket"):
            await instance.call(f"wasi:sockets/{kind}.[method]{kind}-socket.subscribe", 1)
