"""The published weights of torchxrayvision's DenseNet-121: where they are and what they answer.

Labels and operating points are facts of torchxrayvision 1.5.7, `models.py` (Apache-2.0); a label
of None is an output that was never trained. Its authors publish no checksums. The SHA-256 of `all`
is the one that independent users of the file have recorded, e.g.
https://github.com/sanjeevsrivathsan/HoloMed/blob/main/backend/models/weights/README.md; see
docs/adr/0010-torchxrayvision.md.
"""

from __future__ import annotations

from dataclasses import dataclass

_RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
_FILE = "-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"

LABELS = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
SIZE = 224  # pixels of a side

# AUROC on VinDr-CXR, the one data set of torchxrayvision's BENCHMARKS.md (27 June 2021) that
# `all` was not trained on. The others there, PadChest and CheXpert among them, were.
EXTERNAL = "VinDr-CXR, as published in torchxrayvision's BENCHMARKS.md (no interval given)"
UNPUBLISHED = "none: no figure of this very file on images that it was not trained on"


@dataclass(frozen=True, slots=True)
class Release:
    """One release file. `points`: the operating point of each output in the order of LABELS.

    `bytes` and `sha256` are None where nobody recorded them: trust is then given on first use.
    """

    file: str
    trained_on: str
    points: tuple[float | None, ...]
    bytes: int | None = None
    sha256: str | None = None
    auroc: tuple[tuple[str, float], ...] = ()

    @property
    def url(self) -> str:
        """The address of the file."""
        return f"{_RELEASE}{self.file}{_FILE}"


def _only(points: dict[str, float]) -> tuple[float | None, ...]:
    return tuple(points.get(label) for label in LABELS)


RELEASES = {
    "densenet121-res224-all": Release(
        file="nih-pc-chex-mimic_ch-google-openi-kaggle",
        trained_on="NIH, PadChest, CheXpert, MIMIC-CXR, Google, OpenI and RSNA",
        points=(
            0.07422872,
            0.038290843,
            0.09814756,
            0.0098118475,
            0.023601074,
            0.0022490358,
            0.010060724,
            0.103246614,
            0.056810737,
            0.026791653,
            0.050318155,
            0.023985857,
            0.01939503,
            0.042889766,
            0.053369623,
            0.035975814,
            0.20204692,
            0.05015312,
        ),
        bytes=28_382_008,
        sha256="56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899",
        auroc=(
            ("Atelectasis", 0.67),
            ("Cardiomegaly", 0.90),
            ("Consolidation", 0.93),
            ("Effusion", 0.87),
            ("Infiltration", 0.86),
            ("Lung Opacity", 0.85),
            ("Pleural_Thickening", 0.84),
            ("Pneumothorax", 0.93),
        ),
    ),
    "densenet121-res224-chex": Release(
        file="chex",
        trained_on="CheXpert",
        points=_only(
            {
                "Atelectasis": 0.1988969,
                "Consolidation": 0.05710573,
                "Pneumothorax": 0.0531293,
                "Edema": 0.1435217,
                "Effusion": 0.27212676,
                "Pneumonia": 0.07749717,
                "Cardiomegaly": 0.19712369,
                "Lung Lesion": 0.09932402,
                "Fracture": 0.09273402,
                "Lung Opacity": 0.3270967,
                "Enlarged Cardiomediastinum": 0.10888247,
            }
        ),
    ),
}
