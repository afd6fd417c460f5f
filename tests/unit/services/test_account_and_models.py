"""What a client may know of itself and of the models."""

from __future__ import annotations

import pytest

from chalicelib.errors import ModelUnavailable
from chalicelib.services.account import AccountService
from chalicelib.services.models import ModelService
from tests.fakes.clock import FixedClock
from tests.fakes.inference import FACTS, FakeClassifier
from tests.fakes.tenants import FakeDirectory, FakeLedger
from tests.fakes.values import a_caller, a_client, a_key


def test_an_account_shows_keys_without_what_opens_them() -> None:
    clock, client = FixedClock(), a_client()
    mine, other = a_key(label="pacs"), a_key(mode="test")
    directory, ledger = FakeDirectory(), FakeLedger(clock)
    directory.put(client, mine, other)
    ledger.meter(client, clock.now)
    account = AccountService(directory).account(a_caller(client, mine), ledger.usage(client))
    assert account.usage.used == 1
    assert {(key.label, key.mode, key.current) for key in account.keys} == {
        ("pacs", "live", True),
        ("", "test", False),
    }
    shown = account.model_dump_json()
    assert mine.sha256 not in shown
    assert other.sha256 not in shown


def test_the_active_model_is_marked() -> None:
    (model,) = ModelService(FakeClassifier()).models().items
    assert model.active
    assert model.sha256 == FACTS.ref.sha256


def test_ready_means_that_the_golden_answer_was_right() -> None:
    assert ModelService(FakeClassifier()).ready() == FACTS.ref
    with pytest.raises(ModelUnavailable):
        ModelService(FakeClassifier(working=False)).ready()
