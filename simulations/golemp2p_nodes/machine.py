"""One machine: a process (a whole node, or none), its disk, its clock, its state of health.

    RUNNING ──crash──> DOWN ──start──> RUNNING        the tasks are cancelled and can reach nothing any more: streams, disk, clients
       └──freeze──> FROZEN ──thaw──> RUNNING          the tasks do not run; kernel, disk and clock go on
    RUNNING ──leave──> drains ──its service ends──> GONE <──destroy── any

Half of the crashes take the power, too: then nobody is told, and the machine swallows what is sent to it. Else its kernel lives on, and
resets connections.

**Where it differs from a machine:** a crashed process unwinds (``finally`` runs), in a world that refuses everything. Monotonic clocks
are trio's own, the same for all: only the wall clocks of nodes run wrong or jump.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.drivers.opening import Service, World, open_service
from golemp2p.drivers.settings import MeshSettings
from golemp2p.errors import InvalidState, StorageFailed, WorldError
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Contact, Invite
from golemp2p_nodes.disk import Disk, DiskCopy, ProcessStorage
from golemp2p_nodes.gateway import Gateway
from golemp2p_nodes.loop import PROCESS
from golemp2p_nodes.streams import MachineStreams
from golemp2p_sim import trace as tr
from golemp2p_sim.byzantine import Mangler
from golemp2p_sim.host import INBOX_MAX, RESTART_AFTER_HALT_NS, Aim
from golemp2p_sim.node import Request

if TYPE_CHECKING:
    from golemp2p_nodes.mesh import NodesWorld

EPOCH_NS = 1_700_000_000_000_000_000
FIND_MESH_S = 0.05
"""How often a newcomer looks whether there is a mesh to join."""
LEAVE_AGAIN_S = 1.0
SUSPEND_AFTER_S, IDLE_TTL_S = 0.1, 4.0
"""Short, so that suspending, unloading and replaying are common."""


class Clock:
    """``ports.Clock``: trio's, the wall clock with an error of its own."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self.ppm = 0
        self._since_ns = 0

    def monotonic_ns(self) -> int:
        return round(trio.current_time() * 1e9)

    def wall_ns(self) -> int:
        now = self.monotonic_ns()
        return EPOCH_NS + now + self.ahead_ns + (now - self._since_ns) * self.ppm // 1_000_000

    def skew(self, ppm: int) -> None:
        now = self.monotonic_ns()
        self.ahead_ns += (now - self._since_ns) * self.ppm // 1_000_000
        self._since_ns, self.ppm = now, ppm


class Life:
    """One process, from start to end. ``is_dead``: whatever it still does reaches nobody."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine, self.number = machine, number
        self.world, self.index = machine.world, machine.index
        self.is_dead = False
        self.scopes = [trio.CancelScope()]
        self.storage = ProcessStorage(self, machine.disk)
        self.service: Service | None = None
        self.requests, self._inbox = trio.open_memory_channel[Request](INBOX_MAX)
        self._random = self.world.streams.stream(f"node/{self.index}/{number}")

    async def run(self) -> None:
        PROCESS.set(self)
        reason = ""
        try:
            with self.scopes[0]:
                reason = await self._live()
        except Exception as error:  # noqa: BLE001 - the outermost edge of a process
            if not self.is_dead:
                self.machine.failed(error)
            return
        if not self.is_dead and reason:
            self.machine.ended(reason)

    async def _live(self) -> str:
        machine, world = self.machine, self.world
        await self.storage.open()
        async with world.guests.open(world.folder) as guests, trio.open_nursery() as nursery:
            nursery.start_soon(self.storage.run)
            settings = MeshSettings(listen=(machine.address,), join=await self._invite())
            surroundings = World(
                storage=self.storage,
                guests=guests,
                streams=MachineStreams(world, self),
                clock=machine.clock,
                random_bytes=self._random.randbytes,
                files_dir=world.folder / f"n{self.index}" / "files",
                scratch_dir=world.folder / f"n{self.index}",
                profile=world.profile,
            )
            async with open_service(
                surroundings,
                machine.signer,
                machine.store_id,
                settings=world.settings,
                mesh_settings=settings,
                version="simulated",
            ) as service:
                self.service = service
                if machine.founds:
                    await world.founded(self.storage)
                gateway = Gateway(self, service)
                nursery.start_soon(gateway.run, self._inbox)
                nursery.start_soon(gateway.upload)
                if machine.leaving:
                    world.spawn(self.leave)
                await service.ended.wait()
                reason = service.reason
            nursery.cancel_scope.cancel()
        return reason

    async def _invite(self) -> Invite | None:
        """Of whoever is there; ``None`` for the founder."""
        if self.machine.founds:
            return None
        world = self.world
        while world.genesis is None:  # noqa: ASYNC110 - as somebody would who tries again and again
            await trio.sleep(FIND_MESH_S)
        others = [world.machines[index] for index in world.present if index != self.index]
        return Invite(world.genesis, tuple(Contact(other.key, (other.address,)) for other in others[:8]))

    async def leave(self) -> None:
        """Runs in the process, as an operator's command does, who tries again while nobody is known who could take over."""
        PROCESS.set(self)
        scope = trio.CancelScope()
        self.scopes.append(scope)
        with scope:
            while self.service is not None and not self.is_dead:
                try:
                    await self.service.admin.leave()
                except (InvalidState, WorldError):
                    await trio.sleep(LEAVE_AGAIN_S)
                else:
                    return


