"""``golemp2p mesh``: what a node knows of its mesh, and orders about who belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from golemp2p_node.cli.complete import node_names
from golemp2p_node.cli.framework import EXIT_FAILED, EXIT_USAGE, Failure, Group, fail, wants_json
from golemp2p_node.cli.output import facts, print_json, say, show, table

if TYPE_CHECKING:
    from golemp2p_node.cli.api import Node

POLL_S = 0.25  # smooth to the eye, nothing to the node
ID_DIGITS = 12  # of a node's forty: enough to tell any two apart, and to name one by
SHOWN_MAX = 20  # shards named in one sentence

GONE = ("left", "removed")


@click.group(
    "mesh",
    cls=Group,
    examples="""
        $ golemp2p mesh invite                             a line that lets another machine join
        $ golemp2p mesh peers                              who is there, and how well
        $ golemp2p mesh leave                              take this node out, losing nothing
    """,
)
def group() -> None:
    """See the mesh through a node, invite others to it, take nodes out of it.

    NODE is a node's id, as `mesh peers` prints it, or the first digits of one.
    """


@group.command(
    "invite",
    examples="""
        $ golemp2p mesh invite
        $ golemp2p mesh invite | ssh other "umask 077; cat > invite.txt"
    """,
)
def invite() -> None:
    """Print what another node needs to join this mesh, as the last line.

    The line holds the mesh key: whoever has it can join. It stays valid as long as one of the nodes it names is reachable. On
    the other machine give it to `golemp2p node run --join`; or put it in a file and give `--join @FILE`, so that it does not
    stand in the list of processes.
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("POST", "/v1/mesh/invite")

    def text() -> None:
        count = len(answer["nodes"])
        click.echo(f"leads to {nodes_text(count)} of {short(answer['mesh'])}; keep it as you keep passwords", err=True)
        if answer["isLocal"]:
            click.echo(
                "only for nodes on this machine: no other can reach these addresses (see --mesh, mesh_advertise)", err=True
            )
        click.echo(answer["invite"])

    show(answer, text)


@group.command("status", examples="$ golemp2p mesh status")
def status() -> None:
    """Show this node's place in the mesh: state, addresses, members, shards."""
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("GET", "/v1/mesh/status")
    members, shards = answer["members"], answer["shards"]
    show(
        answer,
        lambda: facts(
            {
                "node": answer["node"],
                "mesh": answer["mesh"],
                "state": f"{answer['state']}: {STATES.get(answer['state'], '')}",
                "addresses": ", ".join(answer["addresses"]) or "none: it listens for no other nodes",
                "http": answer["http"] or None,
                "members": members_text(members),
                "shards": f"{shards['voting']} with a vote, {shards['learning']} without, of {shards['count']};"
                f" primary of {shards['leading']}",
                "weight": answer["weight"],
                "domain": answer["domain"] or None,
                "roles": roles_text(answer),
                "health": None if not answer["health"] else f"{answer['health']} (0 is well): slow, or its network is",
                "version": answer["version"],
                "started": answer["startedAt"],
            }
        ),
    )


STATES = {
    "alone": "a mesh of one",
    "joining": "nobody has answered yet; is the invite's node reachable?",
    "member": "of the mesh, and in touch",
    "lonely": "it hears no other node, and serves only what it alone votes on",
    "leaving": "handing over what it holds",
    "left": "it has said farewell",
    "removed": "the operator has removed it",
}


@group.command("peers", examples="$ golemp2p mesh peers")
def peers() -> None:
    """List the nodes of the mesh, this one first: state, address, round trip, what they hold.

    A node that falls silent becomes suspect, then dead: others go on with what it led, and replace it after a minute. One that
    is dead may come back; one that has left or was removed does not count any more. HTTP, RTT, HOLDS and LEADS are asked of each
    node just now: "?" if it did not answer. HOLDS counts shards, LEADS those whose workers it runs.
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("GET", "/v1/mesh/peers")
    columns = ("NODE", "STATUS", "ADDRESS", "HTTP", "RTT", "HOLDS", "LEADS", "WEIGHT", "DOMAIN", "VERSION")
    rows = (
        (
            short(peer["node"]) + (" (this one)" if peer["isSelf"] else ""),
            peer_status(peer),
            ", ".join(peer["addresses"]),
            peer["http"],
            "" if peer["rttSeconds"] is None else f"{peer['rttSeconds'] * 1000:.1f} ms",
            unknown(peer["shardsHeld"]),
            unknown(peer["shardsLeading"]),
            peer["weight"],
            peer["domain"],
            unknown(peer["version"]),
        )
        for peer in answer["peers"]
    )
    show(answer, lambda: table(columns, rows, empty="no nodes"))


def peer_status(peer: dict[str, Any]) -> str:
    if peer["isSelf"]:
        return str(peer["status"])
    if peer["status"] == "alive":
        return "alive" if peer["version"] is not None else "alive, no answer"
    return f"{peer['status']} {peer['sinceSeconds']:.0f} s"


@group.command(
    "shards",
    examples="""
        $ golemp2p mesh shards
        $ golemp2p mesh shards --all --format json
    """,
)
@click.option("--all", "everywhere", is_flag=True, help="Every shard of the mesh, as its primary sees it.")
def shards(everywhere: bool) -> None:
    """List the shards this node holds: primary, voters, and how far each is.

    A shard is a slice of all workers and components, replicated as a unit. Its voters decide, a majority of them must be
    there; its primary runs its workers. TERM is the number of the primary's right to do so, and grows with each election. COMMIT
    is the last entry that a majority has, as far as this node knows, and the last one that it has itself.
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("GET", "/v1/mesh/shards", params={"all": "true"} if everywhere else None)
    columns = ("SHARD", "PRIMARY", "TERM", "VOTERS", "LEARNERS", "ROLE", "COMMIT", "STATE")
    rows = (
        (
            shard["shard"],
            short(shard["primary"]) or "none known",
            shard["term"],
            " ".join(map(short, shard["voters"])),
            " ".join(map(short, shard["learners"])),
            shard["role"],
            f"{shard['commit']}/{shard['position']}",
            state_of(shard),
        )
        for shard in answer["shards"]
    )
    show(answer, lambda: table(columns, rows, empty="this node holds no shards; `golemp2p mesh shards --all` shows who does"))


