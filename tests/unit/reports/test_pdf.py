"""Reads finished pages back: their words, their places and their pixels."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pytest

from chalicelib.domain import Finding, Heatmap, Quality, Radiograph
from chalicelib.reports.pdf import PdfReportWriter
from tests.fakes.reports import (
    CREATED,
    MODEL,
    STUDY_ID,
    a_finding,
    a_hot_cell,
    a_radiograph,
    a_reported_study,
    the_facts,
)

MM = 72 / 25.4
A4 = (595.28, 841.89)
SQUARE = (0.0, 0.0, 64.0, 64.0)


class Sheet:
    """A PDF as its reader sees it; lengths in mm from the upper left corner."""

    def __init__(self, pdf: bytes) -> None:
        self.document = pdfium.PdfDocument(pdf)
        self.page = self.document[0]
        self.text = self.page.get_textpage().get_text_bounded().replace("\r\n", "\n")

    def objects(self, kind: int) -> list[Any]:
        return [each for each in self.page.get_objects() if each.type == kind]

    def pictures(self) -> list[Any]:
        """Return the radiograph and its overlay, without the colour scale."""
        images = self.objects(pdfium_c.FPDF_PAGEOBJ_IMAGE)
        return [image for image in images if image.get_px_size() != (200, 16)]

    @staticmethod
    def box(thing: Any) -> tuple[float, float, float, float]:
        left, bottom, right, top = (each / MM for each in thing.get_bounds())
        return left, 297 - top, right, 297 - bottom

    def texts(self) -> list[tuple[float, float, float, float]]:
        return [self.box(each) for each in self.objects(pdfium_c.FPDF_PAGEOBJ_TEXT)]

    def bars(self) -> list[tuple[float, float, float, float]]:
        return [self.box(each) for each in self.objects(pdfium_c.FPDF_PAGEOBJ_PATH)]


def written(
    *findings: Finding,
    radiograph: Radiograph | None = None,
    heatmaps: tuple[Heatmap, ...] = (),
    **study: Any,
) -> bytes:
    return PdfReportWriter().write(
        a_reported_study(*findings, **study),
        radiograph or a_radiograph(),
        heatmaps,
        the_facts(*(finding.label for finding in findings)),
    )


def many(count: int) -> tuple[Finding, ...]:
    dice = np.random.default_rng(count)
    return tuple(
        a_finding(f"Enlarged_Finding_{number}", round(float(dice.random()), 3), 0.4)
        for number in range(count)
    )


def test_the_page_tells_the_whole_story() -> None:
    sheet = Sheet(written(a_finding(), heatmaps=(a_hot_cell(SQUARE),)))
    assert len(sheet.document) == 1
    assert sheet.page.get_size() == pytest.approx(A4, abs=0.1)
    for words in (
        "NOT FOR DIAGNOSIS",
        "Not for diagnosis.",
        "Probabilities refer to the population on which",
        STUDY_ID,
        "2026-03-14 09:26:53 UTC",
        "2026-03-14 09:26:55 UTC",
        "live",
        "Cardiomegaly: positive",
        "The probability of Cardiomegaly is 0.91, above the operating point of 0.47.",
        "Heatmap for Cardiomegaly",
        "positive",
        "DICOM, 64 \N{MULTIPLICATION SIGN} 64 pixels",
        "VOI LUT or window, inverted (MONOCHROME1)",
        "c3d4c3d4c3d4c3d4…",
        "accepted as a frontal chest X-ray, score 0.97",
        "cardionet, version 1",
        "0.91 (0.90\N{EN DASH}0.93) on NIH ChestX-ray14, test split",
        "a1b2a1b2a1b2a1b2…",
        "How to read this page",
    ):
        assert words in sheet.text, words
    assert "TEST" not in sheet.text
    assert "negative" not in sheet.text


def test_the_same_study_gives_the_same_bytes_and_only_its_own_time() -> None:
    first, second = (written(a_finding(), heatmaps=(a_hot_cell(SQUARE),)) for _ in range(2))
    assert first == second
    told = pdfium.PdfDocument(first).get_metadata_dict(skip_empty=True)
    assert told == {
        "Title": STUDY_ID,
        "Subject": "Chest radiograph analysis",
        "Creator": "Radgate",
        "Producer": "fpdf2",
        "CreationDate": f"D:{CREATED + timedelta(seconds=2):%Y%m%d%H%M%S}Z",
    }
    assert b"/Lang (en)" in first
    assert b"/Author" not in first


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (184, 196), (120, 60), (50, 120), (900, 9)]
)
def test_both_pictures_have_one_size_and_the_radiographs_proportions(
    width: int, height: int
) -> None:
    heatmap = a_hot_cell((0, 0, width, height))
    sheet = Sheet(written(a_finding(), radiograph=a_radiograph(width, height), heatmaps=(heatmap,)))
    left, right = (sheet.box(picture) for picture in sheet.pictures())
    shape = (left[2] - left[0], left[3] - left[1])
    assert shape == pytest.approx((right[2] - right[0], right[3] - right[1]), abs=0.01)
    assert shape[0] / shape[1] == pytest.approx(width / height, rel=0.01)
    assert left[1] == pytest.approx(right[1], abs=0.01)
    assert left[2] < right[0]
    assert right[2] <= 192.01


def test_the_heat_in_the_finished_file_lies_where_the_network_saw() -> None:
    # The network saw a square of a landscape image; its grid has one hot cell.
    heatmap = a_hot_cell((60.0, -20.0, 260.0, 180.0))
    pdf = written(a_finding(), radiograph=a_radiograph(320, 160), heatmaps=(heatmap,))
    picture = Sheet(pdf).pictures()[1].get_bitmap().to_numpy().astype(int)
    colour = picture.max(axis=2) - picture.min(axis=2)
    colour[colour < 40] = 0
    rows, columns = np.indices(colour.shape) + 0.5
    x = (columns * colour).sum() / colour.sum() / colour.shape[1] * 320
    y = (rows * colour).sum() / colour.sum() / colour.shape[0] * 160
    assert x == pytest.approx(60 + 6.5 / 9 * 200, abs=1.5)
    assert y == pytest.approx(-20 + 2.5 / 7 * 200, abs=1.5)


def test_the_heatmap_is_that_of_the_leading_finding() -> None:
    maps = (
        a_hot_cell(SQUARE, label="Mass", cell=(1, 5)),
        a_hot_cell(SQUARE, label="Edema", cell=(6, 2)),
    )
    both = Sheet(written(a_finding("Mass", 0.5), a_finding("Edema", 0.9), heatmaps=maps))
    assert "Heatmap for Edema" in both.text
    picture = both.pictures()[1].get_bitmap().to_numpy().astype(int)
    colour = picture.max(axis=2) - picture.min(axis=2)
    height, width = colour.shape
    assert colour[: height // 2, width // 2 :].max() > 60
    assert colour[height // 2 :, : width // 2].max() < 20


@pytest.mark.parametrize("mapped", [False, True])
def test_of_negative_findings_no_heatmap_is_drawn_and_the_page_says_why(*, mapped: bool) -> None:
    findings = (a_finding("Mass", 0.1), a_finding("Edema", 0.4), a_finding("Hernia", 0.2))
    heatmaps = tuple(a_hot_cell(SQUARE, label=finding.label) for finding in findings)
    sheet = Sheet(written(*findings, heatmaps=heatmaps if mapped else ()))
    assert len(sheet.pictures()) == 1
    assert "heatmaps are drawn for positive findings only" in sheet.text
    assert "Heatmap for" not in sheet.text
    assert "None of 3 findings reached its operating point." in sheet.text


@pytest.mark.parametrize(("width", "height"), [(64, 64), (184, 196), (120, 60), (50, 120)])
def test_a_lone_radiograph_is_larger_and_leaves_no_half_of_its_row_blank(
    width: int, height: int
) -> None:
    radiograph = a_radiograph(width, height)
    heatmap = a_hot_cell((0, 0, width, height))
    (alone,) = Sheet(written(a_finding(probability=0.1), radiograph=radiograph)).pictures()
    paired = Sheet(written(a_finding(), radiograph=radiograph, heatmaps=(heatmap,))).pictures()
    left, top, right, bottom = Sheet.box(alone)
    beside = Sheet.box(paired[0])
    assert (left + right) / 2 == pytest.approx(105, abs=0.1)
    assert right - left >= beside[2] - beside[0] - 0.01
    # It fills the height that there is for pictures, or the width of the page.
    assert bottom - top == pytest.approx(100, abs=0.1) or right - left == pytest.approx(174, abs=1)


def test_a_positive_finding_without_a_map_is_not_said_to_be_negative() -> None:
    sheet = Sheet(written(a_finding()))
    assert len(sheet.pictures()) == 1
    assert "there is no heatmap for Cardiomegaly" in sheet.text
    assert "positive findings only" not in sheet.text


@pytest.mark.parametrize("count", [1, 2, 7, 18, 21, 60])
@pytest.mark.parametrize("shape", [(64, 64), (50, 120), (120, 50)])
def test_any_number_of_findings_fits_on_one_page(count: int, shape: tuple[int, int]) -> None:
    refused = Quality(accepted=False, score=0.1, reasons=("not_a_chest", "lateral_or_rotated"))
    pdf = written(
        *many(count),
        radiograph=a_radiograph(*shape, steps=("exif_orientation", "alpha", "luma", "min_max")),
        heatmaps=tuple(a_hot_cell((0, 0, *shape), label=each.label) for each in many(count)),
        quality=refused,
    )
    sheet = Sheet(pdf)
    assert len(sheet.document) == 1
    assert "EXIF" in sheet.text
    for left, top, right, bottom in sheet.texts():
        assert left >= 17.5
        assert right <= 192.5
        assert top >= 10
        assert bottom <= 292
    # Lines of text that stand in the same place would be unreadable.
    boxes = sheet.texts()
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            overlaps = (
                min(right, other[2]) - max(left, other[0]) > 0.3
                and min(bottom, other[3]) - max(top, other[1]) > 0.3
            )
            assert not overlaps, ((left, top, right, bottom), other)
    shown = len(set(re.findall(r"Enlarged finding (\d+)", sheet.text)))
    left_out = f"{count - shown} further findings did not fit."
    assert (left_out in sheet.text) == (count > shown)
    assert shown >= min(count, 18)


def test_bars_and_operating_points_are_drawn_to_scale() -> None:
    findings = (a_finding("Mass", 0.9, 0.3), a_finding("Edema", 0.25, 0.6))
    bars = Sheet(written(*findings)).bars()
    whole = [bar for bar in bars if bar[0] == pytest.approx(66, abs=0.1) and bar[2] - bar[0] > 45]
    length = whole[0][2] - whole[0][0]
    assert len(whole) == 2
    for finding, track in zip(findings, sorted(whole, key=lambda bar: bar[1]), strict=True):
        within = [bar for bar in bars if abs((bar[1] + bar[3] - track[1] - track[3]) / 2) < 0.5]
        ends = [bar[2] for bar in within if bar[0] == pytest.approx(66, abs=0.1)]
        assert any(end == pytest.approx(66 + finding.probability * length, abs=0.1) for end in ends)
        strokes = [(bar[0] + bar[2]) / 2 for bar in within if bar[2] - bar[0] < 2]
        assert strokes
        assert strokes == [pytest.approx(66 + finding.threshold * length, abs=0.1)] * len(strokes)


def test_a_test_study_says_so_plainly() -> None:
    text = Sheet(written(a_finding(), mode="test")).text
    assert "TEST STUDY" in text
    assert "TEST STUDY, made with a test key. Not for diagnosis." in text
    assert "live" not in text


def test_an_image_that_the_gate_doubts_carries_a_caution() -> None:
    refused = Quality(accepted=False, score=0.31, reasons=("not_a_chest",))
    text = Sheet(written(a_finding(), quality=refused)).text
    assert "Caution: image NOT accepted, score 0.31: does not look like a chest." in text


def test_the_largest_and_noisiest_radiograph_stays_below_400_kilobytes() -> None:
    noise = np.random.default_rng(3).bytes(2 * 1841 * 1955)
    radiograph = a_radiograph(1841, 1955, pixels=noise, maxval=65535)
    heatmap = a_hot_cell((0, 57, 1841, 1898))
    assert len(written(a_finding(), radiograph=radiograph, heatmaps=(heatmap,))) < 400_000


def test_a_label_that_the_fonts_lack_does_not_stop_the_report() -> None:
    assert "??: positive" in Sheet(written(a_finding("心臓"))).text


def test_a_study_without_findings_is_refused_instead_of_looking_healthy() -> None:
    with pytest.raises(ValueError, match="needs findings"):
        written()


def test_a_decision_scale_is_never_called_a_probability() -> None:
    finding = a_finding()
    ref = MODEL.model_copy(update={"scale": "decision"})
    study = a_reported_study(finding).model_copy(update={"model": ref})
    facts = the_facts(finding.label).model_copy(update={"ref": ref})
    text = Sheet(PdfReportWriter().write(study, a_radiograph(), (), facts)).text
    assert "The score of Cardiomegaly is 0.91" in text
    assert "Scores are no probabilities" in text
    assert "robability" not in text
