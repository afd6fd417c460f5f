"""Whatever happens to one study in a batch, it ends once and harms no other."""

from __future__ import annotations

import pytest

from chalicelib.domain import MAX_ATTEMPTS, Message, Quality, StudyStatus
from chalicelib.services.worker import RETRY
from tests.fakes.values import NOON, a_client
from tests.unit.services.worker.conftest import IMAGE, REQUEST, Bench


def test_a_queued_study_gets_its_result_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.status is StudyStatus.SUCCEEDED
    assert (study.label, study.mode) == ("Cardiomegaly", "live")
    assert study.image is not None
    assert study.completed_at is not None
    assert (len(bench.documents), bench.sources.objects, bench.jobs.jobs) == (2, {}, {})
    assert bench.told() == [("study.succeeded", "mail"), ("study.succeeded", "webhook")]
    assert len({one.id for one in bench.outbox.sent}) == 1
    assert bench.jobs.deliveries == bench.outbox.sent
    assert bench.used() == 1


def test_a_batch_is_answered_in_one_pass(bench: Bench) -> None:
    bench.enqueue(*(IMAGE + bytes([n]) for n in range(7)))
    assert bench.work() == (None,) * 7
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}
    assert (bench.classifier.passes, bench.classifier.predictions) == (1, 7)


def test_no_more_pixels_are_held_than_the_cap_allows() -> None:
    bench = Bench(max_pixel_bytes=33)  # two images of 16 bytes
    bench.enqueue(*(IMAGE + bytes([n]) for n in range(5)))
    assert bench.work() == (None,) * 5
    assert (bench.classifier.passes, bench.classifier.predictions) == (3, 5)


@pytest.mark.parametrize("place", range(3))
def test_one_bad_image_harms_no_other(bench: Bench, place: int) -> None:
    bodies = [IMAGE + bytes([n]) for n in range(2)]
    bodies.insert(place, b"broken")
    bench.enqueue(*bodies)
    assert bench.work() == (None,) * 3
    studies = bench.all()
    failed = studies.pop(place)
    assert {study.status for study in studies} == {StudyStatus.SUCCEEDED}
    assert failed.status is StudyStatus.FAILED
    assert failed.error == explain_of("unreadable_image", 422, "The image is broken.")
    assert bench.sources.objects == {}
    assert bench.used() == 2
    assert ("study.failed", "mail") in bench.told()


def explain_of(code: str, status: int, detail: str) -> dict[str, str | int | list[str]]:
    problem: dict[str, str | int | list[str]] = {
        "type": f"urn:radgate:problem:{code}",
        "title": "The image cannot be read",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": REQUEST,
    }
    return problem


def test_an_image_that_the_network_cannot_answer_harms_no_other(bench: Bench) -> None:
    bench.enqueue(IMAGE, b"odd", IMAGE + b"2")
    assert bench.work() == (None, RETRY, None)
    assert [study.status for study in bench.all()] == [
        StudyStatus.SUCCEEDED,
        StudyStatus.RUNNING,
        StudyStatus.SUCCEEDED,
    ]


def test_an_image_that_is_no_chest_fails_as_the_client_wants_it(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.1, reasons=("not_a_chest",))
    warned = a_client("other", gate_policy="warn")
    bench.directory.put(warned)
    bench.enqueue(IMAGE)
    bench.enqueue(IMAGE, client=warned)
    assert bench.work() == (None, None)
    refused, doubted = bench.all()
    assert refused.error is not None
    assert refused.error["code"] == "not_a_chest_xray"
    assert refused.error["reasons"] == ["not_a_chest"]
    assert doubted.status is StudyStatus.SUCCEEDED
    assert doubted.quality == bench.gate.quality


def test_a_policy_of_now_counts_not_the_one_of_then(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.1, reasons=("not_a_chest",))
    bench.enqueue(IMAGE)
    bench.directory.put(bench.client.model_copy(update={"gate_policy": "warn"}))
    bench.work()
    assert bench.all()[0].status is StudyStatus.SUCCEEDED


def test_a_defect_is_told_as_a_defect_and_no_more(bench: Bench) -> None:
    bench.enqueue(b"odd")
    for _ in range(MAX_ATTEMPTS):
        bench.work()
    [study] = bench.all()
    assert study.error is not None
    assert (study.error["code"], study.error["status"]) == ("internal_error", 500)
    assert "cannot answer this" not in study.model_dump_json()


def test_a_test_study_that_fails_is_not_given_back(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.enqueue(b"broken", mode="test")
    bench.work()
    assert bench.used() == 1
    assert bench.all()[1].mode == "test"


def test_bytes_that_are_gone_end_the_study_at_once(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.sources.objects.clear()
    assert bench.work() == (RETRY,)
    [study] = bench.all()
    assert study.status is StudyStatus.FAILED
    assert bench.used() == 0


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"deleting_at": NOON}])
def test_nothing_is_computed_for_who_may_not_call(bench: Bench, change: dict[str, object]) -> None:
    bench.enqueue(IMAGE)
    bench.directory.put(bench.client.model_copy(update=change))
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.error is not None
    assert study.error["code"] == "client_suspended"
    assert (bench.used(), bench.classifier.passes, bench.sources.objects) == (0, 0, {})
    assert bool(bench.told()) == ("status" in change)


def test_a_message_that_comes_twice_does_its_work_once(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.queue.sent *= 2
    assert bench.work() == (None, None)
    assert bench.classifier.predictions == 1
    assert len(bench.told()) == 2
    assert bench.work() == (None, None)
    assert bench.classifier.predictions == 1


def test_a_message_about_nothing_goes(bench: Bench) -> None:
    nothing = Message(client_id="acme", study_id="st_01JD8Z5M3Q4R6S7T8V9W0XYZAB")
    assert bench.worker.work([nothing]) == (None,)
