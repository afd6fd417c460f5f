"""Money: what a month costs, in exact decimals whose sums are the sums of what is shown."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from chalicelib.domain import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chalicelib.domain import Plan

_CENT = Decimal("0.01")


class Invoice(Value):
    """One client's month. Amounts are in `currency`, rounded to cents line by line.

    `total` is `base` plus `overage_amount`, of the figures as they stand here.
    """

    client_id: str
    name: str
    month: str
    plan: str
    currency: str
    studies: int
    included: int
    base: Decimal
    overage_studies: int
    overage_price: Decimal
    overage_amount: Decimal
    total: Decimal


def invoice(client_id: str, name: str, month: str, plan: Plan, studies: int) -> Invoice | None:
    """Return the invoice of a client that used `studies` in a month; None when the plan is free."""
    price = plan.price
    if price is None:
        return None
    beyond = max(0, studies - price.included)
    base, amount = cents(price.monthly), cents(price.overage * beyond)
    return Invoice(
        client_id=client_id,
        name=name,
        month=month,
        plan=plan.name,
        currency=price.currency,
        studies=studies,
        included=price.included,
        base=base,
        overage_studies=beyond,
        overage_price=price.overage,
        overage_amount=amount,
        total=base + amount,
    )


def totals(invoices: Iterable[Invoice]) -> dict[str, Decimal]:
    """Return the sum of each currency."""
    sums: dict[str, Decimal] = {}
    for one in invoices:
        sums[one.currency] = sums.get(one.currency, Decimal(0)) + one.total
    return sums


def cents(amount: Decimal) -> Decimal:
    """Round to cents, half a cent up, as invoices do."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_UP)
