"""`make bench` ends whatever a part does, and its table says what is missing or too much."""

from __future__ import annotations

from typing import Any

from benchmarks.__main__ import BOTH, FIGURES, PARTS, Part, run, table


def test_every_figure_is_of_a_part() -> None:
    assert {figure.part for figure in FIGURES} <= {part.name for part in PARTS}


def test_a_figure_over_its_limit_and_one_that_is_missing_are_marked() -> None:
    documents: dict[str, Any] = {part.name: {} for part in PARTS} | {
        BOTH: {"ratios_of_best": {"onnxruntime": 1.5}},
        "cardionet": {"median_ms": 9.25, "best_ms": 8},
    }
    rows, bad = table(documents)
    marked = [row.split("  ")[0] for row in rows if row.endswith("!")]
    assert "the same / ONNX Runtime" in marked
    assert "first findings / import torch, CPU" in marked
    assert len(marked) == bad
    [good] = [row for row in rows if row.startswith("cardionet from")]
    assert good.split()[-3:] == ["9.25", "ms", "15"]
    # A mount that this machine does not have is told and held against nobody.
    assert "from a cold network / naive, wall" not in marked


def test_a_part_that_hangs_or_fails_is_ended_and_told() -> None:
    assert run(Part("hangs", ("contention", "--hold", "1e9"), 0.01)) == (
        None,
        "ended for want of time",
    )
    assert run(Part("fails", ("contention", "--wrong"))) == (None, "failed with status 2")
