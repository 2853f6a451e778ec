"""One log of a history, checked as it is read: its chain, who wrote which part, and whether they were elected to. No I/O.

    milestones ──> Lineage: who led which term
    segments   ──> verify_chain, one by one ──> runs of one term, each against the lineage ──> entries
    seal       ──> the end: tail, hash, and who says so

After the first break of the chain nothing more of the log is proved, and it is read no further.
"""

from __future__ import annotations

from golemp2p.core.lineage import Lineage
from golemp2p.errors import DataDamaged
from golemp2p.model.entries import Entry
from golemp2p.model.history import LISTED_MAX, LogFindings, Problems, Run, Seal, Standing
from golemp2p.model.ids import Key
from golemp2p.wire.certificate import Birth
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.history import LogOpening, Milestone, SealFrame, Sealing, SegmentFrame
from golemp2p.wire.notary import ShardVerifier
from golemp2p.wire.segment import NO_HASH, Segment, verify_chain


class LogCheck:
    """Of the log that ``opening`` names. ``frame``: the bytes of the frame it came in."""

    def __init__(self, opening: LogOpening, frame: bytes, birth: Birth, wrong: Problems, unshown: Problems) -> None:
        self.key = Key.of(opening.kind, opening.identity)
        self.findings = LogFindings(opening.kind, opening.identity, opening.shard, head_hash=NO_HASH)
        self.is_broken = False
        self._what = f"{opening.kind} log"
        self._wrong = wrong
        self._unshown = unshown
        notary = ShardVerifier(mesh_id=birth.mesh_id, shard=opening.shard, operator=birth.operator)
        self._lineage = Lineage(birth.founder, notary, opening.shard, wrong, unshown)
        self._sealing = Sealing(birth.mesh_id)
        self._sealing.add(frame)
        self._run: Run | None = None
        if self.key.shard(birth.shards_count) != opening.shard:
            wrong.add(self._what, f"belongs into shard {self.key.shard(birth.shards_count)}, not {opening.shard}")

    def frame(self, data: bytes) -> None:
        """Any frame of the part, before what is in it is told; not its seal."""
        self._sealing.add(data)

    def milestone(self, milestone: Milestone) -> None:
        self._lineage.add(milestone.entry)

    def segment(self, segment: SegmentFrame) -> list[Entry]:
        """The entries of the next segment; ``[]`` from the first break on."""
        if self.is_broken:
            return []
        findings = self.findings
        try:
            (parsed,) = verify_chain(
                [segment.data],
                log=self.key,
                first=findings.tail,
                previous_hash=findings.head_hash,
                check_every_signature=True,
            )
            entries = decode_payload(parsed.payload, parsed.count, what=f"segment at index {parsed.first}")
        except DataDamaged as error:
            self._break(error.reason)
            return []
        if not self._is_in_turn(parsed):
            return []
        findings.segments += 1
        findings.bytes += len(segment.data)
        findings.tail, findings.head_hash = parsed.next_index, parsed.hash
        return entries

    def seal(self, frame: SealFrame) -> None:
        """The end of the part."""
        findings = self.findings
        if not self.is_broken and frame.tail != findings.tail:
            self._break(f"ends before index {findings.tail}, and should end before index {frame.tail}")
        elif not self.is_broken and frame.head_hash != findings.head_hash:
            self._break("the newest segment is not the one that its head names")
        if not self._sealing.is_genuine(frame):
            self._wrong.add(
                f"{self._what}, seal", "this part was changed since a node gave it away: the signature is not that node's"
            )
        findings.seal = Seal(frame.author, frame.time_ns, frame.position, self._lineage.holds(frame.author))
        if not findings.seal.holds:
            reason = f"node {frame.author.hex()[:16]}, which says that the log ends there, is not shown to hold the shard"
            self._unshown.add(f"{self._what}, seal", reason)
        self._end()

    # -- who wrote it

    def _is_in_turn(self, segment: Segment) -> bool:
        """Takes the segment into a run. Terms never fall, and a term has one author."""
        run = self._run
        if run is not None and segment.term < run.term:
            self._break(f"term {segment.term} after term {run.term}")
            return False
        if run is not None and segment.term == run.term:
            if segment.author != run.author:
                self._break(f"a second author in term {segment.term}")
                return False
            run.last, run.segments = segment.next_index - 1, run.segments + 1
            return True
        return self._begin_run(segment)

    def _begin_run(self, segment: Segment) -> bool:
        elected = self._lineage.term(segment.term)
        if elected is not None and elected.primary != segment.author:
            self._break(
                f"written in term {segment.term} by {segment.author.hex()[:16]}, elected was {elected.primary.hex()[:16]}"
            )
            return False
        standing = None if elected is None else elected.standing
        self._run = Run(segment.term, segment.author, segment.first, segment.next_index - 1, 1, standing)
        findings = self.findings
        findings.runs_count += 1
        if len(findings.runs) < LISTED_MAX:
            findings.runs.append(self._run)
        if standing in (Standing.ELECTED, Standing.FORCED):
            for run in findings.runs[:-1]:
                if run.standing in (None, Standing.UNSHOWN) and not run.vouched_by:
                    run.vouched_by = segment.term
        return True

    def _break(self, reason: str) -> None:
        self.is_broken = True
        self._wrong.add(f"{self._what}, index {self.findings.tail}", reason, self.findings.tail)

    def _end(self) -> None:
        findings, lineage = self.findings, self._lineage
        terms = lineage.terms()
        findings.elections = sum([term.standing is not Standing.FORCED for term in terms])
        findings.votes = sum([term.votes for term in terms])
        findings.configurations, findings.branches = lineage.configurations, list(lineage.branches)
        for run in findings.runs:
            if run.standing is None or run.standing is Standing.UNSHOWN:
                self._unshown.add(f"{self._what}, index {run.first} to {run.last}", _unshown_run(run), run.first)
        if findings.runs_count > len(findings.runs):
            self._unshown.add(
                self._what, f"written in {findings.runs_count} terms, of which {len(findings.runs)} are looked at"
            )


def _unshown_run(run: Run) -> str:
    what = "no election of the term is shown" if run.standing is None else "that its electors were to decide is not shown"
    vouched = f"; the primary of term {run.vouched_by}, which is shown, built on it" if run.vouched_by else ""
    return f"written by {run.author.hex()[:16]} in term {run.term}: {what}{vouched}"
