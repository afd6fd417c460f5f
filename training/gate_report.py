"""The gate's confusion table: what passes, what is refused, and for which reason."""

from __future__ import annotations

import bz2
import io
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import data_store  # type: ignore[import-untyped]  # the module of pydicom-data
import numpy as np
import pydicom.data
from PIL import Image

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.errors import RequestRefused
from chalicelib.inference.imaging import ImageDecoder
from training.data import read
from training.gate_drawings import DRAWINGS
from training.gate_examples import crop
from training.gate_sources import FACE, TESTING, files, pictures
from training.gate_views import Views, patient, views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chalicelib.inference.gate import ChestGate
    from training.gate_examples import Others

    Grey = NDArray[np.uint8]

CT_SEED = 99  # of the views of the patient's CT
_RADIOGRAPHS = ("RG1", "RG3")


class Group(NamedTuple):
    """Images of one sort and whether they are to pass."""

    name: str
    pass_: bool
    images: list[Radiograph]


def as_radiograph(pixels: Grey) -> Radiograph:
    """Wrap uint8 grey (H, W) as the decoder would."""
    height, width = pixels.shape
    info = ImageInfo(format="PNG", width=width, height=height, sha256="0" * 64)
    return Radiograph(info, np.ascontiguousarray(pixels).tobytes(), 255)


def usual_variants(chests: Grey) -> dict[str, list[Grey]]:
    """Return chests as they come, mirrored, cropped, tilted, darker, lighter and compressed."""
    made: dict[str, list[Grey]] = {
        "as they come": list(chests),
        "mirrored": [np.fliplr(c) for c in chests],
        "cropped by 10 %": [c[6:-6, 6:-6] for c in chests],
        "gamma 0.7": [_gamma(c, 0.7) for c in chests],
        "gamma 1.4": [_gamma(c, 1.4) for c in chests],
        "JPEG of quality 50": [_jpeg(c) for c in chests],
    }
    for degrees in (-10, 10):
        made[f"tilted by {degrees} degrees"] = [
            np.asarray(Image.fromarray(c).rotate(degrees, Image.Resampling.BILINEAR))
            for c in chests
        ]
    return made


def wrong_variants(chests: Grey) -> dict[str, list[Grey]]:
    """Return chests turned, upside down, and inverted."""
    return {
        "turned by 90 degrees": [np.rot90(c) for c in chests],
        "turned by 180 degrees": [np.rot90(c, 2) for c in chests],
        "turned by 270 degrees": [np.rot90(c, 3) for c in chests],
        "upside down, mirrored": [np.flipud(c) for c in chests],
        "inverted": [255 - c for c in chests],
        "inverted and turned by 180": [255 - np.rot90(c, 2) for c in chests],
    }


def held_out(chests: Grey, seen: Views, strangers: Others) -> list[Group]:
    """Return the groups that may be looked at while choosing."""
    return [
        *_poses(chests, "held-out chests"),
        *_projections(seen, "other drawn bodies"),
        *(
            Group(f"held out: {name}", False, [as_radiograph(i) for i in images])  # noqa: FBT003
            for name, (_, images) in strangers.sources.items()
        ),
    ]


def final(data: Path, cache: Path) -> list[Group]:
    """Return the groups that nothing was chosen by."""
    decoder = ImageDecoder()
    groups = _poses(read(data / "cardiomegaly128" / "test.npz").images, "test.npz")
    samples = sorted((data / "samples").glob("[0-9h]*"))
    decoded = [decoder.decode(path.read_bytes()) for path in samples]
    groups.append(Group("samples: chests", True, decoded))  # noqa: FBT003
    groups += _dicom(decoder)
    rng = np.random.default_rng(CT_SEED)
    groups += _projections(views([patient(cache)], 100, rng), "a patient's CT")
    strangers: dict[str, list[Grey]] = {
        f"{wheel.package}: whole pictures": list(pictures((wheel,), cache).values())
        for wheel in TESTING
    }
    ((_, face),) = files(FACE, cache)
    raccoon = np.frombuffer(bz2.decompress(face), np.uint8).reshape(768, 1024, 3)
    strangers["scipy==1.9.3: face"] = [raccoon[..., 1]]
    whole = [picture for some in strangers.values() for picture in some]
    strangers["those pictures: cut-outs"] = [crop(p, rng) for p in whole for _ in range(20)]
    strangers |= {
        f"drawn with another seed: {name}": [draw(rng) for _ in range(50)]
        for name, (_, draw) in DRAWINGS.items()
    }
    strangers["blank"] = [np.full((300, 300), v, np.uint8) for v in (0, 60, 128, 255)] + [
        (rng.normal(128, 2, (300, 300))).astype(np.uint8)
    ]
    groups += [
        Group(name, False, [as_radiograph(i) for i in images])  # noqa: FBT003
        for name, images in strangers.items()
    ]
    return groups


