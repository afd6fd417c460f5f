"""What tests of several services share: a ledger that others race, a caller with few units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.tenants import FakeLedger
from tests.fakes.values import a_caller, a_client, a_plan

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Client, Usage


class ForgetfulLedger(FakeLedger):
    """Says before the work that units are left, as a read does that races others."""

    def usage(self, client: Client) -> Usage:
        return super().usage(client).model_copy(update={"used": 0})


def caller_with(units: int) -> Caller:
    return a_caller(a_client(plan=a_plan(studies=units)))
