"""Hypothesis for all property tests: no deadlines, since a busy machine is no counterexample."""

from hypothesis import HealthCheck, settings

settings.register_profile("golemp2p", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("golemp2p")
