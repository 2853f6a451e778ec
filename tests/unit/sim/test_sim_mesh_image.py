"""What the judges see of a replica on disk that is forgotten and taken in again."""

from __future__ import annotations

from golemp2p.core.replica_durable import FRESH
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import MAIN_BRANCH, NO_HASH, Base, Configuration, Member
from golemp2p_sim.mesh_image import MeshImage, MeshWrite, Present

MEMBER = Member(b"key", b"store")
FORGETTING = ReplicaWrite(6, FRESH, is_forgotten=True)


def installing(position: int) -> ReplicaWrite:
    base = Base(position, 1, NO_HASH, b"key", Configuration((MEMBER,)), 1, MAIN_BRANCH)
    return ReplicaWrite(6, ReplicaRecord(1, None, position, (1, position)), base=base, is_install=True)


def test_a_life_that_is_over_stays_as_it_was() -> None:
    """A slow disk finishes several writes at once: a promise of the first leaves when the last, a forgetting, is there as well."""
    image = MeshImage()
    image.apply(MeshWrite((installing(90),)))
    first, second, third = (Present(image, 6, life) for life in range(3))
    for write in (FORGETTING, installing(105), FORGETTING):
        image.apply(MeshWrite((write,)))
    assert [life.base.position for life in (first, second, third)] == [90, 105, 0]
    assert image.ended(6) == 2


def test_a_life_that_is_not_there_yet_is_looked_at_when_it_is() -> None:
    image = MeshImage()
    image.apply(MeshWrite((installing(90),)))
    later = Present(image, 6, 1)
    image.apply(MeshWrite((FORGETTING, installing(7))))
    assert later.base.position == 7
