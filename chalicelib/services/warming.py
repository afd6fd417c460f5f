"""Loads the active model before anybody asks for it; counts nothing and stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import Value
from chalicelib.errors import RadgateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.services.models import ModelService

# What the schedule sends to the API's function in place of a request. A client cannot: what it
# sends stands below other names in the event that API Gateway makes of it.
WARM_UP = {"radgate": "warm-up"}


class Warmth(Value):
    """What came of a warm-up. `reason`: why no model is ready; empty when one is."""

    ready: bool
    reason: str = ""


def warm_up(models: Callable[[], ModelService]) -> Warmth:
    """Have the active model answer its golden input. Raises nothing that a request could mend."""
    try:
        models().ready()
    except RadgateError as error:
        return Warmth(ready=False, reason=error.code)
    return Warmth(ready=True)
