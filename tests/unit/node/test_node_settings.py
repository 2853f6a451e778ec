"""Settings: every rule refuses by name, and building is the inverse of flattening."""

from pathlib import Path

import pytest

from golemp2p.drivers.settings import ServiceSettings
from golemp2p.ports import GuestLimits
from golemp2p_node.daemon import service_settings
from golemp2p_node.setting_docs import DOCS
from golemp2p_node.settings import Address, InvalidSetting, RetrySettings, Settings, build, flatten

BASE = {"data_dir": Path("/data"), "memory_budget_bytes": 1 << 30}


def test_documented_in_order_of_declaration() -> None:
    assert list(flatten(build(BASE))) == list(DOCS)


def test_build_inverts_flatten() -> None:
    settings = build({**BASE, "log.level": "debug", "limits.wall_time_s": 3.0, "http": Address("::1", 0)})
    assert build(flatten(settings)) == settings
    assert settings.log.level == "debug"
    assert settings.limits.wall_time_s == 3.0


@pytest.mark.parametrize(("asked", "possible", "expected"), [(100, 9004, 100), (10_000, 9004, 9004)])
def test_no_more_workers_in_memory_than_the_engine_can_hold(asked: int, possible: int, expected: int) -> None:
    """Else idle instances would fill the engine, and a worker whose timer is due could not be woken."""
    settings = build({**BASE, "workers.active_max": asked})
    assert service_settings(settings, possible).workers_active_max == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data_dir", Path("relative")),
        ("memory_budget_bytes", 1024),
        ("shards_count", 1000),
        ("shards_count", 0),
        ("drain_timeout_s", -1.0),
        ("drain_timeout_s", float("inf")),
        ("http", Address("0.0.0.0", 9881)),
        ("http", Address("example.org", 9881)),
        ("mesh", Address("127.0.0.1", 9881)),
        ("http_hosts", ("http://node.example",)),
        ("http_hosts", ("node.example:9881",)),
        ("http_hosts", ("*",)),
        ("log.level", "loud"),
        ("log.format", "xml"),
        ("requests.payload_bytes_max", 0),
        ("workers.idle_ttl_s", float("nan")),
        ("workers.suspend_after_pressed_s", 11.0),
        ("limits.memory_bytes_max", -1),
        ("retry.attempts_max", -1),
        ("retry.delay_max_s", 0.01),
        ("retry.multiplier", 0.5),
        ("retry.jitter", 1.5),
    ],
)
def test_refuses(key: str, value: object) -> None:
    with pytest.raises(InvalidSetting) as caught:
        build({**BASE, key: value})
    assert caught.value.key == key


def test_insisting_opens_the_door() -> None:
    assert build({**BASE, "http": Address("0.0.0.0", 9881), "insecure_listen": True}).http.port == 9881


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("localhost:80", "localhost", 80, True),
        ("[::1]:9881", "::1", 9881, True),
        (":9881", "0.0.0.0", 9881, False),
        ("node.example:65535", "node.example", 65535, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "9881", "localhost", "localhost:http", "h:65536", "h:-1", "::1:80", "[zz]:80", "h:٣"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)


def test_defaults_agree_with_the_service() -> None:
    """One default per thing: the library's and the daemon's must not drift apart."""
    ours, theirs = build(BASE), ServiceSettings()
    assert ours.limits == theirs.guest_limits == GuestLimits()
    assert ours.retry.policy() == theirs.retry_policy
    assert ours.shards_count == theirs.shards_count
    assert ours.requests.component_bytes_max == theirs.component_bytes_max
    assert ours.requests.payload_bytes_max == theirs.invocation_bytes_max
    assert ours.workers.queue_length_max == theirs.queue_max
    assert ours.workers.active_max == theirs.workers_active_max
    assert ours.workers.idle_ttl_s == theirs.idle_ttl_s
    assert ours.workers.suspend_after_s == theirs.suspend_after_s
    assert ours.workers.suspend_after_pressed_s == theirs.suspend_after_pressed_s
    assert ours.workers.resume_concurrency == theirs.resume_concurrency


def test_no_jitter_is_none() -> None:
    assert RetrySettings(jitter=0.0).policy().jitter is None


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings(data_dir=Path("/data"), memory_budget_bytes=1 << 30).shards_count = 2  # type: ignore[misc]
