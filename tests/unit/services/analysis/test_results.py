"""The main job over shipped fakes: what is stored, what is metered, and what a refusal leaves."""

from __future__ import annotations

import pytest

from chalicelib.domain import Quality, StudyStatus
from chalicelib.errors import (
    ModelUnavailable,
    NotAChestXray,
    NotFound,
    QuotaExceeded,
    RadgateError,
    UnreadableImage,
)
from chalicelib.services.analysis import GATEWAY_SECONDS
from chalicelib.services.timing import Deadline, Stopwatch
from tests.fakes.inference import FakeClassifier, FakeGate
from tests.fakes.tenants import FakeStudyStore
from tests.fakes.values import a_caller, a_client, a_key
from tests.unit.services.analysis.conftest import IMAGE, Bench
from tests.unit.services.conftest import ForgetfulLedger, caller_with


def test_a_study_is_stored_metered_and_has_a_report(bench: Bench) -> None:
    caller = a_caller()
    study = bench.analyse(caller)
    assert study.status is StudyStatus.SUCCEEDED
    assert study.label == "Cardiomegaly"
    assert study.report is not None
    assert bench.documents.fetch(study.report.url) is not None
    assert bench.studies.get(caller.client.id, study.id) == study.model_copy(
        update={"report": None, "heatmaps": ()}
    )
    assert bench.used(caller) == 1


def test_every_positive_finding_has_a_heatmap_to_fetch(bench: Bench) -> None:
    (heatmap,) = bench.analyse(a_caller()).heatmaps
    assert (heatmap.label, heatmap.media_type) == ("Cardiomegaly", "image/png")
    assert bench.documents.fetch(heatmap.url) == b"PNG of Cardiomegaly for 4 pixels"


def test_every_part_is_timed_in_order(bench: Bench) -> None:
    stopwatch = Stopwatch()
    bench.service().analyse(a_caller(), IMAGE, stopwatch, Deadline(GATEWAY_SECONDS))
    assert list(stopwatch.milliseconds()) == ["decode", "gate", "predict", "report", "store"]


def test_a_negative_image_is_no_finding(bench: Bench) -> None:
    bench.classifier.probability = 0.2
    study = bench.analyse(a_caller())
    assert study.label == "No finding"
    assert study.heatmaps == ()


def test_a_test_key_runs_the_whole_path_and_meters_nothing(bench: Bench) -> None:
    caller = a_caller(key=a_key(mode="test"))
    assert bench.analyse(caller).mode == "test"
    assert (bench.stored(caller), bench.used(caller)) == (1, 0)


def test_a_test_key_works_on_when_all_units_are_used(bench: Bench) -> None:
    live = caller_with(units=1)
    bench.analyse(live)
    assert bench.analyse(a_caller(live.client, a_key(mode="test"))).mode == "test"


REFUSED = Quality(accepted=False, score=0.1, reasons=("blank",))


@pytest.mark.parametrize(
    ("bench", "body", "error"),
    [
        pytest.param(Bench(), b"broken", UnreadableImage, id="unreadable"),
        pytest.param(Bench(gate=FakeGate(REFUSED)), IMAGE, NotAChestXray, id="no chest"),
        pytest.param(
            Bench(classifier=FakeClassifier(working=False)), IMAGE, ModelUnavailable, id="no model"
        ),
    ],
)
def test_what_fails_before_the_end_leaves_nothing(
    bench: Bench, body: bytes, error: type[RadgateError]
) -> None:
    caller = a_caller()
    with pytest.raises(error):
        bench.analyse(caller, body)
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (0, 0, 0)


def test_a_refusal_by_the_gate_names_its_reasons(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.0, reasons=("not_a_chest", "blank"))
    with pytest.raises(NotAChestXray) as refused:
        bench.analyse(a_caller())
    assert refused.value.reasons == ("not_a_chest", "blank")
    assert refused.value.detail == (
        "The image was not accepted as a frontal chest X-ray:"
        " does not look like a chest, nearly blank."
    )


def test_a_client_may_have_doubtful_images_analysed_with_a_warning(bench: Bench) -> None:
    bench.gate.quality = REFUSED
    study = bench.analyse(a_caller(a_client(gate_policy="warn")))
    assert study.status is StudyStatus.SUCCEEDED
    assert study.quality == REFUSED


def test_without_units_nothing_is_computed(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded) as refusal:
        bench.analyse(caller)
    assert bench.classifier.predictions == 1
    # FixedClock stands at 2026-03-14 09:26:53; the month ends on the 1st of April.
    assert refusal.value.retry_after == ((17 * 24 + 14) * 60 + 33) * 60 + 7


def test_the_loser_of_a_race_for_the_last_unit_keeps_no_document(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.ledger = ForgetfulLedger(bench.clock)
    bench.studies = FakeStudyStore(bench.ledger)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded):
        bench.analyse(caller)
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (1, 1, 2)


def test_a_stored_study_is_another_clients_mystery(bench: Bench) -> None:
    study = bench.analyse(a_caller())
    with pytest.raises(NotFound):
        bench.studies.get("other", study.id)
