"""Fetch one large file over HTTP: with progress, going on where it stopped, checked at the end."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_BYTES = 512 * 1024 * 1024
_TRIES = 4
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch. `bytes` and `sha256`: what the file must be, None where it is not known."""

    url: str
    bytes: int | None = None
    sha256: str | None = None


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follow a redirect, but not from https to http."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - urllib's own signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise CliError(f"{req.full_url} leads away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    wanted: Wanted, target: Path, progress: Callable[[int, int | None], None], *, pause: float = 1.0
) -> str:
    """Bring the file to `target` and return its SHA-256.

    What came so far stays in `<target>.part`; a later call goes on from there when the server still
    has the same file. progress: called with the bytes so far and in all. pause: seconds before the
    second try; it doubles. Raises CliError when it cannot be had or is not what was wanted.
    """
    if urlsplit(wanted.url).scheme not in {"http", "https"}:
        raise CliError(f"{wanted.url} is no http or https address")
    part = target.with_name(f"{target.name}.part")
    for attempt in range(_TRIES):
        try:
            _go_on(wanted, part, progress)
            break
        except (OSError, http.client.HTTPException) as error:
            _give_up_at_once(error, wanted.url)
            if attempt == _TRIES - 1:
                have = part.stat().st_size if part.exists() else 0
                raise CliError(
                    f"{wanted.url} stopped at {have} bytes ({_reason(error)});"
                    " run it again to go on from there"
                ) from error
            time.sleep(pause * 2**attempt)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    size = part.stat().st_size
    if wanted.bytes not in {None, size} or wanted.sha256 not in {None, found}:
        _forget(part)
        if wanted.sha256 not in {None, found}:
            raise CliError(f"{wanted.url} has the SHA-256 {found}, not {wanted.sha256}")
        raise CliError(f"{wanted.url} has {size} bytes, not {wanted.bytes}")
    part.replace(target)
    _forget(part)
    return found


def _go_on(wanted: Wanted, part: Path, progress: Callable[[int, int | None], None]) -> None:
    """Fetch what is missing of the part. Raises OSError or HTTPException when it breaks off."""
    have, validator = _so_far(wanted.url, part)
    headers = {"User-Agent": "radgate", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 - scheme was checked
    opener = urllib.request.build_opener(_NoDowngrade)
    try:
        answer = opener.open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                _forget(part)  # the part is no beginning of what is there now
            raise
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(part)
            raise http.client.HTTPException("another range than was asked for")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        limit = wanted.bytes or MAX_BYTES
        if total is not None and total > limit:
            _forget(part)
            raise CliError(f"{wanted.url} has {total} bytes, more than {limit}")
        _note(part, wanted.url, answer.headers)
        with part.open("ab" if resumed else "wb") as file:
            _pour(answer, file, (have, total, limit), progress)


def _pour(
    answer: IO[bytes],
    file: IO[bytes],
    sizes: tuple[int, int | None, int],
    progress: Callable[[int, int | None], None],
) -> None:
    have, total, limit = sizes
    while chunk := answer.read(_CHUNK):
        have += len(chunk)
        if have > limit:
            raise CliError(f"the download has more than {limit} bytes")
        file.write(chunk)
        progress(have, total)
    if total is not None and have < total:
        raise http.client.HTTPException(f"cut off at {have} of {total} bytes")


def _so_far(url: str, part: Path) -> tuple[int, str]:
    """Return how much is there of the same file, and what tells whether it is the same."""
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
        if note["url"] == url and isinstance(note["validator"], str):
            return part.stat().st_size, note["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _note(part: Path, url: str, headers: http.client.HTTPMessage) -> None:
    tag = headers.get("ETag", "")
    # A weak tag does not promise the same bytes.
    validator = tag if tag.startswith('"') else headers.get("Last-Modified")
    _note_of(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _give_up_at_once(error: Exception, url: str) -> None:
    """Raise for a refusal that the next try would only repeat."""
    if isinstance(error, urllib.error.HTTPError) and error.code in {401, 403, 404, 410}:
        raise CliError(f"{url} answers {error.code}") from error


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__
