"""Asks the deployed API itself whether it still lets a key in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Callable

# API Gateway and the function refuse with these; anything else is no answer to the question.
_REFUSALS = {
    "missing_or_unknown_key",
    "key_expired",
    "key_revoked",
    "client_suspended",
}
# API Gateway spreads a change over many machines, and functions cache: one refusal is not yet
# the end.
_IN_A_ROW = 3
_PAUSE_SECONDS = 0.5


def seconds_until_refused(
    is_refused: Callable[[], bool],
    limit: float,
    timer: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> float:
    """Return the seconds from now until the first of three refusals in a row.

    Raises CliError when the key still works after `limit` seconds.
    """
    begun = timer()
    refusals = list[float]()
    while len(refusals) < _IN_A_ROW:
        if is_refused():
            refusals.append(timer() - begun)
        else:
            refusals.clear()
            if timer() - begun > limit:
                raise CliError(f"the key still works after {limit:.0f} s: see `doctor`")
        pause(_PAUSE_SECONDS)
    return refusals[0]


def is_refused(api_url: str, secret: str) -> bool:
    """Whether the API refuses a key. Raises CliError when it gives no clear answer."""
    try:
        answer = httpx.get(f"{api_url}/account", headers={"x-api-key": secret}, timeout=60)
        code = None if answer.is_success else answer.json().get("code")
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        # Never the text: it may quote the request.
        raise CliError(f"the API does not answer: {type(error).__name__}") from None
    if answer.is_server_error:
        raise CliError(f"the API answers {answer.status_code} ({code}) to GET /account")
    return code in _REFUSALS
