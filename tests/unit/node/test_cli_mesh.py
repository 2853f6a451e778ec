"""``golemp2p mesh`` against a scripted node: what is asked, what a person reads, what programs get, ways out of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from node_fakes import FakeNode, Run

from golemp2p.errors import DeadlineExceeded, Unreachable, WorldError
from golemp2p.testing.mesh_admin import NODE, OTHER, SHARD, STATUS, FakeMeshAdmin
from golemp2p_gateway.mesh import invite_json, peer_json, ring_json, shard_json, status_json
from golemp2p_node.cli import mesh as commands
from golemp2p_node.cli.framework import Failure


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "POLL_S", 0.0)


def status(**changed: Any) -> dict[str, Any]:
    return status_json(STATUS._replace(**changed))


def test_the_invite_is_all_that_stands_on_standard_output(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/invite", invite_json(FakeMeshAdmin().invite()))
    ran = golemp2p("mesh", "invite")
    assert (ran.code, ran.out) == (0, "golemp2p-AQEB\n")
    assert "leads to 1 node of mesh:efefefefefef; keep it as you keep passwords" in ran.err
    assert json.loads(golemp2p("mesh", "invite", "--format", "json").out)["invite"] == "golemp2p-AQEB"


def test_an_invite_for_this_machine_only_says_so(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/invite", invite_json(FakeMeshAdmin().invite()._replace(is_local=True)))
    ran = golemp2p("mesh", "invite")
    assert "only for nodes on this machine" in ran.err
    assert ran.out == "golemp2p-AQEB\n"


def test_status(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/mesh/status", status())
    lines = dict(line.split(maxsplit=1) for line in golemp2p("mesh", "status").out.splitlines())
    assert lines["node"] == NODE
    assert lines["state"] == "member: of the mesh, and in touch"
    assert lines["members"] == "2 alive, 1 dead"
    assert lines["shards"] == "3 with a vote, 1 without, of 4; primary of 2"
    assert lines["roles"] == "founder, keeps the operator's key"
    assert json.loads(golemp2p("mesh", "status", "--format", "json").out) == status()


async def test_peers(golemp2p: Run, node: FakeNode) -> None:
    body = {"peers": [peer_json(peer) for peer in await FakeMeshAdmin().peers()]}
    node.on("GET", "/v1/mesh/peers", body)
    head, myself, silent = (line.split() for line in golemp2p("mesh", "peers").out.splitlines())
    assert head == ["NODE", "STATUS", "ADDRESS", "HTTP", "RTT", "HOLDS", "LEADS", "WEIGHT", "DOMAIN", "VERSION"]
    assert myself[:5] == ["node:abababababab", "(this", "one)", "alive", "10.0.0.1:9882"]
    assert silent == ["node:cdcdcdcdcdcd", "dead", "61", "s", "10.0.0.2:9882", "?", "?", "50", "?"]
    assert json.loads(golemp2p("mesh", "peers", "--format", "json").out) == body


async def test_a_peer_that_did_not_answer_is_not_just_alive(golemp2p: Run, node: FakeNode) -> None:
    _, dead = await FakeMeshAdmin().peers()
    node.on("GET", "/v1/mesh/peers", {"peers": [peer_json(dead._replace(status="alive"))]})
    assert " alive, no answer " in golemp2p("mesh", "peers").out


@pytest.mark.parametrize("code", [error.code for error in (WorldError, DeadlineExceeded, Unreachable)])
def test_without_a_majority_there_is_advice(golemp2p: Run, node: FakeNode, code: str) -> None:
    node.on("GET", "/v1/components", {"code": code, "message": "nobody answered", "error": "nobody answered"}, 503)
    assert "try: `golemp2p mesh peers`" in golemp2p("component", "list").err


def test_shards(golemp2p: Run, node: FakeNode) -> None:
    nobody = SHARD._replace(shard=2, primary="", voters=(), seen_by="", role="", position=0, commit=0)
    damaged = SHARD._replace(shard=1, role="follower", is_damaged=True)
    node.on("GET", "/v1/mesh/shards", {"shards": [shard_json(shard) for shard in (SHARD, damaged, nobody)]})
    lines = [line.split() for line in golemp2p("mesh", "shards").out.splitlines()]
    assert lines[1] == ["0", "node:abababababab", "3", "node:abababababab", "node:cdcdcdcdcdcd", "primary", "17/17", "serving"]
    assert lines[2][-1] == "damaged"
    assert lines[3] == ["2", "none", "known", "3", "0/0", "nobody", "reports", "it"]
    assert node.last("GET").query == {}
    golemp2p("mesh", "shards", "--all")
    assert node.last("GET").query == {"all": ["true"]}


async def test_ring(golemp2p: Run, node: FakeNode) -> None:
    node.on("GET", "/v1/mesh/ring", ring_json(await FakeMeshAdmin().ring()))
    out = golemp2p("mesh", "ring").out.splitlines()
    assert out[1].split() == ["node:abababababab", "alive", "3", "1", "2", "4.0", "100", "rack-1"]
    assert out[2:] == ["3 of 4 shards have a primary", "without one: 3", "did not answer: node:cdcdcdcdcdcd"]


def leaving(node: FakeNode, *steps: dict[str, Any]) -> None:
    """``steps``: what the node's status says, one after another."""
    left = list(steps)

    node.on("POST", "/v1/mesh/leave", status(state="leaving", shards_voting=3))
    node.on("GET", "/v1/mesh/status", lambda _request: (200, left.pop(0)))


