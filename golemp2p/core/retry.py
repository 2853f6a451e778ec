"""Whether a failed execution is tried again, and when.

Golem's rule: an execution that fails is thrown away and the worker replayed, at most ``attempts_max`` times in a row; progress
(any entry that replay consumes) starts the count anew. **Where it differs:** failures that must repeat (a passed limit, a missing
import, a divergence) are not retried at all; running into the memory limit is an ordinary failure, since the limit is ours.
"""

from __future__ import annotations

from golemp2p.model.entries import RetryPolicy

NEVER_RETRIED = frozenset(
    {"stack-overflow", "divergence", "unknown-import", "limit-exceeded", "data-damaged", "value-mismatch"}
)


DOUBLINGS_MAX = 64
"""Growth steps after which any sensible policy has met its ceiling."""


def delay_before_retry(policy: RetryPolicy, failures: int, code: str, random: float) -> float | None:
    """Seconds to wait before the next execution, or ``None`` to give up.

    ``failures`` counts the failed executions in a row including this one (>= 1); ``code`` is the error's stable code;
    ``random`` is a sample from [0, 1).
    """
    if code in NEVER_RETRIED or failures > policy.attempts_max:
        return None
    delay = policy.delay_min_s
    for _ in range(min(failures - 1, DOUBLINGS_MAX)):
        delay *= policy.multiplier  # a float grows to infinity without an error, which ** does not
    delay = min(delay, policy.delay_max_s)
    return delay * (1.0 + (policy.jitter or 0.0) * random)
