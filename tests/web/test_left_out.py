"""Why samples and rows are not here: two lists and the tables beside the shards, page by page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.web.conftest import Root, copied

from g3m.adapters.tables import read_parquet, write_parquet
from g3m.runners.run import make_session
from g3m.ui.web import left_out as module
from g3m.ui.web.collection import Collection
from g3m.ui.web.facts import LeftOut
from g3m.ui.web.left_out import LINES

COLUMNS = ("key", "url", "status", "error_message", "reason", "found", "row")


@pytest.fixture
def folder(bare_root: Root, tmp_path: Path) -> Path:
    """laion115m, gathered from a list, in a root of one's own."""
    return copied(bare_root, tmp_path).path / "laion115m" / "laion115m"


def _collection(folder: Path) -> Collection:
    return Collection(make_session({"root": str(folder.parent.parent)}, {}))


def _row(number: int, reason: str = "", **more: Any) -> dict[str, Any]:
    status = "success" if not reason else "failed_to_download"
    base = {"key": f"{number:09d}", "url": f"https://a.example/{number}?sig=secret", "status": status}
    return {
        **base,
        "error_message": f"{reason}: no" if reason else None,
        "reason": reason,
        "row": number,
        **more,
    }


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.unlink(missing_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = [name for name in COLUMNS if any(name in row for row in rows)]
        types = {name: "int64" if name == "row" else "string" for name in names}
        write_parquet(path, types, [rows])


def _pages(folder: Path) -> Iterator[list[LeftOut]]:
    collection, after = _collection(folder), ""
    while True:
        found = collection.left_out("laion115m", after)
        yield list(found.rows)
        after = found.after
        if not after:
            return


@pytest.mark.parametrize("name", ["00000.parquet", "00000.rows.jsonl"])
def test_every_row_that_became_no_sample_is_listed_once(folder: Path, name: str) -> None:
    """Over pages, in the order of the table, whichever form it has; samples are not listed, findings are."""
    rows = [_row(number, ["", "http_404", "", "timeout"][number % 4]) for number in range(2 * LINES + 90)]
    rows[0]["found"] = "grayscale,no_end"
    (folder / "00000.parquet").unlink()
    _write(folder / name, rows)
    pages = list(_pages(folder))
    assert [len(page) for page in pages] == [LINES, 46]
    listed = [row for page in pages for row in page]
    assert [row.key for row in listed] == [row["key"] for row in rows if row["reason"] or row.get("found")]
    assert (listed[0].reason, listed[0].detail, listed[0].found) == ("grayscale", "grayscale,no_end", True)
    assert (listed[1].reason, listed[1].detail, listed[1].found) == ("http_404", "no", False)
    assert listed[1].url == "https://a.example/1?sig=***" and listed[1].shard == "00000.tar"


def test_a_page_reads_a_bounded_number_of_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nearly all rows became samples, a page may be empty, and the next goes on behind it."""
    monkeypatch.setattr(module, "TABLE_ROWS", 100)
    _write(
        folder / "00000.parquet", [_row(number, "http_404" if number == 250 else "") for number in range(300)]
    )
    assert [[row.key for row in page] for page in _pages(folder)] == [[], [], ["000000250"], []]


def test_lists_come_before_tables(folder: Path) -> None:
    """A page may hold the end of the one and the beginning of the other."""
    (folder / "rejected.jsonl").write_text('{"key": "first", "reason": "damaged"}\n')
    reasons = [row.reason for page in _pages(folder) for row in page]
    assert reasons == ["damaged", "http_404", "bad_url"]


def test_a_table_that_cannot_be_read_is_told_and_passed_over(folder: Path) -> None:
    """The page says which, and what stands before and behind it is shown."""
    (folder / "00000.parquet").write_bytes(b"no table")
    (folder / "rejected.jsonl").write_text('{"key": "first", "reason": "damaged"}\n')
    found = _collection(folder).left_out("laion115m")
    assert [row.key for row in found.rows] == ["first"] and found.after == ""
    assert found.problem is not None and "00000.parquet" in found.problem.message


def test_tables_of_img2dataset_are_read(folder: Path) -> None:
    """They have a status and a message, and no reason; the folder has no manifest."""
    rows = [_row(0), {**_row(1), "status": "failed_to_download", "error_message": "HTTP Error 404"}]
    for row in rows:
        del row["reason"]
    _write(folder / "00000.parquet", rows)
    (folder / "manifest.json").unlink()
    (row,) = _collection(folder).left_out("laion115m").rows
    assert (row.reason, row.detail) == ("failed_to_download", "HTTP Error 404")


def test_a_place_that_nobody_gave_out_is_no_error(folder: Path) -> None:
    """Whatever stands in the address, there is a page."""
    collection = _collection(folder)
    whole = collection.left_out("laion115m").rows
    for wrong in ("rows:", "rows:x:y", "rows:0:-1", "x", "../../x:1", "rows:٣:1"):
        assert collection.left_out("laion115m", wrong).rows == whole
    for beyond in ("rows:9:0", "rows:0:99999999999999999", "rejected.jsonl:99999999999999999"):
        assert collection.left_out("laion115m", beyond).problem is None


def test_only_plain_files_are_read(folder: Path, tmp_path: Path) -> None:
    """A pipe does not block, and a link leads nowhere."""
    os.unlink(folder / "rejected.jsonl")
    os.mkfifo(folder / "rejected.jsonl")
    (tmp_path / "secret").write_text('{"key": "secret", "reason": "x"}\n')
    os.unlink(folder / "findings.jsonl")
    os.symlink(tmp_path / "secret", folder / "findings.jsonl")
    assert {row.reason for row in _collection(folder).left_out("laion115m").rows} == {"http_404", "bad_url"}


def test_the_counts_are_those_of_the_rows(folder: Path) -> None:
    """What the card says of a gathered list is what its table holds."""
    (card,) = [one for one in _collection(folder).cards() if one.name == "laion115m"]
    rows = list(read_parquet(folder / "00000.parquet", ("reason",)))
    assert sum(card.missing.values()) == sum(bool(row["reason"]) for row in rows) > 0
    assert card.samples + sum(card.missing.values()) == len(rows)
