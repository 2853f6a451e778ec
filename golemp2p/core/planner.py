"""Brings shards to where they should be, one configuration at a time: growth, repair, rebalance, hand-over.

    1 voter --2nd node--> 1 voter + learner --3rd node--> 1 voter + 2 learners --caught up--> 3 voters
    3 voters --one dead for repair_after, or gone--> + learner --caught up--> 3 voters
    3 voters --a better place, membership settled--> + learner --caught up--> swapped; then hand-over to the preferred primary

The planner of a node proposes for the shards of which that node is primary; the shard's own log decides (S8: one change at a time,
voters odd in number, a newcomer is caught up before it votes). ``next_step`` is a pure function of one shard and what is known of
the members; the planner around it keeps time, order and rate: repair before growth before rebalance, few shards being copied at
once, and of the small ones as many as its profile says; without a limit a thousand empty shards take as many round trips as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from golemp2p.core.effects import Effect
from golemp2p.core.membership_profile import MS, S
from golemp2p.core.placement import Place, Targets, best, local_targets, shard_key, targets
from golemp2p.core.rendezvous import cost
from golemp2p.model.membership import Member, Status


@dataclass(frozen=True, slots=True)
class PlacementProfile:
    """All times in nanoseconds."""

    replicas: int = 3
    """Voters when there are nodes enough; odd."""
    repair_after_ns: int = 60 * S
    """A voter dead for so long is replaced. Shorter, and every reboot would copy its shards twice."""
    settle_ns: int = 10 * S
    """Rebalance waits until no member came or went for so long."""
    gain_percent: int = 10
    """Hysteresis: a move must make the cost so much lower, unless it relieves a node that is full."""
    copies_max: int = 4
    """Shards with something to copy that are being copied at once, started by this node."""
    small_bytes: int = 64 << 10
    """Shards up to this size are not counted: they fit in a frame or two."""
    moves_max: int = 1 << 16
    """Shards, of whatever size, that are being changed at once by this node: what else it says waits behind the messages of all of
    them. By default there is no limit, as shards may be so many."""
    retry_ns: int = 2 * S
    """A proposal that nothing came of is made again after this."""
    members_full_max: int = 4_096
    """Above, only the members closest to a shard are candidates."""


@dataclass(frozen=True, slots=True)
class ShardView:
    """A shard of which this node is primary; its members by public key. ``caught_up``: the learners that lack nothing but what is
    under way just now."""

    shard: int
    voters: tuple[bytes, ...]
    learners: tuple[bytes, ...] = ()
    caught_up: frozenset[bytes] = frozenset()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ProposeConfiguration:
    """Effect: the shard's next configuration. Voters and learners may not both change in it."""

    shard: int
    voters: tuple[bytes, ...]
    learners: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HandOver:
    """Effect: make ``successor``, a voter, the shard's primary."""

    shard: int
    successor: bytes


Step = ProposeConfiguration | HandOver


@dataclass(frozen=True, slots=True)
class Situation:
    """What planning needs to know of the mesh at one moment. ``present`` (they take replicas), ``gone`` (for good: dead long enough,
    draining, left, removed or unknown) and the rest (dead, but not long enough) are disjoint. ``departed``: those of ``gone`` that
    will not return. ``known``: members that neither left nor are draining. ``alive``: those not held dead, draining ones among them."""

    own: bytes
    alive: frozenset[bytes]
    present: dict[bytes, Place]
    known: frozenset[bytes]
    dead: frozenset[bytes]
    settled: bool
    profile: PlacementProfile
    full: frozenset[bytes] = field(default=frozenset())

    def is_gone(self, key: bytes) -> bool:
        return key not in self.present and key not in self.dead

    def has_departed(self, key: bytes) -> bool:
        return key not in self.known

    def voters_count(self, now: int) -> int:
        """How many voters a shard with ``now`` of them should have: odd, and no more than there are nodes; never fewer than now
        only because some are dead, since then the rest could not outvote them should they be alive after all."""
        count = min(self.profile.replicas, len(self.present))
        return max(count - (count + 1) % 2, 1) if count > now else now

    def can_decide(self, voters: Sequence[bytes]) -> bool:
        """Whether a majority of them is held alive. A change to others could not be committed, and nobody could take it back."""
        return sum([key in self.alive for key in voters]) > len(voters) // 2


