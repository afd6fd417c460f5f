"""What a request knows of its client's units: counted once, and right after its own study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from chalicelib.errors import QuotaExceeded
from chalicelib.services.quota import Units
from tests.fakes.clock import FixedClock
from tests.fakes.tenants import FakeLedger
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan

if TYPE_CHECKING:
    from chalicelib.domain import Client, Usage


class CountingLedger(FakeLedger):
    """Counts how often it is read."""

    reads = 0

    def usage(self, client: Client) -> Usage:
        self.reads += 1
        return super().usage(client)


@dataclass
class Bench:
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))

    def __post_init__(self) -> None:
        self.ledger = CountingLedger(self.clock)
        self.client = a_client(plan=a_plan(studies=2))

    def units(self, mode: str = "live") -> Units:
        key = a_key(mode="test" if mode == "test" else "live")
        return Units(self.ledger, a_caller(self.client, key))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_study_of_this_request_is_counted_without_another_look(bench: Bench) -> None:
    units = bench.units()
    units.refuse_without(bench.clock)
    bench.ledger.meter(bench.client, NOON)
    units.spent()
    assert units.usage() == FakeLedger.usage(bench.ledger, bench.client)
    assert (units.usage().remaining, bench.ledger.reads) == (1, 1)


def test_a_request_that_never_looked_sees_what_is_there(bench: Bench) -> None:
    units = bench.units()
    bench.ledger.meter(bench.client, NOON)
    units.spent()
    assert units.usage().remaining == 1


def test_a_test_key_is_neither_refused_nor_charged(bench: Bench) -> None:
    for _ in range(2):
        bench.ledger.meter(bench.client, NOON)
    units = bench.units("test")
    units.refuse_without(bench.clock)
    assert bench.ledger.reads == 0
    assert units.usage().used == 2
    units.spent()
    assert units.usage().used == 2


def test_without_a_unit_it_is_refused_at_the_cost_of_one_look(bench: Bench) -> None:
    for _ in range(2):
        bench.ledger.meter(bench.client, NOON)
    units = bench.units()
    with pytest.raises(QuotaExceeded):
        units.refuse_without(bench.clock)
    assert (units.usage().remaining, bench.ledger.reads) == (0, 1)


def test_what_others_took_meanwhile_is_counted_again(bench: Bench) -> None:
    units = bench.units()
    units.refuse_without(bench.clock)
    for _ in range(2):
        bench.ledger.meter(bench.client, NOON)
    units.forget()
    assert (units.usage().remaining, bench.ledger.reads) == (0, 2)