def state_of(shard: dict[str, Any]) -> str:
    if shard["isDamaged"]:
        return "damaged"
    if not shard["seenBy"]:
        return "nobody reports it"
    if shard["role"] == "primary":
        return "serving" if shard["isServing"] else "not serving"
    return "following" if shard["primary"] else "no primary"


@group.command("ring", examples="$ golemp2p mesh ring")
def ring() -> None:
    """Show who holds how much: replicas and primaries per node, beside its fair share by weight.

    VOTES counts the shards in which a node is a voter, COPIES those in which it only receives, LEADS those whose workers it
    runs, SHARE the replicas it should hold. A newcomer is given a copy first, then a vote, then its part of the leads.
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("GET", "/v1/mesh/ring")
    columns = ("NODE", "STATUS", "VOTES", "COPIES", "LEADS", "SHARE", "WEIGHT", "DOMAIN")
    rows = (
        (
            short(one["node"]), one["status"], one["voting"], one["learning"], one["leading"], one["share"], one["weight"],
            one["domain"],
        )
        for one in answer["nodes"]
    )  # fmt: skip

    def text() -> None:
        table(columns, rows, empty="no nodes")
        led = answer["shardsCount"] - len(answer["unled"])
        say(f"{led} of {answer['shardsCount']} shards have a primary")
        if answer["unled"]:
            say(f"without one: {numbers_text(answer['unled'])}")
        if answer["silent"]:
            say(f"did not answer: {', '.join(map(short, answer['silent']))}")

    show(answer, text)


@group.command(
    "leave",
    examples="""
        $ golemp2p mesh leave
        $ GOLEMP2P_URL=http://127.0.0.1:9891 golemp2p mesh leave
        $ golemp2p mesh leave --no-wait
    """,
)
@click.option("--no-wait", is_flag=True, help="Only begin; `mesh status` shows how far it is.")
def leave(no_wait: bool) -> None:
    """Take this node out of the mesh: it hands over everything it holds, then stops.

    Nothing is lost and callers notice nothing but a moment's delay. A node that is stopped meanwhile goes on leaving when it is
    started again; one that has left joins again when it is started.
    """
    from golemp2p_node.cli.api import Node

    began = time.monotonic()
    with Node() as node:
        answer = node.json("POST", "/v1/mesh/leave")
        if no_wait:
            show(answer, lambda: say(f"leaving: {shards_text(answer['shards']['voting'])} to hand over"))
            return
        told = told_progress()
        answer = watched_leaving(node, answer, told)
    seconds = round(time.monotonic() - began, 1)
    show({**answer, "seconds": seconds}, lambda: say(f"left the mesh after {seconds:g} s; the node stops"))


def watched_leaving(node: Node, answer: Any, told: Callable[[int], None]) -> Any:
    """The last status before the node was gone. Raises ``Failure`` if it stopped before it had left."""
    while answer["state"] not in GONE:
        told(answer["shards"]["voting"])
        time.sleep(POLL_S)
        try:
            answer = node.json("GET", "/v1/mesh/status")
        except Failure as failure:
            left = answer["shards"]["voting"]
            if failure.code not in ("unreachable", "connection-lost"):
                raise
            if not left:
                break
            fail(
                f"the node stopped before it had left: {shards_text(left)} were still to be handed over",
                "start it again with `golemp2p node run`: it goes on leaving",
                code="not-left",
            )
    return answer


def told_progress() -> Callable[[int], None]:
    """Tells, on standard error, how many shards are left, whenever that has changed; programs are told nothing."""
    last = -1

    def told(left: int) -> None:
        nonlocal last
        if left != last and not wants_json():
            click.echo(f"{shards_text(left)} to hand over", err=True)
            last = left

    return told


@group.command(
    "forget",
    examples="""
        $ golemp2p mesh forget 4f1c9a
        $ golemp2p mesh forget node:4f1c9a0b7d22 --even-alive
    """,
)
@click.argument("target", metavar="NODE", shell_complete=node_names)
@click.option("--even-alive", is_flag=True, help="Also if it is there: it is thrown out.")
def forget(target: str, even_alive: bool) -> None:
    """Remove a dead node from the mesh, for ever.

    What it held is copied from the others at once instead of after repair_after (60 s), and small meshes no longer wait for it.
    Should it come back, nobody listens: it must start anew, with an empty data directory. Only where the operator's key is kept
    (operator.key in the data directory of the node that founded the mesh, or a copy of it).
    """
    from golemp2p_node.cli.api import Node

    with Node() as node:
        answer = node.json("POST", "/v1/mesh/forget", json={"node": target, "evenAlive": even_alive})
    show(answer, lambda: say(f"removed {answer['node']} from the mesh"))


@group.command(
    "recover",
    examples="""
        $ golemp2p mesh shards                             which have no primary?
        $ golemp2p mesh forget 4f1c9a                      the nodes whose disks are lost
        $ golemp2p mesh recover --force 17 18
        $ golemp2p mesh recover --force --all
    """,
)
@click.argument("numbers", metavar="[SHARD]...", nargs=-1, type=click.IntRange(0))
@click.option("--all", "everything", is_flag=True, help="All shards of this node that have lost their majority.")
@click.option("--force", is_flag=True, help="Required: what the lost disks alone held is given up.")
def recover(numbers: tuple[int, ...], everything: bool, force: bool) -> int:
    """Go on from this node's copy of shards whose other copies are lost for good.

    A shard needs a majority of its voters. If a majority of their disks is lost, it stands still rather than guess. This goes
    on from this node's copy alone, under a new name of the history: what was answered and reached only the lost disks is gone,
    and the shard's log says from where on. Refused where a majority may still be there, where a lost node could come back (forget
    it first), and where another node holds more.
    """
    from golemp2p_node.cli.api import Node

    if everything == bool(numbers):
        raise click.UsageError("name the shards to recover, or say --all")
    if not force:
        raise Failure(
            "this gives up what only the lost disks held, and cannot be undone",
            "if they are lost for good, say so with --force; `golemp2p mesh recover --help` tells what happens",
            code="not-forced",
            exit_code=EXIT_USAGE,
        )
    body: dict[str, Any] = {"force": True, **({"all": True} if everything else {"shards": list(numbers)})}
    with Node() as node:
        answer = node.json("POST", "/v1/mesh/recover", json=body, patient=True)
    if wants_json():
        print_json(answer)
    else:
        print_recovery(answer)
    return EXIT_FAILED if answer["refused"] else 0


def print_recovery(answer: Any) -> None:
    for one in answer["recovered"]:
        kept = one["lastPosition"] - one["uncertainFrom"] + 1
        say(
            f"shard {one['shard']}: goes on from entry {one['lastPosition']}; later ones, if there were any, are lost"
            + (f"; the last {kept} may never have been acknowledged" if kept else "")
            + ("; this copy was damaged" if one["wasDamaged"] else "")
        )
    refused: dict[str, list[int]] = {}
    for one in answer["refused"]:
        refused.setdefault(one["reason"], []).append(one["shard"])
    for reason, shards in refused.items():  # of a thousand shards, most for one reason
        say(f"{'shard' if len(shards) == 1 else 'shards'} {numbers_text(shards)}: refused: {reason}")
    if not answer["recovered"] and not answer["refused"]:
        say("nothing to recover: every shard of this node has its majority")


# -- shared -------------------------------------------------------------------------------------------------------------------


def short(name: str) -> str:
    """``node:`` or ``mesh:`` and the first digits; "" stays."""
    kind, colon, digits = name.partition(":")
    return f"{kind}:{digits[:ID_DIGITS]}" if colon else name


def unknown(value: object) -> object:
    return "?" if value is None else value


def nodes_text(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def shards_text(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def members_text(members: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in members.items() if count or name == "alive")


def roles_text(answer: dict[str, Any]) -> str | None:
    roles = [
        name for key, name in (("isFounder", "founder"), ("keepsOperatorKey", "keeps the operator's key")) if answer[key]
    ]  # fmt: skip
    return ", ".join(roles) or None


def numbers_text(numbers: list[int]) -> str:
    more = len(numbers) - SHOWN_MAX
    return ", ".join(map(str, numbers[:SHOWN_MAX])) + (f" and {more} more" if more > 0 else "")
