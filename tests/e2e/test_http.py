"""The service as its clients meet it: real HTTP, API Gateway, a deployed function, S3."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pypdfium2
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from chalicelib.tenants import keys

if TYPE_CHECKING:
    from tests.e2e.conftest import Radgate, Stack

HOLDS_WITHIN = 30  # seconds after which a suspension or a revocation is promised to hold
PROBLEM_FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


def sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.fixture(scope="module")
def chest() -> bytes:
    return sample("RG1_J2KI.dcm")


class Api:
    """One client of the service, over plain HTTP."""

    def __init__(self, stack: Stack, key: str | None, key_id: str = "") -> None:
        self._url = stack.api_url
        self._headers = {} if key is None else {"x-api-key": key}
        self.key_id = key_id

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(self._url + path, params=query, headers=self._headers, timeout=120)

    def post(self, image: bytes, media_type: str = "image/jpg") -> httpx.Response:
        headers = {**self._headers, "content-type": media_type}
        return httpx.post(f"{self._url}/xray", content=image, headers=headers, timeout=120)


def admit(stack: Stack, client_id: str, *options: str, plan: str = "clinic") -> Api:
    """Create a client with one key by the command line."""
    radgate: Radgate = stack.radgate
    radgate.json(
        *("clients", "create", client_id, "--name", client_id.title()),
        *("--email", f"{client_id}@example.org", "--plan", plan),
    )
    issued = radgate.json("keys", "issue", client_id, *options)
    return Api(stack, issued["secret"], issued["id"])


def refused(answer: httpx.Response, status: int, *codes: str) -> dict[str, Any]:
    """Hold an answer to the problem shape, whoever gave it, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    own = {"reasons"} if body["code"] == "not_a_chest_xray" else set()
    assert set(body) == PROBLEM_FIELDS | own
    assert body["status"] == status
    assert body["code"] in codes
    return body


def until_refused(api: Api, *codes: str) -> float:
    """Return how many seconds passed until the key was refused."""
    begun = time.monotonic()
    while time.monotonic() - begun <= HOLDS_WITHIN:
        answer = api.get("/account")
        if answer.status_code != httpx.codes.OK:
            refused(answer, 403, *codes)
            return time.monotonic() - begun
        time.sleep(0.5)
    pytest.fail(f"the key still works after {HOLDS_WITHIN} s")


def test_the_whole_main_job(stack: Stack, chest: bytes) -> None:
    api = Api(stack, stack.api_key)
    before = api.get("/account").json()["usage"]["used"]
    answer = api.post(chest)
    assert answer.status_code == 200, answer.text
    study = answer.json()
    assert study["status"] == "succeeded"
    assert study["label"] in {"Cardiomegaly", "No finding"}
    assert study["image"]["format"] == "DICOM"
    assert answer.headers["x-request-id"]
    for lap in ("decode", "gate", "predict", "report", "store"):
        assert f"{lap};dur=" in answer.headers["server-timing"]
    assert answer.headers["ratelimit"].startswith('"studies";r=')

    # The link is the permission: no key goes to S3.
    pdf = httpx.get(study["report"]["url"])
    assert pdf.headers["content-type"] == "application/pdf"
    page = pypdfium2.PdfDocument(pdf.content)[0].get_textpage().get_text_bounded()
    assert study["id"] in page
    assert "not for diagnosis" in page.lower()

    assert api.get(f"/studies/{study['id']}").json()["findings"] == study["findings"]
    link = api.get(f"/studies/{study['id']}/report", format="pdf").json()
    assert httpx.get(link["url"]).content == pdf.content
    assert study["id"] in {one["id"] for one in api.get("/studies").json()["items"]}
    assert api.get("/account").json()["usage"]["used"] == before + 1


