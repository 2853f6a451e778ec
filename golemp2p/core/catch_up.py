"""Fetching what a replica lacks and the shard's log no longer holds: the base with the heads of all logs, then their segments.

    Offer(base) --> FetchManifest ... ManifestPage* --> per log FetchSegments ... FetchedSegments* --> installed --> Appended(base)

Thesis, chapter 5, with a manifest of hash-chained logs in the place of a snapshot. Everything fetched is verified against the
manifest's heads, kept durably as it comes, and counts again after a restart or when the primary compacts meanwhile and offers a
newer base. A log that is there up to some index is continued from there if the hashes meet, else fetched anew.

A base belongs to the term in which it was offered: the next term's primary offers its own. It is installed only over entries that
conflict with it, since a replica that holds its position with its hash may have acknowledged what it has after it.

The same machine re-fetches logs in which the disk was damaged; then the heads wanted are those of this replica's own base, which
stands still meanwhile. A log that was deleted after the base needs no repair: the base moves past its deletion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from golemp2p.core.following import Following
from golemp2p.core.replica_effects import Installed
from golemp2p.core.replica_state import ReplicaState
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import FetchedSegments, FetchManifest, FetchSegments, ManifestPage
from golemp2p.model.replication import EMPTY_LOG, Base, Head, LogSegment

LOGS_MAX = 1 << 20
"""Heads that a manifest may have: some 64 MiB of keys and hashes. A mesh with more logs per shard needs more shards."""


class CatchUp:
    """Idle while ``_source`` is ``None``. ``_term``: the one in which ``_base`` was offered. ``_wanted``: heads to reach; ``_queue``:
    logs of it not asked for yet; ``_asked``: logs under way; ``_have``: start and end of what has been fetched of each log. It
    continues what is here, or starts at index 1."""

    __slots__ = (
        "_after",
        "_asked",
        "_base",
        "_delay_ns",
        "_due_ns",
        "_following",
        "_has_manifest",
        "_have",
        "_queue",
        "_source",
        "_state",
        "_term",
        "_tries",
        "_wanted",
    )

    def __init__(self, state: ReplicaState, following: Following, staged: Mapping[Key, tuple[Head, Head]]) -> None:
        self._state = state
        self._following = following
        self._have = dict(staged)
        self._clear()

    def _clear(self) -> None:
        self._source: bytes | None = None
        self._base: Base | None = None
        self._term = 0
        self._after: Key | None = None
        self._has_manifest = False
        self._wanted: dict[Key, Head] = {}
        self._queue: deque[Key] = deque()
        self._asked: dict[Key, None] = {}
        self._due_ns: int | None = None
        self._delay_ns = self._state.limits.retry_ns
        self._tries = 0

    def offered(self, source: bytes, base: Base, now_ns: int) -> None:
        """The primary has compacted what this replica lacks, or this replica is new."""
        self._drop_overdue()
        if self._is_held(source, base):
            return
        if (self._source, self._base) != (source, base):
            self._clear()
            self._source, self._base, self._term = source, base, self._state.term
        elif self._due_ns is not None and now_ns < self._due_ns:
            return  # said again; what is asked for is under way
        self._ask_again(now_ns)
        self._finish()

    def _is_held(self, source: bytes, base: Base) -> bool:
        """Whether this replica has what ``base`` stands for; then the primary, ``source``, hears so."""
        state = self._state
        log = state.log
        if log.is_blank:
            return False
        if log.holds(base.position) and log.hash_at(base.position) == base.hash:
            state.check_repaired()
            self._following.acknowledge(source, base.position, base.position)
            state.commit(base.position)
            return True
        if base.position <= log.commit:
            self._following.acknowledge(source, log.commit, log.commit)
            return True
        return False

    @property
    def is_under_way(self) -> bool:
        return self._source is not None and not self._is_overdue

    @property
    def _is_overdue(self) -> bool:
        """This replica has left the term whose primary offered the base: by hearing of a higher one, or by campaigning."""
        return self._base is not None and self._term != self._state.term

    def _drop_overdue(self) -> None:
        """What was fetched stays fetched."""
        if self._is_overdue:
            self._clear()

    def repair(self, source: bytes, now_ns: int) -> None:
        """Fetch the damaged logs from ``source``, up to where this replica's own heads say they end."""
        state = self._state
        self._clear()
        self._source = source
        self._has_manifest = True
        self._wanted = {log: state.log.heads.base[log] for log in state.damaged_logs if log in state.log.heads.base}
        self._queue.extend(self._wanted)
        state.persist(refetch=state.damaged_logs)
        self._have.update(dict.fromkeys(state.damaged_logs, (EMPTY_LOG, EMPTY_LOG)))
        self._ask_again(now_ns)
        self._finish()

    def _want(self, log: Key, head: Head) -> None:
        self._wanted[log] = head
        if self._reached(log) != head:
            self._queue.append(log)

    def _reached(self, log: Key) -> Head:
        """How far ``log`` is here: fetched, or committed before. Forgets what was fetched in vain."""
        here = self._here(log)
        start, end = self._have.get(log, (here, here))
        if start not in (EMPTY_LOG, here):
            del self._have[log]  # it does not continue what is here any more: that grew, was deleted, or damaged
            self._state.persist(refetch=(log,))
            return here
        return end

    def _here(self, log: Key) -> Head:
        if log in self._state.damaged_logs:
            return EMPTY_LOG
        return self._state.log.heads.head(log, at=self._state.log.commit) or EMPTY_LOG

    def page(self, source: bytes, page: ManifestPage, now_ns: int) -> None:
        self._drop_overdue()
        base = self._base
        expected = source == self._source and base is not None and page.position == base.position
        if not expected or page.after != self._after or self._has_manifest:
            return
        keys = [log for log, _ in page.heads]
        is_ordered = keys == sorted(dict.fromkeys(keys)) and (page.after is None or keys[:1] > [page.after] or not keys)
        is_sound = is_ordered and all(head.tail > EMPTY_LOG.tail for _, head in page.heads)
        if not is_sound or (not keys and not page.is_last) or len(self._wanted) + len(keys) > LOGS_MAX:
            self._state.notice("protocol-violation", peer=source, reason="manifest")
            return
        for log, head in page.heads:
            self._want(log, head)
        self._after = keys[-1] if keys else self._after
        self._has_manifest = page.is_last
        if not page.is_last:
            self._ask_manifest()
        self._progressed(now_ns)

    def segments(self, source: bytes, answer: FetchedSegments, now_ns: int) -> None:
        self._drop_overdue()
        log = answer.log
        if source != self._source or log not in self._asked:
            return
        reached = self._reached(log)
        if answer.first != reached.tail:
            return
        wanted = self._wanted[log]
        taken = self._check(log, reached, wanted, answer.segments)
        if taken is None:
            is_own = log not in self._have
            self._refetch(log, reached)
            if not is_own:
                return  # the source cannot be right now; the timer asks again
        elif taken:
            start = self._have.get(log, (reached, reached))[0]
            self._have[log] = start, Head(taken[-1].first + taken[-1].count, taken[-1].hash)
            self._state.persist(fetched=tuple(taken))
        else:
            return  # the source has nothing of it now; the timer asks again
        del self._asked[log]
        if self._reached(log) != wanted:
            self._queue.append(log)
        self._progressed(now_ns)

    def _check(self, log: Key, reached: Head, wanted: Head, segments: tuple[LogSegment, ...]) -> list[LogSegment] | None:
        """The segments, if they continue the log towards the wanted head; ``None`` if what is here or there is wrong."""
        state = self._state
        taken: list[LogSegment] = []
        for segment in segments:
            continues = (segment.log, segment.first, segment.previous_hash) == (log, reached.tail, reached.hash)
            if not continues or not (state.notary.is_segment_signed(segment) or not state.rules.verify_signature):
                return None
            reached = Head(segment.first + segment.count, segment.hash)
            if reached.tail > wanted.tail or (reached.tail == wanted.tail and reached.hash != wanted.hash):
                return None
            taken.append(segment)
            if reached == wanted:
                break
        return taken

    def _refetch(self, log: Key, reached: Head) -> None:
        self._state.notice("refetch", log=log, tail=reached.tail)
        self._have[log] = EMPTY_LOG, EMPTY_LOG
        self._state.persist(refetch=(log,))

    def _progressed(self, now_ns: int) -> None:
        self._delay_ns = self._state.limits.retry_ns
        self._tries = 0
        self._due_ns = now_ns + self._delay_ns
        self._ask_segments()
        self._finish()

    def _ask_again(self, now_ns: int) -> None:
        """Ask for everything that is missing and not known to be under way."""
        if self._base is None:
            for log in [log for log in self._wanted if self._gone_at(log)]:
                del self._wanted[log]
        pending = dict.fromkeys((*self._queue, *self._asked))
        self._queue = deque(log for log in pending if log in self._wanted)
        self._asked.clear()
        if not self._has_manifest:
            self._ask_manifest()
        self._ask_segments()
        self._due_ns = now_ns + self._delay_ns

    def _gone_at(self, log: Key) -> int:
        """Where ``log`` was deleted after the base, for good; 0 if it was not."""
        state = self._state
        position = state.log.heads.deletion(log)
        return position if position is not None and position <= min(state.log.commit, state.durable_position) else 0

    def _ask_manifest(self) -> None:
        assert self._source is not None, "somebody to ask"
        assert self._base is not None, "a base to ask for"
        self._state.send(self._source, FetchManifest(self._base.position, self._after))

    def _ask_segments(self) -> None:
        assert self._source is not None, "somebody to ask"
        while self._queue and len(self._asked) < self._state.limits.fetches_in_flight_max:
            log = self._queue.popleft()
            reached, wanted = self._reached(log), self._wanted[log]
            if reached.tail >= wanted.tail:  # what is here is longer than, or other than, what should be
                self._refetch(log, reached)
                reached = EMPTY_LOG
            self._asked[log] = None
            position = 0 if self._base is None else self._base.position
            self._state.send(self._source, FetchSegments(position, log, reached.tail, wanted.tail))

    def _finish(self) -> None:
        if not self._has_manifest or self._queue or self._asked:
            return
        state = self._state
        changed = [log for log, head in self._wanted.items() if self._reached(log) != head]
        if changed:  # what was here moved under it
            self._queue.extend(changed)
            self._ask_segments()
            return
        source, base, wanted = self._source, self._base, self._wanted
        self._clear()
        assert source is not None, "somebody was asked"
        if base is not None and self._is_held(source, base):
            return  # what was missing came as entries meanwhile
        if base is None:
            repaired, state.damaged_logs = state.damaged_logs, ()
            for log in repaired:
                self._have.pop(log, None)
            state.check_repaired()
            state.persist(repaired=repaired)
            state.compact(max(map(self._gone_at, repaired), default=0))
            return
        kept_position = state.log.commit
        state.install(base, wanted)
        self._have = {}
        state.check_repaired()
        heads = tuple(wanted.items())
        install = {"base": base, "is_install": True, "kept_position": kept_position, "heads": heads}
        self._following.acknowledge(source, base.position, base.position, **install)
        state.effects.append(Installed(state.shard, base.position))
        state.notice("base-installed", position=base.position, logs=len(heads))

    def next_due_ns(self) -> int | None:
        return self._due_ns if self.is_under_way and self._source not in self._state.suspected else None

    def on_time(self, now_ns: int) -> None:
        self._drop_overdue()
        if self._source is None or self._due_ns is None or now_ns < self._due_ns:
            return
        self._tries += 1
        if self._tries > self._state.limits.catch_up_tries_max:
            self._state.notice("catch-up-abandoned", peer=self._source)
            self._clear()
            return
        self._delay_ns = min(2 * self._delay_ns, self._state.limits.retry_max_ns)
        self._ask_again(now_ns)
        self._finish()