def test_leaving_shows_how_far_it_is(golemp2p: Run, node: FakeNode) -> None:
    leaving(node, status(state="leaving", shards_voting=3), status(state="leaving", shards_voting=1), status(state="left"))
    ran = golemp2p("mesh", "leave")
    assert ran.code == 0
    assert ran.err.splitlines() == ["3 shards to hand over", "1 shard to hand over"]
    assert ran.out.startswith("left the mesh after ")


def test_leaving_for_programs(golemp2p: Run, node: FakeNode) -> None:
    leaving(node, status(state="left", shards_voting=0))
    ran = golemp2p("mesh", "leave", "--format", "json")
    assert ran.err == ""
    assert json.loads(ran.out)["state"] == "left"


def test_leaving_without_waiting(golemp2p: Run, node: FakeNode) -> None:
    leaving(node)
    assert golemp2p("mesh", "leave", "--no-wait").out == "leaving: 3 shards to hand over\n"


class Dying:
    """A node that answers no more."""

    def json(self, *_: Any) -> Any:
        raise Failure("no node answers", code="unreachable")


def test_a_node_that_dies_while_it_leaves_is_not_said_to_have_left() -> None:
    with pytest.raises(Failure, match="3 shards were still to be handed over") as caught:
        commands.watched_leaving(Dying(), status(state="leaving", shards_voting=3), lambda _left: None)
    assert "goes on leaving" in caught.value.hint
    done = status(state="leaving", shards_voting=0)
    assert commands.watched_leaving(Dying(), done, lambda _left: None) == done


def test_forgetting(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/forget", {"node": OTHER})
    assert golemp2p("mesh", "forget", "cdcd").out == f"removed {OTHER} from the mesh\n"
    assert node.last("POST").json == {"node": "cdcd", "evenAlive": False}
    golemp2p("mesh", "forget", "cdcd", "--even-alive")
    assert node.last("POST").json["evenAlive"] is True


def test_forgetting_whom_nobody_knows(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/forget", {"code": "node-not-found", "message": "no node of this mesh"}, 404)
    ran = golemp2p("mesh", "forget", "cdcd")
    assert (ran.code, ran.err) == (
        4,
        "error: no node of this mesh\n  try: `golemp2p mesh peers` lists the nodes of this mesh\n",
    )


RECOVERED = {"shard": 1, "branch": "0f", "uncertainFrom": 5, "lastPosition": 9, "lost": [OTHER], "wasDamaged": False}


def test_recovering(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/recover", {"recovered": [RECOVERED], "refused": []})
    ran = golemp2p("mesh", "recover", "--force", "1")
    assert ran.code == 0
    assert ran.out == (
        "shard 1: goes on from entry 9; later ones, if there were any, are lost; the last 5 may never have been acknowledged\n"
    )
    assert node.last("POST").json == {"force": True, "shards": [1]}


def test_what_is_refused_fails_the_command(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/recover", {"recovered": [], "refused": [{"shard": 2, "reason": "forget node:cd first"}]})
    ran = golemp2p("mesh", "recover", "--force", "--all")
    assert (ran.code, ran.out) == (1, "shard 2: refused: forget node:cd first\n")
    assert node.last("POST").json == {"force": True, "all": True}


def test_many_refused_for_one_reason_take_one_line(golemp2p: Run, node: FakeNode) -> None:
    reasons = ["forget node:cd first"] * 1000 + ["node:ef holds more of it: recover it there"]
    refused = [{"shard": shard, "reason": reason} for shard, reason in enumerate(reasons)]
    node.on("POST", "/v1/mesh/recover", {"recovered": [], "refused": refused})
    ran = golemp2p("mesh", "recover", "--force", "--all")
    assert ran.code == 1
    assert ran.out == (
        f"shards {', '.join(map(str, range(20)))} and 980 more: refused: forget node:cd first\n"
        "shard 1000: refused: node:ef holds more of it: recover it there\n"
    )


def test_nothing_to_recover(golemp2p: Run, node: FakeNode) -> None:
    node.on("POST", "/v1/mesh/recover", {"recovered": [], "refused": []})
    assert (
        golemp2p("mesh", "recover", "--force", "--all").out == "nothing to recover: every shard of this node has its majority\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("1",), "cannot be undone"),
        (("--all",), "say so with --force"),
        (("--force",), "name the shards to recover, or say --all"),
        (("--force", "--all", "1"), "name the shards to recover, or say --all"),
    ],
)
def test_nothing_is_recovered_by_accident(golemp2p: Run, node: FakeNode, arguments: tuple[str, ...], says: str) -> None:
    ran = golemp2p("mesh", "recover", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert node.seen == []


def test_ids_complete(node: FakeNode) -> None:
    from golemp2p_node.cli.complete import node_names

    node.on("GET", "/v1/mesh/peers", {"peers": [{"node": NODE, "isSelf": True}, {"node": OTHER, "isSelf": False}]})
    assert node_names(None, None, "node:c") == [OTHER]
    assert node_names(None, None, "node:a") == []