def test_the_articles_curl(stack: Stack, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not on this machine")
    image = tmp_path / "xray.jpg"
    _jpeg_of_the_chest(image)
    done = subprocess.run(
        [
            *(curl, "--silent", "--request", "POST", "-H", "Content-Type: image/jpg"),
            *("-H", f"x-api-key: {stack.api_key}", "--upload-file", str(image)),
            f"{stack.api_url}/xray",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert '"format":"JPEG"' in done.stdout
    assert '"status":"succeeded"' in done.stdout


def _jpeg_of_the_chest(path: Path) -> None:
    """Render the DICOM chest as an 8-bit JPEG, as a client's viewer would export it."""
    from chalicelib.inference.imaging import ImageDecoder  # noqa: PLC0415 - loads numpy

    shot = ImageDecoder().decode(sample("RG1_J2KI.dcm"))
    size = (shot.info.width, shot.info.height)
    deep = Image.frombuffer("I;16", size, shot.pixels, "raw", "I;16", 0, 1)
    deep.convert("I").point(lambda v: v / 257).convert("L").save(path, "JPEG")


def test_a_client_without_an_accept_header_is_answered(stack: Stack) -> None:
    request = urllib.request.Request(  # noqa: S310 - http on this machine
        f"{stack.api_url}/account", headers={"x-api-key": stack.api_key}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert answer.status == 200


def test_a_missing_or_unknown_key_is_refused_in_the_contracts_shape(stack: Stack) -> None:
    for key in (None, keys.mint(), "rgl-not-a-key"):
        refused(Api(stack, key).get("/account"), 403, "missing_or_unknown_key")


def test_a_revoked_key_is_refused_in_time(stack: Stack) -> None:
    api = admit(stack, "revoked")
    assert api.get("/account").status_code == 200
    stack.radgate.json("keys", "revoke", api.key_id)
    assert until_refused(api, "key_revoked", "missing_or_unknown_key") <= HOLDS_WITHIN


def test_a_suspended_client_is_refused_in_time_and_comes_back(stack: Stack) -> None:
    api = admit(stack, "paused")
    assert api.get("/account").status_code == 200
    stack.radgate.json("clients", "suspend", "paused")
    assert until_refused(api, "client_suspended") <= HOLDS_WITHIN
    stack.radgate.json("clients", "resume", "paused")
    deadline = time.monotonic() + HOLDS_WITHIN
    while api.get("/account").status_code != httpx.codes.OK:
        assert time.monotonic() < deadline, "the client does not come back"
        time.sleep(0.5)


def test_a_key_without_the_scope_is_refused(stack: Stack, chest: bytes) -> None:
    api = admit(stack, "reader", "--scope", "studies:read")
    refused(api.post(chest), 403, "insufficient_scope")
    assert api.get("/studies").json() == {"items": [], "next_cursor": None}


def test_a_test_key_meters_nothing(stack: Stack, chest: bytes) -> None:
    api = admit(stack, "tester", "--test")
    assert api.post(chest).json()["mode"] == "test"
    assert api.get("/account").json()["usage"]["used"] == 0


def test_anothers_study_is_not_there(stack: Stack, chest: bytes) -> None:
    owner, stranger = admit(stack, "owner"), admit(stack, "stranger")
    study_id = owner.post(chest).json()["id"]
    assert owner.get(f"/studies/{study_id}").status_code == 200
    for path in (f"/studies/{study_id}", f"/studies/{study_id}/report"):
        refused(stranger.get(path), 404, "not_found")
    assert stranger.get("/studies").json()["items"] == []


def test_the_quota_is_exact_under_concurrency(stack: Stack, chest: bytes) -> None:
    api = admit(stack, "hasty", plan="few")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.post(chest), range(4)))
    # Admitted is 200, or 202 where a second process of the function was not warm in time.
    assert sorted(answer.is_success for answer in answers) == [False, False, True, True]
    assert {answer.status_code for answer in answers if not answer.is_success} == {429}
    late = api.post(chest)
    refused(late, 429, "quota_exceeded")
    assert int(late.headers["retry-after"]) > 0
    assert late.headers["ratelimit"].startswith('"studies";r=0;')
    assert len(api.get("/studies").json()["items"]) == 2


def test_the_gateway_throttles_in_the_contracts_shape(stack: Stack) -> None:
    api = admit(stack, "flood", plan="slow")
    answers = [api.get("/account") for _ in range(5)]
    throttled = [answer for answer in answers if answer.status_code != httpx.codes.OK]
    assert throttled
    for answer in throttled:
        refused(answer, 429, "throttled")
        assert int(answer.headers["retry-after"]) > 0


def test_the_gateways_own_quota_has_the_contracts_shape(stack: Stack) -> None:
    api = admit(stack, "polling", plan="quiet")
    answers = [api.get("/account") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused(answers[-1], 429, "quota_exceeded")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "invalid_request", id="empty"),
        pytest.param(b"%PDF-1.7 no image", 415, "unsupported_media_type", id="pdf"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(99), 422, "unreadable_image", id="broken"),
        pytest.param(bytes(4_500_001), 413, "payload_too_large", id="too large"),
    ],
)
def test_a_bad_body_is_refused(stack: Stack, body: bytes, status: int, code: str) -> None:
    problem = refused(Api(stack, stack.api_key).post(body), status, code)
    if status == 413:
        assert "/uploads" in problem["detail"]


def test_a_lower_leg_is_no_chest(stack: Stack) -> None:
    answer = Api(stack, stack.api_key).post(sample("RG3_J2KI.dcm"))
    assert refused(answer, 422, "not_a_chest_xray")["reasons"]


def test_too_many_pixels_are_refused_before_they_are_decoded(stack: Stack) -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    head += struct.pack(">I", zlib.crc32(chunk))
    answer = Api(stack, stack.api_key).post(head + bytes(64))
    refused(answer, 413, "too_many_pixels")


def test_bad_parameters_are_named(stack: Stack) -> None:
    api = Api(stack, stack.api_key)
    refused(api.get("/studies", limit="0"), 400, "invalid_request")
    refused(api.get("/studies", cursor="made up"), 400, "invalid_request")


def test_models_health_and_ready(stack: Stack) -> None:
    (model,) = Api(stack, stack.api_key).get("/models").json()["items"]
    assert (model["name"], model["active"]) == ("cardionet", True)
    nobody = Api(stack, None)
    assert nobody.get("/health").json()["status"] == "up"
    assert nobody.get("/ready").json()["model"]["name"] == "cardionet"


def test_a_report_link_is_signed_for_one_object(stack: Stack, chest: bytes) -> None:
    url = httpx.URL(Api(stack, stack.api_key).post(chest).json()["report"]["url"])
    assert url.params["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert int(url.params["X-Amz-Expires"]) == 900
    forged = url.copy_set_param("X-Amz-Signature", "0" * 64)
    assert httpx.get(forged).status_code == 403


def test_no_key_reaches_a_log_or_an_object_name(stack: Stack, chest: bytes) -> None:
    assert Api(stack, stack.api_key).post(chest).status_code == 200
    logs = [path for path in stack.radgate.home.rglob("*.log") if path.is_file()]
    assert logs
    for path in logs:
        assert stack.api_key not in path.read_text(encoding="utf-8", errors="replace"), path
    for path in (stack.radgate.home / "emulator").rglob("*"):
        assert stack.api_key not in path.name
