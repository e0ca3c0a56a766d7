"""core/toml_table.py: what a TOML document says is taken by its type, and each problem names its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from g3m.core.digest import Digest
from g3m.core.toml_table import Table


def made(**raw: Any) -> Table:
    return Table(raw, "here", [])


@pytest.mark.parametrize(
    ("kind", "value", "found", "problem"),
    [
        ("text", "  a b ", "a b", ""),
        ("text", "", "", ""),
        ("text", 5, "", "must be text, not int"),
        ("whole", 0, 0, ""),
        ("whole", 2**63 - 1, 2**63 - 1, ""),
        ("whole", 2**63, None, "must be below 9223372036854775808"),
        ("whole", -1, None, "must not be negative"),
        ("whole", True, None, "must be a whole number, not bool"),
        ("whole", 1.0, None, "must be a whole number, not float"),
        ("texts", ["a", "b"], ("a", "b"), ""),
        ("texts", [], (), ""),
        ("texts", ["a", 5], (), "must be a list of texts"),
        ("texts", "ab", (), "must be a list of texts, not str"),
        ("digest", "md5:" + "0" * 32, Digest("md5", "0" * 32), ""),
        ("digest", "", None, ""),
        ("digest", "md5:0", None, "a md5 digest has 32 lower-case hexadecimal digits"),
        ("table", [], None, "must be a table, not list"),
        ("tables", {}, [], "must be a list of tables, not dict"),
        ("tables", [5], [], "must be a list of tables"),
    ],
)
def test_a_value_has_its_type_or_a_problem(kind: str, value: object, found: object, problem: str) -> None:
    """What has another type counts as absent, and the problem is noted with its path."""
    table = made(key=value)
    assert getattr(table, kind)("key") == found
    assert table.problems == ([f"here.key: {problem}"] if problem else [])
    assert table.seen == {"key"}


@pytest.mark.parametrize(
    ("kind", "absent"),
    [("text", ""), ("whole", None), ("texts", ()), ("digest", None), ("table", None), ("tables", [])],
)
def test_what_is_absent_is_no_problem(kind: str, absent: object) -> None:
    """A key that is not there gives what is said for it, and counts as asked for."""
    table = made()
    assert getattr(table, kind)("key") == absent
    assert (table.problems, table.seen) == ([], {"key"})


@pytest.mark.parametrize(
    ("value", "found"),
    [(0, 0.0), (1, 1.0), (0.25, 0.25), (-0.01, 0.5), (1.01, 0.5), (True, 0.5), ("1", 0.5), (None, 0.5)],
)
def test_a_fraction_is_from_0_to_1(value: object, found: float) -> None:
    """Both ends are fractions; anything else is a problem, and the default stands."""
    table = made(key=value)
    assert table.fraction("key", 0.5) == found
    assert table.problems == ([] if found != 0.5 else ["here.key: must be a number from 0 to 1"])
    assert table.fraction("other", 0.25) == 0.25
    assert table.seen == {"key", "other"}


def test_a_text_may_be_required_and_have_a_form() -> None:
    """Missing and empty are told apart; a text of another form is noted, and taken."""
    table = made(empty=" ", wrong="x1", wrong_type=5)
    assert (
        table.text("empty", required=True)
        == table.text("missing", required=True)
        == table.text("wrong_type", required=True)
        == ""
    )
    assert table.text("wrong", pattern=re.compile("[0-9]+")) == "x1"
    assert table.text("empty", pattern=re.compile("[0-9]+")) == ""
    assert table.problems == [
        "here.empty: must not be empty",
        "here.missing: is missing",
        "here.wrong_type: must be text, not int",
        "here.wrong: 'x1' does not fit [0-9]+",
    ]
    good = made(key="12")
    assert (good.text("key", required=True, pattern=re.compile("[0-9]+")), good.problems) == ("12", [])


def test_tables_within_share_the_problems() -> None:
    """A path has the names of all tables on the way, and the numbers of those in lists."""
    table = Table({"a": {"b": {"c": -1}}, "list": [{"x": 1}, 5, {"x": -1}]}, "", [])
    inner = table.table("a")
    assert inner is not None
    deeper = inner.table("b")
    assert deeper is not None
    assert deeper.whole("c") is None
    assert [one.whole("x") for one in table.tables("list")] == [1, None]
    assert table.problems == [
        "a.b.c: must not be negative",
        "list: must be a list of tables",
        "list[2].x: must not be negative",
    ]
    assert inner.problems is table.problems


def test_a_problem_shows_little_of_what_somebody_wrote() -> None:
    """Five hundred characters of a key, and as many of what is wrong."""
    table = Table({}, "", [])
    table.note("k" * 501, "p" * 501)
    assert table.problems == ["k" * 500 + ": " + "p" * 500]
