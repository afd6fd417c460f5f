"""Runs the pip of this environment."""

from __future__ import annotations

import os
import subprocess
import sys

_SECONDS = 1800  # torch is large


def pip(*arguments: str) -> str | None:
    """Run a pip command. Return None, or the last line that it wrote when it failed."""
    result = subprocess.run(  # noqa: S603 - this environment's own pip, no shell
        [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        env={**os.environ, "PIP_NO_INPUT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if result.returncode == 0:
        return None
    return (result.stderr.strip().splitlines() or ["no message"])[-1]
