"""`g3m index` as a user meets it: real processes, exit codes, JSON, both languages."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.steps.offline import tar_bytes
from tests.ui.conftest import Desk, wait_for
from tests.whole.disk import tree

from g3m.core.index import Index


def foreign(folder: Path, tars: int = 2, samples: int = 3, extension: str = "jpg") -> Path:
    """Tars that g3m did not make, with one file that is no sample."""
    folder.mkdir()
    for number in range(tars):
        members = [("README", b"words"), ("notes.txt", b"words")]
        for place in range(samples):
            key = f"{number:03d}{place:03d}"
            members += [(f"{key}.{extension}", b"a picture"), (f"{key}.txt", b"a text")]
        (folder / f"{number:05d}.tar").write_bytes(tar_bytes(members))
    return folder


def test_it_says_what_stands_where_and_reads_nothing_twice(desk: Desk) -> None:
    """Samples, members, what was left out with an example; the second time it is up to date."""
    foreign(desk.cwd / "wds")
    first = desk.run("index", "wds")
    assert first.code == 0, first.err
    assert first.out.splitlines() == [
        "wds/index.bin: 6 samples, shards: 2, 20.5 kB",
        "  members: 6 jpg, 6 txt",
        "  left out: 2 missing_image (the first: 00000.tar: notes.txt)",
        "  2 files are hidden or have no extension; no reader takes them for members of a sample",
    ]
    assert "00001.tar: done, 3 samples" in first.err
    assert len(Index((desk.cwd / "wds" / "index.bin").read_bytes())) == 6
    before = tree(desk.cwd)
    again = desk.run("index", "wds")
    assert (again.code, again.err, tree(desk.cwd)) == (0, "", before)
    assert again.out.startswith("wds/index.bin: is up to date, 6 samples, shards: 2; nothing was read")
    forced = desk.run("index", "wds", "--force", "--lang", "zh")
    assert (forced.code, forced.out.splitlines()[2]) == (0, "  与之前逐字节相同")
    assert tree(desk.cwd) == before


def test_keys_that_come_again_are_said(desk: Desk) -> None:
    """With one of them, and what comes of it."""
    foreign(desk.cwd / "wds", tars=1)
    shutil.copy(desk.cwd / "wds" / "00000.tar", desk.cwd / "wds" / "00001.tar")
    done = desk.run("index", "wds")
    assert done.code == 0
    assert "3 samples have the key of an earlier one (000" in done.out
    assert "energon refuses" in done.out


def test_several_folders_at_once(desk: Desk) -> None:
    """Each gets its own; one that is damaged does not keep the others from theirs."""
    for name, extension in (("a", "jpg"), ("b", "png"), ("c", "webp")):
        foreign(desk.cwd / name, extension=extension)
    (desk.cwd / "b" / "00001.tar").write_bytes(b"no tar at all" * 100)
    done = desk.run("index", "a", "b", "c")
    assert done.code == 7
    assert "b/00001.tar: not a tar" in done.err
    made = sorted(path.relative_to(desk.cwd).as_posix() for path in desk.cwd.rglob("index.bin"))
    assert made == ["a/index.bin", "c/index.bin"]
    assert "6 webp" in done.out


def test_json_gives_every_event_and_the_index(desk: Desk) -> None:
    """Each line is a document; the last one is the result."""
    foreign(desk.cwd / "wds")
    done = desk.run("index", "wds", "--json")
    assert done.code == 0, done.err
    events = [line.get("event") for line in done.documents]
    assert (events[0], events[-2:]) == ("RunStarted", ["RunFinished", None])
    assert (events.count("TaskStarted"), events.count("TaskFinished")) == (2, 2)
    row = done.documents[-1]["index"]
    assert {name: row[name] for name in ("path", "folder", "samples", "shards", "fields", "is_new")} == {
        "path": "wds/index.bin",
        "folder": "wds",
        "samples": 6,
        "shards": 2,
        "fields": {"jpg": 6, "txt": 6},
        "is_new": True,
    }
    assert (row["left_out"], row["ignored"], row["repeated"]) == ({"missing_image": 2}, 2, 0)


def test_check_compares_and_writes_nothing(desk: Desk) -> None:
    """0 and a word where all is well; 7 with each shard that differs, and the index stays."""
    foreign(desk.cwd / "wds")
    assert desk.run("index", "wds", "--check").code == 7
    assert not (desk.cwd / "wds" / "index.bin").exists()
    desk.run("index", "wds", "-q")
    good = desk.run("index", "wds", "--check")
    assert (good.code, good.out) == (0, "wds/index.bin: agrees with the names and sizes of the shards (2)\n")
    (desk.cwd / "wds" / "00000.tar").unlink()
    before = tree(desk.cwd)
    bad = desk.run("index", "wds", "--check", "--json")
    assert (bad.code, tree(desk.cwd)) == (7, before)
    assert "wds/index.bin: 00000.tar: missing" in bad.err
    rows = bad.documents[0]["index"]
    assert (rows["ok"], rows["differences"]) == (
        False,
        [{"shard": "00000.tar", "problem": "missing", "detail": ""}],
    )


def test_a_published_dataset_by_its_name(done_desk: Desk) -> None:
    """Its index is made again as it was, and the manifest agrees; nothing else changes."""
    before = tree(done_desk.cwd)
    path = next(done_desk.root.rglob("coco_valid/index.bin"))
    path.unlink()
    done = done_desk.run("index", "coco_valid")
    assert done.code == 0, done.err
    assert "the counts agree with the manifest" in done.out
    after = tree(done_desk.cwd)
    assert {name: after[name] for name in after if "/.g3m/" not in name} == {
        name: before[name] for name in before if "/.g3m/" not in name
    }
    assert after.keys() - before.keys() == {f"{done_desk.root.name}/.g3m/g3m.sqlite"}
    assert "byte for byte" in done_desk.run("index", str(path.parent)).out
    assert done_desk.run("verify", "coco_valid", "--structure").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "english", "chinese"),
    [
        ((), 2, "PATH", "PATH"),
        (("nowhere",), 2, "WebDataset tars", "WebDataset tar"),
        (("wds/00000.tar",), 2, "name the folder that holds the tars", "请给出存放 tar 的目录"),
        (("wds", "wds", "--to", "x.bin"), 2, "--to is for one PATH", "--to is for one PATH"),
        (("wds", "--check", "--force"), 2, "give one of the two", "give one of the two"),
        (("wds", "--to", "."), 2, "name a file with --to", "请用 --to 指定一个文件"),
        (("wds", "--to", "/dev/null/x.bin"), 6, "/dev/null", "/dev/null"),
        (("text",), 7, "called KEY.jpg", "文件名为 KEY.jpg"),
    ],
)
def test_mistakes_are_explained(
    desk: Desk, arguments: tuple[str, ...], code: int, english: str, chinese: str
) -> None:
    """The exit code of its kind and what to do, in both languages; nothing is written."""
    foreign(desk.cwd / "wds")
    foreign(desk.cwd / "text", extension="cls")
    before = {name for name in tree(desk.cwd) if "index.bin" in name}
    for lang, words in (("en", english), ("zh", chinese)):
        done = desk.run("index", *arguments, "--lang", lang)
        assert done.code == code
        assert words in done.err
    assert {name for name in tree(desk.cwd) if name.endswith("index.bin")} == before == set()


def test_a_signal_stops_it_and_the_same_line_goes_on(desk: Desk) -> None:
    """130 after Ctrl-C, with the line to continue; what was read is not read again."""
    folder = foreign(desk.cwd / "wds", tars=300, samples=40)
    with desk.start("index", "wds", "--jobs", "1", "--json") as process:
        kept = folder / ".index.bin.scans"
        wait_for(lambda: kept.exists() and kept.stat().st_size > 0, "the first scan")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert "index wds --jobs 1" in err
    assert not (folder / "index.bin").exists()
    first = sum(json.loads(line).get("event") == "TaskFinished" for line in out.splitlines())
    done = desk.run("index", "wds", "--jobs", "1", "--json")
    assert (done.code, done.documents[-1]["index"]["samples"]) == (0, 12_000)
    started = sum(line.get("event") == "TaskStarted" for line in done.documents)
    assert first > 0
    assert started <= 300 - first
    assert not kept.exists()
