"""core/browse.py: what stands in the address bar is read, written the shortest way, and made to SQL."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.browse import BadView, Span, View, condition, parse_view
from g3m.core.catalog import FLAGS

numbers = st.integers(0, 10**9)
spans = st.one_of(
    st.builds(lambda low: Span(low, None), numbers),
    st.builds(lambda high: Span(None, high), numbers),
    st.tuples(numbers, numbers).map(lambda ends: Span(min(ends), max(ends))),
)
texts = st.text(st.characters(blacklist_categories=("Cs", "Zs", "Cc", "Zl", "Zp")), max_size=20)
views = st.builds(
    View,
    dataset=texts,
    shard=texts,
    query=texts,
    words=st.none() | spans,
    width=st.none() | spans,
    aspect=st.none() | spans,
    host=texts,
    flag=st.sampled_from(("", *FLAGS)),
    seed=st.none() | st.integers(0, 2**40),
    after=st.integers(0, 2**50),
)


@given(views)
def test_an_address_gives_the_same_view_again(view: View) -> None:
    """What is written is read back, and written again it is the same."""
    address = view.parameters()
    assert parse_view(address) == view
    assert all(address.values())


@given(
    st.dictionaries(
        st.sampled_from(["q", "words", "width", "aspect", "seed", "after", "flag", "x"]), st.text()
    )
)
def test_any_parameters_give_a_view_or_a_reason(parameters: dict[str, str]) -> None:
    """Addresses are typed by people and made by strangers: nothing else may come of them."""
    try:
        view = parse_view(parameters)
    except BadView as error:
        assert str(error)
        return
    assert parse_view(view.parameters()) == view
    condition(view)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("256-511", Span(256, 511)),
        ("512-", Span(512, None)),
        ("-255", Span(None, 255)),
        ("7", Span(7, 7)),
        (" 1.33-1.49 ", Span(1.33, 1.49)),
        ("007", Span(7, 7)),
    ],
)
def test_ranges_as_people_write_them(text: str, span: Span) -> None:
    """One number, two, or one of the two."""
    assert Span.parse(text) == span


@pytest.mark.parametrize("text", ["", "-", "a", "5-3", "1-2-3", "--2", "1e3", "٣", "nan", "1" * 20])
def test_what_is_no_range(text: str) -> None:
    """Is refused by the range, and by the view with the name of the parameter."""
    with pytest.raises(ValueError):
        Span.parse(text)
    if text:
        with pytest.raises(BadView, match="width: a number or a range"):
            parse_view({"width": text})


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"flag": "nonsense"}, "flag: one of not_an_image"),
        ({"seed": "-1"}, "seed: a whole number"),
        ({"after": "x"}, "after: a whole number"),
        ({"after": "9" * 30}, "after: a whole number"),
        ({"after": "1", "before": "2"}, "only one of the two"),
        ({"q": "x" * 2000}, "q: at most 1000 letters"),
    ],
)
def test_mistakes_name_the_parameter(parameters: dict[str, str], words: str) -> None:
    """And what it may be."""
    with pytest.raises(BadView, match=words):
        parse_view(parameters)


def test_which_views_need_no_catalog() -> None:
    """Datasets in their order can be read by number; all else needs an index of the samples."""
    assert not View(dataset="coco", after=5).is_filtered
    assert View(seed=0).is_filtered
    assert View(query="a").is_filtered
    assert View(width=Span(1, None)).is_filtered


@given(views)
def test_the_condition_is_sql(view: View) -> None:
    """Whatever is asked for stands in values, so that no text becomes part of the SQL."""
    text, values = condition(replace(view, query=""))
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE sample(words, letters, width, height, aspect, bytes, flags, format)")
    db.execute(f"SELECT 1 FROM sample WHERE {text or 1}", values).fetchall()
    db.close()
    assert text.count("?") == len(values)


def test_an_aspect_keeps_its_own_bin() -> None:
    """Stored in hundredths: 1.1 * 100 is not 110 for a computer."""
    assert condition(View(aspect=Span(1.1, 1.15)))[1] == [110, 115]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("9" * 12, 10**12 - 1, 10**12 - 1),
        ("1.123456", 1.123456, 1.123456),
        ("0-0", 0, 0),
        (" 1 - 2 ", 1, 2),
        ("5-", 5, None),
        ("-5", None, 5),
        ("2.0", 2, 2),
    ],
)
def test_the_longest_numbers_of_a_range(text: str, low: float | None, high: float | None) -> None:
    """Twelve digits, and six behind the point."""
    assert Span.parse(text) == Span(low, high)


@pytest.mark.parametrize(
    "text", ["9" * 13, "1.1234567", "1.", ".5", "-", "", "2-1", "1-2-3", "1e3", "٣", "-5-", "a"]
)
def test_numbers_that_no_range_has(text: str) -> None:
    """More digits, half a number, other digits, and ends in the wrong order."""
    with pytest.raises(ValueError):
        Span.parse(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (Span(1.5, 1.5), "1.5"),
        (Span(1.5, None), "1.5-"),
        (Span(None, 0.123456), "-0.123456"),
        (Span(1.0, 2.25), "1-2.25"),
    ],
)
def test_ranges_are_written_shortly(span: Span, text: str) -> None:
    """Without zeros at the end of a number, and one number where both ends are it."""
    assert str(span) == text
    assert Span.parse(text) == span


def test_the_longest_text_of_a_filter() -> None:
    """A thousand letters, and numbers of eighteen digits, as SQLite holds them."""
    assert parse_view({"host": "h" * 1000}).host == "h" * 1000
    assert parse_view({"after": "9" * 18}).after == 10**18 - 1
    for wrong in (
        {"host": "h" * 1001},
        {"after": str(2**62)},
        {"seed": "1" * 19},
        {"seed": "-1"},
        {"seed": "x"},
    ):
        with pytest.raises(BadView):
            parse_view(wrong)
    assert parse_view({"seed": "0"}).parameters() == {"seed": "0"}
