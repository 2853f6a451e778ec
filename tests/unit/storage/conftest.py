import pytest

pytest.register_assert_rewrite("golemp2p.testing.storage_suite", "golemp2p.testing.storage_replica_suite")
