"""ui/terms.py: terms are shown before the first download, once for each root, and never in the way of a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.ui.conftest import Desk

QUESTION = "Proceed?"
FIRST_WORDS = "The captions are licensed CC BY 4.0."


def data_requests(desk: Desk) -> list[str]:
    return [request.path for request in desk.world.origin.requests]


@pytest.mark.parametrize("answer", ["y\n", "\n", "Y\n", "yes\n"])
def test_on_a_terminal_it_is_asked_and_yes_goes_on(desk: Desk, answer: str) -> None:
    """The terms are shown, then the question; yes, or Enter, fetches."""
    ran = desk.on_terminal("get", "coco_valid", keys=[(QUESTION, answer)])
    assert ran.code == 0
    before = ran.err.partition(QUESTION)[0]
    assert "Terms of coco_valid (captions CC BY 4.0" in before
    assert FIRST_WORDS in before
    assert ran.err.count(QUESTION) == 1
    assert (desk.root / "coco" / "coco_valid" / "manifest.json").is_file()


@pytest.mark.parametrize("answer", ["n\n", "no\n", "N\n"])
def test_no_exits_4_and_nothing_is_fetched(desk: Desk, answer: str) -> None:
    """No: exit 4, not a single request, not a single file; the next run asks again."""
    before = desk.files()
    ran = desk.on_terminal("get", "all", keys=[(QUESTION, answer)])
    assert ran.code == 4
    assert "Nothing was fetched." in ran.err
    assert data_requests(desk) == []
    assert desk.files() == before
    assert QUESTION in desk.on_terminal("get", "all", keys=[(QUESTION, answer)]).err


def test_ctrl_c_at_the_question_ends_at_once(desk: Desk) -> None:
    """Who presses Ctrl-C instead of an answer is out, with exit 130, and need not press Enter."""
    ran = desk.on_terminal("get", "coco_valid", keys=[(QUESTION, "\x03")], limit_s=20)
    assert ran.code == 130
    assert data_requests(desk) == []


def test_the_question_is_asked_on_a_plain_terminal(desk: Desk) -> None:
    """The cursor is there and stands behind the question, not on a line of its own."""
    ran = desk.on_terminal("get", "coco_valid", keys=[(QUESTION, "n\n")])
    before, _, after = ran.err.partition("Proceed? [Y/n]: ")
    assert "\x1b[?25l" not in before
    assert after.startswith("n")


def test_the_end_of_input_at_the_question_is_no(desk: Desk) -> None:
    """Ctrl-D instead of an answer fetches nothing."""
    ran = desk.on_terminal("get", "coco_valid", keys=[(QUESTION, "\x04")])
    assert ran.code != 0
    assert data_requests(desk) == []


def test_terms_are_shown_once_for_each_root(desk: Desk) -> None:
    """The second run below the same root neither shows nor asks; another root begins anew."""
    desk.on_terminal("get", "coco_valid", keys=[(QUESTION, "y\n")])
    again = desk.on_terminal("get", "coco_valid")
    assert again.code == 0
    assert QUESTION not in again.err
    assert FIRST_WORDS not in again.err
    other = desk.on_terminal("get", "coco_valid", "--root", "other", keys=[(QUESTION, "n\n")])
    assert other.code == 4
    assert FIRST_WORDS in other.err


def test_only_new_terms_are_shown(desk: Desk) -> None:
    """With a dataset more, its terms alone are shown."""
    desk.run("get", "coco_valid", "--yes")
    ran = desk.run("get", "coco_valid", "openimages_v7_valid")
    assert "Terms of openimages_v7_valid" in ran.err
    assert "Terms of coco_valid" not in ran.err
    kept = json.loads((desk.root / ".g3m" / "terms.json").read_text(encoding="utf-8"))
    assert kept == {"shown": ["coco_valid", "openimages_v7_valid"]}


def test_yes_does_not_ask_but_shows(desk: Desk) -> None:
    """--yes on a terminal: no question, yet the terms are on the screen."""
    ran = desk.on_terminal("get", "coco_valid", "--yes")
    assert ran.code == 0
    assert QUESTION not in ran.err
    assert FIRST_WORDS in ran.err


@pytest.mark.parametrize("arguments", [(), ("--yes",)])
def test_a_script_is_never_blocked(desk: Desk, arguments: tuple[str, ...]) -> None:
    """Away from a terminal the terms stand on stderr, before the first request, and nothing is asked."""
    ran = desk.run("get", "coco_valid", *arguments)
    assert ran.code == 0
    assert ran.err.startswith("Terms of coco_valid")
    assert "Going on means that you have read the terms" in ran.err.partition(" start ")[0]
    assert QUESTION not in ran.err
    assert "Terms" not in ran.out


def test_with_stdin_from_a_file_on_a_terminal_nothing_is_asked(desk: Desk) -> None:
    """Only a terminal on both sides can be asked: a pipe on stdin is a script."""
    ran = desk.run("get", "coco_valid", text="n\n")
    assert ran.code == 0


def test_terms_in_chinese(desk: Desk) -> None:
    """In Chinese everything around is Chinese, and the terms are the recipe's Chinese ones."""
    ran = desk.on_terminal("get", "coco_valid", keys=[("是否继续？", "n\n")], G3M_LANG="zh")
    assert ran.code == 4
    assert "coco_valid 的使用条款" in ran.err
    assert "标注文字采用 CC BY 4.0 许可" in ran.err
    assert FIRST_WORDS not in ran.err
    assert "未下载任何内容。" in ran.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shown": 3}', '{"other": []}'])
def test_a_damaged_record_shows_the_terms_again(desk: Desk, text: str) -> None:
    """What cannot be read counts as not shown: better twice than never."""
    work = desk.root / ".g3m"
    work.mkdir(parents=True)
    (work / "terms.json").write_text(text, encoding="utf-8")
    ran = desk.run("get", "coco_valid", "--dry-run")
    assert ran.code == 0
    ran = desk.run("get", "coco_valid", "--offline")
    assert "Terms of coco_valid" in ran.err
    assert json.loads((work / "terms.json").read_text(encoding="utf-8")) == {"shown": ["coco_valid"]}


def test_a_dataset_without_terms_asks_nothing(desk: Desk, tmp_path: Path) -> None:
    """A recipe of the user's own without terms is fetched without a word."""
    recipe = desk.cwd / "mine.toml"
    recipe.write_text(
        "format = 1\nname = 'mine'\ntitle = 'mine'\nfolder = 'm/m'\nlicence = 'mine'\n"
        "[[assets]]\nname = 'a.zip'\nplaces = ['https://nowhere.invalid/a.zip']\n[samples]\nreader = 'pairs'\n",
        encoding="utf-8",
    )
    ran = desk.on_terminal("get", str(recipe), "--offline")
    assert ran.code == 5
    assert QUESTION not in ran.err
    assert "Terms" not in ran.err
