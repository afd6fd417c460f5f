"""Hides how a study is put into words: plain phrases, and text that the PDF's fonts can show."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from chalicelib.domain import reasons_told

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Finding, LabelFacts, Mode, ModelFacts, ModelRef, Quality

NOT_FOR_DIAGNOSIS = "Not for diagnosis"
AS_ANALYSED = "as it was analysed"
_CAVEATS = {
    "probability": "Probabilities refer to the population on which the model was evaluated. In"
    " other patients, or with other equipment, they may not hold.",
    "decision": "Scores are no probabilities: they order images, and mean something only beside"
    " the operating point.",
}
_GUIDES = {
    "probability": "How often images with such an answer had the finding, in the evaluation"
    " population.",
    "decision": "A decision scale. It is cut at the operating point and is the chance of nothing.",
}

# What decoding may report, for readers who never saw the code. An unknown step is shown by
# its own name, so that none is ever lost.
_STEPS = {
    "exif_orientation": "turned upright (EXIF)",
    "palette": "palette resolved",
    "alpha": "transparency removed",
    "luma": "colour reduced to grey",
    "modality_lut": "modality LUT",
    "voi_lut": "VOI LUT or window",
    "min_max": "range stretched",
    "invert": "inverted (MONOCHROME1)",
    "invert_corrected": "inverted again (the header was wrong)",
}
_NAMED = 3  # further positive findings that the sentence names; the table has them all
_HASH_SHOWN = 16  # hexadecimal digits: enough to compare by eye


def printable(text: str) -> str:
    """Return `text` in the form in which fpdf2 takes it for a core font.

    The core fonts are drawn in Windows-1252, but fpdf2 encodes their text as Latin-1, which
    lacks dashes and the ellipsis: so the 1252 bytes are passed off as Latin-1. Characters
    that the fonts lack become ``?``; control characters would be drawn as boxes and become
    spaces.
    """
    visible = "".join(char if char.isprintable() else " " for char in text)
    return visible.encode("cp1252", "replace").decode("latin-1")


def label_name(label: str) -> str:
    """Return a pack's label as words: ``Pleural_Thickening`` is ``Pleural thickening``."""
    first, *rest = label.split("_")
    return " ".join([first, *(word.lower() for word in rest)])


def steps(names: tuple[str, ...]) -> str:
    """Return what decoding did, in the order in which it did it."""
    if not names:
        return "none, the pixels are as they were sent"
    return ", ".join(_plain(name, _STEPS) for name in names)


def image_check(quality: Quality | None) -> str:
    """Return the gate's judgement as a phrase."""
    if quality is None:
        return "not made"
    if quality.accepted:
        return f"accepted as a frontal chest X-ray, score {quality.score:.2f}"
    reasons = reasons_told(quality.reasons) or "no reason was given"
    return f"NOT accepted, score {quality.score:.2f}: {reasons}"


def moment(time: datetime | None) -> str:
    """Return an aware time in UTC, to the second."""
    return "not recorded" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def shortened(sha256: str) -> str:
    """Return as much of a hash as can be compared by eye."""
    return sha256 if len(sha256) <= _HASH_SHOWN else f"{sha256[:_HASH_SHOWN]}…"


def auroc(facts: LabelFacts | None) -> str:
    """Return a label's AUROC with its 95 % interval, as far as they are known."""
    if facts is None or facts.auroc is None:
        return "not measured"
    if facts.auroc_low is None or facts.auroc_high is None:
        return f"{facts.auroc:.2f}"
    return f"{facts.auroc:.2f} ({facts.auroc_low:.2f}\N{EN DASH}{facts.auroc_high:.2f})"


def measured(model: ModelFacts) -> str:
    """Return on what the AUROC of the pack's labels was measured, and the value of a lone one."""
    known = {facts: facts.auroc for facts in model.labels if facts.auroc is not None}
    if not known:
        return "not measured"
    datasets = ", ".join(dict.fromkeys(facts.dataset for facts in known))
    if len(model.labels) == 1:
        return f"{auroc(model.labels[0])} on {datasets}"
    low, high = min(known.values()), max(known.values())
    some = f"{len(known)} of " if len(known) < len(model.labels) else ""
    return f"{low:.2f} to {high:.2f} over {some}{len(model.labels)} labels, on {datasets}"


def mode(mode: Mode) -> str:
    """Return in which mode a study was made; a test study says so loudly."""
    return "TEST" if mode == "test" else "live"


