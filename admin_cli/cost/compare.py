"""Other ways to run the same work, side by side, and where one becomes cheaper than the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from admin_cli.cost.model import Bill, always_on, sagemaker, serverless
from admin_cli.cost.prices import Prices
from admin_cli.cost.work import Workload

if TYPE_CHECKING:
    from decimal import Decimal

SIZES = (1_000, 100_000, 10_000_000)  # studies a month
MOST = 10**9
OURS = "Lambda"
Way = Callable[[Workload, Prices], Bill]
WAYS: dict[str, Way] = {
    OURS: serverless,
    "always-on instances": always_on,
    "SageMaker serverless": sagemaker,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What each way costs a month, at one number of studies."""

    studies: int
    totals: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Crossover:
    """From `studies` a month on, `from_there` costs no more than `until_there`; None: never."""

    studies: int | None
    until_there: str
    from_there: str


def compare(work: Workload, prices: Prices) -> tuple[Comparison, ...]:
    """Return what every way costs at a thousand, a hundred thousand and ten million studies."""
    return tuple(
        Comparison(
            size,
            {name: way(replace(work, studies=size), prices).total for name, way in WAYS.items()},
        )
        for size in SIZES
    )


def crossovers(work: Workload, prices: Prices) -> tuple[Crossover, ...]:
    """Return where the cheaper of two ways changes, for Lambda and each other way."""
    return tuple(_crossover(other, work, prices) for other in WAYS if other != OURS)


def _crossover(other: str, work: Workload, prices: Prices) -> Crossover:
    def surplus(studies: int) -> Decimal:
        month = replace(work, studies=studies)
        return serverless(month, prices).total - WAYS[other](month, prices).total

    ours_first = surplus(1) < 0
    below, above = (OURS, other) if ours_first else (other, OURS)

    def changed(studies: int) -> bool:
        return surplus(studies) >= 0 if ours_first else surplus(studies) <= 0

    # The difference has steps, where one more instance is needed. So the range is first walked
    # in small strides, and the first change found is then narrowed down.
    known, stride = 1, 1
    while known < MOST:
        probe = known + stride
        if changed(probe):
            return Crossover(_first(changed, known, probe), below, above)
        known, stride = probe, max(1, probe // 10)
    return Crossover(None, below, above)


def _first(changed: Callable[[int], bool], unchanged: int, at_most: int) -> int:
    while at_most - unchanged > 1:
        middle = (unchanged + at_most) // 2
        if changed(middle):
            at_most = middle
        else:
            unchanged = middle
    return at_most
