"""The guests that ask the host: that they ask for the right thing, and that what their WIT says is what they export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stock_wasmtime import StockGuest, built
from wasmtime import ExitTrap, WasmtimeError
from wasmtime.component import FuncType

pytestmark = pytest.mark.guests


def golem_host() -> dict[str, Any]:
    """``golem:api/host`` of which a test needs only that it links."""
    names = [
        *("create-promise", "await-promise", "poll-promise", "complete-promise", "delete-promise"),
        *("get-oplog-index", "oplog-commit", "generate-idempotency-key", "get-self-metadata"),
        *("get-retry-policy", "set-retry-policy"),
    ]
    functions = {name: lambda store, *args: 42 for name in names}
    return {"golem:api/host@1.1.6": functions, "golem:rpc/types@0.2.0": {}}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> StockGuest:
    return StockGuest("probe", env={"COLOR": "blue"}, imports=golem_host(), root=tmp_path_factory.mktemp("root"))


def test_probe_reads_its_environment_when_it_runs_not_when_it_is_built(probe: StockGuest) -> None:
    assert ("COLOR", "blue") in probe.call("environment")
    assert probe.call("arguments") == []


def test_probe_counts(probe: StockGuest) -> None:
    assert (probe.call("add", 3), probe.call("add", 4), probe.call("get")) == (3, 7, 7)


def test_probe_reads_clocks_and_random(probe: StockGuest) -> None:
    assert probe.call("now-ns") > 1_700_000_000 * 10**9
    assert probe.call("monotonic-ns") <= probe.call("monotonic-ns")
    assert len(probe.call("random-bytes", 33)) == 33
    assert probe.call("random-float") != probe.call("random-float")


def test_probe_handles_files(probe: StockGuest) -> None:
    def call(function: str, *args: Any) -> Any:
        return probe.call(function, *args)

    assert call("list-directory", "/") == []
    assert call("make-directory", "/d") is None
    assert call("write-file", "/d/a", b"hello") is None
    call("append-file", "/d/a", b" world")
    call("write-at", "/d/a", 1, b"E")
    call("truncate", "/d/a", 8)
    assert call("read-file", "/d/a") == b"hEllo wo"
    call("make-link", "/d/a", "/d/b")
    call("rename", "/d/b", "/d/c")
    call("make-symlink", "a", "/d/s")
    assert call("read-symlink", "/d/s").payload == "a"
    assert sorted(call("list-directory", "/d")) == ["a", "c", "s"]
    call("set-times", "/d/a", 5_000_000_000, 6_000_000_001)
    seen = [call("stat", path) for path in ("/d/a", "/d", "/d/s")]
    assert [item.kind for item in seen] == ["file", "directory", "symlink"]
    assert (seen[0].size, getattr(seen[0], "modified-ns")) == (8, 6_000_000_001)
    assert call("stat", "/d/nowhere") == "ENOENT"
    assert call("remove-directory", "/d") == "ENOTEMPTY"
    for path in ("/d/a", "/d/c", "/d/s"):
        assert call("remove-file", path) is None
    assert call("remove-directory", "/d") is None
    assert call("read-file", "/d/a") == "ENOENT"


def test_probe_prints_and_sleeps(probe: StockGuest) -> None:
    assert probe.call("print", "") is None
    times = probe.call("sleep-in-steps", 1)
    assert times == sorted(times)
    assert times[2] - times[0] >= 2_000_000


def test_probe_leaves(tmp_path: Path) -> None:
    guest = StockGuest("probe", imports=golem_host(), root=tmp_path)
    with pytest.raises(ExitTrap) as left:
        guest.call("exit", 3)
    assert left.value.code == 1  # of wasi:cli/exit a guest may only say whether all went well


def test_probe_asks_golem(probe: StockGuest) -> None:
    assert probe.call("oplog-index") == 42


def test_probe_logs(probe: StockGuest) -> None:
    probe.call("log", "warn", "somewhere", "something")
    assert probe.log_lines == [("warn", "something")]


def test_counter_counts() -> None:
    counter = StockGuest("counter")
    assert (counter.call("add", 5), counter.call("add", 2**63), counter.call("get")) == (5, 2**63 + 5, 2**63 + 5)


def test_born_draws_while_it_is_instantiated() -> None:
    drawn = iter([11, 22])
    born = StockGuest("born", imports={"wasi:random/random@0.2.0": {"get-random-u64": lambda store: next(drawn)}})
    assert (born.call("born"), born.call("draw"), born.call("born")) == (11, 22, 11)


def test_stranger_imports_what_there_is_not() -> None:
    beam = {"acme:teleport/beam@2.0.0": {"engage": lambda store, speed: speed + 1}}
    stranger = StockGuest("stranger", imports=beam)
    assert (stranger.call("walk"), stranger.call("teleport", 8), stranger.call("walk")) == (1, 9, 2)


def test_bench_does_what_it_says() -> None:
    bench = StockGuest("bench")
    assert (bench.call("add", 2), bench.call("add", 3), bench.call("get")) == (2, 5, 5)
    assert bench.call("clock-reads", 1000) == 7
    bench.call("sleep", 20)
    assert bench.call("sleep-lateness", 3) == -3_000_000  # the fake clock stands still
    assert bench.slept_ns == [20_000_000, 3_000_000]
    assert bench.call("spin", 10) != bench.call("spin", 11)
    before = bench.call("allocate", 0)
    assert bench.call("allocate", 10) == before + 10
    assert bench.call("allocate", 70_000) == 0
    bench.call("log-lines", 3)
    assert bench.log_lines == [("info", "a line of the log")] * 3
    assert bench.call("recurse", 1000) == 1000


@pytest.mark.parametrize(("function", "args"), [("crash", ()), ("recurse", (10**9,))])
def test_bench_traps(function: str, args: tuple[int, ...]) -> None:
    with pytest.raises(WasmtimeError):
        StockGuest("bench").call(function, *args)


def exported(name: str) -> dict[str, tuple[list[str], bool]]:
    """The functions of a component's own interface: names of parameters, and whether there is a result."""
    guest = built(name)
    interface = guest.component.type.exports(guest.engine)[guest.interface].ty
    functions = {key: item.ty for key, item in interface.exports(guest.engine).items()}
    return {
        key: ([param for param, _ in ty.params], ty.result is not None)
        for key, ty in functions.items()
        if isinstance(ty, FuncType)
    }


def test_all_carts_export_the_same() -> None:
    c = exported("cart-c")
    assert c["add-item"] == (["name", "quantity"], True)
    assert exported("cart-zig") == c
    assert exported("cart-python") == c


def test_probe_exports_what_the_tests_of_the_host_need() -> None:
    assert {"sleep-ms", "await-promise", "write-file", "exit", "crash"} <= exported("probe").keys()
