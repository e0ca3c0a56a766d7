"""Why samples and rows are not here, page by page: two lists, and the tables beside the shards of lists.

    rejected.jsonl, findings.jsonl    what packing left out, and what it found in what is here
    00000.parquet or .rows.jsonl      what became of every row, as gathering and img2dataset write it

A page reads so much and no more, wherever it begins; of a table, never more than a few rows at a time.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from g3m.adapters.session import Session
from g3m.adapters.tables import parquet_columns
from g3m.core.errors import G3MError
from g3m.core.gathering import READER
from g3m.core.secrets import mask
from g3m.load.folder import Folder
from g3m.steps.outcome import names_beside, read_table
from g3m.ui.web.current import Current, Home
from g3m.ui.web.facts import LeftOut, LeftOutPage

LINES = 200
LINE_BYTES = 2**20
TABLE_ROWS = 100_000
"""A page ends after so many rows of tables, also where most of them became samples."""

TABLES = "rows"
_LISTS = ("rejected.jsonl", "findings.jsonl")
_COLUMNS = ("key", "url", "status", "error_message", "reason", "found")
_GOOD = ("success", None)


def left_out(current: Current, dataset: str, after: str = "") -> LeftOutPage:
    """A page of what was left out or found; `after` is that of the page before it."""
    home = current.home(dataset)
    file, _, place = after.partition(":")
    rows: list[LeftOut] = []
    if file != TABLES:
        start = _number(place)
        for name in _LISTS[_LISTS.index(file) if file in _LISTS else 0 :]:
            with suppress(OSError), open(home.folder / name, "rb", opener=_plain_file) as lines:
                lines.seek(start)
                while len(rows) < LINES and (line := lines.readline(LINE_BYTES)):
                    if (row := _of_line(line, found=name == _LISTS[1])) is not None:
                        rows.append(row)
                if len(rows) == LINES:
                    return LeftOutPage(rows=tuple(rows), after=f"{name}:{lines.tell()}")
            start = 0
        place = ""
    with current.reading(dataset) as folder:
        shards = _with_tables(home, folder)
    return _of_tables(home.folder, shards, place, rows, current.session)


def _with_tables(home: Home, folder: Folder) -> Sequence[str]:
    """The shards that have a table each; none where the first has none."""
    if home.body is not None and home.body.form != READER:
        return ()
    first = names_beside(folder.shards[0])[:2] if folder.shards else ()
    return folder.shards if any((home.folder / name).is_file() for name in first) else ()


def _of_tables(
    folder: Path, shards: Sequence[str], place: str, rows: list[LeftOut], session: Session
) -> LeftOutPage:
    """Go on in the tables from a place, `SHARD:ROW` by their numbers."""
    shard, _, row = place.partition(":")
    first, start, read = _number(shard), _number(row), 0
    for number in range(first, len(shards)):
        try:
            table = _rows(folder / shards[number], replace(session, shelf=None))
            for at, found in enumerate(islice(table, start, None), start + 1):
                read += 1
                if (line := _of_row(found, shards[number])) is not None:
                    rows.append(line)
                if len(rows) == LINES or read == TABLE_ROWS:
                    return LeftOutPage(rows=tuple(rows), after=f"{TABLES}:{number}:{at}")
        except G3MError as error:
            after = f"{TABLES}:{number + 1}:0" if number + 1 < len(shards) else ""
            return LeftOutPage(rows=tuple(rows), after=after, problem=error)
        start = 0
    return LeftOutPage(rows=tuple(rows))


def _rows(shard: Path, session: Session) -> Iterator[Mapping[str, Any]]:
    path = shard.with_name(names_beside(shard.name)[0])
    columns = [name for name in parquet_columns(path) if name in _COLUMNS] if path.is_file() else None
    return read_table(shard, session, columns)


def _of_row(row: Mapping[str, Any], shard: str) -> LeftOut | None:
    """A row of a table that became no sample, or one with a finding; None for any other."""
    reason = str(row.get("reason") or "")
    if not reason and row.get("status") not in _GOOD:  # a table of img2dataset's has no reasons
        reason = str(row["status"])
    found = str(row.get("found") or "")
    if not reason and not found:
        return None
    return LeftOut(
        key=str(row.get("key") or ""),
        reason=reason or found.partition(",")[0],
        detail=str(row.get("error_message") or "").removeprefix(f"{reason}: ") if reason else found,
        shard=shard,
        url=mask(str(row.get("url") or "")),
        found=not reason,
    )


def _of_line(line: bytes, *, found: bool) -> LeftOut | None:
    """A line of a list; None for one that cannot be read."""
    try:
        row = json.loads(line)
        reason = row.get("reason") or row.get("class") or ""
        detail = row.get("detail") or row.get("image") or row.get("action") or ""
        return LeftOut(
            key=str(row.get("key", "")),
            reason=str(reason),
            detail=str(detail),
            shard=str(row.get("shard", "")),
            found=found,
        )
    except (ValueError, AttributeError, RecursionError):
        return None


def _plain_file(path: str, flags: int) -> int:
    """Neither a pipe, which could block for ever, nor a link, which could lead anywhere."""
    number = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    if stat.S_ISREG(os.fstat(number).st_mode):
        return number
    os.close(number)
    raise OSError(errno.EINVAL, "not a file")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0