@dataclass(frozen=True, slots=True)
class Company:
    """What follows for a ``Situation`` from the members alone, whatever the time is: looked at once for each change of them."""

    alive: frozenset[bytes]
    known: frozenset[bytes]
    dead: tuple[Member, ...]

    @classmethod
    def of(cls, members: Mapping[bytes, Member]) -> Company:
        return cls(
            alive=frozenset([key for key, member in members.items() if member.is_present]),
            known=frozenset([key for key, member in members.items() if member.status < Status.LEFT and member.record.weight]),
            dead=tuple([member for member in members.values() if member.status is Status.DEAD]),
        )


def next_step(view: ShardView, target: Sequence[bytes], about: Situation) -> Step | None:
    """What to propose for ``view`` so that it comes closer to ``target`` (members present, the preferred primary first)."""
    voters = _wanted_voters(view, target, about)
    if about.own not in voters:
        heirs = [key for key in voters if key in view.voters and key in about.present]
        if heirs:
            return HandOver(view.shard, heirs[0])
    newcomers = [key for key in voters if key not in view.voters]
    if newcomers and view.caught_up.issuperset(newcomers) and set(view.learners).issuperset(newcomers):
        return ProposeConfiguration(view.shard, tuple(voters), tuple(key for key in view.learners if key not in voters))
    if not newcomers and len(voters) < len(view.voters):
        return ProposeConfiguration(view.shard, tuple(voters), view.learners)
    learners = newcomers or _spare_learners(view, target, about)
    if set(learners) != set(view.learners):
        return ProposeConfiguration(view.shard, view.voters, tuple(learners))
    preferred = target[0] if target else about.own
    if about.settled and not newcomers and preferred != about.own and preferred in view.voters:
        return HandOver(view.shard, preferred)
    return None


