"""The shape of a pack's `manifest.json`: all that a pack claims about itself, checked."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, StringConstraints, model_validator

from chalicelib.domain import Value, heatmap_name

WEIGHTS = "weights.safetensors"
GATE_CONFIG, GATE_WEIGHTS = "gate.json", "gate.safetensors"
MAX_MANIFEST_BYTES = 256 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_PACK_BYTES = 640 * 1024 * 1024
MAX_GATE_BYTES = {GATE_CONFIG: 64 * 1024, GATE_WEIGHTS: 512 * 1024}
# By the kind of file; what is read whole into memory by those who check a pack stays small.
_MAX_BYTES = {".pgm": 8 << 20, ".md": 1 << 20, ".txt": 1 << 20, ".json": 1 << 20}

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){0,2}$", max_length=20)]
# One plain name without folders; only these kinds, so that nothing in a pack can be executed.
FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,60}\.(safetensors|pgm|md|json|txt)$")
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9 _-]*$", max_length=60)]
Unit = Annotated[FiniteFloat, Field(ge=0, le=1)]


class FileFacts(Value):
    """What a file must be to be read: its exact length and SHA-256."""

    bytes: int = Field(ge=1, le=MAX_FILE_BYTES)
    sha256: Sha256


class InputContract(Value):
    """What the network takes: float32, (1, `channels`, `size`, `size`).

    `range` standardised: each image has mean 0 and deviation 1. minus-1024-to-1024: black is -1024
    and white is 1024, before the image is resized.
    """

    size: int = Field(ge=32, le=1024)
    channels: Literal[1] = 1
    range: Literal["standardised", "minus-1024-to-1024"] = "standardised"


class Preprocessing(Value):
    """How a radiograph of any size becomes the network's input.

    `framing`: what is done when it is not square. `stretch` takes the whole image, `crop` the
    centre of the long side, `pad` adds black to the short side. `resize`: bilinear with
    antialiasing, either by PyTorch's rule or by scikit-image's (`resampling`). `windowing`: grey
    values as the decoder left them (for DICOM after modality and VOI look-up, with MONOCHROME1
    inverted), divided by the largest possible value.
    """

    framing: Literal["stretch", "crop", "pad"]
    resize: Literal["antialiased-bilinear", "gaussian-bilinear"] = "antialiased-bilinear"
    windowing: Literal["as-decoded"] = "as-decoded"


class LabelClaim(Value):
    """One output of the network, in the network's order.

    The calibrated probability is sigmoid(`slope` * logit + `intercept`); at or above `threshold`,
    the operating point, a finding is positive. `prevalence` is the share of positives for which
    the calibration holds, None where nothing was calibrated. AUROC on `dataset` with its 95 %
    interval, each None where nobody published it; then `dataset` says so.

    `pivot`: only on a decision scale, where it is what the sigmoid has at the operating point. The
    scale is bent linearly on both sides of it, so that the pivot becomes 0.5 (`scale.score`).
    """

    name: Label
    slope: Annotated[FiniteFloat, Field(gt=0)]
    intercept: FiniteFloat
    threshold: Unit
    pivot: Annotated[FiniteFloat, Field(gt=0, lt=1)] | None = None
    prevalence: Unit | None = None
    auroc: Unit | None = None
    auroc_low: Unit | None = None
    auroc_high: Unit | None = None
    dataset: str = Field(min_length=1, max_length=300)
    caution: str = Field(
        default="", max_length=300, description="Why this label is weak; empty when it is not."
    )


class Source(Value):
    """Where the weights came from: a file that was fetched and converted.

    `trust` pinned: its SHA-256 was known beforehand. first-use: it was unknown, and is recorded.
    """

    url: str = Field(min_length=1, max_length=1000)
    bytes: int = Field(ge=1)
    sha256: Sha256
    trust: Literal["pinned", "first-use"]


class Golden(Value):
    """An input with a known answer: a binary PGM file and the probability of every label."""

    input: FileName
    probabilities: tuple[Unit, ...]
    tolerance: Annotated[FiniteFloat, Field(gt=0, le=0.05)]


class Manifest(Value):
    """All that a pack claims.

    `scale` says what a finding's number is: a calibrated probability, or a decision scale, which
    orders images and is cut at the operating point but is the chance of nothing. `untrained` names
    outputs of the original network that mean nothing and were left out.
    """

    format: Literal[1]
    name: Name
    version: Version
    architecture: Name
    labels: tuple[LabelClaim, ...] = Field(min_length=1, max_length=64)
    scale: Literal["probability", "decision"] = "probability"
    untrained: tuple[Label, ...] = ()
    input: InputContract
    preprocessing: Preprocessing
    licence: str = Field(min_length=1, max_length=200)
    files: dict[FileName, FileFacts] = Field(min_length=2, max_length=16)
    golden: Golden
    source: Source | None = None

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        names = [label.name for label in self.labels]
        if len({heatmap_name(name) for name in names}) != len(names):
            raise ValueError("a label is named twice, or two have heatmaps of one name")
        if any((label.pivot is None) == (self.scale == "decision") for label in self.labels):
            raise ValueError("labels have a pivot on the decision scale, and only there")
        if len(self.golden.probabilities) != len(names):
            raise ValueError("the golden answer has another number of labels")
        if WEIGHTS not in self.files:
            raise ValueError(f"the files lack {WEIGHTS}")
        golden = self.files.get(self.golden.input)
        if golden is None or PurePosixPath(self.golden.input).suffix != ".pgm":
            raise ValueError("the golden input is no PGM file of the pack")
        if len(set(MAX_GATE_BYTES) & set(self.files)) == 1:
            raise ValueError(f"a gate is {GATE_CONFIG} and {GATE_WEIGHTS}, both or none")
        for name, facts in self.files.items():
            if facts.bytes > _most(name):
                raise ValueError(f"{name} is larger than it may be: {_most(name)} bytes")
        if sum(facts.bytes for facts in self.files.values()) > MAX_PACK_BYTES:
            raise ValueError(f"the pack is larger than it may be: {MAX_PACK_BYTES} bytes")
        return self

    @property
    def folder(self) -> str:
        """The name that the pack's folder must have."""
        return f"{self.name}-{self.version}"

    @property
    def brings_gate(self) -> bool:
        """Whether the pack has a gate of its own."""
        return set(MAX_GATE_BYTES) <= set(self.files)


def _most(name: str) -> int:
    """Return how many bytes a file of this name may have."""
    by_kind = _MAX_BYTES.get(PurePosixPath(name).suffix, MAX_FILE_BYTES)
    return MAX_GATE_BYTES.get(name, by_kind)
