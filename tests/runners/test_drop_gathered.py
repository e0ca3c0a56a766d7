"""Dropping rows of gathered datasets: by address or key, and what tables, retries and repairs make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pictures_host import PicturesHost, picture, pictures_host
from tests.runners.lists import Gathered, rows_of, run, same_files, write_list
from tests.whole.disk import flip

import g3m
from g3m.runners.drop import DropReport


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


def drop_urls(to: Path, urls: list[str], **wish: Any) -> DropReport:
    path = to.with_suffix(".urls")
    path.write_text("\n".join(urls) + "\n")
    return g3m.drop(urls=path, root=to, **wish)


def assert_nowhere(folder: Path, *texts: str) -> None:
    """No file, that of work in progress included, holds any of these."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert [text for text in texts if text.encode() in data] == [], path


@pytest.mark.parametrize("has_parquet", [True, False])
def test_a_rewriting_blanks_the_rows_and_every_count_agrees(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_parquet: bool
) -> None:
    """Of a dropped row the table keeps key, number and reason; of a failed one, too, which keeps its reason."""
    if not has_parquet:
        monkeypatch.setattr("g3m.steps.outcome.has_parquet", lambda: False)
    rows = rows_of(host, "good", "good", "missing", "good", "good", "good")
    to = tmp_path / "out"
    run(write_list(tmp_path / "list.jsonl", rows), to)
    report = drop_urls(to, [rows[number]["url"] for number in (1, 2, 4)], rewrite=True)
    assert [[one.key for one in found.new] for found in report.dropped.found] == [
        ["000001", "000002", "000010"]
    ]
    made = Gathered(to)
    made.check_counts()
    assert made.reasons == ["", "dropped", "http_404", "", "dropped", ""]
    assert made.manifest.rejected == {"dropped": 2, "http_404": 1}
    for row in (made.table("00000")[1], made.table("00000")[2], made.table("00001")[0]):
        assert (row["url"], row["caption"], row["sha256"], row["width"]) == (None, None, None, None)
    assert made.table("00000")[0]["url"] == rows[0]["url"]
    digests = [hashlib.sha256(picture(number)).hexdigest() for number in (1, 4)]
    assert_nowhere(to, "row 1", "row 2", "row 4", rows[1]["url"], rows[2]["url"], *digests)
    assert g3m.verify(root=to, deep=True).ok
    assert [sample.key for sample in g3m.dataset(to)] == ["000000", "000003", "000011"]


def test_a_shard_made_again_asks_for_no_dropped_row(host: PicturesHost, tmp_path: Path) -> None:
    """The same line makes a broken shard again without it, and the bytes are those of the rewritten one."""
    rows = rows_of(host, *["good"] * 6)
    source, to = write_list(tmp_path / "list.jsonl", rows), tmp_path / "out"
    run(source, to)
    drop_urls(to, [rows[2]["url"]], rewrite=True)
    before = {
        path.name: path.read_bytes() for path in to.iterdir() if path.suffix in (".tar", ".json", ".bin")
    }
    flip(to / "00000.tar", 700)
    with pytest.raises(g3m.G3MError, match="g3m gather"):
        g3m.verify(root=to, repair=True)
    made = run(source, to)
    made.check_counts()
    assert made.reasons == ["", "", "dropped", "", "", ""]
    names = [name for name in before if not name.endswith("_stats.json")]
    assert [name for name in names if (to / name).read_bytes() != before[name]] == []
    assert_nowhere(to, "row 2")


def test_a_dropped_row_is_not_asked_for_in_a_retry(host: PicturesHost, tmp_path: Path) -> None:
    """A failed row whose address was dropped never comes back; one that a retry brought goes from both tables."""
    rows = rows_of(host, "good", "cut", "cut", "good")
    to = tmp_path / "out"
    run(write_list(tmp_path / "list.jsonl", rows), to)
    drop_urls(to, [rows[1]["url"]])
    host.moods["cut"] = lambda asked: asked.answer(picture(asked.number))
    made = run(None, to, retry_failed=True)
    assert made.reasons[0::2] == ["", ""]
    assert made.reasons[1] not in ("", "dropped")
    assert [row["row"] for row in made.table("00001")] == [2]
    left = to / ".g3m" / "plan" / ".out.samples.1.tmp", to / ".g3m" / "plan" / "out.again-0.1.jsonl"
    for path in left:  # of runs that were killed
        path.write_text(f"row 2 {rows[2]['url']}")
    drop_urls(to, [rows[2]["url"]], rewrite=True)
    made = Gathered(to)
    made.check_counts()
    assert made.reasons[2] == "dropped"
    assert_nowhere(to, "row 1", "row 2", rows[1]["url"], rows[2]["url"])
    assert g3m.verify(root=to, structure=True).ok
    assert run(None, to, retry_failed=True).finished == 0
    assert same_files(to, to) == []
