"""The command line as people and programs use it: every command, its texts, formats and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
from asking import until
from conftest import wasm

from golemp2p.model.ids import Key
from golemp2p.testing.node_process import COMMAND, NodeProcess

COMPILES = "cart-python"  # 18 MB of Python


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """``golemp2p`` against one node."""

    def __init__(self, node: NodeProcess) -> None:
        self._environment = {**os.environ, "GOLEMP2P_URL": node.url}

    def __call__(self, *arguments: object) -> Ran:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)], capture_output=True, text=True, env=self._environment, check=False, timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object) -> str:
        ran = self(*arguments)
        assert ran.code == 0, ran
        return ran.out

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        environment = {**self._environment, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that this module may kill."""
    node = NodeProcess(tmp_path_factory.mktemp("cli") / "data")
    node.start()
    yield node
    node.kill()


@pytest.fixture(scope="module")
def cli(own: NodeProcess) -> Cli:
    cli = Cli(own)
    cli.ok("component", "add", "counter", wasm("counter"))
    cli.ok("component", "add", "bench", wasm("bench"))
    return cli


def test_adding_a_large_component_shows_progress_and_stalls_nobody(own, cli):
    """18 MB compile for seconds on all cores; meanwhile the node goes on answering."""
    adding = cli.start("component", "add", "large", wasm(COMPILES))
    latencies = []
    while adding.poll() is None:
        began = time.monotonic()
        assert own.request("GET", "/healthcheck") == {}
        latencies.append(time.monotonic() - began)
    out, err = adding.communicate()
    assert adding.returncode == 0, err
    assert re.search(r"large version 0 is ready \(durable, 1\d\.\d MiB, \d+\.\d s\)", out), out
    assert "next" in out
    for phase in ("uploading", "compiling"):
        assert phase in err, err
    ordered = sorted(latencies)
    print(
        f"{len(latencies)} health checks meanwhile: median {ordered[len(ordered) // 2] * 1e3:.1f}, worst {ordered[-1] * 1e3:.1f} ms"
    )
    assert ordered[-1] < 5.0


def test_components(own, cli, tmp_path):
    added = cli("component", "add", "grow", wasm("counter"), "--env", "A=1", "--format", "json")
    assert added.code == 0
    assert added.json["env"] == {"A": "1"}
    assert added.err == ""  # programs see no progress
    identifier = added.json["versionedComponentId"]["componentId"]
    assert "version 1 is ready (ephemeral" in cli.ok("component", "update", "grow", wasm("bench"), "--ephemeral")
    listed = cli.ok("component", "list")
    assert re.search(r"^grow +1 +ephemeral ", listed, re.MULTILINE), listed
    assert re.search(r"^counter +0 +durable ", listed, re.MULTILINE)
    assert len(cli("component", "list", "grow", "--format", "json").json) == 2
    got = cli.ok("component", "get", identifier, "--version", 0)
    assert identifier in got
    assert "A=1" in got
    assert "add" in got
    assert cli("--format", "json", "component", "get", "grow").json["versionedComponentId"]["version"] == 1
    target = tmp_path / "c.wasm"
    assert str(target) in cli.ok("component", "download", "grow", "--version", 0, "-o", target)
    assert target.read_bytes() == wasm("counter").read_bytes()


def test_a_workers_life(cli):
    assert "created counter/mine" in cli.ok("worker", "new", "counter/mine", "one", "two", "--env", "K=v")
    assert cli.ok("worker", "invoke", "counter/mine", "add", 5, "--idempotency-key", "k") == "5\n"
    assert cli.ok("worker", "invoke", "counter/mine", "add", 5, "--idempotency-key", "k") == "5\n"
    assert cli("worker", "invoke", "counter/mine", "get", "--format", "json").json["result"]["value"] == [5]
    assert cli.ok("worker", "invoke", "counter", "add", 2) == "2\n"  # a fresh worker
    got = cli.ok("worker", "get", "counter/mine")
    for part in ("Idle", "one two", "K=v"):
        assert part in got
    assert cli("worker", "get", "counter/mine", "--format", "json").json["args"] == ["one", "two"]
    assert len(cli("worker", "list", "counter", "--format", "json").json["workers"]) == 2
    listed = cli.ok("worker", "list", "counter", "--filter", "name = mine", "--filter", "status = Idle")
    assert re.search(r"^mine +Idle ", listed, re.MULTILINE)
    assert "no worker fits" in cli.ok("worker", "list", "counter", "--filter", "name = nobody")
    assert "deleted counter/mine" in cli.ok("worker", "delete", "counter/mine")
    assert cli("worker", "get", "counter/mine").code == 4


