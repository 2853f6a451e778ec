"""What a verification found, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from golemp2p.model.history import HistoryReport, LogFindings, Problem, Problems, Run, RunFindings, Standing
from golemp2p.model.ids import NodeId
from golemp2p_node.cli.output import facts, say, size_text, table

SHOWN_MAX = 20  # problems of one kind, and terms, for people; --format json has all that are known

VERDICTS = {
    "verified": "verified: everything is shown, and nothing is wrong",
    "incomplete": "incomplete: nothing is wrong, but not all of it could be shown",
    "wrong": "WRONG: it is not the history that it should be, or was changed since honest nodes made it",
}


# -------------------------------------------------------------------------------------------------------------- for people


def report_text(report: HistoryReport) -> None:
    component = report.component
    facts(
        {
            "worker": f"{report.component_id}/{report.worker_name}" if report.worker_name else None,
            "mesh": f"mesh:{report.mesh_id.hex()}" if report.mesh_id else None,
            "component": f"version {component[0]}, SHA-256 {component[1].hex()}" if component else None,
            **{f"{log.kind} log": _log_text(log) for log in report.logs},
            "elections": _elections_text(report.logs),
            "blobs": f"{report.blobs} ({size_text(report.blob_bytes)})" if report.blobs else None,
            "run again": _run_text(report.run) if report.run else "no",
        }
    )
    for log in report.logs:
        if log.kind == "worker":
            _print_runs(log)
    for log in report.logs:
        for branch in log.branches:
            say(
                f"forced: an operator let {_node(branch.survivor.public_key)} go on alone with shard {log.shard} after position"
                f" {branch.last_position}; what came from position {branch.uncertain_from} on may not have been committed,"
                " and what came later is missing"
            )
    _print_problems("not shown", report.unshown)
    _print_problems("wrong", report.wrong)
    say(VERDICTS[report.verdict])


def _log_text(log: LogFindings) -> str:
    text = f"{log.tail - 1} entries in {log.segments} segments ({size_text(log.bytes)}) of shard {log.shard}"
    if log.seal is not None:
        text += f"; told by {_node(log.seal.node)} at {_time(log.seal.time_ns)}"
    return text


def _elections_text(logs: list[LogFindings]) -> str:
    elections, votes = sum(log.elections for log in logs), sum(log.votes for log in logs)
    return f"{elections} with {votes} votes; {sum(log.configurations for log in logs)} changes of members"


def _run_text(run: RunFindings) -> str:
    parts = [f"{run.invocations} results equal", f"{run.host_calls} host calls", f"{run.lines} lines and notes"]
    if run.failures:
        parts.append(f"{run.failures} failures repeated")
    if run.cut_short:
        parts.append(f"{run.cut_short} executions cut short")
    ends = {
        "idle": "to the end of the journal", "unfinished": "to the end of the journal, in the middle of an invocation",
        "failed": "to where the worker failed", "exited": "to where the worker exited", "": "stopped before the end",
    }  # fmt: skip
    return f"{', '.join(parts)}; {ends[run.end]}"


def _print_runs(log: LogFindings) -> None:
    rows = [
        (run.term, f"{run.first}-{run.last}", run.segments, _node(run.author), _standing_text(run))
        for run in log.runs[:SHOWN_MAX]
    ]
    table(("TERM", "ENTRIES", "SEGMENTS", "WRITTEN BY", "WHICH WAS"), rows, empty="no entries")
    if log.runs_count > SHOWN_MAX:
        say(f"  and {log.runs_count - SHOWN_MAX} terms more")


def _standing_text(run: Run) -> str:
    match run.standing:
        case Standing.ELECTED:
            return "elected by a majority"
        case Standing.FORCED:
            return "ordered to go on by the operator"
        case _:
            return (
                f"not shown to be elected; term {run.vouched_by} built on it" if run.vouched_by else "not shown to be elected"
            )


def _print_problems(title: str, problems: Problems) -> None:
    if not problems:
        return
    say(f"{title}: {problems.count}")
    for problem in problems.listed[:SHOWN_MAX]:
        say(f"  {problem}")
    if problems.count > SHOWN_MAX:
        say(f"  and {problems.count - SHOWN_MAX} more")


def _node(public_key: bytes) -> str:
    return str(NodeId.of(public_key))


def _time(time_ns: int) -> str:
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, tz=UTC)
    except (OverflowError, ValueError):  # whoever sealed it may have said anything
        return f"{time_ns} ns after 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


# ------------------------------------------------------------------------------------------------------------ for programs


def report_json(report: HistoryReport) -> dict[str, Any]:
    component = report.component
    return {
        "verdict": report.verdict,
        "mesh": f"mesh:{report.mesh_id.hex()}" if report.mesh_id else None,
        "worker": {"componentId": report.component_id, "workerName": report.worker_name} if report.worker_name else None,
        "component": {"version": component[0], "sha256": component[1].hex()} if component else None,
        "logs": [_log_json(log) for log in report.logs],
        "blobs": report.blobs,
        "blobBytes": report.blob_bytes,
        "invocations": report.invocations,
        "run": _run_json(report.run) if report.run else None,
        "wrong": _problems_json(report.wrong),
        "notShown": _problems_json(report.unshown),
    }


def _log_json(log: LogFindings) -> dict[str, Any]:
    seal = log.seal
    return {
        "kind": log.kind,
        "identity": log.identity,
        "shard": log.shard,
        "entries": log.tail - 1,
        "headHash": log.head_hash.hex(),
        "segments": log.segments,
        "bytes": log.bytes,
        "terms": [_term_json(run) for run in log.runs],
        "termsCount": log.runs_count,
        "elections": log.elections,
        "votes": log.votes,
        "configurations": log.configurations,
        "branches": [
            {
                "branch": branch.branch.hex(),
                "survivor": _node(branch.survivor.public_key),
                "uncertainFrom": branch.uncertain_from,
                "lastPosition": branch.last_position,
            }
            for branch in log.branches
        ],
        "seal": None
        if seal is None
        else {"node": _node(seal.node), "timeNs": seal.time_ns, "position": seal.position, "holdsShard": seal.holds},
    }


def _term_json(run: Run) -> dict[str, Any]:
    return {
        "term": run.term,
        "node": _node(run.author),
        "publicKey": run.author.hex(),
        "firstIndex": run.first,
        "lastIndex": run.last,
        "segments": run.segments,
        "standing": "not shown" if run.standing is None else run.standing.value,
        "vouchedByTerm": run.vouched_by or None,
    }


def _run_json(run: RunFindings) -> dict[str, Any]:
    divergence = run.divergence
    return {
        "results": run.invocations,
        "failures": run.failures,
        "hostCalls": run.host_calls,
        "lines": run.lines,
        "cutShort": run.cut_short,
        "end": run.end or None,
        "divergence": None if divergence is None else {"index": divergence[0], "expected": divergence[1], "got": divergence[2]},
    }


def _problems_json(problems: Problems) -> dict[str, Any]:
    return {"count": problems.count, "listed": [_problem_json(problem) for problem in problems.listed]}


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {"place": problem.place, "reason": problem.reason, "index": problem.at or None}
