"""Parquet: rows of plain values, read and written a few at a time.

Here: files to rows, and rows to files. What a column means is for those that know a dataset. pyarrow is an
extra and is imported only when a file is read or written.

Columns of numbers, text, bytes, and {bytes, path} (how the hub stores images) are all that sources
use; other types are refused, extension types above all: some of them run code when they are read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from g3m.adapters import fsio
from g3m.core.errors import BadArchive, NotRecognised, StorageError, UsageError, storage_error

_BATCH_ROWS = 128
"""A row may hold an image: 128 are some 20 MB, while a row group may be a gigabyte."""

_SPAN_BATCH_ROWS = 1024
"""A row of a list holds no image."""

_CHANGED_BATCH_ROWS = 10_000

_IMAGE_FIELDS = {"bytes", "path"}


def has_parquet() -> bool:
    """Whether Parquet can be read and written here; nothing is imported to know it."""
    return importlib.util.find_spec("pyarrow") is not None


def write_parquet(
    path: Path, columns: Mapping[str, str], groups: Iterable[Sequence[Mapping[str, Any]]]
) -> None:
    """Write rows as a new file, each group as a row group, and put it on the disk.

    `columns` has pyarrow's name of each column's type; what a row lacks is null. A failure leaves no file.
    """
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in columns.items()])
    try:
        with (
            fsio.writing(path) as file,
            parquet.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for rows in groups:
                values = {name: [row.get(name) for row in rows] for name in columns}
                writer.write_table(arrow.Table.from_pydict(values, schema=schema))
    except OSError as error:
        raise storage_error(error, path) from error


def change_parquet(
    path: Path, made: Path, change: Callable[[dict[str, object]], Mapping[str, object]]
) -> None:
    """Write the rows of a file as a new one of the same columns, each as `change` gives it; onto the disk."""
    arrow, parquet = _pyarrow()
    try:
        with (
            _Table(path) as table,
            fsio.writing(made) as file,
            parquet.ParquetWriter(file, table.schema, compression="zstd") as writer,
        ):
            for rows in table.batches(list(table.schema.names), batch_rows=_CHANGED_BATCH_ROWS):
                changed = [dict(change(row)) for row in rows]
                writer.write_table(arrow.Table.from_pylist(changed, schema=table.schema))
    except OSError as error:
        raise storage_error(error, made) from error


def parquet_columns(path: Path) -> tuple[str, ...]:
    """The names of a file's columns, in its order; errors as for `read_parquet`."""
    with _Table(path) as table:
        return tuple(table.schema.names)


def read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[dict[str, object]]:
    """The rows of a file, each a dict of the chosen columns (None: all), in the file's order.

    Raises UsageError if pyarrow is not installed, NotRecognised if a column is missing or of a type
    that is not read, BadArchive if the file is damaged, StorageError if it cannot be read.
    """
    with _Table(path) as table:
        chosen = list(table.schema.names if columns is None else columns)
        table.check(chosen)
        for rows in table.batches(chosen):
            yield from rows


def count_rows(path: Path) -> int:
    """How many rows a file has, by its metadata alone; errors as for `read_parquet`."""
    with _Table(path) as table:
        return table.rows


def read_rows(path: Path, columns: Sequence[str], start: int, end: int) -> Iterator[dict[str, object]]:
    """The rows from `start` to before `end`; reads only the row groups and the columns that they lie in.

    Columns of texts, numbers and moments; errors as for `read_parquet`, also where there are fewer rows.
    """
    with _Table(path) as table:
        table.check(columns)
        yield from table.span(list(columns), start, end)


@final
class _Table:
    """An open Parquet file, and pyarrow's errors in the words of this program."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrow, parquet = _pyarrow()
        # Opened here and not by pyarrow, to tell a file that cannot be read from one that is bad.
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            self._parquet = parquet.ParquetFile(self._file, pre_buffer=False)
            self.schema: Any = self._parquet.schema_arrow
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            self._file.close()
            raise self._bad(error) from error

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close()
        self._file.close()

    def check(self, columns: Sequence[str]) -> None:
        """Raise NotRecognised unless every column is there, once, and of a plain type."""
        for column in columns:
            count = self.schema.names.count(column)
            if count != 1:
                known = ", ".join(self.schema.names)
                words = f"{self._path}: {count} columns named {column!r} among: {known}"
                raise NotRecognised(words)
            kind = self.schema.field(column).type
            if not self._is_plain(kind):
                raise NotRecognised(f"{self._path}: column {column!r} has the type {kind}")

    def _is_plain(self, kind: Any) -> bool:
        types = self._arrow.types
        if types.is_struct(kind):
            fields = [kind.field(index) for index in range(kind.num_fields)]
            return {field.name for field in fields} <= _IMAGE_FIELDS and all(
                self._is_text(field.type) for field in fields
            )
        if types.is_dictionary(kind):
            kind = kind.value_type
        return bool(types.is_primitive(kind) or types.is_null(kind)) or self._is_text(kind)

    def _is_text(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_binary(kind)
            or types.is_large_binary(kind)
        )

    @property
    def rows(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def span(self, columns: list[str], start: int, end: int) -> Iterator[dict[str, object]]:
        """Neighbouring rows, wherever row groups begin and end."""
        metadata = self._parquet.metadata
        if end > metadata.num_rows:
            raise BadArchive(f"{self._path}: has {metadata.num_rows} rows, and not {end}")
        groups: list[int] = []
        first, before = start, 0
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            if before < end and before + count > start:
                first = first if groups else before
                groups.append(group)
            before += count
        place = first
        for rows in self.batches(columns, groups, _SPAN_BATCH_ROWS):
            yield from rows[max(start - place, 0) : max(end - place, 0)]
            place += len(rows)
            if place >= end:
                break

    def batches(
        self, columns: list[str], groups: list[int] | None = None, batch_rows: int = _BATCH_ROWS
    ) -> Iterator[list[dict[str, object]]]:
        """A few rows at a time, one row group after the other (None: of all)."""
        try:
            for batch in self._parquet.iter_batches(
                batch_size=batch_rows, row_groups=groups, columns=columns, use_threads=False
            ):
                yield batch.to_pylist()
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            raise self._bad(error) from error

    def _bad(self, error: Exception) -> BadArchive | StorageError:
        # pyarrow uses OSError for damaged content, too; only the system's own has a number.
        if isinstance(error, OSError) and error.errno:
            return StorageError(f"{self._path}: cannot be read: {error.strerror}")
        return BadArchive(f"{self._path}: not a sound Parquet file: {error}")


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed",
            hint=("run: pip install pyarrow", "请运行 pip install pyarrow"),
        ) from error
