"""core/gathering.py: the parts of an array, the plan of a list, and the words of settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from g3m.core.errors import SettingsError
from g3m.core.gathering import (
    DEFAULT_POLICY,
    KEY_DIGITS,
    READER,
    TASK_ROWS,
    Columns,
    Filters,
    Gathering,
    ListSource,
    Row,
    Span,
    gather_plan,
    gathering_for,
    parse_part,
    row_key,
    shard_name,
    treatment_of_rows,
)
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.settings import Settings
from g3m.core.treatment import AS_IT_IS

RECIPE = Recipe(
    name="toy", title="", folder="toy/toy", homepage="", licence="", terms="", citation="",
    samples=SampleRule(reader="urls"), expect=Expect(samples=3, source="page", download_bytes=500), assets=(),
)  # fmt: skip
SOURCE = ListSource("a.tsv", "/lists/a.tsv", "", 100, "stamp")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", None),
        ("0/1", (0, 1)),
        ("3/16", (3, 16)),
        ("15/16", (15, 16)),
        ("00003/000016", (3, 16)),
        ("0/9999999999", (0, 9_999_999_999)),
    ],
)
def test_a_part_of_a_whole(text: str, part: tuple[int, int] | None) -> None:
    """From the first to the last of any number, in twelve characters."""
    assert parse_part(text) == part


@pytest.mark.parametrize(
    "text",
    [
        "16/16",
        "17/16",
        "0/0",
        "3",
        "/16",
        "3/",
        "-1/16",
        "3/16/2",
        " 3/16",
        "３/16",
        "3/１６",
        "a/b",
        "1.0/2",
        "0/99999999999",
    ],
)
def test_what_is_no_part(text: str) -> None:
    """Counted from 1, of nothing, half a part, other digits, or too long: the words show it and how it is written."""
    with pytest.raises(SettingsError, match="is no part of a whole") as caught:
        parse_part(text)
    assert repr(text) in caught.value.message
    assert all("I/N" in hint for hint in caught.value.hint)


def test_names_and_keys() -> None:
    """Five digits of a shard's number, or more; as many digits of a place as its task needs."""
    assert (shard_name(0), shard_name(99_999), shard_name(100_000)) == (
        "00000.tar",
        "99999.tar",
        "100000.tar",
    )
    assert [row_key("00000.tar", 0, rows) for rows in (1, 10, 11, 100, 101)] == [
        "000000",
        "000000",
        "0000000",
        "0000000",
        "00000000",
    ]
    assert (READER, TASK_ROWS, KEY_DIGITS) == ("urls", 10_000, 5)


def test_a_list_begins_plain() -> None:
    """What nobody says of columns, filters, rows and lists."""
    assert Columns() == Columns(url="url", caption="caption", sha256="", keep=())
    assert Gathering() == Gathering(
        columns=Columns(),
        filters=Filters(least_side=0, most_aspect=0.0),
        on_mismatch="reject",
        task_rows=10_000,
    )
    assert ListSource("a") == ListSource("a", "", "", 0, "")
    assert Row(1, "u", "c") == Row(1, "u", "c", "", {})
    assert Span(0, 1, 2, 3).check == 0
    assert Filters(least_side=1).refuse(1, 1) == Filters(least_side=1).refuse(0, 1) == ""
    assert Filters(most_aspect=2).refuse(1, 2) == ""
    assert Filters(least_side=2).refuse(1, 5) == Filters(least_side=2).refuse(5, 1) == "too_small"


def test_settings_decide_how_rows_become_samples() -> None:
    """The filters and what becomes of a wrong digest come from the settings; the size of tasks from who asks."""
    settings = replace(Settings(), min_side=200, max_aspect=3.0, hash_mismatch="keep")
    columns = Columns(url="u")
    made = gathering_for(columns, settings)
    assert made == Gathering(
        columns=columns, filters=Filters(least_side=200, most_aspect=3.0), on_mismatch="keep"
    )
    assert gathering_for(columns, Settings(), 7) == Gathering(columns=columns, task_rows=7)


def test_what_strangers_send_is_not_kept_where_it_hurts() -> None:
    """Bombs and pictures without an end are left out, unless the recipe or the settings say otherwise."""
    assert DEFAULT_POLICY == {"bomb": "reject", "no_end": "reject"}
    assert [treatment_of_rows({}, Settings()).action(name) for name in ("bomb", "no_end")] == [
        "reject",
        "reject",
    ]
    assert treatment_of_rows({"no_end": "keep"}, Settings()).action("no_end") == "keep"


def test_the_identity_of_a_list() -> None:
    """It holds the name, size and stamp of every list and how rows become samples, and not where a list lies."""
    plan = gather_plan(RECIPE, [SOURCE], Gathering(), AS_IT_IS)
    assert (plan.sources, plan.gathering, plan.assets, plan.parity, plan.treatment) == (
        (SOURCE,),
        Gathering(),
        (),
        "none",
        AS_IT_IS,
    )
    assert (plan.shard_bytes, plan.peak_bytes) == (None, 500)
    same = [
        gather_plan(RECIPE, [replace(SOURCE, path="/b")], Gathering(), AS_IT_IS),
        gather_plan(replace(RECIPE, title="b"), [SOURCE], Gathering(), AS_IT_IS),
    ]
    assert {one.identity for one in same} == {plan.identity}
    others = (
        [
            gather_plan(RECIPE, [replace(SOURCE, **change)], Gathering(), AS_IT_IS)
            for change in ({"name": "b"}, {"asset": "b"}, {"size_bytes": 101}, {"stamp": "b"})
        ]
        + [
            gather_plan(RECIPE, [SOURCE], Gathering(**change), AS_IT_IS)
            for change in (
                {"task_rows": 9},
                {"on_mismatch": "keep"},
                {"filters": Filters(least_side=1)},
                {"columns": Columns(url="b")},
            )
        ]
        + [
            gather_plan(RECIPE, [SOURCE, SOURCE], Gathering(), AS_IT_IS),
            gather_plan(replace(RECIPE, folder="b"), [SOURCE], Gathering(), AS_IT_IS),
        ]
    )
    identities = [one.identity for one in others]
    assert len({*identities, plan.identity}) == len(others) + 1


def test_fetched_lists_are_the_assets() -> None:
    """What a plan of rows downloads are its lists."""
    listed = replace(RECIPE, assets=(Asset(name="a.tsv", places=("https://a/a.tsv",), size_bytes=100),))
    plan = gather_plan(listed, [SOURCE], Gathering(), AS_IT_IS)
    assert (plan.assets, plan.peak_bytes) == (listed.assets, 100)
