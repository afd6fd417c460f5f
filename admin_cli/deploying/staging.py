"""The copy of the project that `chalice deploy` runs in, with the stack's values filled in.

Chalice reads table and bucket names from `.chalice/config.json` and keeps its packages and its
memory of what it made beside it. In a copy, the checkout stays clean and two stages or two homes
never share a file.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.deploying.bytecode import RECIPE, compile_app, link_packages
from admin_cli.deploying.lambda_packages import lambda_packages
from admin_cli.deploying.stage_config import configure, permit
from admin_cli.deploying.stage_settings import stage_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admin_cli.foundation import Foundation

PROJECT = Path(__file__).resolve().parents[2]
MOUNT = "/mnt/models"  # where Lambda mounts EFS; it allows no path outside /mnt
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def stage_project(
    stage: str,
    foundation: Foundation,
    build: Path,
    model_dir: str,
    packages: Path | None = None,
) -> str:
    """Write the deployable copy for `stage` into `build`; return the SHA-256 of what it holds.

    `packages`: what comes as vendor/, by default `lambda_packages` of the stage. Equal digests mean
    that a deploy would change nothing. Chalice's own `deployments/` (package cache) and `deployed/`
    (what it made) in `build` are left alone. Raises CliError when a configuration names a value
    that the stack does not have, or when a module cannot be compiled.
    """
    chalice = build / ".chalice"
    chalice.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "app.py", build / "app.py")
    # Emptied first: a module deleted from the project must not live on in the function.
    shutil.rmtree(build / "chalicelib", ignore_errors=True)
    shutil.copytree(PROJECT / "chalicelib", build / "chalicelib", ignore=_SKIPPED)
    # Chalice would read this file; the packages come as vendor/ (see lambda_packages).
    (build / "requirements.txt").write_text("", encoding="utf-8")
    packages = packages or lambda_packages(stage)
    link_packages(packages, build / "vendor")
    compile_app(build)
    values = deploy_values(foundation, model_dir)
    for old in chalice.glob("policy-*.json"):
        old.unlink()
    names, settings = policies(PROJECT, stage), stage_settings(stage)
    config = json.loads(resolve(PROJECT / ".chalice" / "config.json", values))
    _write(chalice / "config.json", configure(config, stage, settings, foundation))
    for name in names:
        policy = json.loads(resolve(PROJECT / ".chalice" / name, values))
        function = name.removeprefix(f"policy-{stage}-").removesuffix(".json")
        _write(chalice / name, permit(policy, stage, function, settings, foundation))
    return _digest(build, stage, packages.name)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def check_deployable(stage: str) -> None:
    """Raise CliError for a stage that cannot be staged here, before anything is made for it.

    That is one without policies, or one on AWS where this Python is too old for Lambda's packages.
    """
    policies(PROJECT, stage)
    lambda_packages(stage)


def policies(project: Path, stage: str) -> list[str]:
    """The names of the policy files of a stage, one for each function, as config.json gives them.

    Raises CliError for a stage without any.
    """
    config = json.loads((project / ".chalice" / "config.json").read_text(encoding="utf-8"))
    functions = config.get("stages", {}).get(stage, {}).get("lambda_functions", {})
    names = [one["iam_policy_file"] for one in functions.values() if "iam_policy_file" in one]
    if not names:
        raise CliError(f"config.json names no policy file for the functions of stage {stage}")
    return sorted(names)


def deploy_values(foundation: Foundation, model_dir: str) -> dict[str, str]:
    """What `${…}` in config.json and the policies may name."""
    domain = foundation.MailDomain
    return foundation.model_dump() | {
        "MailFrom": f"radgate@{domain}" if domain else "",
        # Of a policy's resource something must be named; nothing can be sent from this one.
        "MailIdentity": domain or "mail-is-off.invalid",
        "Partition": foundation.partition,
        "Region": foundation.region,
        "AccountId": foundation.account,
        "ModelDir": model_dir,
    }


def resolve(path: Path, values: dict[str, str]) -> str:
    """The JSON text of `path` with every `${Name}` filled in.

    Raises CliError when the file is missing, names an unknown value or is no JSON.
    """
    # A value with a quote or backslash must not end the string it is put into.
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    try:
        text = Template(path.read_text(encoding="utf-8")).substitute(escaped)
        json.loads(text)
    except FileNotFoundError as error:
        raise CliError(f"{path.name} is missing: config.json names it") from error
    except KeyError as error:
        raise CliError(f"{path.name} names {error}, which the foundation does not have") from error
    except ValueError as error:
        raise CliError(f"{path.name} is not valid: {error}") from error
    return text


def _digest(build: Path, stage: str, packages: str) -> str:
    digest = hashlib.sha256()
    # Chalice adds its own runtime to the zip, for this Python.
    added = f"{platform.python_version()} {version('chalice')} {packages}"
    # Bytecode is what the recipe makes of the sources.
    digest.update(f"{added} {RECIPE}\n".encode())
    for path in _staged_files(build, stage):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(build).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _staged_files(build: Path, stage: str) -> Iterator[Path]:
    yield build / "app.py"
    yield build / ".chalice" / "config.json"
    for name in policies(build, stage):
        yield build / ".chalice" / name
    ours = (path for path in (build / "chalicelib").rglob("*") if path.is_file())
    yield from sorted(path for path in ours if path.suffix != ".pyc")
