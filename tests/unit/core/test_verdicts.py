"""What an execution's recorded end and its repeated one say of each other."""

from __future__ import annotations

import pytest

from golemp2p.core.verdicts import GOES_ON, MORE, Verdict, judge


@pytest.mark.parametrize(
    ("recorded", "repeated", "verdict"),
    [
        ("guest-trapped", "guest-trapped", Verdict.SAME),
        ("guest-exited", "guest-exited", Verdict.SAME),
        ("value-mismatch", "value-mismatch", Verdict.SAME),
        ("guest-trapped", GOES_ON, Verdict.IMPOSSIBLE),  # it computes a result where a trap is recorded
        ("guest-exited", GOES_ON, Verdict.IMPOSSIBLE),
        ("value-mismatch", GOES_ON, Verdict.IMPOSSIBLE),
        ("guest-trapped", MORE, Verdict.POSSIBLE),  # a host function may have trapped, and is not called again
        ("guest-exited", MORE, Verdict.IMPOSSIBLE),  # it would exit by itself
        ("unknown-import", MORE, Verdict.IMPOSSIBLE),
        ("guest-trapped", "guest-exited", Verdict.IMPOSSIBLE),
        ("guest-exited", "guest-trapped", Verdict.IMPOSSIBLE),
        ("limit-exceeded", GOES_ON, Verdict.POSSIBLE),  # this machine is faster, or allows more
        ("worker-interrupted", GOES_ON, Verdict.POSSIBLE),
        ("divergence", GOES_ON, Verdict.POSSIBLE),
        ("guest-trapped", "limit-exceeded", Verdict.POSSIBLE),  # this machine allows less
    ],
)
def test_verdicts(recorded: str, repeated: str, verdict: Verdict) -> None:
    assert judge(recorded, repeated) is verdict
