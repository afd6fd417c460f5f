"""Finds a Chromium on this machine and opens it; tests that need one are skipped without."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

# Debian's, those of other systems, Google's; RADGATE_BROWSER names another.
_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = "no Chromium on this machine: `make browser` installs one, RADGATE_BROWSER names one"


def find_browser(own: str) -> str | None:
    """Return the path of a browser; `own`: where Playwright would have put its own."""
    wanted = os.environ.get("RADGATE_BROWSER")
    if wanted is not None:
        return shutil.which(wanted)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return found or (own if Path(own).exists() else None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a browser without a window, or skip the test."""
    with sync_playwright() as playwright:
        path = find_browser(playwright.chromium.executable_path)
        if path is None:
            pytest.skip(MISSING)
        # Root may not use Chromium's sandbox; what is opened here is our own page.
        sandbox = os.getuid() != 0
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=sandbox)
        try:
            yield browser
        finally:
            browser.close()
