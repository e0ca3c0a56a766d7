"""`g3m export` as a user meets it: text on stdout, files beside the data, both languages, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.ui.conftest import Desk
from tests.whole.disk import tree


def test_a_snippet_is_all_of_stdout(done_desk: Desk) -> None:
    """What is printed can be sent into a file and imported; nothing is written."""
    before = tree(done_desk.root)
    done = done_desk.run("export", "nxtp")
    assert (done.code, done.err) == (0, "")
    table: dict[str, Any] = {}
    exec(done.out, table)
    assert sum(entry["length"] for entry in table["_DATASETS_META"].values()) > 0
    assert tree(done_desk.root) == before
    to_file = done_desk.run("export", "nxtp", "--to", "meta.py")
    assert to_file.out == f"written: {Path.cwd() / done_desk.cwd / 'meta.py'}\n"
    assert (done_desk.cwd / "meta.py").read_text(encoding="utf-8") == done.out


def test_files_are_named_and_a_second_run_says_that_they_are_right(done_desk: Desk) -> None:
    """In both languages; -q says nothing."""
    first = done_desk.run("export", "hf", "coco_valid")
    root = done_desk.root
    assert first.out == f"written: {root}/ (README.md, croissant.json)\n"
    assert done_desk.run("export", "hf", "coco_valid").out.startswith("right already: ")
    assert done_desk.run("export", "hf", "coco_valid", "--lang", "zh").out.startswith("已是最新：")
    assert done_desk.run("export", "hf", "coco_valid", "-q").out == ""


def test_many_files_of_a_folder_are_one_line(done_desk: Desk) -> None:
    """Some are named, the others counted."""
    done = done_desk.run("export", "energon", "coco_valid")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 2
    assert any(line.endswith("split.yaml and 1 more)") for line in lines)


def test_json_has_counts_text_and_files(done_desk: Desk) -> None:
    """One document with the schema's number."""
    done = done_desk.run("export", "open_clip", "coco", "coco_valid", "--factor", "coco=2", "--json")
    (body,) = done.documents
    assert body["format"] == "open_clip"
    assert body["datasets"].keys() == {"coco", "coco_valid"}
    assert "--train-data-upsampling-factors 2" in body["text"]
    assert (body["written"], body["kept"]) == ([], [])
    (body,) = done_desk.run("export", "wids", "--json").documents
    assert [Path(path).name for path in body["written"]] == ["wids-train.json", "wids-validation.json"]
    assert json.loads(Path(body["written"][0]).read_text(encoding="utf-8"))["wids_version"] == 1


def test_mistakes_are_usage_errors(done_desk: Desk) -> None:
    """A format, a dataset, a factor: each says what would be right."""
    wrong = done_desk.run("export", "open-clip")
    assert wrong.code == 2
    assert "did you mean 'open_clip'?" in wrong.err
    assert "可用格式" in done_desk.run("export", "x", "--lang", "zh").err
    assert done_desk.run("export", "nxtp", "nothing").code == 2
    wrong = done_desk.run("export", "energon", "--factor", "coco")
    assert wrong.code == 2
    assert "'coco' is not DATASET=NUMBER" in wrong.err
