"""Hides how the parts of the page look: header, pictures, facts and footer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.reports import overlay, words
from chalicelib.reports.page import COLUMN, GREY, LEFT, RIGHT, SECOND

if TYPE_CHECKING:
    from chalicelib.domain import Finding, Heatmap, ModelFacts, Radiograph, Study
    from chalicelib.reports.page import Page

CAPTION = 10.0  # mm below the pictures
FACTS = 33.0
GUIDE = 31.0
FOOTER = 278.0  # where it begins

_DOTS_PER_MM = 200 / 25.4
_PICTURE_LIMIT = 170_000  # bytes: two of them and everything else stay below 400 kB
_WIDE = RIGHT - LEFT


def header(page: Page, study: Study, order: tuple[Finding, ...]) -> float:
    """Draw which study this is and what came out; return where the pictures may begin."""
    page.text(LEFT, 19, "Chest radiograph analysis", size=11, bold=True)
    left = page.badge(RIGHT, 19, words.NOT_FOR_DIAGNOSIS.upper(), filled=False)
    if study.mode == "test":
        page.badge(left - 3, 19, "TEST STUDY", filled=True)
    for x, width, name, value in (
        (LEFT, 62.0, "Study", study.id),
        (83.0, 40.0, "Created", words.moment(study.created_at)),
        (126.0, 40.0, "Completed", words.moment(study.completed_at)),
        (169.0, 23.0, "Mode", words.mode(study.mode)),
    ):
        page.text(x, 28, name, size=6.5, colour=GREY)
        page.text(x, 32, value, width=width)
    page.rule(36)
    page.text(LEFT, 48, words.headline(order), size=20, bold=True, width=_WIDE)
    y = 55.0
    for sentence in words.result(order, study.model):
        page.text(LEFT, y, sentence, size=10, width=_WIDE)
        y += 5
    if study.quality is not None and not study.quality.accepted:
        caution = f"Caution: image {words.image_check(study.quality)}."
        page.text(LEFT, y, caution, size=10, bold=True, width=_WIDE)
        y += 5
    return y + 1


def pictures(  # noqa: PLR0913 - two for the place, three for what stands there
    page: Page,
    top: float,
    room: float,
    *,
    radiograph: Radiograph,
    shown: Finding,
    heatmap: Heatmap | None,
) -> float:
    """Draw the radiograph, and beside it the same under its heatmap; return where they end.

    `room`: height in mm for the pictures alone. Both keep the radiograph's proportions and have
    the same size. Without a heatmap the radiograph stands in the middle, as large as `room` lets.
    """
    original = (radiograph.info.width, radiograph.info.height)
    scale = min((COLUMN if heatmap else _WIDE) / original[0], room / original[1])
    width, height = original[0] * scale, original[1] * scale
    left = LEFT if heatmap else (LEFT + RIGHT - width) / 2
    size = (max(1, round(width * _DOTS_PER_MM)), max(1, round(height * _DOTS_PER_MM)))
    picture = overlay.greyscale(radiograph, size)
    file = overlay.jpeg(picture, _PICTURE_LIMIT if heatmap else 2 * _PICTURE_LIMIT)
    page.picture(file, (left, top), (width, height), "The radiograph as it was analysed")
    caption = top + height + 4.5
    if heatmap is None:
        middle, note = (LEFT + RIGHT) / 2, words.lone_note(shown)
        page.text(middle, caption, "Radiograph", bold=True, align="centre")
        page.text(middle, caption + 4.2, note, size=7, colour=GREY, align="centre")
        return top + height + CAPTION
    page.text(left, caption, "Radiograph", bold=True)
    page.text(left, caption + 4.2, words.AS_ANALYSED, size=7, colour=GREY)
    name = words.label_name(shown.label)
    file = overlay.jpeg(overlay.overlay(picture, heatmap, original), _PICTURE_LIMIT)
    alt = f"The radiograph under the heatmap for {name}"
    page.picture(file, (SECOND, top), (width, height), alt)
    page.text(SECOND, caption, f"Heatmap for {name}", bold=True, width=COLUMN)
    _scale(page, caption + 4.2, words.heat_note(whole=overlay.covers(heatmap, original)))
    return top + height + CAPTION


def facts(page: Page, top: float, study: Study, radiograph: Radiograph, model: ModelFacts) -> None:
    """Draw what is known of the image and of the model, each in its column."""
    page.rule(top)
    info, ref = radiograph.info, study.model or model.ref
    image = (
        ("Format", f"{info.format}, {info.width} \N{MULTIPLICATION SIGN} {info.height} pixels", 1),
        ("Steps", words.steps(info.steps), 2),
        ("SHA-256", words.shortened(info.sha256), 1),
        ("Check", words.image_check(study.quality), 2),
    )
    pack = (
        ("Name", f"{ref.name}, version {ref.version}", 1),
        ("Network", f"{model.architecture}, licence {model.licence}", 1),
        ("AUROC", words.measured(model), 3),
        ("Manifest", words.shortened(ref.sha256), 1),
    )
    for x, title, rows in ((LEFT, "Image", image), (SECOND, "Model", pack)):
        page.text(x, top + 6, title, size=9, bold=True)
        y = top + 11.5
        for name, value, lines in rows:
            page.text(x, y, name, size=7.5, colour=GREY)
            y = page.paragraph(x + 16, y, value, width=COLUMN - 16, size=7.5, lines=lines) + 0.7


def guide(page: Page, top: float, study: Study) -> None:
    """Draw what the page's terms mean."""
    page.rule(top)
    page.text(LEFT, top + 6, "How to read this page", size=9, bold=True)
    for number, (term, meaning) in enumerate(words.guide(study.model)):
        y = top + 11.5 + 4.3 * number
        page.text(LEFT, y, term, size=7.5, colour=GREY)
        page.text(LEFT + 16, y, meaning, size=7.5, width=_WIDE - 16)


def footer(page: Page, study: Study) -> None:
    """Draw what this page must not be taken for."""
    page.rule(FOOTER)
    warning = words.NOT_FOR_DIAGNOSIS + "."
    if study.mode == "test":
        warning = f"TEST STUDY, made with a test key. {warning}"
    page.text(LEFT, FOOTER + 4.5, warning, size=7.5, bold=True)
    page.text(RIGHT, FOOTER + 4.5, study.id, size=6.5, colour=GREY, align="right")
    page.paragraph(
        LEFT, FOOTER + 8, words.caveat(study.model), width=_WIDE, size=6.8, colour=GREY, lines=2
    )


def _scale(page: Page, y: float, note: str) -> None:
    x = SECOND + page.text(SECOND, y, "low", size=7, colour=GREY) + 1.5
    file = overlay.jpeg(overlay.colour_scale((200, 16)), _PICTURE_LIMIT)
    page.picture(file, (x, y - 1.9), (22, 1.9), "Colours of the heatmap, from low to high")
    x += 23.5
    x += page.text(x, y, "high", size=7, colour=GREY) + 3
    page.text(x, y, note, size=7, colour=GREY, width=RIGHT - x)