def term(model: ModelRef | None) -> str:
    """Return what a finding's number is called: only a calibrated one is a probability."""
    return "score" if model is not None and model.scale == "decision" else "probability"


def caveat(model: ModelRef | None) -> str:
    """Return what the page must not be taken for."""
    return (
        "Made by software; no physician has read it."
        f" {_CAVEATS[model.scale if model else 'probability']}"
        " This page does not replace the reading of a radiologist."
    )


def guide(model: ModelRef | None) -> tuple[tuple[str, str], ...]:
    """Return the page's terms and what they mean."""
    number = term(model)
    return (
        (number.capitalize(), _GUIDES[model.scale if model else "probability"]),
        (
            "Op. point",
            f"The {number} from which on a finding is called positive; it belongs to the model.",
        ),
        (
            "AUROC",
            "How well the model tells images with and without the finding apart: 0.5 is chance.",
        ),
        (
            "Heatmap",
            "Which regions raised a positive answer. Coarse: it shows neither outline nor size.",
        ),
    )


def heat_note(*, whole: bool) -> str:
    """Return how to read the heatmap; `whole`: the network saw all of the image."""
    note = "line: half of the scale"
    return note if whole else f"{note}; dark: not seen"


def lone_note(shown: Finding) -> str:
    """Return what stands below a radiograph that has no heatmap beside it."""
    if shown.positive:
        return f"{AS_ANALYSED}; there is no heatmap for {label_name(shown.label)}"
    return f"{AS_ANALYSED}; heatmaps are drawn for positive findings only"


def table_note(count: int, left_out: int) -> str:
    """Return how to read a table of `count` findings that has no room for `left_out` of them."""
    note = "The upright stroke marks the operating point. A finding that reaches it is positive."
    if count > 1:
        note += " Sorted by the distance to it."
    return note if not left_out else f"{left_out} further findings did not fit. {note}"


def numbers(finding: Finding) -> tuple[str, str]:
    """Return probability and operating point, with the digits that tell them apart.

    Two decimals, never ``0.00`` or ``1.00`` for what is neither, and more decimals where two
    would show ``0.47`` below ``0.47``.
    """
    probability, threshold = finding.probability, finding.threshold
    for decimals in (2, 3, 4):
        shown = f"{probability:.{decimals}f}", f"{threshold:.{decimals}f}"
        if shown[0] != shown[1] or probability == threshold:
            break
    step = 10**-decimals
    if 0 < probability < step / 2:
        return f"< {step:.{decimals}f}", shown[1]
    if 1 - step / 2 <= probability < 1:
        return f"> {1 - step:.{decimals}f}", shown[1]
    return shown


def ranked(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings by their distance above the operating point, positive ones first."""
    return tuple(sorted(findings, key=lambda f: (not f.positive, f.threshold - f.probability)))


def headline(order: tuple[Finding, ...]) -> str:
    """Return the result in a few words; `order` as `ranked` returns it, not empty.

    A model of one label has not looked for anything else, so it never says "no finding".
    """
    if order[0].positive:
        return f"{label_name(order[0].label)}: positive"
    return f"{label_name(order[0].label)}: negative" if len(order) == 1 else "No positive finding"


def result(order: tuple[Finding, ...], model: ModelRef | None = None) -> tuple[str, str]:
    """Return the result as two sentences; `order` as `ranked` returns it, not empty."""
    number = term(model)
    first = order[0]
    name, (probability, threshold) = label_name(first.label), numbers(first)
    if not first.positive:
        where = "below"
    else:
        where = "at" if first.probability == first.threshold else "above"
    sentence = (
        f"The {number} of {name} is {probability}, {where} the operating point of {threshold}."
    )
    if len(order) == 1:
        return sentence, "The model looks for this finding and for no other."
    if not first.positive:
        nearest = f"Nearest to it: {name}, {number} {probability} against {threshold}."
        return f"None of {len(order)} findings reached its operating point.", nearest
    others = [f"{label_name(f.label)} {numbers(f)[0]}" for f in order[1:] if f.positive]
    if not others:
        rest = len(order) - 1
        stayed = "finding stayed below its own" if rest == 1 else "findings stayed below theirs"
        return sentence, f"The other {rest} {stayed}."
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return sentence, f"Also positive: {', '.join(others[:_NAMED])}{more}."


def _plain(name: str, known: dict[str, str]) -> str:
    return known.get(name, name.replace("_", " "))
