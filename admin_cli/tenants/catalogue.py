"""The plan catalogue: `plans.toml` read and checked."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError

from admin_cli.console import CliError
from chalicelib.domain import Plan

CATALOGUE = Path(__file__).resolve().parents[2] / "plans.toml"


def load_plans(path: Path | None = None) -> dict[str, Plan]:
    """Return the plans by name, in the file's order; `RADGATE_PLANS` names another file.

    Raises CliError that names what is amiss.
    """
    path = path or Path(os.environ.get("RADGATE_PLANS", CATALOGUE))
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CliError(f"{path.name} cannot be read: {error}") from error
    plans: dict[str, Plan] = {}
    for name, fields in entries.items():
        try:
            plans[name] = Plan.model_validate({"name": name, **fields})
        except (TypeError, ValidationError) as error:
            raise CliError(f"{path.name}: plan {name}: {amiss(error)}") from error
    if not plans:
        raise CliError(f"{path.name} holds no plan")
    return plans


def amiss(error: Exception) -> str:
    """Return in one line which fields a validation refused and why, without their values."""
    if not isinstance(error, ValidationError):
        return "not a table of fields"
    return "; ".join(
        ".".join(str(part) for part in found["loc"])
        + ": "
        + found["msg"].removeprefix("Value error, ")
        for found in error.errors(include_url=False, include_input=False)
    )
