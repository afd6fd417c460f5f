from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from chalicelib.domain import Finding, Quality, leading_label
from chalicelib.reports import words
from tests.fakes.reports import a_finding, the_facts


@pytest.mark.parametrize(
    ("probability", "threshold", "shown"),
    [
        (0.91, 0.47, ("0.91", "0.47")),
        (0.4689, 0.47, ("0.469", "0.470")),
        (0.46996, 0.47, ("0.4700", "0.4700")),  # no more than four decimals
        (0.47, 0.47, ("0.47", "0.47")),
        (0.0, 0.47, ("0.00", "0.47")),
        (0.0001, 0.47, ("< 0.01", "0.47")),
        (0.9999, 0.47, ("> 0.99", "0.47")),
        (1.0, 0.47, ("1.00", "0.47")),
    ],
)
def test_numbers_tell_probability_and_point_apart(
    probability: float, threshold: float, shown: tuple[str, str]
) -> None:
    assert words.numbers(a_finding(probability=probability, at=threshold)) == shown


def test_the_ranking_begins_with_the_label_of_the_study() -> None:
    findings = (
        a_finding("Mass", 0.50, 0.55),
        a_finding("Effusion", 0.95, 0.90),
        a_finding("Edema", 0.60, 0.30),
        a_finding("Hernia", 0.01, 0.02),
    )
    order = words.ranked(findings)
    assert [finding.label for finding in order] == ["Edema", "Effusion", "Hernia", "Mass"]
    assert order[0].label == leading_label(findings)


def test_the_pack_decides_what_is_positive_at_the_very_point() -> None:
    negative = Finding(label="Mass", probability=0.47, threshold=0.47, positive=False)
    order = words.ranked((negative, a_finding("Edema", 0.47)))
    assert [finding.label for finding in order] == ["Edema", "Mass"]


def test_a_model_of_one_label_never_says_that_there_is_nothing() -> None:
    order = (a_finding(probability=0.12),)
    assert words.headline(order) == "Cardiomegaly: negative"
    assert words.result(order) == (
        "The probability of Cardiomegaly is 0.12, below the operating point of 0.47.",
        "The model looks for this finding and for no other.",
    )


def test_without_a_positive_finding_the_nearest_is_named() -> None:
    order = words.ranked((a_finding("Mass", 0.1), a_finding("Pleural_Thickening", 0.3)))
    assert words.headline(order) == "No positive finding"
    assert words.result(order) == (
        "None of 2 findings reached its operating point.",
        "Nearest to it: Pleural thickening, probability 0.30 against 0.47.",
    )


def test_one_of_many_says_that_the_others_stayed_below() -> None:
    order = words.ranked((a_finding("Mass", 0.1), a_finding("Edema", 0.47)))
    assert words.headline(order) == "Edema: positive"
    assert words.result(order) == (
        "The probability of Edema is 0.47, at the operating point of 0.47.",
        "The other 1 finding stayed below its own.",
    )


def test_further_positive_findings_are_named_up_to_three() -> None:
    order = words.ranked(
        tuple(a_finding(label, 0.9 - 0.01 * n) for n, label in enumerate("ABCDEF"))
    )
    assert words.result(order)[1] == "Also positive: B 0.89, C 0.88, D 0.87 and 2 more."


def test_steps_are_plain_and_an_unknown_one_is_kept() -> None:
    assert words.steps(("voi_lut", "invert", "frame_2")) == (
        "VOI LUT or window, inverted (MONOCHROME1), frame 2"
    )
    assert words.steps(("window",)) == "window"  # of a study that was made before
    assert words.steps(()) == "none, the pixels are as they were sent"


def test_the_image_check_is_said_as_it_was_judged() -> None:
    assert words.image_check(None) == "not made"
    assert words.image_check(Quality(accepted=True, score=0.97)) == (
        "accepted as a frontal chest X-ray, score 0.97"
    )
    refused = Quality(accepted=False, score=0.2, reasons=("lateral_or_rotated", "too_odd"))
    assert words.image_check(refused) == (
        "NOT accepted, score 0.20: lateral or rotated view, too odd"
    )


def test_moments_are_told_in_utc() -> None:
    tokyo = datetime(2026, 3, 14, 8, 0, 0, tzinfo=timezone(timedelta(hours=9)))
    assert words.moment(tokyo) == "2026-03-13 23:00:00 UTC"
    assert words.moment(None) == "not recorded"


def test_a_hash_is_shortened_visibly() -> None:
    assert words.shortened("0123456789abcdef" * 4) == "0123456789abcdef…"


def test_the_evaluation_is_told_for_one_label_and_for_many() -> None:
    assert words.measured(the_facts("Mass")) == (
        "0.91 (0.90\N{EN DASH}0.93) on NIH ChestX-ray14, test split"
    )
    assert words.measured(the_facts("Mass", "Edema")) == (
        "0.91 to 0.91 over 2 labels, on NIH ChestX-ray14, test split"
    )
    assert words.measured(the_facts()) == "not measured"


def test_text_becomes_what_the_fonts_can_draw() -> None:
    # fpdf2 encodes as Latin-1; the reader decodes as Windows-1252.
    drawn = words.printable("a\N{EN DASH}b… é\t\x00中").encode("latin-1").decode("cp1252")
    assert drawn == "a\N{EN DASH}b… é  ?"


def test_the_table_says_what_it_left_out() -> None:
    assert words.table_note(1, 0).startswith("The upright stroke")
    assert "Sorted" not in words.table_note(1, 0)
    assert words.table_note(40, 20).startswith("20 further findings did not fit.")
