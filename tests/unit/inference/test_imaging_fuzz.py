"""Damaged files never crash, hang or swell the decoder, and raise contract errors only.

`RADGATE_FUZZ_SECONDS` (default 12) sets how long the program in `fuzzing.py` runs here, and
`RADGATE_FUZZ_SEED` where its cases begin.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.fuzzing import CONTRACT, corpus, damage

ROOT = Path(__file__).parents[3]
SECONDS = float(os.environ.get("RADGATE_FUZZ_SECONDS", "12"))
FIRST_SEED = int(os.environ.get("RADGATE_FUZZ_SEED", "20260101"))
DECODER = ImageDecoder()

MAGIC = [
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    bytes(128) + b"DICM",
    bytes(128) + b"DICM\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00",
    b"\x08\x00\x05\x00CS",
]


@pytest.mark.timeout(SECONDS + 120)
def test_damaged_real_files_in_a_process_of_their_own() -> None:
    command = [sys.executable, "-m", "tests.unit.inference.fuzzing", str(FIRST_SEED), str(SECONDS)]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 90, check=False
    )

    last = [line for line in run.stdout.splitlines() if line.startswith("case")][-1:]
    assert run.returncode == 0, f"ended at {last}: {run.stderr[-2000:]}"
    slowest = re.search(r"slowest ([0-9.]+) s, case (\d+)", run.stdout)
    peak = re.search(r"peak (\d+) MB", run.stdout)
    cases = re.search(r"done (\d+) cases", run.stdout)
    assert slowest is not None
    assert peak is not None
    assert cases is not None
    print(run.stdout[run.stdout.index("slowest") :])  # noqa: T201 - the figures, with pytest -s
    assert float(slowest[1]) < 2, f"case {slowest[2]}"
    assert int(peak[1]) < 1000
    assert int(cases[1]) > 10 * SECONDS


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(start=st.sampled_from([*MAGIC, b""]), rest=st.binary(max_size=600))
def test_any_bytes_at_all(start: bytes, rest: bytes) -> None:
    begun = time.process_time()
    with suppress(*CONTRACT):
        DECODER.decode(start + rest)
    assert time.process_time() - begun < 2


FILES = corpus()


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    index=st.integers(0, len(FILES) - 1),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8)), max_size=6),
    kept=st.floats(0.05, 1),
)
def test_edited_real_files(index: int, edits: list[tuple[float, bytes]], kept: float) -> None:
    body = bytearray(FILES[index])
    for place, new in edits:
        at = int(place * len(body))
        body[at : at + len(new)] = new
    begun = time.process_time()
    with suppress(*CONTRACT):
        DECODER.decode(bytes(body[: int(len(body) * kept)]))
    assert time.process_time() - begun < 2


def test_the_same_seed_damages_the_same_way() -> None:
    assert [damage(seed, FILES) for seed in range(20)] == [
        damage(seed, FILES) for seed in range(20)
    ]