def _wanted_voters(view: ShardView, target: Sequence[bytes], about: Situation) -> list[bytes]:
    kept = [key for key in view.voters if not about.is_gone(key)]
    departed = [key for key in view.voters if about.has_departed(key)]
    count = about.voters_count(len(view.voters))
    if departed and len({*kept, *about.present}) < len(view.voters):  # shrink only by those that said farewell
        count = max(1, count - 2 * ((len(departed) + 1) // 2))
    fresh = [key for key in target if key not in kept]
    gone = [key for key in view.voters if key not in kept]
    if len(kept) > count:
        kept.sort(key=lambda key: (key != about.own, key not in about.present, key not in target))
    elif len(kept) == count and about.settled and fresh and all(key in about.present for key in kept):
        kept = _with_a_swap(view.shard, kept, target, fresh[0], about)
    lively = [key for key in kept if key in about.present]
    for order in ((*kept, *fresh, *gone), (*lively, *fresh, *kept, *gone)):  # the dead of late keep their seats if they can
        wanted = list(dict.fromkeys(order))[:count]
        if len(wanted) == count and about.can_decide(wanted):
            return wanted
    return list(view.voters)


def _with_a_swap(shard: int, kept: list[bytes], target: Sequence[bytes], newcomer: bytes, about: Situation) -> list[bytes]:
    """``kept`` with its most expensive misplaced voter replaced, if that pays."""

    def price(key: bytes) -> int:
        return cost(shard, key, about.present[key].weight)

    misplaced = sorted((key for key in kept if key not in target), key=lambda key: (price(key), key))
    if not misplaced:
        return kept
    worst = misplaced[-1]
    pays = price(newcomer) * 100 <= price(worst) * (100 - about.profile.gain_percent)
    shares = about.present[newcomer].failure_domain
    splits = sum(about.present[key].failure_domain == about.present[worst].failure_domain for key in kept) > 1
    if pays or worst in about.full or (splits and all(about.present[key].failure_domain != shares for key in kept)):
        return [newcomer if key == worst else key for key in kept]
    return kept


def _spare_learners(view: ShardView, target: Sequence[bytes], about: Situation) -> list[bytes]:
    """With an even number of nodes, fewer than replicas, one more keeps a copy that does not count."""
    if len(about.present) > len(view.voters) and len(about.present) < about.profile.replicas:
        return [key for key in target if key not in view.voters][:1]
    return []


class Planner:
    """For the node ``own``. ``compute`` makes the targets, ``rank`` those of one shard; a simulation may pass such as remember results
    across nodes."""

    def __init__(
        self,
        own: bytes,
        shards_count: int,
        profile: PlacementProfile | None = None,
        compute: Callable[[Sequence[Place], int, int], Targets] = targets,
        rank: Callable[[int, Mapping[bytes, Place], int], tuple[bytes, ...]] = best,
    ) -> None:
        self._own = own
        self._shards_count = shards_count
        self._profile = profile or PlacementProfile()
        self._compute, self._rank = compute, rank
        self._members: dict[bytes, Member] = {}
        self._present: dict[bytes, Place] = {}
        self._changed_ns = 0
        self._views: dict[int, ShardView] = {}
        self._stale: dict[int, None] = {}  # shards for which there may be something to propose
        self._about: Situation | None = None  # in which all others have been looked at
        self._led_since_ns: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._moving: dict[int, int] = {}  # shards that are being changed -> until when they are counted
        self._targets: Targets | None = None
        self._best: dict[int, tuple[bytes, ...]] = {}  # of shards that were asked for, while not all targets are known
        self._company: Company | None = None
        self._due_ns: int | None = None

    def members_changed(self, members: Iterable[Member], now_ns: int, *, gone: Iterable[bytes] = ()) -> None:
        """These members (this node may be among them) are like this now, those in ``gone`` are none any more, and all others are as
        they were. As with shards: what follows from it is planned by ``on_time``."""
        for member in members:
            self._members[member.public_key] = member
            takes_part = member.is_present and member.record.weight > 0
            self._place(
                member.public_key,
                Place(member.public_key, member.record.weight, member.record.domain) if takes_part else None,
                now_ns,
            )
        for key in gone:
            self._members.pop(key, None)
            self._place(key, None, now_ns)
        self._company = None
        self._due_ns = now_ns

    def _place(self, key: bytes, place: Place | None, now_ns: int) -> None:
        """Where replicas can be has changed, if this is news."""
        if self._present.get(key) == place:
            return
        if place is None:
            del self._present[key]
        else:
            self._present[key] = place
        self._changed_ns = now_ns
        self._targets = self._about = None
        self._best.clear()

    def shards_changed(self, views: Iterable[ShardView], now_ns: int) -> None:
        """These shards have this node as primary, and are like this. Whatever was proposed for them is settled."""
        for view in views:
            self._led_since_ns.setdefault(view.shard, now_ns)
            self._views[view.shard] = view
            self._stale[view.shard] = None
            self._waiting.pop(view.shard, None)
            if not view.learners:
                self._moving.pop(view.shard, None)
        self._due_ns = now_ns

    def shard_lost(self, shard: int) -> None:
        """This node is not its primary any more, or not just now."""
        for table in (self._views, self._stale, self._led_since_ns, self._waiting):
            table.pop(shard, None)

    def target(self, shard: int) -> tuple[bytes, ...]:
        """Public keys of members that should hold ``shard``, the preferred primary first: where all shards should be, if that is known,
        else the best for this one alone, which costs less and seldom differs."""
        if self._targets is not None:
            return self._targets.replicas[shard]
        if shard not in self._best:
            self._best[shard] = self._rank(shard, self._present, self._profile.replicas)
        return self._best[shard]

    def next_due_ns(self) -> int | None:
        return self._due_ns if self._views else None

    def on_time(self, now_ns: int) -> list[Effect]:
        """Propose what can be proposed now."""
        if not self._views or not self._present:
            self._due_ns = None
            return []
        about = self._situation(now_ns)
        if about != self._about:
            self._about = about
            self._stale = dict.fromkeys(self._views)
        self._moving = {shard: until_ns for shard, until_ns in self._moving.items() if until_ns > now_ns}
        was_full = self._is_full
        copies = sum(self._is_copying(view) for view in self._views.values())
        effects: list[Effect] = []
        for view in self._in_order(about):
            shard = view.shard
            if self._waiting.get(shard, now_ns) > now_ns or not self._may_move(shard):
                continue
            step = next_step(view, self._target(shard), about)
            if step is None:
                del self._stale[shard]
                if view.caught_up.issuperset(view.learners):
                    self._moving.pop(shard, None)
                continue
            if isinstance(step, HandOver) and self._own in self._present and self._is_new(shard, now_ns):
                continue
            if self._copies(step, view) and copies >= self._profile.copies_max:
                continue
            copies += self._copies(step, view)
            self._waiting[shard] = self._moving[shard] = now_ns + self._profile.retry_ns
            effects.append(step)
        self._set_due(now_ns, about)
        if was_full and not self._is_full:
            self._due_ns = now_ns + MS  # for those that were not looked at
        return effects

    def _in_order(self, about: Situation) -> list[ShardView]:
        """Those that there may be something to propose for, the most urgent first."""
        shards = [shard for shard in self._stale if self._may_move(shard)]
        return sorted([self._views[shard] for shard in shards], key=lambda view: (self._urgency(view, about), view.shard))

    def _may_move(self, shard: int) -> bool:
        return shard in self._moving or not self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self._moving) >= self._profile.moves_max

    def _is_new(self, shard: int, now_ns: int) -> bool:
        """Whether this node has led ``shard`` so short that it waits before it hands it on: its predecessor may know something, such
        as that it is draining, which is still on its way here."""
        until_ns = self._led_since_ns[shard] + self._profile.retry_ns
        if until_ns > now_ns:
            self._waiting[shard] = until_ns
        return until_ns > now_ns

    def _situation(self, now_ns: int) -> Situation:
        deadline_ns = now_ns - self._profile.repair_after_ns
        self._compute_targets()
        company = self._company = self._company or Company.of(self._members)
        return Situation(
            own=self._own,
            alive=company.alive,
            present=self._present,
            known=company.known,
            dead=frozenset([member.public_key for member in company.dead if member.since_ns > deadline_ns]),
            settled=now_ns - self._changed_ns >= self._profile.settle_ns,
            profile=self._profile,
            full=frozenset() if self._targets is None else self._targets.full,
        )

    def _compute_targets(self) -> None:
        if self._targets is None and len(self._present) <= self._profile.members_full_max:
            self._targets = self._compute(list(self._present.values()), self._shards_count, self._profile.replicas)

    def _target(self, shard: int) -> tuple[bytes, ...]:
        if self._targets is not None:
            return self._targets.replicas[shard]
        places = self._present.values()
        return local_targets(shard, shard_key(shard, self._shards_count), places, self._profile.replicas)

    def _urgency(self, view: ShardView, about: Situation) -> int:
        if any(about.is_gone(key) for key in view.voters):
            return 0
        return 1 if len(view.voters) < self._profile.replicas else 2

    def _is_copying(self, view: ShardView) -> bool:
        return view.size_bytes > self._profile.small_bytes and not view.caught_up.issuperset(view.learners)

    def _copies(self, step: Step, view: ShardView) -> bool:
        """Whether ``step`` starts to copy a shard that is not small."""
        newcomers = isinstance(step, ProposeConfiguration) and not set(step.learners) <= {*view.learners, *view.voters}
        return newcomers and view.size_bytes > self._profile.small_bytes

    def _set_due(self, now_ns: int, about: Situation) -> None:
        """The next moment at which time alone changes what should be done."""
        dues = [due_ns for due_ns in self._waiting.values() if due_ns > now_ns]
        if self._is_full:
            dues += self._moving.values()
        if about.dead:
            voters = {key: None for view in self._views.values() for key in view.voters}
            dues += [self._members[key].since_ns + self._profile.repair_after_ns for key in voters if key in about.dead]
        if not about.settled:
            dues.append(self._changed_ns + self._profile.settle_ns)
        self._due_ns = max(min(dues), now_ns + MS) if dues else None
