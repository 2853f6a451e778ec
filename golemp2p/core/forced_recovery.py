"""Going on alone by an operator's order, when a majority of a group's disks is lost.

The survivor is primary of the next term at once, by the order instead of votes, as the only voter, under a new name of the history.
Other replicas of the old history listen to nothing of the new one. One that is shown the order, and holds no more than the survivor
did, gives up what it has; then it can be taken in again.
"""

from __future__ import annotations

from golemp2p.core.leading import Leading
from golemp2p.core.replica_state import ReplicaState, Role
from golemp2p.errors import InvalidState
from golemp2p.model.replication import Branch


def recover_by_force(state: ReplicaState, order: Branch, now_ns: int) -> None:
    """Raises ``InvalidState`` when the order does not fit this replica, before anything is changed."""
    log = state.log
    fits = (order.survivor, order.last_position, order.last_hash) == (state.me, log.last_position, log.last_hash)
    if not fits or order.branch == log.branch or order.uncertain_from > log.commit + 1 or log.is_blank:
        raise InvalidState("the order is for another replica, or for another state of this one")
    if not state.notary.is_branch_signed(order):
        raise InvalidState("the order is not signed by the operator of this mesh")
    state.adopt(state.term + 1, "forced-recovery")
    state.voted_for = state.me
    state.damaged, state.damaged_logs = False, ()
    state.role, state.primary = Role.PRIMARY, state.me.public_key
    state.leading = Leading(state)
    state.leading.open_term(order, now_ns)
    state.notice("forced-recovery", branch=order.branch, missing_after=order.last_position)


def give_way(state: ReplicaState, order: Branch) -> None:
    """To the survivor that ``order`` names: the data goes, the record stays (S9). Raises ``InvalidState`` when the order is none for
    this replica, before anything is changed. An order of long ago is none: whoever is on its branch, or a later one, holds more."""
    log = state.log
    if not state.notary.is_branch_signed(order):
        raise InvalidState("the order is not signed by the operator of this mesh")
    if log.is_blank or order.branch == log.branch or order.survivor == state.me:
        raise InvalidState("the order is not about this replica")
    if log.last_position > order.last_position:
        raise InvalidState("this replica holds more than the survivor did: only its own operator may give that up")
    state.step_down("overruled")
    state.notice("overruled", branch=order.branch, had=log.last_position)
    state.persist(is_forgotten=True)
