"""An image and what the model says of it: radiograph, quality, finding, heatmap, prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from chalicelib.domain.base import Value

NO_FINDING = "No finding"
# Every word that the gate gives as a reason, and the same for people.
REASONS = {
    "not_a_radiograph": "does not look like a radiograph",
    "not_a_chest": "does not look like a chest",
    "lateral_or_rotated": "lateral or rotated view",
    "inverted": "grey scale inverted",
    "blank": "nearly blank",
    "too_small": "too few pixels",
}


class ImageInfo(Value):
    """What the client may know of the image it sent.

    `width` and `height` in pixels after orientation was applied; `sha256` of the bytes as
    they were sent; `steps` in the order in which decoding took them.
    """

    format: Literal["PNG", "JPEG", "DICOM"]
    width: int
    height: int
    sha256: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Radiograph:
    """A decoded greyscale image, free of headers and of patient data.

    `pixels`: row-major, 0 is black and `maxval` is white; one byte a pixel (uint8) when
    `maxval` <= 255, else two (uint16, little-endian). Kept as bytes so that only the
    inference package needs numpy.
    """

    info: ImageInfo
    pixels: bytes
    maxval: int


class Quality(Value):
    """The gate's judgement: is this a frontal chest X-ray? `score` in [0, 1]."""

    accepted: bool
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()


def reasons_told(names: tuple[str, ...]) -> str:
    """Return the gate's reasons as plain words; one that is not known keeps its own."""
    return ", ".join(REASONS.get(name, name.replace("_", " ")) for name in names)


class Finding(Value):
    """One label: a calibrated probability against the pack's operating point, both in [0, 1]."""

    label: str
    probability: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    positive: bool


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Where the network saw a label.

    `values`: uint8, row-major, `height` x `width` cells, 0 (nothing) to 255 (most).
    `box`: left, top, right, bottom in pixels of the radiograph that the grid covers; it may
    reach beyond the image where the network's input was padded.
    """

    label: str
    width: int
    height: int
    values: bytes
    box: tuple[float, float, float, float]


class ModelRef(Value):
    """Which pack answered; `sha256` of its manifest, which holds the hash of every file.

    `scale`: whether the numbers of its findings are calibrated probabilities, or a decision scale
    that orders images, is cut at the operating point and is the chance of nothing.
    """

    name: str
    version: str
    sha256: str
    scale: Literal["probability", "decision"] = "probability"


class LabelFacts(Value):
    """What is known of one label of a pack: AUROC with its 95 % interval on a named data set.

    None where a figure is unknown; `dataset` then says why.
    """

    label: str
    threshold: float
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    dataset: str


class ModelFacts(Value):
    """An installed pack as `GET /models` tells it."""

    ref: ModelRef
    architecture: str
    licence: str
    labels: tuple[LabelFacts, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A pack's answer: all findings in the pack's order, a heatmap for every positive one.

    It brings the facts of the pack that gave it, since another may be active a moment later.
    """

    facts: ModelFacts
    findings: tuple[Finding, ...]
    heatmaps: tuple[Heatmap, ...]

    @property
    def model(self) -> ModelRef:
        """Which pack answered."""
        return self.facts.ref


def leading_label(findings: tuple[Finding, ...]) -> str:
    """Return the positive finding furthest above its threshold, else ``"No finding"``."""
    positive = [finding for finding in findings if finding.positive]
    if not positive:
        return NO_FINDING
    return max(positive, key=lambda finding: finding.probability - finding.threshold).label
