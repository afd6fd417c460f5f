"""How fast `keys scan` reads: `python -m benchmarks.scanning` prints one JSON document.

- `text`: the sources of Python's standard library, as one file.
- `base64`: text in which beginnings of keys occur by chance, the worst that is common.
- `log`: a key on every line, short and four times as long; and with another key on each.
- `git`: the packed history of a repository of text, with what git itself takes to unpack it; and
  the same with 200 keys in it, each in a commit of its own.

What is counted is processor time, of this process and of the git that it starts, so that a busy
machine changes little; files are read from memory. Bytes are those of the objects, not of the pack.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import string
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from admin_cli.tenants.leaks import scan
from chalicelib.tenants import keys

BLOCK = 1_000_000  # bytes of one block
BLOCKS = 50
ROUNDS = 5
LINES = 40_000  # of the shorter log
COMMITS = 1_000
FILE = 50_000  # bytes of a file in git
LEAKS = 200
_LETTERS = string.digits + string.ascii_letters


def main() -> None:
    """Measure and print."""
    chance = random.Random(4)  # noqa: S311 - a seed, not secrecy
    block = _text(chance, BLOCK) + b"\n"
    cases = {
        "text": [("text", _sources())],
        "base64": [("large", block * BLOCKS)],
        "log": [("log", _log(LINES))],
        "log, four times as long": [("log", _log(4 * LINES))],
        "log, another key on each line": [("log", b"".join(_log(1) for _ in range(LINES)))],
    }
    told = {}
    for name, files in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, content in files:
                (Path(folder) / file).write_bytes(content)
            told[name] = measured(Path(folder), history=False)
            if name.startswith("log"):
                told[name]["microseconds_a_place"] = microseconds_a_place(Path(folder))
    for name, leaks in (("git", 0), (f"git, {LEAKS} keys", LEAKS)):
        with tempfile.TemporaryDirectory() as folder:
            _fill(Path(folder), chance, leaks)
            told[name] = measured(Path(folder), history=True)
    print(json.dumps({"mb_a_second_and_core": told}))


def measured(folder: Path, *, history: bool) -> dict[str, float]:
    """Return how many million bytes a second of processor time reads, of several rounds."""
    speeds = [megabytes_a_second(folder, history=history) for _ in range(ROUNDS)]
    told = {"median": statistics.median(speeds), "least": min(speeds), "most": max(speeds)}
    return {name: round(speed, 1) for name, speed in told.items()}


def megabytes_a_second(folder: Path, *, history: bool) -> float:
    """Return how many million bytes one core reads in a second of its time, git's included."""
    begun = _processor_seconds()
    size = scan([folder], history=history).size
    return size / 1e6 / (_processor_seconds() - begun)


def microseconds_a_place(folder: Path) -> float:
    """Return the time that it takes afterwards to sort what was found by keys, for each place."""
    findings = scan([folder], history=False)
    begun = _processor_seconds()
    places = sum(len(found) for found in findings.places().values())
    return round((_processor_seconds() - begun) * 1e6 / places, 2)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _text(chance: random.Random, size: int) -> bytes:
    return "".join(chance.choices(_LETTERS, k=size)).encode()


def _sources() -> bytes:
    """Return what the standard library is written in, over and over, up to the size of `base64`."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return text * (BLOCK * BLOCKS // len(text))


def _log(lines: int) -> bytes:
    return f"2026-11-22T12:00:00Z GET /account x-api-key={keys.mint()}\n".encode() * lines


def _fill(folder: Path, chance: random.Random, leaks: int) -> None:
    """Make a packed, bare repository of commits that each change a line of one of ten files."""
    files = [[_text(chance, 79) for _ in range(FILE // 80)] for _ in range(10)]
    stream: list[bytes] = []
    for number in range(COMMITS):
        lines = files[number % 10]
        lines[chance.randrange(len(lines))] = _text(chance, 79)
        texts = [(f"{number % 10}.txt", b"\n".join(lines))]
        if number < leaks:
            texts.append((f"leak{number}.env", keys.mint().encode()))
        stream.append(b"commit refs/heads/main\ncommitter B <b@example.org> %d +0000\n" % number)
        stream.append(b"data 6\nchange\n")
        for name, text in texts:
            stream.append(b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(text)))
            stream.append(text + b"\n")
    git = ("git", "-C", str(folder))
    subprocess.run([*git, "init", "-q", "--bare"], check=True)  # noqa: S603 - fixed commands
    imported = [*git, "fast-import", "--quiet"]
    subprocess.run(imported, input=b"".join(stream), check=True)  # noqa: S603
    subprocess.run([*git, "repack", "-q", "-a", "-d", "-f"], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