def test_interrupting_canceling_and_crashing(own, cli):
    accepted = cli("worker", "invoke", "bench/nap", "sleep", 60_000, "--trigger", "--format", "json").json
    cli.ok("worker", "invoke", "bench/nap", "add", 1, "--trigger", "--idempotency-key", "later")
    assert "not canceled" in cli.ok("worker", "cancel", "bench/nap", accepted["idempotencyKey"])
    assert cli.ok("worker", "cancel", "bench/nap", "later") == "canceled\n"
    assert "crashed bench/nap" in cli.ok("worker", "simulate-crash", "bench/nap")
    assert "interrupted bench/nap" in cli.ok("worker", "interrupt", "bench/nap")
    assert "Interrupted" in cli.ok("worker", "get", "bench/nap")
    assert "resumed bench/nap" in cli.ok("worker", "resume", "bench/nap")
    assert "Interrupted" not in cli.ok("worker", "get", "bench/nap")
    cli.ok("worker", "delete", "bench/nap")


def test_reading_and_searching_an_oplog(own, cli):
    cli.ok("worker", "invoke", "bench/logs", "log-lines", 250)
    text = cli.ok("worker", "oplog", "bench/logs")
    assert re.match(r" +1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  Create ", text)
    whole = cli("worker", "oplog", "bench/logs", "--format", "json").json
    assert len(text.splitlines()) == len(whole) > 250  # more than one page
    assert [item["oplogIndex"] for item in whole] == list(range(1, len(whole) + 1))
    logs = [item for item in whole if item["entry"]["type"] == "Log"]
    assert len(logs) == 250
    assert cli("worker", "oplog", "bench/logs", "--query", "type:Log", "--format", "json").json == logs
    rest = cli("worker", "oplog", "bench/logs", "--query", "NOT type:log", "--format", "json").json
    assert len(rest) == len(whole) - 250
    part = cli("worker", "oplog", "bench/logs", "--from", 3, "--count", 2, "--format", "json").json
    assert part == whole[2:4]
    assert cli.ok("worker", "oplog", "bench/logs", "--query", "nothing-like-it") == "no entry fits\n"
    assert cli("worker", "oplog", "bench/logs", "--query", "x", "--from", 2).code == 2
    assert cli("worker", "oplog", "bench/logs", "--query", "(").code == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_connecting_shows_what_happens_until_interrupted(own, cli, form):
    worker = f"watched-{form}"
    cli.ok("worker", "new", f"bench/{worker}")
    watching = cli.start("worker", "connect", f"bench/{worker}", "--format", form)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(watching.stdout.readline, "")))
    reader.start()
    until(lambda: own_listeners(own) > 0, "it listens")
    cli.ok("worker", "invoke", f"bench/{worker}", "log-lines", 1, "--idempotency-key", "seen")
    until(lambda: len(lines) >= 3, "all is shown")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(10) == 0
    reader.join(10)
    watching.stdout.close()
    watching.stderr.close()
    if form == "json":
        assert [next(iter(json.loads(line))) for line in lines] == ["InvocationStart", "Log", "InvocationFinished"]
    else:
        assert re.search(r" begin .*log-lines.* \(seen\)$", lines[0].rstrip())
        assert re.search(r" end   .*log-lines.* \(seen\)$", lines[-1].rstrip())


def own_listeners(node: NodeProcess) -> float:
    (line,) = re.findall(r"^golemp2p_http_event_listeners (\S+)$", node.request("GET", "/metrics").decode(), re.MULTILINE)
    return float(line)


REFUSED = [
    (("worker", "get", "counter/nobody"), 4, "worker-not-found", "worker list"),
    (("worker", "invoke", "nothing/w", "add", "1"), 4, "component-not-found", "component list"),
    (("worker", "invoke", "counter/x", "multiply", "1"), 4, "function-not-found", "component get counter --wit"),
    (("worker", "invoke", "counter/x", "add"), 1, "wrong-arity", "component get counter --wit"),
    (("worker", "invoke", "counter/x", "add", '"1"'), 1, "value-mismatch", "component get counter --wit"),
    (("worker", "invoke", "counter/x", "add", "one"), 2, "malformed-argument", '"one"'),
    (("worker", "invoke", "counter", "add", "1", "--nonsense"), 2, "usage", "--help"),
    (("worker", "get", "no-slash"), 2, "usage", "--help"),
    (("component", "add", "counter", str(wasm("counter"))), 1, "component-already-exists", "component update"),
    (("component", "add", "no-component", __file__), 1, "invalid-component", "wasm-tools"),
    (("worker", "complete-promise", "bench/logs", "1", "x"), 4, "promise-not-found", "worker oplog"),
    (("storage", "verify", "--data-dir", "/nonexistent"), 1, "usage", "--data-dir"),
]


