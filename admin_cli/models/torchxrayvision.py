"""Make a pack of a release file of torchxrayvision: fetch, convert, describe."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from admin_cli.models.checkpoint import convert
from admin_cli.models.download import Wanted, fetch
from admin_cli.models.torchxrayvision_releases import EXTERNAL, LABELS, RELEASES, SIZE, UNPUBLISHED
from chalicelib.inference.manifest import (
    WEIGHTS,
    Golden,
    InputContract,
    LabelClaim,
    Manifest,
    Preprocessing,
    Source,
)
from chalicelib.inference.packs import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.models.torchxrayvision_releases import Release

_GOLDEN = "golden.pgm"
_CARD = "MODEL_CARD.md"
_TOLERANCE = 1e-3
_HALF = 0.5  # every operating point on the decision scale


@dataclass(frozen=True, slots=True)
class Order:
    """What to install. `url` and `sha256` replace what is on record, None keeps it."""

    name: str
    url: str | None = None
    sha256: str | None = None


def build_pack(order: Order, folder: Path, progress: Callable[[int, int | None], None]) -> Path:
    """Fetch a release and return the pack made of it, `folder`/<name>-1, not verified yet.

    A download that breaks off stays in `folder` and is gone on with by the next call. Raises
    CliError when the file cannot be had, is another one, or is refused by the conversion.
    """
    release = RELEASES[order.name]
    # Another hash on purpose means another file, whose length nobody knows.
    length = release.bytes if order.sha256 in {None, release.sha256} else None
    wanted = Wanted(order.url or release.url, length, order.sha256 or release.sha256)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{order.name}.pt"
    found = fetch(wanted, checkpoint, progress)
    trust = "pinned" if wanted.sha256 else "first-use"
    source = Source(url=wanted.url, bytes=checkpoint.stat().st_size, sha256=found, trust=trust)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            target = Path(temporary) / "tensors"
            convert(checkpoint, target)
            return _write(order.name, target.read_bytes(), source, folder)
    finally:
        checkpoint.unlink()


def _write(name: str, tensors: bytes, source: Source, folder: Path) -> Path:
    from chalicelib.inference.conversion import (  # noqa: PLC0415 - takes torch with it
        densenet121_answers,
        densenet121_weights,
    )

    release = RELEASES[name]
    kept = [index for index, point in enumerate(release.points) if point is not None]
    weights = densenet121_weights(tensors, len(LABELS), kept)
    golden = drawing()
    areas = dict(release.auroc) if source.sha256 == release.sha256 else {}
    claims = tuple(_claim(release, index, areas) for index in kept)
    how = Preprocessing(framing="crop", resize="gaussian-bilinear")
    wanted = InputContract(size=SIZE, range="minus-1024-to-1024")
    answers = densenet121_answers(weights, golden, claims, how, wanted)
    files = {WEIGHTS: weights, _GOLDEN: golden, _CARD: _card(name, source).encode()}
    manifest = Manifest(
        format=1,
        name=name,
        version="1",
        architecture="densenet121",
        labels=claims,
        scale="decision",
        untrained=tuple(
            label for label, point in zip(LABELS, release.points, strict=True) if point is None
        ),
        input=wanted,
        preprocessing=how,
        licence="Apache-2.0 (torchxrayvision)",
        files={
            file: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for file, data in files.items()
        },
        golden=Golden(input=_GOLDEN, probabilities=answers, tolerance=_TOLERANCE),
        source=source,
    )
    pack = folder / manifest.folder
    shutil.rmtree(pack, ignore_errors=True)
    pack.mkdir()
    for file, data in files.items():
        (pack / file).write_bytes(data)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (pack / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
    return pack


def _claim(release: Release, index: int, areas: dict[str, float]) -> LabelClaim:
    label = LABELS[index]
    area = areas.get(label)
    return LabelClaim(
        name=label,
        slope=1,
        intercept=0,
        threshold=_HALF,
        pivot=release.points[index],
        auroc=area,
        dataset=UNPUBLISHED if area is None else EXTERNAL,
        caution="Weak on images from elsewhere." if area and area < 0.7 else "",  # noqa: PLR2004
    )


def _card(name: str, source: Source) -> str:
    release = RELEASES[name]
    trusted = {
        "pinned": "known before it was fetched",
        "first-use": "not known before; this is what was fetched at the first use",
    }[source.trust]
    return f"""# {name}

DenseNet-121 of torchxrayvision (Cohen et al., 2022, https://arxiv.org/abs/2111.00595; Apache-2.0),
trained on {release.trained_on}. Frontal chest radiographs, one channel, {SIZE} x {SIZE}.

**The numbers of its findings are no probabilities.** They lie on a decision scale that is bent so
that the operating point of each label is at 0.5: below it p / 2t, above it 1 - (1 - p) / 2(1 - t),
where p is the network's sigmoid and t the operating point that its authors chose. They order images
and they say on which side of the operating point an image lies.

AUROC: {EXTERNAL}. Labels without a figure have none that was measured on images from elsewhere.

Weights: {source.url}
{source.bytes} bytes, SHA-256 {source.sha256}, {trusted}.
"""


def drawing() -> bytes:
    """Return the golden input, a binary PGM of 16 bits: two dark ovals in a bright trunk.

    Made of integers only, so that it is the same everywhere. It is wider than high, by an odd
    number of pixels, so that cropping and resizing are proven as well.
    """
    width, height = 331, 282
    rows = []
    for y in range(height):
        for x in range(width):
            value = 52_000 - 120 * abs(x - width // 2) + 17 * (y * 7 % 64)
            for centre in (100, 231):
                away = (x - centre) ** 2 * 9 + (y - 130) ** 2 * 3
                value -= max(0, 36_000 - away * 36_000 // 40_000)
            rows.append(max(0, min(65_535, value)).to_bytes(2, "big"))
    return f"P5\n{width} {height}\n65535\n".encode() + b"".join(rows)


def check_hash(sha256: str | None) -> None:
    """Raise BadParameter for what cannot be a SHA-256."""
    if sha256 is None:
        return
    if len(sha256) != hashlib.sha256().digest_size * 2 or set(sha256) - set("0123456789abcdef"):
        raise typer.BadParameter("a SHA-256 has 64 digits of 0-9 and a-f")
