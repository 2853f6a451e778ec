"""Sources: flags over environment over file over defaults; nothing unknown passes."""

from pathlib import Path

import pytest

from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact, Invite, encode_invite
from golemp2p_node import units
from golemp2p_node.config_text import as_json, as_rows
from golemp2p_node.setting_docs import DOCS
from golemp2p_node.settings import InvalidSetting
from golemp2p_node.sources import Origin, environment_keys, load, variable


def home(tmp_path: Path, **environment: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), **environment}


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults(tmp_path: Path) -> None:
    loaded = load({}, home(tmp_path))
    assert loaded.settings.data_dir == tmp_path / ".local/share/golemp2p"
    assert loaded.settings.memory_budget_bytes == units.machine_memory_bytes() // 2
    assert set(loaded.origins.values()) == {Origin("default")}
    assert loaded.file is None


def test_xdg_data_home_counts_only_when_absolute(tmp_path: Path) -> None:
    assert load({}, home(tmp_path, XDG_DATA_HOME="/xdg")).settings.data_dir == Path("/xdg/golemp2p")
    assert load({}, home(tmp_path, XDG_DATA_HOME="xdg")).settings.data_dir == tmp_path / ".local/share/golemp2p"


def test_first_source_wins_setting_by_setting(tmp_path: Path) -> None:
    file = write(tmp_path / "node.toml", 'http = "127.0.0.1:1"\n[log]\nlevel = "error"\n[workers]\nactive_max = 7\n')
    environment = home(tmp_path, GOLEMP2P_HTTP="127.0.0.1:2", GOLEMP2P_LOG_LEVEL="debug")
    loaded = load({"http": ("--http", "127.0.0.1:3")}, environment, str(file))
    assert loaded.settings.http.port == 3
    assert loaded.settings.log.level == "debug"
    assert loaded.settings.workers.active_max == 7
    assert str(loaded.origins["http"]) == "flag --http"
    assert str(loaded.origins["log.level"]) == "environment GOLEMP2P_LOG_LEVEL"
    assert str(loaded.origins["workers.active_max"]) == f"file {file}"
    assert loaded.origins["mesh"].kind == "default"


def test_file_beside_the_data_is_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "golemp2p.toml", "shards_count = 16\n")
    assert load({"data_dir": ("--data-dir", str(data))}, home(tmp_path)).settings.shards_count == 16
    assert load({}, home(tmp_path, GOLEMP2P_DATA_DIR=str(data))).settings.shards_count == 16
    assert load({}, home(tmp_path)).settings.shards_count == 1024


def test_named_file_wins_over_the_one_beside_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "golemp2p.toml", "shards_count = 16\n")
    by_variable = write(tmp_path / "variable.toml", "shards_count = 32\n")
    by_flag = write(tmp_path / "flag.toml", f'shards_count = 64\ndata_dir = "{data}"\n')
    environment = home(tmp_path, GOLEMP2P_DATA_DIR=str(data), GOLEMP2P_CONFIG=str(by_variable))
    assert load({}, environment).settings.shards_count == 32
    loaded = load({}, {**environment, "GOLEMP2P_DATA_DIR": "/other"}, str(by_flag))
    assert (loaded.settings.shards_count, loaded.settings.data_dir) == (64, Path("/other"))
    assert load({}, home(tmp_path), str(by_flag)).settings.data_dir == data


def test_names_come_as_list_or_with_commas(tmp_path: Path) -> None:
    file = write(tmp_path / "names.toml", 'http_hosts = ["node.example", "n2"]\n')
    assert load({}, home(tmp_path), str(file)).settings.http_hosts == ("node.example", "n2")
    assert load({}, home(tmp_path, GOLEMP2P_HTTP_HOSTS="node.example, n2,")).settings.http_hosts == ("node.example", "n2")
    wrong = write(tmp_path / "wrong.toml", "http_hosts = [1]\n")
    with pytest.raises(InvalidSetting, match="expected text, got 1"):
        load({}, home(tmp_path), str(wrong))


