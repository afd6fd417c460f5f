"""Damages real image files in the ways that find bugs: blindly, and where a format is soft.

Run as a program it decodes damaged files until its time is over, one line a case, so that a parent
sees which case ended it: `python -m tests.unit.inference.fuzzing SEED SECONDS`.
"""

# ruff: noqa: T201 - it is a program, and its lines are its report

from __future__ import annotations

import collections
import os
import random
import resource
import struct
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from chalicelib.errors import (
    PayloadTooLarge,
    TooManyPixels,
    UnreadableImage,
    UnsupportedMediaType,
)
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import every_file, read

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT = (PayloadTooLarge, TooManyPixels, UnreadableImage, UnsupportedMediaType)
_LARGEST_SEED_FILE = 700_000
_EXTREMES = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 4096, 32767, 32768, 65534, 65535)
# Elements of the image pixel module and its tables, as their first four bytes.
_SOFT_TAGS = [
    struct.pack("<HH", 0x0028, number)
    for number in (
        0x0002, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103, 0x0120,
        0x1050, 0x1051, 0x1052, 0x1053, 0x1101, 0x1201, 0x1221, 0x3000, 0x3002, 0x3006, 0x3010,
    )
]  # fmt: skip
_SOFT_TAGS += [
    struct.pack("<HH", 0x7FE0, 0x0010),
    struct.pack("<HH", 0x0002, 0x0010),
    b"\xfe\xff\x00\xe0",
]


def corpus() -> list[bytes]:
    """Return the real files to damage: both packages' DICOM files, and PNG and JPEG of RG1."""
    files = [
        path.read_bytes()
        for path in every_file().values()
        if path.stat().st_size <= _LARGEST_SEED_FILE
    ]
    radiograph = ImageDecoder().decode(read("RG1_J2KI.dcm"))
    size = radiograph.info.width, radiograph.info.height
    deep = Image.frombytes("I;16", size, radiograph.pixels).resize((184, 196))
    grey = deep.point(lambda value: value / 256).convert("L")
    variants: list[tuple[Image.Image, str, dict[str, bool | int]]] = [
        (deep, "PNG", {}),
        (grey, "PNG", {}),
        (grey.convert("1"), "PNG", {}),
        (grey.convert("P"), "PNG", {"transparency": 3}),
        (grey.convert("LA"), "PNG", {}),
        (grey.convert("RGBA"), "PNG", {}),
        (grey, "JPEG", {}),
        (grey, "JPEG", {"progressive": True}),
        (grey.convert("RGB"), "JPEG", {"quality": 95, "subsampling": 0}),
        (grey.convert("CMYK"), "JPEG", {}),
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    for image, kind, options in variants:
        buffer = BytesIO()
        image.save(buffer, kind, **options, **({"exif": exif} if kind == "JPEG" else {}))
        # Small raster files stand against many DICOM ones: count them several times.
        files += [buffer.getvalue()] * 4
    return files


def damage(seed: int, files: list[bytes]) -> bytes:
    """Return one damaged file; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    body = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice(_WAYS)(body, rng, files)
    if body.startswith(b"\x89PNG") and rng.random() < 0.8:
        _repair_checksums(body)
    return bytes(body)


def _place(body: bytearray, rng: random.Random) -> int:
    """Choose a place, more often near the start, where headers are."""
    reach = len(body) if rng.random() < 0.5 else min(len(body), 2048)
    return rng.randrange(max(1, reach))


def _flip(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if body:
        body[_place(body, rng)] ^= 1 << rng.randrange(8)


def _scatter(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    for _count in range(rng.randrange(1, 64)):
        if body:
            body[_place(body, rng)] = rng.randrange(256)


def _truncate(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    del body[_place(body, rng) :]


def _cut(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = _place(body, rng)
    del body[at : at + rng.randrange(1, 1000)]


def _repeat(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = _place(body, rng)
    body[at:at] = body[at : at + rng.randrange(1, 500)] * rng.choice((1, 2, 50))


def _splice(body: bytearray, rng: random.Random, files: list[bytes]) -> None:
    other = rng.choice(files)
    body[_place(body, rng) :] = other[rng.randrange(max(1, len(other))) :]


def _extreme(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at, order = _place(body, rng), rng.choice("<>")
    if rng.random() < 0.5:
        body[at : at + 2] = struct.pack(f"{order}H", rng.choice(_EXTREMES))
    else:
        value = rng.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 65536, 1 << 24))
        body[at : at + 4] = struct.pack(f"{order}L", value)


def _soft_spot(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """Overwrite the length or the value of an element that decoding depends on."""
    at = body.find(rng.choice(_SOFT_TAGS))
    if at >= 0:
        place = at + rng.choice((4, 6, 8, 8, 8, 10, 12))
        body[place : place + 2] = struct.pack("<H", rng.choice(_EXTREMES))


def _frame_header(body: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """Overwrite a field of a JPEG, JPEG-LS or JPEG 2000 frame header, or of IHDR."""
    markers = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7", b"\xff\x51")
    at = body.find(rng.choice((*markers, b"\xff\xda", b"\xff\xc4", b"\xff\x52", b"IHDR")))
    if at >= 0:
        place = at + rng.randrange(2, 44)
        body[place : place + 1] = bytes([rng.choice((0, 1, 2, 3, 4, 8, 12, 16, 38, 127, 255))])


_WAYS: list[Callable[[bytearray, random.Random, list[bytes]], None]] = [
    _flip,
    _scatter,
    _truncate,
    _cut,
    _repeat,
    _splice,
    _extreme,
    _soft_spot,
    _soft_spot,
    _frame_header,
    _frame_header,
]


def _repair_checksums(body: bytearray) -> None:
    """Write right CRCs, or a damaged PNG would be refused before its content is looked at."""
    at = 8
    while at + 12 <= len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(body):
            return
        body[end : end + 4] = struct.pack(">L", zlib.crc32(body[at + 4 : end]))
        at = end + 4


def _cpu() -> float:
    """Return the CPU seconds of this process and of the children that have ended."""
    times = os.times()
    return sum(times[:4])


def _peak() -> int:
    """Return the most memory that this program has held, in kB.

    On Linux `ru_maxrss` begins with what the parent held when it started us, which in a long
    test run is more than we ever take; the kernel's own high-water mark begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(marks[0].split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(first_seed: int, seconds: float) -> None:
    """Decode until the time is over; print each seed before and its CPU seconds after."""
    decoder, files = ImageDecoder(), corpus()
    baseline = _peak()
    outcomes: collections.Counter[str] = collections.Counter()
    until, slowest, seed = time.monotonic() + seconds, (0.0, 0), first_seed
    while time.monotonic() < until:
        print(f"case {seed}", flush=True)
        body = damage(seed, files)
        begun = _cpu()
        try:
            decoder.decode(body)
            outcomes["image"] += 1
        except CONTRACT as error:
            outcomes[error.code] += 1
        slowest = max(slowest, (_cpu() - begun, seed))
        seed += 1
    peak = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(f"slowest {slowest[0]:.3f} s, case {slowest[1]}")
    print(f"peak {peak / 1024:.0f} MB, {baseline / 1024:.0f} MB of it before the first case")
    print(f"done {seed - first_seed} cases: {dict(outcomes)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
