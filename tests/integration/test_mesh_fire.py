"""Short forms of ``mesh_under_fire``: the long one is ``make torture``."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from conftest import wasm
from mesh_under_fire import run, small_disk

from golemp2p.testing.namespaces import Namespaces, NotPermitted

CLIENTS = 4
PAUSE_S, HOLD_S = (0.2, 0.8), (0.5, 2.0)


def test_nodes_that_are_killed_and_frozen_lose_nothing(tmp_path):
    report = run(
        tmp_path, wasm("errand"), seconds=6, clients=CLIENTS, seed=20, nodes=3, suffering_max=1, pause_s=PAUSE_S, hold_s=HOLD_S
    )
    assert report["answered"] > CLIENTS
    assert report["killed"] + report["frozen"] > 1


def test_nodes_whose_links_and_disks_fail_lose_nothing(tmp_path):
    with ExitStack() as stack:
        try:
            network = Namespaces(5)
            stack.callback(network.close)
            disk = stack.enter_context(small_disk())
        except NotPermitted as reason:
            pytest.skip(str(reason))
        report = run(
            tmp_path,
            wasm("errand"),
            seconds=10,
            clients=CLIENTS,
            seed=21,
            network=network,
            disk=disk,
            pause_s=PAUSE_S,
            hold_s=HOLD_S,
        )
    assert report["answered"] > CLIENTS
