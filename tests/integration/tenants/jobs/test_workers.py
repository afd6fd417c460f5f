"""Whatever several workers do, a study ends once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from moto import mock_aws

from chalicelib.domain import LEASE, Job, StudyStatus
from tests.fakes.values import NOON, a_caller, a_key
from tests.integration.tenants.conftest import make_table
from tests.integration.tenants.jobs.conftest import EVER, Queue, on_dynamodb, on_fakes

WORKERS = st.integers(0, 2)
ORDER = list(StudyStatus)


class Workers(RuleBasedStateMachine):
    """Three workers, one study; each keeps what it was given, long after it was taken away."""

    def make(self) -> Queue:
        return on_fakes()

    @initialize(mode=st.sampled_from(["live", "test"]))
    def arrive(self, mode: str) -> None:
        self.queue = self.make()
        self.mode = mode
        key = a_key(mode="live" if mode == "live" else "test")
        self.job = self.queue.enqueue(a_caller(key=key))
        self.held: dict[int, Job] = {}
        self.ends: list[StudyStatus] = []
        self.erased = False
        self.seen = StudyStatus.QUEUED

    @rule(worker=WORKERS)
    def begin(self, worker: int) -> None:
        leased = self.queue.jobs.begin("acme", self.job.study_id)
        if leased is not None:
            assert not self.ends
            assert not self.erased
            # Nobody else's lease is in force.
            now = self.queue.clock()
            others = (job for job in self.held.values() if job.leased_until is not None)
            assert all(job.leased_until is None or job.leased_until <= now for job in others)
            self.held[worker] = leased

    @rule(worker=WORKERS, status=st.sampled_from([StudyStatus.SUCCEEDED, StudyStatus.FAILED]))
    def end(self, worker: int, status: StudyStatus) -> None:
        if worker not in self.held:
            return
        job = self.held[worker]
        end = self.queue.jobs.finish if status is StudyStatus.SUCCEEDED else self.queue.jobs.fail
        if end(job, self.queue.result(job, status)):
            assert not self.erased
            self.ends.append(status)

    @rule(worker=WORKERS)
    def release(self, worker: int) -> None:
        if worker in self.held:
            job = self.held[worker]
            self.queue.jobs.release(job)
            # Given up: by this word nothing can be written any more.
            self.held[worker] = job.model_copy(update={"leased_until": None})

    @rule()
    def expire(self) -> None:
        self.queue.clock.advance(LEASE.total_seconds())

    @rule()
    def pass_time(self) -> None:
        self.queue.clock.advance(LEASE.total_seconds() / 2)

    @rule()
    def ring(self) -> None:
        for job in self.queue.jobs.stuck(EVER):
            self.queue.jobs.note_ring(job, self.queue.clock())

    @rule()
    def erase(self) -> None:
        self.queue.erase(self.queue.study(self.job))
        self.erased = True

    @invariant()
    def it_ends_once_and_is_charged_once(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert len(self.ends) <= 1
        status = self.queue.study(self.job).status
        assert ORDER.index(status) >= ORDER.index(self.seen)
        assert not (self.seen is StudyStatus.SUCCEEDED and status is StudyStatus.FAILED)
        self.seen = status
        assert (status is StudyStatus.DELETED) == self.erased
        if self.ends and not self.erased:
            assert status is self.ends[0]
        charged = self.mode == "live" and self.ends != [StudyStatus.FAILED]
        self.queue.clock.now, now = NOON, self.queue.clock.now
        assert self.queue.used() == int(charged)
        self.queue.clock.now = now


class WorkersOnDynamodb(Workers):
    def __init__(self) -> None:
        super().__init__()
        self.account = mock_aws()
        self.account.start()

    def make(self) -> Queue:
        return on_dynamodb(make_table())

    def teardown(self) -> None:
        self.account.stop()


TestWorkersOnFakes = Workers.TestCase
TestWorkersOnFakes.settings = settings(max_examples=200, stateful_step_count=30)
TestWorkersOnDynamodb = WorkersOnDynamodb.TestCase
TestWorkersOnDynamodb.settings = settings(max_examples=15, stateful_step_count=25)
