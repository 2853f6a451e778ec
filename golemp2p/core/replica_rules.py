"""The safety rules that a simulation may switch off, one at a time, to see its checkers notice; and the sizes of a replica."""

from __future__ import annotations

from dataclasses import dataclass

MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """All on in production. Beside each: the rule of ARCHITECTURE 4 it is part of."""

    vote_once: bool = True  # S1
    vote_durable_first: bool = True  # S1
    up_to_date_vote: bool = True  # S2
    stickiness: bool = True  # S3
    hash_chain_check: bool = True  # S4
    verify_signature: bool = True  # S4
    durable_before_ack: bool = True  # S4
    truncate_only_uncommitted: bool = True  # S4
    own_term_commit: bool = True  # S5
    verify_election: bool = True  # S7
    serve_after_election_commit: bool = True  # S7
    new_term_after_restart: bool = True  # S7
    joint_consensus: bool = True  # S8
    configuration_step_check: bool = True  # S8
    learner_before_voter: bool = True  # S8
    record_outlives_removal: bool = True  # S9
    store_id_identity: bool = True  # S9
    damaged_replica_abstains: bool = True  # S9
    stop_without_majority: bool = True  # S10
    confirm_regained_majority: bool = True  # S10


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what one replica sends and keeps under way; times in nanoseconds."""

    append_entries_max: int = 256
    append_bytes_max: int = 4 << 20  # a segment has up to 1.25 MiB: three of the largest still share a message
    appends_in_flight_max: int = 8  # per follower; covers a round trip of many commits, and bounds what a reset wastes
    manifest_page_max: int = 1024  # heads: some 64 KiB
    fetches_in_flight_max: int = 8
    retry_ns: int = 200 * MILLISECOND_NS  # first resend of what nobody answered; doubles up to retry_max_ns
    vote_retry_ns: int = 200 * MILLISECOND_NS  # the same of requests for votes, on whose answers callers wait
    tell_ns: int = 1_000 * MILLISECOND_NS  # a follower that nothing is sent to hears after this what is committed
    retry_max_ns: int = 2_000 * MILLISECOND_NS
    campaign_tries_max: int = 4
    catch_up_tries_max: int = 8  # in a row without an answer; the primary's next offer, or the next repair, starts again
    violations_max: int = 4  # a follower that calls what it is sent a violation so often in a row ...
    given_up_ns: int = 10_000 * MILLISECOND_NS  # ... is asked only after this, or when it is alive anew
    hand_over_ns: int = 1_000 * MILLISECOND_NS  # a hand-over not taken up by then is called off
