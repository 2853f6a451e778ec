"""What can be set about running workers, with units in the names. The daemon reads these from flags, environment and file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from golemp2p.errors import UsageError
from golemp2p.model.entries import RetryPolicy
from golemp2p.ports import GuestLimits
from golemp2p.wire.invite import Invite


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Defaults suit one node of a few GiB. Raises ``UsageError`` when built with values that make no sense."""

    guest_limits: GuestLimits = field(default_factory=GuestLimits)
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    shards_count: int = 1024  # a power of two; fixed when the mesh is born
    invocation_bytes_max: int = 8 << 20  # encoded arguments of one invocation
    component_bytes_max: int = 256 << 20
    queue_max: int = 1000  # pending invocations per worker
    workers_active_max: int = 10_000  # workers in memory at once; bounded by the kernel's maps per process
    memory_budget_bytes: int = 8 << 30  # linear memory of all workers before idle ones are unloaded
    idle_ttl_s: float = 600.0  # an idle worker is unloaded after this
    suspend_after_s: float = 10.0  # a longer wait unloads the worker
    suspend_after_pressed_s: float = 0.2  # the same, when memory is short
    resume_concurrency: int = 64  # workers revived at once after a start or by due timers

    def __post_init__(self) -> None:
        if self.shards_count < 1 or self.shards_count & (self.shards_count - 1):
            raise UsageError(f"shards_count is a power of two, got {self.shards_count}")
        positive = (
            "invocation_bytes_max",
            "component_bytes_max",
            "queue_max",
            "workers_active_max",
            "memory_budget_bytes",
            "idle_ttl_s",
            "suspend_after_s",
            "suspend_after_pressed_s",
            "resume_concurrency",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """How a node meets the others. ``listen``: addresses (port 0: any free one), none for a node that only dials; ``advertised``: what
    it tells others, from where it listens; ``join``: an invite; ``weight``: its capacity relative to the others'; ``domain``: what
    fails together with it, "" for itself alone."""

    listen: tuple[str, ...] = ()
    advertised: Callable[[Sequence[str]], tuple[str, ...]] = tuple
    join: Invite | None = None
    weight: int = 100
    domain: str = ""
