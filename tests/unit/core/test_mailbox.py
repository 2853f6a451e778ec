"""The mailbox and the fold under it, against a naive model."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from golemp2p.core.mailbox import Admission, Mailbox
from golemp2p.core.worker_state import Completed, Refused, WorkerState
from golemp2p.errors import Overloaded, PreviousInvocationExited, PreviousInvocationFailed
from golemp2p.model import entries as e
from golemp2p.model.worker import WorkerStatus

CREATE = e.Create(1, "c", "w", 0, (), (), None, 10, False, "node", 65536)
QUEUE_MAX = 3


def state_with(*entries: e.Entry) -> WorkerState:
    state = WorkerState()
    for entry in (CREATE, *entries):
        state.apply(entry)
    return state


def pending(key: str) -> e.PendingInvocation:
    return e.PendingInvocation(2, "f", key, b"")


def invoked(key: str) -> e.ExportedFunctionInvoked:
    return e.ExportedFunctionInvoked(2, "f", key, b"")


def test_failure_ends_the_running_and_all_pending_invocations():
    state = state_with(invoked("a"), pending("b"), e.Failed(3, "guest-trapped", "boom", False))
    assert state.status is WorkerStatus.FAILED
    assert state.results == {"a": Refused("guest-trapped", "boom"), "b": Refused("guest-trapped", "boom")}
    with pytest.raises(PreviousInvocationFailed, match=r"^Previous invocation failed: boom"):
        Mailbox(state, QUEUE_MAX).admit("c", ready=False)
    assert Mailbox(state, QUEUE_MAX).admit("a", ready=False) is Admission.KNOWN


def test_failures_count_from_the_tail_and_progress_resets_them():
    failed = e.Failed(3, "guest-trapped", "boom", True)
    state = state_with(invoked("a"), failed, e.Log(3, "stdout", "", ""), failed)
    assert (state.failures, state.status) == (2, WorkerStatus.RETRYING)
    state.apply(e.NoOp(4))
    assert (state.failures, state.status) == (0, WorkerStatus.RUNNING)


def test_exit_ends_the_worker():
    state = state_with(invoked("a"), e.Exited(3, 4))
    assert state.status is WorkerStatus.EXITED
    with pytest.raises(PreviousInvocationExited):
        Mailbox(state, QUEUE_MAX).admit("b", ready=True)


def test_suspension_ends_with_progress_with_a_promise_and_with_a_wake_up():
    asleep = [invoked("a"), e.NoOp(2), e.PromiseCreated(2, 3), e.Suspend(3, None)]
    assert state_with(*asleep).status is WorkerStatus.SUSPENDED
    assert not state_with(*asleep).has_open_work
    for awake in (e.PromiseCompleted(4, 3, b"x"), e.Resumed(4), e.NoOp(4)):
        state = state_with(*asleep, awake)
        assert state.status is WorkerStatus.RUNNING
        assert state.has_open_work


def test_promises_are_known_from_creation_to_deletion():
    state = state_with(e.NoOp(2), e.PromiseCreated(2, 2))
    assert state.promises == {2: None}
    state.apply(e.PromiseCompleted(3, 2, b"v"))
    assert state.promises == {2: b"v"}
    state.apply(e.PromiseDeleted(4, 2))
    assert state.promises == {}


def test_interruption_keeps_the_queue_and_resume_goes_on():
    state = state_with(invoked("a"), pending("b"), e.Interrupted(3))
    assert state.status is WorkerStatus.INTERRUPTED
    assert not state.has_open_work
    state.apply(e.Resumed(4))
    assert state.status is WorkerStatus.RUNNING
    assert list(state.pending) == ["b"]


def test_refusal_leaves_the_worker_usable():
    state = state_with(invoked("a"), e.InvocationRefused(3, "a", "value-mismatch", "no such handle"))
    assert state.status is WorkerStatus.IDLE
    assert state.results["a"] == Refused("value-mismatch", "no such handle")


class Model(RuleBasedStateMachine):
    """Admissions, completions, cancellations and failures in any order; the model is a list and a dict."""

    keys = st.sampled_from([f"k{n}" for n in range(8)])

    @initialize()
    def begin(self):
        self.state = state_with()
        self.mailbox = Mailbox(self.state, QUEUE_MAX)
        self.queue: list[str] = []
        self.running: str | None = None
        self.done: dict[str, str] = {}
        self.failed = False

    @rule(key=keys)
    def submit(self, key):
        ready = self.running is None and not self.queue
        if key in self.done:
            expected = Admission.KNOWN
        elif key == self.running or key in self.queue:
            expected = Admission.JOINED
        elif self.failed:
            with pytest.raises(PreviousInvocationFailed):
                self.mailbox.admit(key, ready=ready)
            return
        elif ready:
            expected = Admission.START
            self.running = key
        elif len(self.queue) >= QUEUE_MAX:
            with pytest.raises(Overloaded):
                self.mailbox.admit(key, ready=ready)
            return
        else:
            expected = Admission.ENQUEUE
            self.queue.append(key)
        assert self.mailbox.admit(key, ready=ready) is expected
        if expected is Admission.START:
            self.state.apply(invoked(key))
        elif expected is Admission.ENQUEUE:
            self.state.apply(pending(key))

    @precondition(lambda self: self.running is not None)
    @rule()
    def complete(self):
        self.state.apply(e.ExportedFunctionCompleted(3, b"", 0))
        self.done[self.running] = "completed"
        self.running = None

    @precondition(lambda self: self.running is None and self.queue)
    @rule()
    def start_next(self):
        following = self.mailbox.next()
        assert following is not None
        assert following.key == self.queue[0]
        self.state.apply(invoked(following.key))
        self.running = self.queue.pop(0)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel(self, data):
        key = data.draw(st.sampled_from(self.queue))
        self.state.apply(e.CancelPendingInvocation(3, key))
        self.queue.remove(key)
        self.done[key] = "invocation-canceled"

    @precondition(lambda self: self.running is not None)
    @rule()
    def fail(self):
        self.state.apply(e.Failed(3, "guest-trapped", "boom", False))
        for key in (self.running, *self.queue):
            self.done[key] = "guest-trapped"
        self.running, self.queue, self.failed = None, [], True

    @invariant()
    def agrees(self):
        assert list(self.state.pending) == self.queue
        assert (self.state.running.key if self.state.running else None) == self.running
        outcomes = {
            key: "completed" if isinstance(outcome, Completed) else outcome.code for key, outcome in self.state.results.items()
        }
        assert outcomes == self.done
        if self.running is not None:
            assert self.mailbox.next() is None


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
