"""What makes a process ready before its first request."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from chalicelib.bootstrap.operation import monitor
from chalicelib.bootstrap.requests import models
from chalicelib.settings import is_provisioned

if TYPE_CHECKING:
    from chalicelib.services.warming import Warmth


def warm_up() -> Warmth:
    """Load the active model."""
    from chalicelib.services import warming

    return warming.warm_up(models)


def warm_ahead() -> None:
    """Load the active model now if Lambda makes this process ready for requests to come.

    Its init phase then has minutes instead of 10 s, and nobody waits for it. Raises nothing: a
    process that cannot is cold, but one whose import fails answers no request at all.
    """
    if not is_provisioned():
        return
    try:
        warm_up()
    except Exception as error:  # noqa: BLE001 - whatever it is, requests meet it again and say so
        with suppress(Exception):
            monitor("api_handler").defect("warming ahead failed", error)