def _projections(seen: Views, whose: str) -> list[Group]:
    return [
        Group(f"{whose}, projected: {name}", name == "frontal", [as_radiograph(i) for i in images])
        for name, images in seen._asdict().items()
    ]


def _poses(chests: Grey, name: str) -> list[Group]:
    good, bad = usual_variants(chests), wrong_variants(chests)
    return [
        Group(f"{name}, {how}", pass_, [as_radiograph(i) for i in images])
        for variants, pass_ in ((good, True), (bad, False))
        for how, images in variants.items()
    ]


def _dicom(decoder: ImageDecoder) -> list[Group]:
    """Return what the DICOM test files hold: the chest, the leg, all else by modality."""
    by_name: dict[str, list[Radiograph]] = {}
    folders = (
        Path(data_store.__file__).parent / "data",
        Path(pydicom.data.__file__).parent / "test_files",
    )
    warnings.simplefilter("ignore")  # pydicom's, about the odd files that it tests itself with
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        try:
            radiograph = decoder.decode(path.read_bytes())
        except RequestRefused:
            continue
        header = pydicom.dcmread(path, force=True, specific_tags=["Modality"])
        modality = str(header.get("Modality", "") or "none named")
        sort = path.name[:3] if path.name[:3] in _RADIOGRAPHS else modality
        by_name.setdefault(sort, []).append(radiograph)
    groups = [Group(f"DICOM test files: {n}", n == "RG1", i) for n, i in sorted(by_name.items())]
    for name in _RADIOGRAPHS:
        for radiograph in by_name[name][:1]:
            pixels = np.frombuffer(radiograph.pixels, "<u2").reshape(radiograph.info.height, -1)
            grey = (pixels >> 8).astype(np.uint8)[None]
            poses = _poses(grey, f"DICOM test files: {name}")
            groups += [g._replace(pass_=g.pass_ and name == "RG1") for g in poses]
    return groups


def scores(gate: ChestGate, images: list[Grey]) -> NDArray[np.float64]:
    """Return the gate's score for each image."""
    return np.array([gate.judge(as_radiograph(image)).score for image in images])


def table(gate: ChestGate, groups: list[Group]) -> str:
    """Judge everything and write a Markdown table, with totals for both kinds."""
    lines = ["| images | wanted | passed | refused | reasons |", "| --- | --- | --- | --- | --- |"]
    totals = Counter[tuple[bool, bool]]()
    for group in groups:
        verdicts = [gate.judge(image) for image in group.images]
        accepted = sum(v.accepted for v in verdicts)
        reasons = Counter(" + ".join(v.reasons) for v in verdicts if not v.accepted)
        words = ", ".join(f"{word} {count}" for word, count in reasons.most_common())
        wanted = "pass" if group.pass_ else "refuse"
        refused = len(verdicts) - accepted
        lines.append(f"| {group.name} | {wanted} | {accepted} | {refused} | {words} |")
        totals[group.pass_, True] += accepted
        totals[group.pass_, False] += refused
    for wanted_pass, right in ((True, "passed"), (False, "refused")):
        good = totals[wanted_pass, wanted_pass]
        whole = good + totals[wanted_pass, not wanted_pass]
        lines.append(f"\n{good} of {whole} that were to be {right} were ({good / whole:.2%}).")
    return "\n".join(lines)


def _gamma(chest: Grey, gamma: float) -> Grey:
    bent: Grey = ((chest / 255) ** gamma * 255).astype(np.uint8)
    return bent


def _jpeg(chest: Grey) -> Grey:
    buffer = io.BytesIO()
    Image.fromarray(chest).save(buffer, "JPEG", quality=50)
    with Image.open(buffer) as image:
        return np.asarray(image)
