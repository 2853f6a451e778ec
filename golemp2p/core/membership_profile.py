"""The numbers of membership, with the letters of the papers (SWIM: T', k, lambda; Lifeguard: S, alpha, beta, K).

Detection on a LAN, from crash to verdict: until somebody probes it, 0.3 s on average (1/(1 - 1/e) periods); that round, 0.2 s;
the suspicion, 0.5 s * max(1, log10 n) when K others confirm it. About one second in small meshes, 1.4 s at 50 nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

MS = 1_000_000
S = 1_000 * MS


@dataclass(frozen=True, slots=True)
class MembershipProfile:
    """All times in nanoseconds."""

    probe_interval_ns: int = 200 * MS
    """T', the protocol period: one member is probed in each."""
    ping_timeout_ns: int = 60 * MS
    """After this a probe is repeated and sent through relays as well. Several round trips of the network."""
    indirect_probes: int = 3
    """k: members asked to probe on our behalf."""
    suspicion_min_ns: int = 500 * MS
    """alpha * T': multiplied by max(1, log10 n), the shortest time between suspicion and verdict."""
    suspicion_factor_max: int = 3
    """beta: a suspicion that nobody confirms lasts this many times longer."""
    confirmations: int = 3
    """K: independent suspicions after which the shortest time applies; at most n - 2."""
    verifiers: int = 8
    """So many members, on average, probe a suspect out of turn. **Not in the papers**: confirmations come within two periods."""
    health_max: int = 8
    """S: local health multiplier 0..S; periods and timeouts are (multiplier + 1) times longer."""
    retransmit_factor: int = 4
    """lambda: an update is sent lambda * ceil(log10(n + 1)) times by each member."""
    piggyback_max: int = 6
    """Updates in one message: 2 KB at most in practice."""
    gossip_interval_ns: int = 100 * MS
    gossip_fanout: int = 3
    """Besides riding on probes, updates go to so many members per interval, while there are any."""
    sync_interval_ns: int = 30 * S
    """Push-pull with one member, present or not. Equal lists cost one message."""
    reconnect_interval_ns: int = 5 * S
    """One dead member is asked for its list: so the halves of a mended partition find each other."""
    join_interval_ns: int = 1 * S
    lonely_after_ns: int = 600 * MS
    """Nobody was heard for three periods: it is me."""
    evidence_rounds_max: int = 10
    """A peer that talks and never answers probes is excused so many rounds: its way back may be broken."""
    pause_ns: int = 400 * MS
    """A timer this late means that we stood still; what we did not hear meanwhile says nothing about others."""
    refute_interval_ns: int = 50 * MS
    """Refutations are signatures: a liar cannot make us sign more often."""
    forget_after_ns: int = 24 * 3600 * S
    """Members that are dead or have left for so long are dropped from the list."""
    members_max: int = 8_192
    """Above some thousands a full list is the wrong tool (200 bytes each, everywhere)."""
    removals_max: int = 16_384
    relays_max: int = 256
    """Indirect probes in progress for others."""


LAN = MembershipProfile()

WAN = MembershipProfile(
    probe_interval_ns=1 * S,
    ping_timeout_ns=300 * MS,
    suspicion_min_ns=2_500 * MS,
    gossip_interval_ns=200 * MS,
    lonely_after_ns=3 * S,
    pause_ns=2 * S,
)
"""Five times slower."""
