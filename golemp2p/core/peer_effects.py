"""Effects of a whole node's part in the mesh, beside those of its parts; and the numbers of those parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from golemp2p.core.liveness import LivenessProfile
from golemp2p.core.lookup import LookupProfile
from golemp2p.core.membership_profile import LAN, MS, MembershipProfile, S
from golemp2p.core.planner import PlacementProfile
from golemp2p.core.replica_rules import Limits, Rules
from golemp2p.core.requests import RequestProfile
from golemp2p.core.routing import K
from golemp2p.core.succession import SuccessionProfile
from golemp2p.model.light import light_dataclass
from golemp2p.model.membership import NodeRecord
from golemp2p.model.messages_requests import Forward


@dataclass(frozen=True, slots=True)
class PeerProfile:
    """All parts of a node. Times in nanoseconds."""

    membership: MembershipProfile = LAN
    liveness: LivenessProfile = field(default_factory=LivenessProfile)
    succession: SuccessionProfile = field(default_factory=SuccessionProfile)
    placement: PlacementProfile = field(default_factory=PlacementProfile)
    requests: RequestProfile = field(default_factory=RequestProfile)
    lookup: LookupProfile = field(default_factory=LookupProfile)
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    stranger_ns: int = 3 * S
    """After a start: how long members of this node's groups that the mesh has not told of are not held dead."""
    entries_max: int = 4_096
    """Entries in the log of one shard; then the older half is compacted. Who lags further behind catches up by manifest."""
    hints_above: int = K
    """With more members, primaries put their certificates into the DHT; with up to k of them, everybody can be asked."""
    hints_growth_percent: int = 125
    """When the mesh has grown to so much, they are put anew: newcomers are among the closest nodes now."""
    hints_at_once: int = 16
    hints_pause_ns: int = 100 * MS
    """So many certificates are put at once, and then no more for so long."""
    not_serving_ms: int = 50
    """A caller comes too early for a primary that does not serve yet: it asks again after this."""
    doubt_ns: int = 1 * S
    """A follower that is asked for its shard asks whom it holds for the primary, at most so often."""
    remember_ns: int = 1 * S
    """Members are written down at most so often."""
    drain_tick_ns: int = 100 * MS
    """A node that leaves looks this often whether its last replica is gone."""


@light_dataclass(frozen=True, slots=True)
class Requested:
    """Effect: ``forward`` reached this node, which serves its shard. Answer with ``Peer.answer(sender, ...)``."""

    sender: bytes
    forward: Forward


@dataclass(frozen=True, slots=True)
class MembersKnown:
    """Effect: remember these members (all of them, this node excluded), to find the mesh again after a restart. Not urgent."""

    records: tuple[NodeRecord, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """Effect: nothing depends on this node any more, and it has said farewell. Its process may end."""
