"""`g3m search` and `g3m sql` as a user meets them: real processes, terminals, JSON, both languages."""

from __future__ import annotations

import pytest
from tests.runners.test_search import CAPTIONS, make_root
from tests.ui.conftest import Desk

from g3m.core.query import parse
from g3m.ui.search import shown_caption


@pytest.fixture
def stocked(desk: Desk) -> Desk:
    """A desk with two small datasets and their catalog."""
    make_root(desk.root, CAPTIONS)
    return desk


def test_hits_with_their_places(stocked: Desk) -> None:
    """Each hit says its dataset, key, shard and number, then its caption; at the end how many there are."""
    ran = stocked.run("search", "red", "bus*")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["mine/000  00000.tar  #0  640x480", "    A red bus", "1 found."]
    few = stocked.run("search", "red", "--limit", "2", "--lang", "zh")
    assert few.out.splitlines()[-1] == "找到 3 个，显示前 2 个；--limit 可显示更多，--keys 列出全部。"
    one = stocked.run("search", "red", "--dataset", "other")
    assert one.out.count("00000.tar") == 1


def test_nothing_found_says_where_it_was_looked(stocked: Desk) -> None:
    """The number of samples and the datasets stand in the answer, in both languages; it is no error."""
    ran = stocked.run("search", "zebra")
    assert (ran.code, ran.out) == (0, "No caption has that, among 7 samples of mine, other.\n")
    ran = stocked.run("search", "zebra", "--dataset", "mine", "--lang", "zh")
    assert (ran.code, ran.out) == (0, "在 mine 的 5 个样本中，没有说明文字与之匹配。\n")


def test_marks_are_for_terminals(stocked: Desk) -> None:
    """What was found is red on a terminal, and plain in a pipe and with NO_COLOR."""
    assert "A \x1b[31m\x1b[1mred\x1b[0m bus" in stocked.on_terminal("search", "red").err
    assert "\x1b" not in stocked.run("search", "red").out
    assert "\x1b[31m" not in stocked.on_terminal("search", "red", NO_COLOR="1").err


def test_a_caption_cannot_command_the_terminal(stocked: Desk) -> None:
    """Control characters and line breaks of a caption are shown as what they are, on one line."""
    shown = stocked.on_terminal("search", "cat").err
    assert "    a red? ?[31m \x1b[31m\x1b[1mcat\x1b[0m and ?more" in shown
    assert "    a red? ?[31m cat and ?more" in stocked.run("search", "cat").out.splitlines()


def test_json_has_all_of_it(stocked: Desk) -> None:
    """One object: the query, how many there are, and the hits with captions as they are written."""
    (body,) = stocked.run("search", "cat OR dog", "--limit", "1", "--json").documents
    assert body["search"] == {
        "query": "cat OR dog",
        "samples": 2,
        "samples_is_bound": False,
        "hits": [
            {
                "dataset": "other",
                "key": "000",
                "caption": CAPTIONS["other"][0],
                "shard": "00000.tar",
                "number": 0,
                "width": 640,
                "height": 480,
                "folder": "g3m-data/other",
            }
        ],
    }


def test_keys_are_all_of_them(stocked: Desk) -> None:
    """A line for each sample found, not only the first; with --limit, so many."""
    ran = stocked.run("search", "red", "--keys")
    assert ran.out.splitlines() == ["mine/000", "mine/003", "other/000"]
    assert stocked.run("search", "red", "--keys", "--limit", "1").out == "mine/000\n"
    assert stocked.run("search", "zebra", "--keys").out == ""
    assert stocked.run("search", "red", "--keys", "--json").code == 2