def test_file_beside_the_data_cannot_move_it(tmp_path: Path) -> None:
    write(tmp_path / ".local/share/golemp2p/golemp2p.toml", 'data_dir = "/elsewhere"\n')
    with pytest.raises(InvalidSetting, match="found through it"):
        load({}, home(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shard_count = 16\n", "did you mean shards_count"),
        ('[log]\nlevl = "info"\n', "did you mean log.level"),
        ("[limits]\nmemory_bytes = 1\n", "did you mean limits.memory_bytes_max"),
        ("[zzz]\nqqq = 1\n", "golemp2p node config"),
        ("http = 9881\n", "expected text"),
        ('shards_count = "many"\n', "expected a whole number"),
        ("shards_count = true\n", "expected a whole number"),
        ('insecure_listen = "maybe"\n', "expected true or false"),
        ("[limits]\nmemory_bytes_max = -5\n", "must be a positive number"),
        ("shards_count = \n", "not valid TOML"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path / "node.toml", text)
    with pytest.raises(InvalidSetting) as caught:
        load({}, home(tmp_path), str(file))
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="cannot be read"):
        load({}, home(tmp_path), str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSetting, match="not valid TOML"):
        load({}, home(tmp_path), str(tmp_path / "binary.toml"))
    (tmp_path / "big.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InvalidSetting, match="hardly a settings file"):
        load({}, home(tmp_path), str(tmp_path / "big.toml"))


def test_unknown_variable_suggests(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="did you mean GOLEMP2P_LOG_FORMAT"):
        load({}, home(tmp_path, GOLEMP2P_LOG_FORMATS="json"))


def test_variables_of_the_command_line_are_no_settings() -> None:
    assert environment_keys({"GOLEMP2P_URL": "http://x", "GOLEMP2P_CONFIG": "/f", "OTHER": "1"}) == {}


def test_every_setting_has_its_own_variable() -> None:
    assert len({variable(key) for key in DOCS}) == len(DOCS)
    assert variable("limits.memory_bytes_max") == "GOLEMP2P_LIMITS_MEMORY_BYTES_MAX"


def test_invalid_value_names_its_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"power of two.*\(from environment GOLEMP2P_SHARDS_COUNT\)"):
        load({}, home(tmp_path, GOLEMP2P_SHARDS_COUNT="1000"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("12", 12), ("1 KiB", 1024), ("64MiB", 64 << 20), ("2gb", 2 * 10**9), ("1 tib", 1 << 40), (5, 5)],
)
def test_sizes(text: object, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5 MiB", "MiB", "1 parsec", "9" * 19, True, 1.5, None, "1 MiB x"])
def test_bad_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        units.size(text)


def test_memory_share() -> None:
    assert units.budget("25%") == units.machine_memory_bytes() * 25 // 100
    assert units.budget("100 %") == units.machine_memory_bytes()
    assert units.budget("1GiB") == 1 << 30
    with pytest.raises(ValueError, match="number of bytes"):
        units.budget("101%")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("limits.memory_bytes_max", 1 << 30, "1 GiB"),
        ("requests.payload_bytes_max", 1536, "1.5 KiB"),
        ("requests.payload_bytes_max", 512, "512 B"),
        ("drain_timeout_s", 10.0, "10 s"),
        ("insecure_listen", True, "true"),
        ("retry.multiplier", 3.0, "3"),
        ("shards_count", 1024, "1024"),
        ("http_hosts", (), "none"),
        ("http_hosts", ("a", "b"), "a, b"),
    ],
)
def test_shown(key: str, value: object, text: str) -> None:
    assert units.shown(key, value) == text


INVITE = encode_invite(
    Invite(
        found_mesh(SigningKey(bytes(32)), mesh_key=b"k" * 32, shards_count=16, created_ns=0),
        (Contact(bytes(32), ("10.0.0.1:9882",)),),
    )
)


def test_an_invite_from_wherever_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "invite.txt", f"  {INVITE}\n")
    for loaded in (
        load({"join": ("--join", INVITE)}, home(tmp_path)),
        load({"join": ("--join", f"@{file}")}, home(tmp_path)),
        load({}, home(tmp_path, GOLEMP2P_JOIN=INVITE)),
        load({}, home(tmp_path), str(write(tmp_path / "node.toml", f'join = "@{file}"\n'))),
    ):
        assert loaded.settings.join.text == INVITE
        assert INVITE not in str(as_json(loaded))
        assert ("join", "given", str(loaded.origins["join"])) in as_rows(loaded)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing", None, "cannot read .*missing: No such file"),
        ("empty", b"\n", "is empty"),
        ("binary", b"\xff\xfe", "does not hold text"),
        ("large", b"x" * 100_000, "it holds something else"),
        ("other", b"not an invite", "this is no invite"),
    ],
)
def test_a_file_without_an_invite(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSetting, match=rf"join: .*{reason}.*\(from flag --join\)"):
        load({"join": ("--join", f"@{tmp_path / name}")}, home(tmp_path))


@pytest.mark.parametrize("text", ["off", "OFF", "", "none"])
def test_a_node_may_listen_for_nobody(tmp_path: Path, text: str) -> None:
    loaded = load({"mesh": ("--mesh", text)}, home(tmp_path))
    assert loaded.settings.mesh is None
    assert {key: value for key, value, _ in as_rows(loaded)}["mesh"] == "off"
    assert as_json(loaded)["mesh"]["value"] is None
