"""Whatever stands in a table can be read from it, however narrow the terminal is."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from admin_cli.tables import shared_out, table_of

Shown = tuple[tuple[str, ...], list[tuple[str, ...]]]

DOCTOR: Shown = (
    ("what", "drift", "repair"),
    [
        (
            "usage plan radgate-local-acme",
            "not in the registry: no client has this usage plan",
            "delete it in API Gateway",
        )
    ],
)
MODELS: Shown = (
    ("model", "active", "architecture", "labels", "scale", "sha256", "error"),
    [("cardionet@1", "yes", "efficientnet-lite0-enlarged", "1", "probability", "0f9b2d7c4e1a", "")],
)
# No control characters and no spaces but the one: a terminal shows the others as it likes.
ANY_TEXT = st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=60)
SHORT_WORDS = st.lists(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=10),
    max_size=12,
).map(" ".join)


@st.composite
def tables(draw: st.DrawFn, texts: st.SearchStrategy[str], most: int) -> Shown:
    count = draw(st.integers(1, most))
    row = st.tuples(*[texts] * count)
    return draw(row), draw(st.lists(row, max_size=4))


def shown(table: Shown, width: int) -> str:
    console = Console(width=width, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table_of(*table, width))
    return capture.get()


def everything(table: Shown) -> list[str]:
    columns, rows = table
    return [*columns, *(cell for row in rows for cell in row)]


@given(tables(st.lists(ANY_TEXT, max_size=6).map(" ".join), most=8), st.integers(60, 200))
@example(DOCTOR, 80)
@example(MODELS, 80)
def test_no_character_is_lost_and_no_line_is_too_long(table: Shown, width: int) -> None:
    written = shown(table, width)
    there = Counter(written.replace("─", ""))
    wanted = Counter("".join(everything(table)).replace("─", ""))
    for space in (" ", "\n"):
        del there[space], wanted[space]
    assert there == wanted
    assert all(Console().measure(line).maximum <= width for line in written.splitlines())


@given(tables(SHORT_WORDS, most=4), st.integers(60, 200))
@example(DOCTOR, 60)
@example(DOCTOR, 80)
def test_words_that_have_room_stay_whole(table: Shown, width: int) -> None:
    there = Counter(shown(table, width).split())
    assert Counter(word for text in everything(table) for word in text.split()) <= there


def test_headings_and_hashes_of_a_wide_table_stay_whole() -> None:
    written = shown(MODELS, 80)
    pieces = everything(MODELS)
    pieces.remove("efficientnet-lite0-enlarged")
    assert {*pieces, "efficientnet-", "lite0-enlarged"} <= {*written.split(), ""}


def test_the_column_that_names_the_row_gives_way_last() -> None:
    texts = [["key", "k" * 30], ["label", "l" * 40], ["state", "s" * 20]]
    assert shared_out(texts, 45) == [30, 7, 8]
    assert shared_out(texts, 34) == [30, 2, 2]
    assert shared_out(texts, 12) == [8, 2, 2]
    assert shared_out(texts, 3) == [1, 1, 1]
    assert shared_out(texts, 200) == [30, 40, 20]
