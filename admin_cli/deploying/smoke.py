"""The question after a deploy: does the API analyse an image? Asked with a key of a minute's life.

The key is a test key, so nothing is metered; its client has a plan without price where there is
one, so nothing is invoiced. A run that is killed leaves a key that the next one revokes, and that
ends by itself within an hour.
"""

from __future__ import annotations

import io
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from admin_cli.console import CliError
from admin_cli.deploying.staging import PROJECT
from admin_cli.tenants.catalogue import load_plans
from admin_cli.tenants.registry import registry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.stage import Stage
    from admin_cli.tenants.registry import Registry

CLIENT_ID = "smoke-test"
LABEL = "smoke test"
# A drawn chest, which is nobody's: the golden input of the shipped pack.
PHANTOM = PROJECT / "models" / "cardionet-1" / "golden.pgm"
_LIFE = timedelta(hours=1)
_ANSWER_SECONDS = 60
KEY_SECONDS = 90  # until every machine of API Gateway knows a new key
READY_SECONDS = 300  # a first start reads torch from EFS
STUDY_SECONDS = 300
_PENDING = {"queued", "running"}
_LATE = "no answer in time"
_SOON = {"missing_or_unknown_key", "throttled", "model_unavailable", _LATE}


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """What came of it: the study's id and answer, the model, and seconds from post to answer."""

    study: str
    label: str
    model: str
    seconds: float


def smoke_test(stage: Stage, url: str, tell: Callable[[str], None]) -> SmokeTest:
    """Issue a test key, use it on /ready and POST /xray, and revoke it, whatever happens.

    `url`: where the API answers. Raises CliError that says which step failed and how.
    """
    registry = registry_of(stage)
    _client(stage, registry)
    for key in registry.keys(CLIENT_ID):
        if key.label == LABEL and key.revoked_at is None:
            registry.revoke_key(key.id)
    issued = registry.issue_key(CLIENT_ID, label=LABEL, expires_in=_LIFE, mode="test")
    try:
        with closing(Caller(url, issued.secret)) as caller:
            caller.wait_for("/account", KEY_SECONDS)
            tell("smoke test: the key opens the API")
            caller.wait_for("/ready", READY_SECONDS)
            tell("smoke test: the model is ready")
            return analyse(caller)
    finally:
        registry.revoke_key(issued.key.id)


def phantom() -> bytes:
    """The drawn chest as a PNG."""
    png = io.BytesIO()
    with Image.open(PHANTOM, formats=["PPM"]) as image:
        image.resize((image.width * 4, image.height * 4)).save(png, "PNG")
    return png.getvalue()


class Caller:
    """Calls the API with a key. Every method may raise CliError, which holds no key and no body."""

    def __init__(
        self,
        url: str,
        secret: str,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._headers = {"x-api-key": secret}
        self._client = httpx.Client(timeout=_ANSWER_SECONDS, transport=transport)
        self.pause = pause

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of an answer."""
        try:
            answer = self._client.request(
                method,
                f"{self._url}{path}",
                headers=self._headers | ({"content-type": "image/png"} if body else {}),
                content=body,
            )
            document = answer.json() if answer.content else {}
        except httpx.TimeoutException:
            return httpx.codes.GATEWAY_TIMEOUT, {"code": _LATE}
        except (httpx.HTTPError, ValueError) as error:
            raise CliError(f"smoke test: {method} {path}: {type(error).__name__}") from None
        return answer.status_code, document if isinstance(document, dict) else {}

    def wait_for(self, path: str, seconds: float) -> dict[str, Any]:
        """Return the first 200. A new key and a new function both take a while to be there."""
        deadline = time.monotonic() + seconds
        while True:
            status, document = self.call("GET", path)
            if status == httpx.codes.OK:
                return document
            code = document.get("code")
            if code not in _SOON or time.monotonic() > deadline:
                raise CliError(f"smoke test: GET {path} answered {status} ({code})")
            self.pause(1)


def _client(stage: Stage, registry: Registry) -> None:
    client = stage.accounts.client(CLIENT_ID)
    if client is None:
        plans = load_plans()
        plan = next((name for name, plan in plans.items() if plan.price is None), next(iter(plans)))
        client = registry.create_client(CLIENT_ID, "Smoke test", "smoke-test@example.org", plan)
    if client.gate_policy != "warn":  # a drawing need not pass for a radiograph
        registry.update_client(CLIENT_ID, gate_policy="warn")


def analyse(caller: Caller) -> SmokeTest:
    """Post the drawn chest and wait for its study. Raises CliError when none comes of it."""
    begun = time.monotonic()
    status, study = caller.call("POST", "/xray", phantom())
    while status < httpx.codes.BAD_REQUEST and study.get("status") in _PENDING:
        if time.monotonic() - begun > STUDY_SECONDS:
            raise CliError(f"smoke test: study {study['id']} is {study['status']} for 5 minutes")
        caller.pause(1)
        status, study = caller.call("GET", f"/studies/{study['id']}")
    if study.get("status") != "succeeded":
        reason = (study.get("error") or study).get("code")
        raise CliError(f"smoke test: POST /xray answered {status} ({reason})")
    seconds = round(time.monotonic() - begun, 2)
    model = study["model"]
    # What is left is a drawing's report, which ends by itself with the bucket's lifecycle.
    caller.call("DELETE", f"/studies/{study['id']}")
    return SmokeTest(study["id"], study["label"], f"{model['name']}@{model['version']}", seconds)
