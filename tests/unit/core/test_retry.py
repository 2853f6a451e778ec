import pytest

from golemp2p.core.retry import NEVER_RETRIED, delay_before_retry
from golemp2p.model.entries import RetryPolicy

POLICY = RetryPolicy(attempts_max=3, delay_min_s=0.1, delay_max_s=1.0, multiplier=3.0, jitter=0.15)


def test_delays_grow_and_are_capped():
    assert [delay_before_retry(POLICY, n, "guest-trapped", 0.0) for n in (1, 2, 3)] == pytest.approx([0.1, 0.3, 0.9])
    wide = POLICY._replace(attempts_max=100)
    assert delay_before_retry(wide, 99, "guest-trapped", 0.0) == 1.0


def test_gives_up_after_the_last_attempt():
    assert delay_before_retry(POLICY, 4, "guest-trapped", 0.0) is None


def test_jitter_only_adds_its_share():
    assert delay_before_retry(POLICY, 1, "guest-trapped", 1.0) == pytest.approx(0.1 * 1.15)
    assert delay_before_retry(POLICY._replace(jitter=None), 1, "guest-trapped", 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize("code", sorted(NEVER_RETRIED))
def test_what_must_repeat_is_never_retried(code):
    assert delay_before_retry(POLICY, 1, code, 0.0) is None


def test_a_huge_number_of_failures_does_not_overflow():
    patient = RetryPolicy(10**9, 0.1, 1.0, 1e300, None)
    assert delay_before_retry(patient, 10**6, "guest-trapped", 0.0) == 1.0