class Machine:
    """``stage.Machine``. ``faults``, ``disk``: one and the same."""

    def __init__(self, world: NodesWorld, index: int, *, born: bool) -> None:
        self.world, self.index, self.born = world, index, born
        self.address = f"n{index}:1"
        self.signer = SigningKey(world.streams.stream(f"key/{index}").randbytes(32))
        self.key = self.signer.public_key
        self.disk = Disk(world.options.disk, world.streams.stream(f"disk/{index}"), world.new_store, world.folder / f"n{index}")
        self.clock = Clock()
        self.life: Life | None = None
        self.frozen = self.gone = self.leaving = False
        self.has_power = False
        self.aims: list[Aim] = []
        self.mangler: Mangler | None = None
        self.starts = self.delivered = 0
        self._dice = world.streams.stream(f"machine/{index}")

    @property
    def faults(self) -> Disk:
        return self.disk

    @property
    def runs(self) -> bool:
        return self.life is not None

    @property
    def store_id(self) -> bytes:
        return b"store" + self.disk.store.to_bytes(11, "big")

    @property
    def founds(self) -> bool:
        return self.world.founder == self.index and self.disk.store == 0

    @property
    def service(self) -> Service | None:
        """Of a process that has started."""
        return None if self.life is None else self.life.service

    # -- life

    def start(self) -> None:
        if self.life is not None or not self.born or self.gone:
            return
        self.starts += 1
        self.has_power = True
        self.world.is_present(self.index)
        self._note(tr.START, self.disk.store, "start", f"start {self.starts}, store {self.disk.store}")
        self.life = Life(self, self.starts)
        self.world.spawn(self.life.run)

    def crash(self, why: str) -> None:
        """kill -9, or a power cut."""
        life = self.life
        if life is None:
            return
        is_cut = self._dice.random() < 0.5
        life.is_dead = True
        self.life, self.frozen = None, False
        fate = life.storage.crash(power_lost=is_cut)
        self.has_power = not is_cut
        self.world.drop_connections(life, tell=not is_cut)
        self.world.freezer.thaw(life)
        for scope in life.scopes:
            scope.cancel()
        self._note(tr.CRASH, self.starts, "crash", f"{why}; {'power lost' if is_cut else 'killed'}; {fate}")

    def failed(self, error: BaseException) -> None:
        """The process ended by itself: what the disk refuses may end it, nothing else."""
        world_errors, others = _split(error)
        if others or not world_errors:
            self.world.violate("nothing-raises", f"n{self.index}: {_told(others or [error])}")
        self._note(tr.HALT, self.starts, "halt", _told(world_errors or [error]))
        self.world.sometimes("a node stopped itself")
        self.crash("stops itself")
        starts = self.starts
        self.world.after(RESTART_AFTER_HALT_NS, lambda _a, _b, _c: self.start() if self.starts == starts else None)

    def ended(self, reason: str) -> None:
        assert self.leaving or reason != "left", f"n{self.index} departs and nobody told it to leave"
        self.world.sometimes(f"a node {reason}")
        self.destroy(f"has {reason}")

    def freeze(self) -> None:
        if self.life is None or self.frozen:
            return
        self.frozen = True
        self.world.freezer.freeze(self.life)
        self._note(tr.FREEZE, 0, "freeze", "stopped (SIGSTOP)")

    def thaw(self) -> None:
        if not self.frozen or self.life is None:
            return
        self.frozen = False
        self.world.freezer.thaw(self.life)
        self._note(tr.THAW, 0, "thaw", "goes on (SIGCONT)")

    def leave(self) -> None:
        if self.leaving or self.gone:
            return
        self.leaving = True
        self._note(tr.LEAVE, 0, "leave", "told to leave")
        if self.life is not None and self.life.service is not None:
            self.world.spawn(self.life.leave)

    def destroy(self, why: str) -> None:
        if self.gone:
            return
        self.crash(why)
        self.gone, self.leaving, self.has_power = True, False, False
        self.aims.clear()
        self.world.trace.add(self.world.now, tr.GONE, self.index, 0)
        self.world.is_gone(self.index)

    # -- clock: only the wall's

    def jump(self, ahead_ns: int) -> None:
        self.clock.ahead_ns += ahead_ns

    def skew(self, ppm: int) -> None:
        self.clock.skew(ppm)

    # -- clients and connections

    def on_request(self, request: Request, _b: Any, _c: Any) -> None:
        if self.life is not None and not self.gone:
            try:
                self.life.requests.send_nowait(request)
            except trio.WouldBlock:
                self.world.sometimes("requests overflowed")

    def on_reset(self, peer: bytes) -> None:
        self.world.reset_between(self, peer)

    # -- disk

    def rot(self, dice: Random) -> str:
        raise AssertionError("refused before: fitting.REFUSED")

    def lose_store(self) -> None:
        self.disk.lose()

    def store_copy(self) -> DiskCopy:
        return self.disk.copy()

    def put_back(self, copy: DiskCopy) -> None:
        self.disk.put_back(copy)

    # -- for judges and aims

    def led(self) -> int:
        return 0 if self.service is None else len(self.service.peers.ready_shards())

    def aimed(self, step: str) -> bool:
        """Whether the process has crashed at ``step``, which it has just reached."""
        for aim in self.aims:
            if aim.step == step:
                aim.nth -= 1
                if aim.nth <= 0:
                    self.aims.remove(aim)
                    aim.strike()
                    return self.life is None
        return False

    def _note(self, code: int, number: int, event: str, text: str) -> None:
        self.world.trace.add(self.world.now, code, self.index, number)
        if self.world.log:
            self.world.log(event, self.index, None, text)


def _split(error: BaseException) -> tuple[list[BaseException], list[BaseException]]:
    """What the disk and the world refused, and everything else, out of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        parts = [_split(each) for each in error.exceptions]
        return [e for refused, _ in parts for e in refused], [e for _, others in parts for e in others]
    return ([error], []) if isinstance(error, StorageFailed) else ([], [error])


def _told(errors: list[BaseException]) -> str:
    error = errors[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"
