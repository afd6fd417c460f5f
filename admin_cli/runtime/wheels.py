"""Which wheels a tree of packages needs, for which machine, fetched through pip.

No resolver: constraints.txt names every version, so the packages and what they require of each
other are followed by name. What a package asks for and constraints.txt does not name is left out;
the build says so, and a tree is tried out before it serves.
"""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from admin_cli.console import CliError
from admin_cli.deploying.lambda_packages import OLDEST_ON_AWS, lambda_target
from admin_cli.pip import pip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# PyTorch's wheels on PyPI for Linux need CUDA; the builds for the CPU alone have their own index.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_GPU = ("nvidia-", "cuda-")


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that a tree is for. `options`: pip's, to get its wheels."""

    python: str
    platform: str
    options: tuple[str, ...]
    environment: dict[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on this disk."""

    name: str
    version: str
    path: Path


def native() -> Target:
    """This very machine and Python."""
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {key: str(value) for key, value in default_environment().items()}
    return Target(python, platform, ("--only-binary=:all:",), environment)


def on_lambda(python: str) -> Target:
    """Lambda's runtime of a Python version. Raises CliError when that is too old."""
    try:
        major, minor = (int(number) for number in python.split("."))
    except ValueError as error:
        raise CliError(f"a Python version is written like 3.12, not {python}") from error
    if (major, minor) < OLDEST_ON_AWS:
        raise CliError("torch has no wheels for Lambda's Python before 3.12")
    environment = {key: str(value) for key, value in default_environment().items()} | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    return Target(python, "lambda_x86_64", tuple(lambda_target(major, minor)), environment)


def deployed_python() -> str:
    """The Python whose Lambda runtime a deploy from here takes, or the oldest that can be."""
    version = max(sys.version_info[:2], OLDEST_ON_AWS)
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True, slots=True)
class Closure:
    """The wheels of a tree, sorted by name, and what was left out."""

    wheels: tuple[Wheel, ...]
    left_out: tuple[str, ...]


class Wheelhouse:
    """Fetches wheels for one machine and keeps them.

    Args:
        target: the machine.
        cache: a folder to keep wheels in.
        indexes: package indexes to ask besides pip's own.
        tell: receives progress.
    """

    def __init__(
        self, target: Target, cache: Path, indexes: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        self._target = target
        self._folder = cache / f"{target.platform}-{target.python}"
        self._indexes = [f"--extra-index-url={index}" for index in indexes]
        self._tell = tell

    def fetch(self, requirements: Path, constraints: Path) -> Closure:
        """Fetch what `requirements` and, in turn, the wheels themselves require.

        Raises CliError when pip finds no wheel, or only one that needs a graphics card.
        """
        wanted = dict(_pins(requirements))
        versions = dict(_pins(constraints)) | wanted
        pending = list(wanted)
        wheels: dict[str, Wheel] = {}
        left_out: set[str] = set()
        while pending:
            name = pending.pop()
            if name in wheels:
                continue
            self._tell(f"fetching {name} {versions[name]}")
            wheels[name] = wheel = self._cpu_build(name, versions[name])
            for needed in _requires(wheel, self._target):
                if needed in versions:
                    pending.append(needed)
                else:
                    left_out.add(needed)
        return Closure(tuple(wheels[name] for name in sorted(wheels)), tuple(sorted(left_out)))

    def _cpu_build(self, name: str, version: str) -> Wheel:
        wheel = self._download(name, version, self._indexes)
        if not _needs_gpu(wheel, self._target):
            return wheel
        self._tell(f"{wheel.path.name} needs CUDA; asking {CPU_INDEX} for a build without")
        wheel.path.unlink()  # half a gigabyte that nobody wants
        quick = [f"--index-url={CPU_INDEX}", "--retries=0", "--timeout=15"]
        with suppress(CliError):
            wheel = self._download(name, version, quick)
            if not _needs_gpu(wheel, self._target):
                return wheel
        raise CliError(
            f"the only {name} {version} that was found for Python {self._target.python} needs CUDA:"
            " name an index that has the build for the CPU with --index"
        )

    def _download(self, name: str, version: str, options: Sequence[str]) -> Wheel:
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = [*self._target.options, *options, f"{name}=={version}"]
        reason = pip("download", "--no-deps", "--dest", str(self._folder), *wanted)
        if reason is not None:
            raise CliError(f"no wheel of {name} {version} for {self._target.platform}: {reason}")
        found = [path for path in self._folder.glob("*.whl") if _is(path, name, version)]
        if not found:
            raise CliError(f"pip brought no wheel of {name} {version}")
        # 2.13.0+cpu is a 2.13.0 too, and comes after it: pip prefers it, and so do we.
        path = max(found, key=lambda one: parse_wheel_filename(one.name)[1])
        return Wheel(name, str(parse_wheel_filename(path.name)[1]), path)


def _is(path: Path, name: str, version: str) -> bool:
    found, has, *_ = parse_wheel_filename(path.name)
    return found == name and has.public == version


def _pins(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and version of every line of a requirements file; each must have one."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise CliError(f"{path.name}: {text!r} names no package and version") from error
        [*pins] = wanted.specifier
        if len(pins) != 1 or pins[0].operator != "==":
            raise CliError(f"{path.name}: {wanted.name} needs a version: {wanted.name}==…")
        yield canonicalize_name(wanted.name), pins[0].version


def _requires(wheel: Wheel, target: Target) -> Iterator[str]:
    with zipfile.ZipFile(wheel.path) as archive:
        [metadata] = [
            name
            for name in archive.namelist()
            if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        ]
        headers = BytesHeaderParser().parsebytes(archive.read(metadata))
    for text in headers.get_all("Requires-Dist") or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({**target.environment, "extra": ""}):
            yield canonicalize_name(needed.name)


def _needs_gpu(wheel: Wheel, target: Target) -> bool:
    return any(name.startswith(_GPU) for name in _requires(wheel, target))
