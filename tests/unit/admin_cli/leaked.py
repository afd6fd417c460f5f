"""Where `leaks.scan` found keys, as a test wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.tenants.leaks import Findings


def places(findings: Findings, root: Path) -> dict[str, list[str]]:
    """Return what was found with paths from `root` on."""
    return {
        secret: [place.replace(f"{root}/", "") for place in found]
        for secret, found in findings.places().items()
    }
