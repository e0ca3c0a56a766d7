"""Policy and report on the command line: what is wrong is told at once, and what was found at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.steps.test_treat import drawn
from tests.ui.conftest import Desk
from tests.whole.sources import tiny_jpeg

from g3m.steps.resolve import READY_HINT


def mine(desk: Desk) -> list[str]:
    """The arguments that pack a folder of four odd pairs from a recipe of the user's own."""
    folder = desk.cwd / "mine"
    folder.mkdir()
    images = {
        "gray": drawn(mode="L"),
        "tail": tiny_jpeg(1) + b"tail",
        "plain": tiny_jpeg(2),
        "print": drawn(mode="CMYK"),
    }
    for key, data in images.items():
        (folder / f"{key}.jpg").write_bytes(data)
        (folder / f"{key}.txt").write_text("words", encoding="utf-8")
    recipe = desk.cwd / "my.toml"
    recipe.write_text(
        """
        format = 1
        name = "my"
        title = "mine"
        folder = "my/my"
        licence = "mine"
        [[assets]]
        name = "mine.zip"
        places = ["https://nowhere.invalid/mine.zip"]
        [samples]
        reader = "pairs"
        images = "mine.zip"
        [policy]
        trailing = "fix"
        """,
        encoding="utf-8",
    )
    return [str(recipe), "--from", "mine", "--offline"]


@pytest.mark.parametrize("command", ["get", "plan"])
@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--policy", "greyscale=reject"], "--policy greyscale=reject: 'greyscale' is no class of findings"),
        (["--policy", "cmyk"], "--policy cmyk: write CLASS=keep"),
        (["--policy", "bomb=fix"], "nothing fixes bomb; use keep or reject"),
        (["--resize", "border"], "--image-size must say to how many pixels"),
    ],
)
def test_a_wrong_policy_is_told_first(desk: Desk, command: str, option: list[str], said: str) -> None:
    """Exit 2 before anything is asked, fetched or made."""
    ran = desk.run(command, "coco_valid", *option)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not desk.root.exists()
    assert desk.world.origin.requests == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_ready_shards_are_not_treated(desk: Desk, lang: str) -> None:
    """Exit 2 with every such dataset, what was asked for, and what to do, before the terms are shown."""
    ran = desk.run("get", "coco_valid", "cc3m", "--policy", "cmyk=reject", "--lang", lang)
    assert (ran.code, ran.out) == (2, "")
    assert "cc3m: ready shards are adopted byte for byte, they cannot be treated (cmyk=reject)" in ran.err
    assert READY_HINT[lang == "zh"] in ran.err
    assert not desk.root.exists()


def test_the_end_of_get_names_what_was_found(desk: Desk) -> None:
    """One line of counts and the file with each, one line on the treatment."""
    ran = desk.run("get", *mine(desk), "--policy", "grayscale=reject", "--policy", "cmyk=keep")
    assert ran.code == 0
    folder = Path(desk.data) / "my" / "my"
    assert f"  left out: 1 grayscale (see {folder}/rejected.jsonl)\n" in ran.out
    assert f"  found: 1 trailing (fixed), 1 cmyk (see {folder}/findings.jsonl)\n" in ran.out
    assert "  treated: trailing=fix, grayscale=reject\n" in ran.out


def test_the_end_of_get_in_chinese(desk: Desk) -> None:
    """The same facts; names of classes stay as they stand in the files."""
    ran = desk.run("get", *mine(desk), "--lang", "zh")
    assert "  发现：1 个 trailing（已修复），1 个 cmyk，1 个 grayscale（见 " in ran.out
    assert "  处理方式：trailing=fix\n" in ran.out


def test_nothing_found_is_not_mentioned(done_desk: Desk) -> None:
    """The line is there only where there is something to say."""
    ran = done_desk.run("get", "coco_valid", "--yes")
    assert ran.code == 0
    assert "treated" not in ran.out


def test_json_has_the_counts(desk: Desk) -> None:
    """The last line of `get --json`, and the treatment in `plan --json`."""
    arguments = mine(desk)
    options = ["--image-size", "32", "--resize", "center_crop", "--quality", "80"]
    ran = desk.run("plan", arguments[0], "--json", *options)
    treatment = {"policy": {"trailing": "fix"}, "resize": [32, "center_crop", 80], "drawing": 3}
    assert ran.documents[0]["plan"]["datasets"][0]["treatment"] == treatment
    ran = desk.run("get", *arguments, "--json", *options)
    assert ran.documents[-1]["rejected"] == {}
    assert ran.documents[-1]["findings"] == {
        "trailing": {"fixed": 1},
        "cmyk": {"kept": 1},
        "grayscale": {"kept": 1},
    }


def test_the_same_line_again_does_nothing(desk: Desk) -> None:
    """A dataset of a policy is found whole by the same policy, and is another dataset for another."""
    arguments = mine(desk)
    assert desk.run("get", *arguments, "--policy", "cmyk=fix").code == 0
    before = desk.files()
    assert "nothing was done" in desk.run("get", *arguments, "--policy", "cmyk=fix").out
    ran = desk.run("get", *arguments)
    assert ran.code == 2
    assert "made with parity 'none' and trailing=fix, cmyk=fix, quality 95" in ran.err
    assert "asked for is parity 'none' and trailing=fix" in ran.err
    assert {name: row for name, row in desk.files().items() if "/.g3m" not in name} == {
        name: row for name, row in before.items() if "/.g3m" not in name
    }
