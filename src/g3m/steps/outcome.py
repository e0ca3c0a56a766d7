"""outcome: what became of every row of a task: the table and the figures beside its shard.

    00000.parquet       a line for each row; 00000.rows.jsonl where pyarrow is not installed
    00000_stats.json    the sums

Their columns and keys are those that readers of img2dataset's tables know, and ours behind them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, final

from g3m.adapters.disk import remove
from g3m.adapters.output import Output
from g3m.adapters.ports import Shelf
from g3m.adapters.session import Session
from g3m.adapters.tables import has_parquet, read_parquet, write_parquet
from g3m.core.errors import BadArchive, SourceError
from g3m.core.gathering import Columns, Row
from g3m.core.outcomes import GOOD, status_of
from g3m.core.samples import readable
from g3m.core.treatment import CAPTION_BOUND_BYTES

URL_LIMIT = 8192
"""Of a longer one, which is no URL, the table has the beginning."""

_GROUP_ROWS = 10_000
_GROUP_BYTES = 2**24
_WRITE_BYTES = 2**20

_COLUMNS = {
    "url": "string",
    "caption": "string",
    "key": "string",
    "status": "string",
    "error_message": "string",
    "width": "int32",
    "height": "int32",
    "original_width": "int32",
    "original_height": "int32",
    "sha256": "string",
}
_OURS = {"reason": "string", "found": "string", "row": "int64"}
EXPECTED = "expected_sha256"
"""The column of the digests that a list states; only where it states any."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one row. Sizes in pixels, 0: not known; `caption` as it was packed, if it was."""

    row: Row
    reason: str = GOOD
    detail: str = ""
    caption: str = ""
    extension: str = ""
    width: int = 0
    height: int = 0
    original_width: int = 0
    original_height: int = 0
    sha256: str = ""
    found: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def text_size(self) -> int:
        """About how many bytes its texts take while it waits."""
        row = self.row
        kept = sum(len(value) for value in row.extra.values() if isinstance(value, (str, bytes)))
        return len(row.url) + len(row.caption) + len(self.caption) + kept

    @property
    def message(self) -> str | None:
        """The reason with what is known beside it."""
        if self.reason == GOOD:
            return None
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def names_beside(shard: str) -> tuple[str, str, str]:
    """The names of a shard's table, of the table without pyarrow, and of the figures.

    >>> names_beside("00042.tar")
    ('00042.parquet', '00042.rows.jsonl', '00042_stats.json')
    """
    stem = shard.removesuffix(".tar")
    return f"{stem}.parquet", f"{stem}.rows.jsonl", f"{stem}_stats.json"


def kept_name(name: str) -> str:
    """How a kept column is called in json and table: another name only where ours has it already.

    >>> kept_name("width"), kept_name("similarity")
    ('list_width', 'similarity')
    """
    return f"list_{name}" if name in _COLUMNS or name in _OURS or name == EXPECTED else name


@final
class RowTable:
    """Takes the rows of a task in their order, and writes the table; it must not exist before."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._columns, self._path = columns, path
        self._output = Output(path)
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._closed = False
        self._kinds: dict[str, set[type]] = {kept_name(name): set() for name in columns.keep}

    def add(self, key: str, outcome: Outcome) -> bytes:
        """Append a row; gives its JSON, which a sample has, too."""
        row = outcome.row
        fields: dict[str, Any] = {
            "url": readable(row.url[:URL_LIMIT]),
            "caption": (outcome.caption or readable(row.caption[:CAPTION_BOUND_BYTES]))
            if self._columns.caption
            else None,
            "key": key,
            "status": status_of(outcome.reason),
            "error_message": outcome.message,
            "width": outcome.width or None,
            "height": outcome.height or None,
            "original_width": outcome.original_width or None,
            "original_height": outcome.original_height or None,
            "sha256": outcome.sha256 or None,
        }
        for name in self._columns.keep:
            value = _plain(row.extra.get(name))
            fields[kept_name(name)] = value
            self._kinds[kept_name(name)].add(_kind(value))
        if self._columns.sha256:
            fields[EXPECTED] = readable(row.sha256) or None
        fields |= {"reason": outcome.reason, "found": ",".join(outcome.found), "row": row.number}
        data = json.dumps(fields).encode()
        self._pieces += (data, b"\n")
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _WRITE_BYTES:
            self._flush()
        return data

    def close(self, shard: str) -> tuple[Path, str]:
        """End the table; says where it was made and how it is to be called."""
        self._flush()
        self._closed = True
        self._output.close()
        parquet, lines, _ = names_beside(shard)
        if not has_parquet():
            return self._path, lines
        made = self._path.with_suffix(".parquet.making")
        with open(self._path, "rb") as file:
            write_parquet(made, self._types(), _groups(file, self._kinds))
        remove(self._path)
        return made, parquet

    def __enter__(self) -> RowTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closed:
            self._output.abort()

    def _flush(self) -> None:
        self._output.write(b"".join(self._pieces))
        self._pieces.clear()
        self._waiting_bytes = 0

    def _types(self) -> dict[str, str]:
        kept = {name: _column_type(kinds) for name, kinds in self._kinds.items()}
        expected = {EXPECTED: "string"} if self._columns.sha256 else {}
        return {**_COLUMNS, **kept, **expected, **_OURS}


def _plain(value: Any) -> Any:
    """A value that JSON has: NaN becomes none, what is not known becomes text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.loads(json.dumps(value, default=str))


