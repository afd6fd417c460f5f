"""What cannot be answered while the gateway waits is queued."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import Caller, Quality, Radiograph, Study, StudyStatus
from chalicelib.errors import ModelUnavailable, QuotaExceeded, StorageUnavailable
from chalicelib.services.analysis import AFTER_DECODING, AFTER_GATE, AFTER_LOADING, GATEWAY_SECONDS
from chalicelib.services.timing import AFTER_STORING, Deadline, Stopwatch
from tests.fakes.clock import FixedClock
from tests.fakes.inference import FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.values import a_caller
from tests.unit.services.analysis.conftest import IMAGE, Bench
from tests.unit.services.conftest import caller_with

if TYPE_CHECKING:
    from chalicelib.services.reading import Reader


@dataclass
class SlowClassifier(FakeClassifier):
    """Lets the time pass that loading takes."""

    clock: FixedClock = field(default_factory=FixedClock)

    def warm(self, timeout: float) -> bool:
        self.clock.advance(min(timeout, self.loading))
        return super().warm(timeout)


@dataclass
class SlowGate(FakeGate):
    """Lets time pass before it answers."""

    clock: FixedClock = field(default_factory=FixedClock)
    seconds: float = 0.0

    def judge(self, radiograph: Radiograph) -> Quality:
        self.clock.advance(self.seconds)
        return super().judge(radiograph)


class SlowDecoder(FakeDecoder):
    """Lets time pass before it answers."""

    def __init__(self, clock: FixedClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def decode(self, body: bytes) -> Radiograph:
        self._clock.advance(self._seconds)
        return super().decode(body)


class HangingDecoder(FakeDecoder):
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def decode(self, body: bytes) -> Radiograph:
        self.let_go.wait(30)
        return super().decode(body)


def slow_bench(*, loading: float = 0.0, decoding: float = 0.0, judging: float = 0.0) -> Bench:
    clock = FixedClock()
    return Bench(
        clock=clock,
        gate=SlowGate(clock=clock, seconds=judging),
        classifier=SlowClassifier(clock=clock, loading=loading),
        decoder=SlowDecoder(clock, decoding),
    )


def assert_queued(bench: Bench, caller: Caller, study: Study) -> None:
    """Hold a study to be queued as `POST /studies` would have, and nothing to be predicted."""
    assert study.status is StudyStatus.QUEUED
    assert bench.studies.get(caller.client.id, study.id) == study
    assert list(bench.sources.objects.values()) == [IMAGE]
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (1, 1, 0)
    assert bench.classifier.predictions == 0


def test_a_pack_that_loads_in_time_answers() -> None:
    bench = slow_bench(loading=GATEWAY_SECONDS - AFTER_LOADING)
    study = bench.analyse(a_caller())
    assert study.status is StudyStatus.SUCCEEDED
    assert (bench.classifier.predictions, len(bench.queue.sent)) == (1, 0)


def test_a_pack_that_takes_too_long_makes_a_queued_study() -> None:
    bench, caller = slow_bench(loading=GATEWAY_SECONDS - AFTER_LOADING + 0.1), a_caller()
    began = bench.clock()
    assert_queued(bench, caller, bench.analyse(caller))
    waited = (bench.clock() - began).total_seconds()
    assert waited <= GATEWAY_SECONDS - AFTER_LOADING


def test_the_next_request_finds_the_pack_further() -> None:
    bench, caller = slow_bench(loading=30), a_caller()
    assert bench.analyse(caller).status is StudyStatus.QUEUED
    assert bench.analyse(caller).status is StudyStatus.SUCCEEDED


def test_an_image_that_decodes_too_slowly_is_queued() -> None:
    caller = a_caller()
    in_time = slow_bench(decoding=GATEWAY_SECONDS - AFTER_DECODING)
    assert in_time.analyse(caller).status is StudyStatus.SUCCEEDED
    too_late = slow_bench(decoding=GATEWAY_SECONDS - AFTER_DECODING + 0.1)
    assert_queued(too_late, caller, too_late.analyse(caller))


def test_a_decoder_that_hangs_is_not_waited_for(bench: Bench) -> None:
    caller, bench.decoder = a_caller(), HangingDecoder()
    study = bench.analyse(caller, seconds=AFTER_DECODING + 0.05)
    assert_queued(bench, caller, study)
    bench.decoder.let_go.set()


def test_a_request_that_came_late_is_queued_at_once(bench: Bench) -> None:
    caller = a_caller()
    assert_queued(bench, caller, bench.analyse(caller, seconds=AFTER_DECODING - 0.1))


def test_an_image_that_is_judged_too_slowly_is_queued() -> None:
    caller = a_caller()
    in_time = slow_bench(judging=GATEWAY_SECONDS - AFTER_GATE)
    assert in_time.analyse(caller).status is StudyStatus.SUCCEEDED
    assert (in_time.classifier.predictions, in_time.queue.sent) == (1, [])
    too_late = slow_bench(judging=GATEWAY_SECONDS - AFTER_GATE + 0.1)
    assert_queued(too_late, caller, too_late.analyse(caller))


def test_without_any_time_left_nothing_is_stored_that_nobody_hears_of(bench: Bench) -> None:
    caller = a_caller()
    with pytest.raises(StorageUnavailable):
        bench.analyse(caller, seconds=AFTER_STORING)
    assert (bench.stored(caller), bench.used(caller), bench.sources.objects) == (0, 0, {})


def test_packages_that_are_imported_too_late_queue_the_study(bench: Bench) -> None:
    bench.importing = GATEWAY_SECONDS - AFTER_DECODING + 0.1
    study = bench.analyse(a_caller())
    assert study.status is StudyStatus.QUEUED
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]


def test_packages_that_hang_are_not_waited_for_longer_than_there_is_time(bench: Bench) -> None:
    let_go = threading.Event()

    def hanging() -> Reader:
        let_go.wait(30)
        return bench.reader()

    service = replace(bench.service(), reader=hanging)
    began = time.monotonic()
    deadline = Deadline(AFTER_LOADING + 0.2)
    study = service.analyse(a_caller(), IMAGE, Stopwatch(), deadline, "r-1")
    assert time.monotonic() - began < 2
    assert study.status is StudyStatus.QUEUED
    let_go.set()


def test_a_pack_that_cannot_be_loaded_is_not_waited_for_in_the_queue(bench: Bench) -> None:
    bench.classifier.working = False
    with pytest.raises(ModelUnavailable):
        bench.analyse(a_caller())
    assert (bench.stored(a_caller()), bench.queue.sent) == (0, [])


def test_without_units_nothing_is_queued() -> None:
    bench, caller = slow_bench(loading=99), caller_with(units=1)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded):
        bench.analyse(caller)
    assert (bench.stored(caller), len(bench.sources.objects)) == (1, 1)
