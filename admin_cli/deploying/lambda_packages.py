"""The third-party packages of the Lambda zip: pinned, for Lambda's platform, fetched once.

Chalice can read requirements.txt itself, but then it fetches everything again whenever a line of
our code changes (a minute and more) and takes whatever versions the packages' own dependencies
have that day. Here they are installed under constraints.txt, and compiled, into a folder named by
its inputs; the staged project has links to it in `vendor/`, which Chalice packs as it is.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from admin_cli.console import CliError
from admin_cli.deploying.bytecode import RECIPE, compile_modules
from admin_cli.pip import pip

PROJECT = Path(__file__).resolve().parents[2]
# Shared by all homes: it depends on the requirements alone and holds no state.
CACHE = PROJECT / ".local" / "cache" / "lambda"
_INPUTS = ("requirements.txt", "constraints.txt")
_UNUSED = ("bin", "share")  # scripts that name this machine's Python, and manual pages
# What a traced stage needs besides, without what these ask for: that is botocore, 25 MB, which
# Lambda's runtime brings along.
TRACING = ("aws-xray-sdk", "wrapt")
# From Python 3.12 on, Lambda runs Amazon Linux 2023 with glibc 2.34; before, 2.26.
OLDEST_ON_AWS = (3, 12)


def lambda_packages(stage: str) -> Path:
    """The folder of installed packages; its name is the SHA-256 of what decided its content.

    For the local stage on a machine that is not like Lambda, the packages are for this machine:
    the local AWS runs functions right here. Raises CliError when pip or a compilation fails, and
    for a stage on AWS when this Python's Lambda runtime is too old for our packages.
    """
    check_python(stage)
    native = _native(stage)
    target = [] if native else lambda_target(*sys.version_info[:2])
    decided = [*target, *_UNUSED, *TRACING, RECIPE, platform.python_version()]
    digest = hashlib.sha256(" ".join(decided).encode())
    if native:
        digest.update(f"{sys.platform} {platform.machine()}".encode())
    for name in _INPUTS:
        digest.update((PROJECT / name).read_bytes())
    folder = CACHE / digest.hexdigest()
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=CACHE))
    try:
        _install(unfinished, target)
        compile_modules(unfinished)
        unfinished.chmod(0o755)
        # A rename is all or nothing: a folder with the final name is always complete.
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, with the same content
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def check_python(stage: str) -> None:
    """Raise CliError for a stage on AWS when this Python's runtime there is too old for us."""
    if not _native(stage) and sys.version_info < OLDEST_ON_AWS:
        raise CliError(
            f"stage {stage} needs Python 3.12 or newer to deploy from: Chalice deploys to the "
            "runtime of the Python it runs on, and torch, numpy and Pillow have no wheels for "
            "the glibc 2.26 of Lambda's Python 3.11"
        )


def _native(stage: str) -> bool:
    """Whether the packages of a stage are for this machine, not for Lambda."""
    return stage == "local" and not _like_lambda()


def _like_lambda() -> bool:
    """Whether wheels for Lambda also run on this machine."""
    linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return linux and sys.version_info >= OLDEST_ON_AWS


def lambda_target(major: int, minor: int) -> list[str]:
    """Pip's options for wheels that Lambda's runtime of that Python can load.

    That is x86-64 Linux with glibc 2.34 (Amazon Linux 2023) or a wheel made for an older one. No
    source packages: built here, they would link libraries that Lambda does not have. Chalice's
    own packaging does that without a word.
    """
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={major}.{minor}"]
    options += [f"--platform=manylinux_2_{glibc}_x86_64" for glibc in range(34, 16, -1)]
    return [*options, "--platform=manylinux2014_x86_64"]


def _install(folder: Path, target: list[str]) -> None:
    requirements = ("--requirement", str(PROJECT / "requirements.txt"))
    for wanted in (requirements, ("--no-deps", *TRACING)):
        reason = pip(
            *("install", "--no-compile", "--target", str(folder), *target, *wanted),
            *("--constraint", str(PROJECT / "constraints.txt")),
        )
        if reason is not None:
            raise CliError(f"the packages for Lambda could not be installed: {reason}")
    for name in _UNUSED:
        shutil.rmtree(folder / name, ignore_errors=True)
