"""What `make demo` runs: the whole main job on a real radiograph, from nothing, then stop.

``python -m admin_cli.local.demo [--image PATH]``. Exit 0 when the finding and the PDF are there, 1
with one line of reason when not. It has its own home, ``.local/demo``, and leaves nothing running.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from admin_cli.console import CliError
from admin_cli.emulator import local_home
from admin_cli.local.commands import sample
from admin_cli.local.endings import Ended, deafen, ending_signals
from admin_cli.local.stack import State, bring_down, bring_up, wipe
from chalicelib.errors import RadgateError

REPORT = Path("demo-report.pdf")
ANSWER_SECONDS = 120  # the first call loads torch and the network; a busy machine takes its time
_FAILURES = (CliError, RadgateError, ClientError, BotoCoreError, httpx.HTTPError, OSError)
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


class Progress:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one step."""
        elapsed = f"{time.monotonic() - self._start:6.1f} s  "
        self._console.print(Text(elapsed, style="dim") + Text(text), soft_wrap=True)


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--image", type=Path, help="PNG, JPEG or DICOM; a chest X-ray by default")
    image = parser.parse_args().image or sample()
    tell = Progress()
    home = local_home() / "demo"
    os.environ["RADGATE_HOME"] = str(home)  # the registry looks for the local AWS there
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "demo.lock").open("w") as lock, ending_signals():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _demo(home, image, tell)
        except BlockingIOError:
            tell("failed: another demo is running")
        except Ended:
            tell("interrupted")
        except _FAILURES as error:
            tell(f"failed: {' '.join(str(error).split()) or type(error).__name__}")
        else:
            return 0
    return 1


def _demo(home: Path, image: Path | None, tell: Progress) -> None:
    if image is None:
        raise CliError("there is no sample image: install requirements-dev.txt or give IMAGE=path")
    body = image.read_bytes()
    # From nothing each time, except Chalice's package: it depends on the code alone.
    wipe(home, keep=("build",))
    # Whoever holds the other end of the pipe is the demo; should it be killed, all ends with it.
    read_end, write_end = os.pipe()
    try:
        state = bring_up(home, None, tell, lifeline=read_end)
        tell(f"client {state.client_id} has a key ({state.api_key[:3]}…, shown once by the CLI)")
        study = _analyse(state, image, body, tell)
        _print(study)
        _save_report(state, study, tell)
    finally:
        deafen()
        if bring_down(home):
            tell("local AWS stopped")
        os.close(read_end)
        os.close(write_end)


def _analyse(state: State, image: Path, body: bytes, tell: Progress) -> dict[str, Any]:
    tell(f"POST /xray with {image.name}, {len(body):,} bytes")
    headers = {
        "x-api-key": state.api_key,
        "content-type": _MEDIA_TYPES.get(image.suffix.lower(), "application/dicom"),
    }
    answer = httpx.post(
        f"{state.api_url}/xray", content=body, headers=headers, timeout=ANSWER_SECONDS
    )
    study = _json(answer)
    tell(f"{answer.status_code}; {answer.headers.get('server-timing', 'no timing')}")
    deadline = time.monotonic() + ANSWER_SECONDS
    while study["status"] in {"queued", "running"} and time.monotonic() < deadline:
        time.sleep(1)
        study = _get(state, f"/studies/{study['id']}")
    if study["status"] != "succeeded":
        raise CliError(f"study {study['id']} is {study['status']}: {study['error']}")
    return study


def _print(study: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print()
    for finding in study["findings"]:
        answer, side = ("positive", "at or above") if finding["positive"] else ("negative", "below")
        console.print(
            Text(f"{finding['label']}: {answer}. ", style="bold")
            + Text(
                f"Probability {finding['probability']:.0%}, {side} the operating point of "
                f"{finding['threshold']:.0%}."
            )
        )
    console.print(f"Answer: {study['label']}. Not for diagnosis.\n", style="bold")
    console.print_json(json.dumps(study))


def _save_report(state: State, study: dict[str, Any], tell: Progress) -> None:
    link = _get(state, f"/studies/{study['id']}/report")
    # No key goes to S3: the signature in the link is the permission.
    pdf = httpx.get(link["url"], timeout=30)
    if pdf.status_code != httpx.codes.OK or not pdf.content.startswith(b"%PDF-"):
        raise CliError(f"the presigned link gave {pdf.status_code} and no PDF")
    REPORT.write_bytes(pdf.content)
    tell(f"report saved as {REPORT}, {len(pdf.content):,} bytes")


def _get(state: State, path: str) -> dict[str, Any]:
    return _json(
        httpx.get(f"{state.api_url}{path}", headers={"x-api-key": state.api_key}, timeout=30)
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = {}
    if answer.status_code >= httpx.codes.BAD_REQUEST or not isinstance(document, dict):
        detail = document.get("detail", "no reason given") if isinstance(document, dict) else ""
        raise CliError(f"{answer.request.url.path} answered {answer.status_code}: {detail}")
    return document


if __name__ == "__main__":
    sys.exit(main())
