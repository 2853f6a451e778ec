"""Every WIT type, nested, both ways: JSON over HTTP into a real guest and back."""

from __future__ import annotations

import pytest

from golemp2p.testing.node_process import Refused

PERSON = {"name": "Ada \U0001f9ee", "age": 36, "tags": ["x", ""], "home": {"x": -1, "y": 2147483647}}
HOMELESS = {"name": "", "age": 0, "tags": [], "home": None}

ECHOES = [
    ("bool", True), ("bool", False),
    ("s8", -128), ("s16", 32767), ("s32", -(2**31)), ("s64", -(2**63)), ("s64", 2**63 - 1),
    ("u8", 255), ("u16", 65535), ("u32", 2**32 - 1), ("u64", 2**64 - 1),
    ("f32", 0.5), ("f32", "NaN"), ("f32", "-Infinity"), ("f64", 1e308), ("f64", "Infinity"), ("f64", -0.0), ("f64", 5e-324),
    ("char", 0x41), ("char", 0x1F9EE), ("char", 0x10FFFF), ("char", 0),
    ("string", ""), ("string", "zero \0 inside, \U0001f9ee outside"),
    ("bytes", []), ("bytes", list(range(256))),
    ("enum", "green"),
    ("flags", []), ("flags", ["read", "exec"]), ("days", ["monday", "leap-day"]),
    ("point", {"x": 1, "y": -1}), ("person", PERSON), ("person", HOMELESS),
    ("shape", {"circle": 2.5}), ("shape", {"rect": [1.0, 2.0]}), ("shape", {"named": PERSON}), ("shape", {"tinted": "blue"}),
    ("shape", {"empty": None}),
    ("tuple", ["a", 7, True]),
    ("option", None), ("option", 0),
    ("nested-option", None), ("nested-option", {"some": None}), ("nested-option", {"some": "x"}),
    ("result", {"ok": 1}), ("result", {"err": 2**64 - 1}), ("bare-result", {"ok": None}), ("bare-result", {"err": None}),
    ("list", []), ("list", [-1, 0, 1]), ("points", [{"x": 1, "y": 2}, {"x": 3, "y": 4}]), ("strings", ["a", "", "c"]),
    ("shapes", [{"empty": None}, {"named": HOMELESS}]),
    ("deep", [["k", [{"ok": {"tinted": "red"}}, {"err": ["write"]}]], ["none", None]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ECHOES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ECHOES)])
def test_echo(node, components, name, value):
    got = node.invoke(components["kitchen"], "echoes", f"echo-{name}", value)
    assert repr(got) == repr(value)  # repr tells -0.0 from 0.0


def test_a_record_with_many_parameters_arrives_in_memory(node, components):
    arguments = [1, 0.5, 0.25, 65, True, "s", [1, 2], 5, "red", ["write"], -1, -2, [3, -4]]
    got = node.invoke(components["kitchen"], "echoes", "echo-many", *arguments)
    assert list(got.values()) == arguments


REFUSED = [
    ("echo-u8", 256, "params[0]: expected u8"),
    ("echo-u8", -1, "params[0]: expected u8"),
    ("echo-u8", True, "params[0]: expected u8"),
    ("echo-u8", "1", "params[0]: expected u8"),
    ("echo-s64", 2**63, "params[0]: expected s64"),
    ("echo-bool", 1, "params[0]: expected bool"),
    ("echo-char", 0xD800, "params[0]: expected char"),
    ("echo-char", 0x110000, "params[0]: expected char"),
    ("echo-string", "\ud800", "params[0]: expected"),
    ("echo-f32", 1e39, "params[0]: expected f32"),
    ("echo-enum", "purple", "params[0]: expected"),
    ("echo-flags", ["fly"], "params[0]"),
    ("echo-point", {"x": 1}, "params[0]"),
    ("echo-point", {"x": 1, "y": 2, "z": 3}, "params[0]"),
    ("echo-person", {**PERSON, "home": {"x": 0, "y": "a"}}, "params[0].home.y: expected s32"),
    ("echo-deep", [["k", [{"ok": {"rect": [1.0, "a"]}}]]], "params[0][0][1][0].ok.rect[1]"),
    ("echo-shape", {"circle": 1.0, "empty": None}, "params[0]"),
    ("echo-tuple", ["a", 7], "params[0]"),
]


@pytest.mark.parametrize(("function", "value", "text"), REFUSED, ids=[f"{f}-{i}" for i, (f, _, _) in enumerate(REFUSED)])
def test_what_does_not_fit_is_refused_with_its_path(node, components, function, value, text):
    with pytest.raises(Refused) as caught:
        node.invoke(components["kitchen"], "echoes", function, value)
    assert caught.value.status == 400
    assert caught.value.body["code"] == "value-mismatch"
    assert text in str(caught.value.body)


def test_guest_answers_are_its_own(node, components):
    kitchen = components["kitchen"]
    assert node.invoke(kitchen, "echoes", "area", {"rect": [2.0, 3.5]}) == {"ok": 7.0}
    assert "err" in node.invoke(kitchen, "echoes", "area", {"named": PERSON})
    assert node.invoke(kitchen, "echoes", "reverse", [1, 2, 3]) == [3, 2, 1]
    assert node.invoke(kitchen, "echoes", "nothing") is None
    assert node.invoke(kitchen, "echoes", "double", 21) == 42


def test_resources_live_between_invocations(node, components, worker):
    kitchen = components["kitchen"]
    first = node.invoke(kitchen, worker, "[constructor]tally", 10)
    assert first == f"urn:worker:{kitchen}/{worker}/0"
    second = node.invoke(kitchen, worker, "[constructor]tally", 5)
    assert node.invoke(kitchen, worker, "[method]tally.add", first, 3) == 13
    merged = node.invoke(kitchen, worker, "[static]tally.merge", first, second)
    assert node.invoke(kitchen, worker, "[method]tally.value", merged) == 18
    with pytest.raises(Refused) as caught:  # given away
        node.invoke(kitchen, worker, "[method]tally.value", first)
    assert caught.value.body["code"] == "value-mismatch"
    assert node.invoke(kitchen, worker, "total", [merged, second]) == 23
    alive = node.invoke(kitchen, worker, "alive")
    node.invoke(kitchen, worker, "[drop]tally", merged)
    assert node.invoke(kitchen, worker, "alive") == alive - 1
    with pytest.raises(Refused):
        node.invoke(kitchen, worker, "[method]tally.value", merged)
    with pytest.raises(Refused):  # another worker's
        node.invoke(kitchen, worker, "[method]tally.value", second.replace(worker, "echoes"))


def test_indexed_resources_are_made_on_first_use_and_addressed_by_their_arguments(node, components, worker):
    kitchen = components["kitchen"]
    assert node.invoke(kitchen, worker, "test:kitchen/api@1.0.0.{tally(7).add}", 1) == 8
    assert node.invoke(kitchen, worker, "test:kitchen/api@1.0.0.{tally(7).add}", 1) == 9
    assert node.invoke(kitchen, worker, "test:kitchen/api@1.0.0.{tally(8).value}") == 8
    owned = node.worker(kitchen, worker)["ownedResources"]
    assert sorted(r["indexed"]["resourceParams"] for r in owned.values()) == [["7"], ["8"]]
    node.invoke(kitchen, worker, "test:kitchen/api@1.0.0.{tally(7).drop}")
    assert node.invoke(kitchen, worker, "test:kitchen/api@1.0.0.{tally(7).value}") == 7
