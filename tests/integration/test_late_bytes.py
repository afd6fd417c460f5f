"""A form stays good after its study was taken in; whoever dies, the study is of the first bytes."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from chalicelib.domain import LAST_BYTES, UPLOAD_LINK, Idempotency, Message, StudyStatus
from chalicelib.services.timing import Deadline
from chalicelib.tenants import records
from tests.fakes.values import a_caller, a_study
from tests.integration.killing import BUCKET, FAR, World, killed
from tests.integration.tenants.test_retention import made_at

if TYPE_CHECKING:
    from chalicelib.domain import Study, UploadForm

FIRST, LATE, LATER = b"the first bytes", b"posted later", b"posted last"
WORD = Idempotency(key="once", fingerprint="a" * 64)
OVER = UPLOAD_LINK + LAST_BYTES + timedelta(seconds=1)


def post(world: World, form: UploadForm, body: bytes) -> None:
    """Do what S3 does with the form."""
    world.s3.put_object(Bucket=BUCKET, Key=form.fields["key"], Body=body)


def enqueue(world: World, form: UploadForm) -> Study:
    return world.intake.enqueue_upload(a_caller(world.client), form.upload_id, WORD)


def open_upload(world: World) -> UploadForm:
    form = world.intake.open_upload(a_caller(world.client), 100, "image/png")
    post(world, form, FIRST)
    return form


def spent(world: World) -> list[str]:
    items = world.table.scan(ConsistentRead=True)["Items"]
    return [str(item["sk"]) for item in items if str(item["sk"]).startswith("UPLOAD#")]


def test_the_request_that_takes_an_upload_in_may_die_anywhere() -> None:
    for calls in count():
        with mock_aws():
            world = World()
            form = open_upload(world)
            died = killed(world, lambda: enqueue(world, form), calls)  # noqa: B023
            where = f"after {calls} writes"
            # A copy and a transaction: from then on the study stands.
            stands = calls >= 2
            assert world.used() == int(stands), where
            post(world, form, LATE)
            study = enqueue(world, form)
            post(world, form, LATER)
            assert world.used() == 1, where
            world.worker.work([Message(client_id="acme", study_id=study.id)])
            study = world.studies.get("acme", study.id)
            assert study.image is not None
            read = hashlib.sha256(FIRST if stands else LATE).hexdigest()
            assert study.image.sha256 == read, where
            post(world, form, LATER)
            world.erasure.erase("acme", study.id)
            post(world, form, LATER)
            world.clock.advance(OVER.total_seconds())
            world.sweep()
            assert world.objects("") == [], where
            assert spent(world) == [], where
            if not died:
                assert calls >= 4, "a copy, a transaction, an erasure, a message"
                return


def test_the_sweeper_may_die_over_forms_that_have_ended() -> None:
    for calls in count():
        with mock_aws():
            world = World()
            form = open_upload(world)
            study = enqueue(world, form)
            world.worker.work([Message(client_id="acme", study_id=study.id)])
            post(world, form, LATE)
            world.clock.advance((OVER - timedelta(seconds=2)).total_seconds())
            if calls == 0:
                world.sweep()  # too early
                assert len(world.objects("uploads/")) == 1
            world.clock.advance(2)
            died = killed(world, world.sweep, calls)
            world.sweep()
            where = f"after {calls} writes"
            assert world.objects("uploads/") == [], where
            assert spent(world) == [], where
            if not died:
                assert calls >= 2, "an object, a record"
                return


@mock_aws
def test_a_study_that_failed_through_our_fault_keeps_the_first_bytes() -> None:
    world = World()
    world.classifier.working = False
    form = open_upload(world)
    study = enqueue(world, form)
    post(world, form, LATE)
    for _ in range(3):
        world.worker.work([Message(client_id="acme", study_id=study.id)])
    assert world.studies.get("acme", study.id).status is StudyStatus.FAILED
    ended = world.jobs.ended("acme", study.id)
    assert ended is not None
    kept = world.s3.get_object(Bucket=BUCKET, Key=str(ended.object_name))
    assert kept["Body"].read() == FIRST
    world.clock.advance(OVER.total_seconds())
    world.sweep()
    assert world.objects("uploads/") == [ended.object_name]


# --- records that do not validate ---------------------------------------------------------


def spoil(world: World, key: dict[str, Any], field: str) -> None:
    world.table.update_item(
        Key=key,
        UpdateExpression="SET #field = :odd",
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeNames={"#field": field},
        ExpressionAttributeValues={":odd": "Doe^Jane"},
    )


@pytest.mark.parametrize("spoilt", ["job", "delivery", "upload", "client"])
def test_a_record_that_cannot_be_read_is_reported_and_holds_up_no_other(spoilt: str) -> None:
    """Two of each kind are due, and the sweeper has its work with both but for the spoilt one."""
    with mock_aws():
        world = World()
        other = world.client.model_copy(update={"id": "zoo"})
        world.table.put_item(Item=records.client_item(other))
        long_ago = world.clock() - timedelta(days=40)
        old = a_study(id=made_at(long_ago), created_at=long_ago)
        world.table.put_item(Item=records.study_item("zoo", old))
        messages = [world.enqueue(FIRST) for _ in range(2)]
        ended = [world.enqueue(FIRST), world.enqueue(FIRST)]
        world.worker.work(ended)
        world.received(2)
        forms = [open_upload(world) for _ in range(2)]
        for form in forms:
            taken = world.intake.enqueue_upload(a_caller(world.client), form.upload_id)
            assert world.jobs.begin("acme", taken.id)  # its bytes wait for a worker
            post(world, form, LATE)
        first = next(
            {"pk": item["pk"], "sk": item["sk"]}
            for item in world.table.scan(ConsistentRead=True)["Items"]
            if str(item["sk"]).startswith("EVENT#")
        )
        key, field = {
            "job": (records.job_key(messages[0].study_id), "attempt"),
            "delivery": (first, "document"),
            "upload": (records.upload_key("acme", forms[0].upload_id), "object_name"),
            "client": (records.client_key("acme"), "retention_days"),
        }[spoilt]
        if spoilt == "upload":
            world.table.update_item(Key=key, UpdateExpression="REMOVE object_name")
        else:
            spoil(world, key, field)
        world.clock.advance(OVER.total_seconds())
        swept = world.sweeper.sweep(Deadline(FAR)).facts()
        assert swept["failures"] == 1
        assert world.monitor.defect_facts == [{"pk": key["pk"], "sk": key["sk"]}]
        assert "Doe" not in repr(world.monitor.defect_facts)
        assert swept["rung"] == (3 if spoilt == "job" else 4)
        assert swept["deliveries_sent"] == (3 if spoilt == "delivery" else 4)
        assert swept["expired"] == 1
        assert swept["forms_ended"] == (1 if spoilt == "upload" else 2)
