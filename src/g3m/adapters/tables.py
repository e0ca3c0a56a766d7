"""Reading Parquet: rows of plain values, a few at a time.

Here: files to rows. What a column means is for the readers that know a dataset. pyarrow is an extra
and is imported only when a file is read.

Columns of numbers, text, bytes, and {bytes, path} (how the hub stores images) are all that sources
use; other types are refused, extension types above all: some of them run code when they are read.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from g3m.core.errors import BadArchive, NotRecognised, StorageError, UsageError

_BATCH_ROWS = 128
"""A row may hold an image: 128 are some 20 MB, while a row group may be a gigabyte."""

_IMAGE_FIELDS = {"bytes", "path"}


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
        return bool(types.is_primitive(kind)) or self._is_text(kind)

    def _is_text(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_binary(kind)
            or types.is_large_binary(kind)
        )

    def batches(self, columns: list[str]) -> Iterator[list[dict[str, object]]]:
        """A few rows at a time, one row group after the other."""
        try:
            for batch in self._parquet.iter_batches(
                batch_size=_BATCH_ROWS, columns=columns, use_threads=False
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
            "reading Parquet needs pyarrow, which is not installed",
            hint=("run: pip install pyarrow", "请运行 pip install pyarrow"),
        ) from error