@pytest.mark.parametrize(("arguments", "code", "name", "advice"), REFUSED, ids=[r[2] + "-" + r[0][1] for r in REFUSED])
def test_errors_say_what_to_do_next(cli, arguments, code, name, advice):
    ran = cli(*arguments)
    assert ran.code == code, ran
    assert ran.out == ""
    problem, hint = ran.err.splitlines()[-2:]  # an upload shows its progress first
    assert problem.startswith("error: ")
    assert hint.startswith("  try: ") or "see `" in hint
    assert advice in hint
    told = cli(*arguments, "--format", "json")
    assert told.code == code
    assert json.loads(told.err)["error"]["code"] == name


def test_a_node_that_does_not_answer(tmp_path):
    nobody = Cli(NodeProcess(tmp_path / "never"))
    ran = nobody("component", "list")
    assert ran.code == 3
    assert "no node answers at http://127.0.0.1:" in ran.err
    assert "golemp2p node run" in ran.err


def test_settings_and_where_they_come_from(cli, tmp_path):
    (tmp_path / "s.toml").write_text("drain_timeout_s = 3\n[log]\nlevel = 'debug'\n")
    ran = subprocess.run(
        [COMMAND, "node", "config", "--config", tmp_path / "s.toml", "--set", "workers.idle_ttl_s=5", "--format", "json"],
        capture_output=True, text=True, check=True, env={**os.environ, "GOLEMP2P_LOG_LEVEL": "error"},
    )  # fmt: skip
    text = ran.stdout
    settings = json.loads(text)
    flat = json.dumps(settings)
    for origin in ("--set", "GOLEMP2P_LOG_LEVEL", "s.toml", "default"):
        assert origin in flat, origin


def test_verify_names_what_is_damaged_and_the_node_goes_on_without_it(own, cli):
    """Last, because it spoils the node's data."""
    identifier = cli("component", "get", "counter", "--format", "json").json["versionedComponentId"]["componentId"]
    for name in ("sound", "spoiled"):
        cli.ok("worker", "invoke", f"counter/{name}", "add", 1)
    assert "all sound" in cli.ok("storage", "verify", "--data-dir", own.data_dir)  # beside the running node
    own.terminate()
    spoil(own.data_dir / "storage.sqlite", Key.of("worker", f"{identifier}/spoiled"))
    ran = cli("storage", "verify", "--data-dir", own.data_dir)
    assert ran.code == 1
    assert "damaged: 1" in ran.out
    assert f"{identifier}/spoiled" in ran.out
    told = cli("storage", "verify", "--data-dir", own.data_dir, "--format", "json")
    assert told.code == 1
    assert [damage["identity"] for damage in told.json["damages"]] == [f"{identifier}/spoiled"]
    own.start()
    assert cli.ok("worker", "invoke", "counter/sound", "add", 1) == "2\n"
    refused = cli("worker", "invoke", "counter/spoiled", "add", 1)
    assert refused.code == 1
    assert "storage verify" in refused.err
    cli.ok("worker", "delete", "counter/spoiled")  # the advice
    left = cli(
        "storage", "verify", "--data-dir", own.data_dir
    )  # what was deleted is in the shard's log until that is compacted
    assert f"{identifier}/spoiled" not in left.out
    assert cli.ok("worker", "invoke", "counter/spoiled", "add", 1) == "1\n"


def spoil(database: Path, log: Key) -> None:
    """One bit of the newest segment."""
    connection = apsw.Connection(str(database))
    ((row, data),) = connection.execute(
        "SELECT id, data FROM payloads JOIN segments USING (id) WHERE log = ? ORDER BY first DESC LIMIT 1", (log.digest,)
    ).fetchall()
    connection.execute("UPDATE payloads SET data = ? WHERE id = ?", (data[:-1] + bytes([data[-1] ^ 1]), row))
    connection.close()
