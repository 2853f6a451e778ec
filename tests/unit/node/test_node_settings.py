"""Settings: every rule refuses by name, and building is the inverse of flattening."""

from pathlib import Path

import pytest

from golemp2p.drivers.settings import ServiceSettings
from golemp2p.ports import GuestLimits
from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact, Invite, encode_invite
from golemp2p_node.daemon import service_settings
from golemp2p_node.setting_docs import DOCS
from golemp2p_node.settings import Address, InvalidSetting, RetrySettings, Secret, Settings, build, flatten

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
        ("mesh_advertise", ("10.0.0.1:0",)),
        ("mesh_advertise", ("0.0.0.0:9882",)),
        ("mesh_advertise", ("::1:9882",)),
        ("mesh_advertise", ("a b:1",)),
        ("mesh_advertise", (":9882",)),
        ("mesh_advertise", ("h" * 64,)),
        ("mesh_advertise", ("10.0.0.1:99999",)),
        ("mesh_advertise", ("a:1",) * 9),
        ("domain", "d" * 65),
        ("domain", " rack"),
        ("domain", "rack\n1"),
        ("weight", 0),
        ("weight", 65537),
        ("join", Secret("golemp2p-cut")),
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


@pytest.mark.parametrize(
    ("mesh", "advertise", "listening", "told"),
    [
        ("127.0.0.1:0", (), ["127.0.0.1:4711"], ("127.0.0.1:4711",)),
        ("0.0.0.0:0", ("10.0.0.1",), ["0.0.0.0:4711"], ("10.0.0.1:4711",)),
        ("0.0.0.0:9882", ("node.example:19882", "[2001:db8::1]", "10.0.0.1"), ["0.0.0.0:9882"],
         ("node.example:19882", "[2001:db8::1]:9882", "10.0.0.1:9882")),
    ],
)  # fmt: skip
def test_what_others_dial(mesh: str, advertise: tuple[str, ...], listening: list[str], told: tuple[str, ...]) -> None:
    settings = build({**BASE, "mesh": Address.parse(mesh), "mesh_advertise": advertise})
    assert settings.advertised(listening) == told


def test_listening_everywhere_must_say_where() -> None:
    with pytest.raises(InvalidSetting, match="must say which addresses others dial") as caught:
        build({**BASE, "mesh": Address("0.0.0.0", 9882)})
    assert caught.value.key == "mesh_advertise"


@pytest.mark.parametrize(("key", "value"), [("mesh_advertise", ("10.0.0.1",)), ("mdns", True)])
def test_a_node_that_listens_nowhere_cannot_be_dialled(key: str, value: object) -> None:
    assert build({**BASE, "mesh": None}).advertised([]) == ()
    with pytest.raises(InvalidSetting, match="mesh is off") as caught:
        build({**BASE, "mesh": None, key: value})
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("http", "advertise", "url", "told"),
    [
        ("127.0.0.1:0", (), "http://127.0.0.1:4711", "http://127.0.0.1:4711"),
        ("[::1]:0", (), "http://[::1]:4711", "http://[::1]:4711"),
        ("0.0.0.0:0", ("10.0.0.1:9882",), "http://0.0.0.0:4711", "http://10.0.0.1:4711"),
        ("0.0.0.0:0", ("[2001:db8::1]",), "http://0.0.0.0:4711", "http://[2001:db8::1]:4711"),
        ("0.0.0.0:0", (), "http://0.0.0.0:4711", ""),
    ],
)
def test_where_others_find_http(http: str, advertise: tuple[str, ...], url: str, told: str) -> None:
    settings = build({**BASE, "http": Address.parse(http), "mesh_advertise": advertise, "insecure_listen": True})
    assert settings.advertised_http(url) == told


def test_an_invite_is_read_and_not_shown() -> None:
    genesis = found_mesh(SigningKey(bytes(32)), mesh_key=b"k" * 32, shards_count=16, created_ns=0)
    invite = Invite(genesis, (Contact(bytes(32), ("10.0.0.1:9882",)),))
    text = encode_invite(invite)
    settings = build({**BASE, "join": Secret(text)})
    assert settings.invite == invite
    assert text not in repr(settings)
    assert text not in str(flatten(settings))
    assert (str(settings.join), str(Secret())) == ("given", "none")
    assert build(BASE).invite is None