def test_errors_name_the_remedy(desk: Desk) -> None:
    """No catalog, no words, an unknown dataset: each exits 2 and says what to do."""
    ran = desk.run("search", "red")
    assert (ran.code, "g3m index" in ran.err) == (2, True)
    make_root(desk.root, {"mine": ("a red bus",)})
    ran = desk.run("search", "***", "--lang", "zh")
    assert (ran.code, "请输入要查找的词" in ran.err) == (2, True)
    ran = desk.run("search", "red", "--dataset", "mime")
    assert (ran.code, "did you mean 'mine'?" in ran.err) == (2, True)
    ran = desk.run("search", "--json", "--", "-red")
    assert (ran.code, ran.documents[0]["error"]["exit_code"]) == (2, 2)


def test_sql_draws_a_table(stocked: Desk) -> None:
    """Numbers stand right, texts left, wide characters keep the columns, and a limit is said."""
    ran = stocked.run(
        "sql", "SELECT caption, width / 3.0 AS third, NULL AS n, x'00ff' AS b FROM samples LIMIT 3"
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "caption                    third  n  b",
        "-----------------------  -------  -  ----",
        "A red bus                213.333  -  00ff",
        "Two double-decker buses  213.333  -  00ff",
        "红色公交车停在街道旁边   213.333  -  00ff",
        "Rows: 3",
    ]
    ran = stocked.run("sql", "SELECT key FROM samples", "--limit", "1", "--lang", "zh")
    assert ran.out.splitlines()[-1] == "仅显示前 1 行；--limit 可显示更多。"


def test_sql_cells_are_harmless(stocked: Desk) -> None:
    """What a terminal would obey, breaks and endless cells are shown on one line, cut."""
    ran = stocked.run(
        "sql", "SELECT char(27) || 'x' || char(10) || 'y' AS \"a\nb\", printf('%05000d', 7) AS c"
    )
    assert ran.out.splitlines()[0].startswith("a b   c")
    assert ran.out.splitlines()[2] == f"?x y  {'0' * 59}…"


def test_sql_as_json(stocked: Desk) -> None:
    """Rows as lists; bytes in hexadecimal digits and infinity as text, so that it stays JSON."""
    (body,) = stocked.run("sql", "SELECT 1 AS a, 'é', x'0a', NULL, 9e999, 0.5", "--json").documents
    assert body["sql"]["columns"][0] == "a"
    assert (body["sql"]["rows"], body["sql"]["is_cut"]) == ([[1, "é", "0a", None, "inf", 0.5]], False)


def test_sql_says_what_there_is(stocked: Desk) -> None:
    """A wrong name is answered with the view's columns, and nothing can be changed."""
    ran = stocked.run("sql", "SELECT nme FROM samples")
    assert (ran.code, "no such column: nme" in ran.err, "samples(id, dataset," in ran.err) == (2, True, True)
    assert stocked.run("sql", "DELETE FROM sample").code == 2
    assert stocked.run("search", "red", "--keys").out.count("\n") == 3
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    ran = stocked.run("sql", slow, "--timeout", "0.2")
    assert (ran.code, "longer than 0.2 s" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("caption", "typed", "shown"),
    [
        ("x " * 100 + "cat " + "y " * 400, "cat", "…" + "x " * 40 + "[cat] " + "y " * 158 + "…"),
        ("x " * 10 + "cat " + "y " * 400, "cat", "x " * 10 + "[cat] " + "y " * 188 + "…"),
        ("cat " * 200, '"cat cat"', "[" + "cat " * 100 + "]…"),
    ],
)
def test_of_a_long_caption_the_found_part_is_shown(caption: str, typed: str, shown: str) -> None:
    """What was found stands in what is shown, however far behind it is, and the cuts are marked."""
    made = shown_caption(caption, parse(typed), marked=True)
    made = made.replace("\x1b[31m\x1b[1m", "[").replace("\x1b[0m", "]")
    assert made == shown


def test_help_stands_in_the_list_of_commands(desk: Desk) -> None:
    """Both commands are among those of `g3m`, and their help needs no catalog."""
    listed = desk.run("--help").out
    assert "\n  search " in listed
    assert "\n  sql " in listed
    assert "double decker" in desk.run("search", "--help").out