class _Long(int):
    """A whole number that a float cannot hold exactly."""


def _kind(value: Any) -> type:
    """The type of a value; a whole number of more than 64 bits is for a column of text."""
    if type(value) is int and abs(value) > 2**53:
        return _Long if -(2**63) <= value < 2**63 else str
    return type(value)


def _column_type(kinds: set[type]) -> str:
    """The type of a column for all the values that were seen in it; text is for everything."""
    seen = kinds - {type(None)}
    if seen == {bool}:
        return "bool_"
    if seen and seen <= {int, _Long}:
        return "int64"
    return "float64" if seen and seen <= {int, float} else "string"


def _groups(lines: Any, kinds: Mapping[str, set[type]]) -> Iterator[list[dict[str, Any]]]:
    """Rows for row groups; values of columns that hold several types become text."""
    texts = [name for name, found in kinds.items() if _column_type(found) == "string"]
    rows: list[dict[str, Any]] = []
    size_bytes = 0
    for line in lines:
        row = json.loads(line)
        for name in texts:
            value = row[name]
            row[name] = value if value is None or isinstance(value, str) else json.dumps(value)
        rows.append(row)
        size_bytes += len(line)
        if len(rows) >= _GROUP_ROWS or size_bytes >= _GROUP_BYTES:
            yield rows
            rows, size_bytes = [], 0
    yield rows


def read_table(
    shard: Path, session: Session, columns: Sequence[str] | None = None
) -> Iterator[Mapping[str, Any]]:
    """The rows of the table beside a shard, whichever form it has; BadArchive if there is none.

    Some columns are read faster than all; a row may have others, too.
    """
    parquet, lines, _ = (shard.with_name(name) for name in names_beside(shard.name))
    if session.shelf is not None:
        _bring((parquet, lines), session.shelf, session.store.root)
    if parquet.is_file():
        yield from read_parquet(parquet, columns)
        return
    try:
        with open(lines, "rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise BadArchive(f"{parquet}: the table of {shard.name} cannot be read ({error})") from None


def _bring(paths: Sequence[Path], shelf: Shelf, root: Path) -> None:
    """Fetch the one of some files that stands in the bucket."""
    for path in paths:
        with suppress(SourceError):
            shelf.fetch(path.relative_to(root).as_posix())
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The sums of a task, as img2dataset's readers know them."""

    rows: int
    reasons: Mapping[str, int]
    started: datetime
    ended: datetime

    def to_json(self) -> str:
        """The content of `_stats.json`."""
        sums = {"failed_to_download": 0, "failed_to_resize": 0}
        for reason, count in self.reasons.items():
            sums[status_of(reason)] += count
        good = self.rows - sum(self.reasons.values())
        body = {
            "count": self.rows,
            "successes": good,
            **sums,
            "duration": (self.ended - self.started).total_seconds(),
            "start_time": self.started.timestamp(),
            "end_time": self.ended.timestamp(),
            "status_dict": {"success": good, **self.reasons} if good else dict(self.reasons),
        }
        return json.dumps(body, indent=4) + "\n"
