"""`g3m pack` as a user meets it: real processes, exit codes, JSON, both languages."""

from __future__ import annotations

import io
import json
import re
import signal
from pathlib import Path

import pytest
from PIL import Image
from tests.steps.offline import tar_bytes
from tests.ui.conftest import Desk, wait_for
from tests.whole.disk import check_all_whole, tree


def foreign(folder: Path, count: int = 6) -> Path:
    """Two tars that g3m did not make."""
    folder.mkdir()
    members = []
    for number in range(count):
        written = io.BytesIO()
        Image.effect_noise((96, 64), 60).save(written, "JPEG")
        members += [(f"{number:03d}.jpg", written.getvalue()), (f"{number:03d}.txt", b"a text")]
    half = count // 2 * 2
    (folder / "a.tar").write_bytes(tar_bytes(members[:half]))
    (folder / "b.tar").write_bytes(tar_bytes(members[half:]))
    return folder


def test_it_says_what_stands_where_and_does_nothing_twice(desk: Desk) -> None:
    """The first run makes the shards, the second says that they are there."""
    foreign(desk.cwd / "source")
    first = desk.run("pack", "source", "--to", "new", "--shard-size", "4", "--image-size", "32")
    assert first.code == 0, first.err
    assert re.search(r"^new: 6 samples, [\d.]+ kB, shards: 2, in new$", first.out, re.MULTILINE)
    assert "32 pixels (keep_ratio)" in first.out
    assert check_all_whole(desk.cwd / "new") == 2
    before = tree(desk.cwd / "new")
    again = desk.run("pack", "source", "--to", "new", "--shard-size", "4", "--image-size", "32")
    assert again.code == 0
    assert again.out.startswith("Everything is here already")
    assert tree(desk.cwd / "new") == before
    assert desk.run("verify", "--root", ".").code == 0


def test_a_dataset_below_the_root_is_packed_by_its_name(done_desk: Desk) -> None:
    """Its folder and its root are left as they are; the new one is beside them."""
    before = done_desk.files()
    done = done_desk.run(
        "pack", "coco_valid", "--to", "small", "--image-size", "32", "--max-shard-bytes", "1M", "-q"
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    assert {name: seen for name, seen in done_desk.files().items() if not name.startswith("small")} == before
    body = json.loads((done_desk.cwd / "small" / "manifest.json").read_text(encoding="utf-8"))
    assert body["form"].startswith("shards of coco_valid (")
    assert body["samples"] == body["expected_samples"]


def test_json_gives_every_event_and_the_dataset(desk: Desk) -> None:
    """Each line is a document; the last one is the result."""
    foreign(desk.cwd / "source")
    done = desk.run("pack", "source", "--to", "new", "--json")
    assert done.code == 0, done.err
    events = [line.get("event") for line in done.documents]
    assert {"RunStarted", "TasksAdded", "TaskFinished", "RunFinished"} <= set(events)
    last = done.documents[-1]
    assert (last["dataset"], last["samples"], last["shards"], last["folder"]) == ("new", 6, 2, "new")


@pytest.mark.parametrize(
    ("arguments", "code", "english", "chinese"),
    [
        (("source",), 2, "--to", "--to"),
        (("--to", "new"), 2, "SOURCE", "SOURCE"),
        (("nowhere", "--to", "new"), 2, "WebDataset tars", "WebDataset tar"),
        (("source", "--to", "source"), 2, "name another folder with --to", "请用 --to 指定其他目录"),
        (("source", "--to", "."), 2, "name another folder with --to", "请用 --to 指定其他目录"),
        (("source", "--to", "full"), 2, "does not exist yet, or is empty", "尚不存在或为空"),
        (("source", "--to", "new", "--shard-size", "0"), 2, "--shard-size", "--shard-size"),
        (("source", "--to", "new", "--max-shard-bytes", "8X"), 2, "write 500M or 8G", "请写成 500M"),
        (("source", "--to", "new", "--resize", "border"), 2, "--image-size", "--image-size"),
        (("source", "--to", "new", "--policy", "no_caption=reject"), 2, "leave it out", "请去掉该项"),
        (("full", "--to", "new"), 7, "WebDataset tars", "WebDataset tar"),
        (("bad", "--to", "new"), 7, "gunzip", "gunzip"),
    ],
)
def test_mistakes_are_told_in_both_languages(
    arguments: tuple[str, ...], code: int, english: str, chinese: str, desk: Desk
) -> None:
    """With the exit code of their kind, what to do about it, and nothing written into a source."""
    foreign(desk.cwd / "source")
    (desk.cwd / "full").mkdir()
    (desk.cwd / "full" / "notes.txt").write_text("mine", encoding="utf-8")
    (desk.cwd / "bad").mkdir()
    (desk.cwd / "bad" / "a.tar").write_bytes(b"\x1f\x8b\x08" + bytes(range(200)))
    before = {name: tree(desk.cwd / name) for name in ("source", "full", "bad")}
    for lang, words in (("en", english), ("zh", chinese)):
        done = desk.run("pack", *arguments, G3M_LANG=lang)
        assert done.code == code
        assert words in done.err
    assert {name: tree(desk.cwd / name) for name in before} == before
    assert not list((desk.cwd / "new").glob("*.tar"))


def test_a_signal_stops_it_and_the_same_line_goes_on(desk: Desk) -> None:
    """SIGTERM ends it with 143 and the command to continue; then the rest is made."""
    foreign(desk.cwd / "source", 400)
    line = ("pack", "source", "--to", "new", "--shard-size", "5", "--image-size", "32", "--jobs", "1")
    with desk.start(*line) as process:
        wait_for(lambda: list((desk.cwd / "new").glob("*.tar")), "the first shard")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert "pack source --to new --shard-size 5" in err
    made = len(list((desk.cwd / "new").glob("*.tar")))
    assert 0 < made < 80
    assert check_all_whole(desk.cwd / "new") == made
    assert desk.run(*line).code == 0
    assert check_all_whole(desk.cwd / "new") == 80
