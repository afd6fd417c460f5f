"""One contract for uploads: remembered, used up, forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chalicelib.errors import NotFound, QuotaExceeded
from chalicelib.tenants import records
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_client, a_plan
from tests.integration.tenants.intake.conftest import Stores, an_upload, stores_on

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


def test_an_upload_is_remembered_for_its_client(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    assert stores.intake.upload("acme", upload.id) == upload


@pytest.mark.parametrize("upload_id", ["", "up_", "up_01JD8Z5M3Q4R6S7T8V9W0XYZAB", "../x"])
def test_an_unknown_upload_is_not_there(stores: Stores, upload_id: str) -> None:
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload_id)


def test_anothers_upload_is_not_there(stores: Stores) -> None:
    upload = an_upload("other")
    stores.intake.add_upload(upload)
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)
    with pytest.raises(NotFound):
        stores.enqueue(upload_id=upload.id)
    assert (stores.stored(), stores.used()) == (0, 0)


def test_an_upload_is_forgotten_when_its_time_is_over(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    stores.clock.now = upload.expires_at
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)


def test_an_upload_is_used_up_by_its_study(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    stores.enqueue(upload_id=upload.id)
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)
    with pytest.raises(NotFound):
        stores.enqueue(upload_id=upload.id)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_an_upload_whose_study_was_made_is_known_until_it_is_forgotten(stores: Stores) -> None:
    used, waiting, after = an_upload(), an_upload(), NOON + timedelta(seconds=1)
    for upload in (used, waiting):
        stores.intake.add_upload(upload)
    stores.enqueue(upload_id=used.id)
    assert list(stores.spent.made_before(NOON - timedelta(seconds=1))) == []
    [found] = stores.spent.made_before(after)
    assert (found.client_id, found.id, found.object_name) == ("acme", used.id, used.object_name)
    for _ in range(2):
        stores.spent.forget(found)
    assert list(stores.spent.made_before(after)) == []
    assert stores.intake.upload("acme", waiting.id) == waiting


def test_a_refused_study_leaves_its_upload_usable(stores: Stores) -> None:
    caller, upload = a_caller(a_client(plan=a_plan(studies=1))), an_upload()
    stores.intake.add_upload(upload)
    stores.enqueue(caller)
    with pytest.raises(QuotaExceeded):
        stores.enqueue(caller, upload_id=upload.id)
    assert stores.intake.upload("acme", upload.id) == upload


def test_an_upload_carries_the_time_at_which_dynamodb_drops_it(table: Table) -> None:
    stores, upload = stores_on(table, FixedClock(NOON)), an_upload()
    stores.intake.add_upload(upload)
    [row] = table.scan()["Items"]
    assert row[records.FORGOTTEN_AT] == upload.expires_at.timestamp()
