"""The handler that shows and searches oplogs."""

from __future__ import annotations

from typing import Any

from golemp2p.client import OplogPage
from golemp2p.errors import MalformedRequest
from golemp2p.model.entries import ExportedFunctionCompleted, ExportedFunctionInvoked
from golemp2p.model.ids import WorkerId
from golemp2p_gateway.edge import Edge
from golemp2p_gateway.http import Request, Response, json_response, natural
from golemp2p_gateway.oplog_query import Predicate, leaves, parse_query
from golemp2p_gateway.public_oplog import PublicOplog
from golemp2p_gateway.workers import worker_id

PAGE_ENTRIES = 100  # read at once while searching or looking back
LOOK_BACK_ENTRIES_MAX = 1000  # how far before a page the invocation is looked for that types its first result


async def get_oplog(edge: Edge, request: Request) -> Response:
    worker = worker_id(request)
    count = request.integer("count")
    if not count:
        raise MalformedRequest("query parameter 'count' is required, from 1 up")
    count = min(count, edge.settings.oplog_count_max)
    start, query, cursor = request.integer("from"), request.one("query"), request.one("cursor")
    if start is not None and query is not None:
        raise MalformedRequest("either 'from' or 'query', not both")
    if cursor is not None:
        start = parse_oplog_cursor(cursor)
    first = max(1, start or 1)
    if query is None:
        return json_response(await _page(edge, worker, first, count))
    return json_response(await _search(edge, worker, first, count, parse_query(query)))


def parse_oplog_cursor(text: str) -> int:
    """``"INDEX-VERSION"``, made of the two numbers of ``next``; the version is only a hint. Returns the index."""
    index, _, version = text.partition("-")
    if version:
        natural(version, "the version in a cursor")
    return natural(index, "the index in a cursor")


async def _page(edge: Edge, worker: WorkerId, first: int, count: int) -> dict[str, Any]:
    page = await edge.client.oplog(worker, first=first, count=count)
    public = PublicOplog(worker, page.info)
    await _look_back(edge, worker, page, public)
    entries = [{"oplogIndex": index, "entry": public.entry(entry)} for index, entry in page.entries]
    return _page_json(entries, page, page.next_index)


async def _search(edge: Edge, worker: WorkerId, first: int, count: int, matches: Predicate) -> dict[str, Any]:
    """Up to ``count`` matching entries. When too many were looked at, a cursor goes out though fewer were found."""
    found: list[dict[str, Any]] = []
    public: PublicOplog | None = None
    scanned = 0
    while True:
        page = await edge.client.oplog(worker, first=first, count=PAGE_ENTRIES)
        if public is None:
            public = PublicOplog(worker, page.info)
            await _look_back(edge, worker, page, public)
        for index, entry in page.entries:
            shown = public.entry(entry)
            if matches(list(leaves(shown))):
                found.append({"oplogIndex": index, "entry": shown})
                if len(found) == count:
                    following = index + 1 if index < page.last_index else None
                    return _page_json(found, page, following)
        scanned += len(page.entries)
        if page.next_index is None or scanned >= edge.settings.search_scan_max:
            return _page_json(found, page, page.next_index)
        first = page.next_index


async def _look_back(edge: Edge, worker: WorkerId, page: OplogPage, public: PublicOplog) -> None:
    """Find the invocation that was running before the page, if the page shows a result of it."""
    for _, entry in page.entries:
        if isinstance(entry, ExportedFunctionInvoked):
            return
        if isinstance(entry, ExportedFunctionCompleted):
            break
    else:
        return
    end = page.entries[0][0]
    while end > 1 and page.entries[0][0] - end < LOOK_BACK_ENTRIES_MAX:
        start = max(1, end - PAGE_ENTRIES)
        before = await edge.client.oplog(worker, first=start, count=end - start)
        for _, entry in reversed(before.entries):
            if isinstance(entry, ExportedFunctionInvoked):
                public.running(entry.function)
                return
        end = start


def _page_json(entries: list[dict[str, Any]], page: OplogPage, next_index: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "entries": entries,
        "firstIndexInChunk": entries[0]["oplogIndex"] if entries else page.first_index,
        "lastIndex": page.last_index,
    }
    if next_index is not None:
        body["next"] = {"nextOplogIndex": next_index, "currentComponentVersion": page.info.version}
    return body
