"""adapters/tables.py: rows of plain values from Parquet, and no other kind of value."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.tables import count_rows, parquet_columns, read_parquet, read_rows
from g3m.core.errors import BadArchive, G3MError, NotRecognised, StorageError, UsageError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("caption", pa.string()),
        ("image", IMAGE),
        ("raw", pa.large_binary()),
        ("score", pa.float32()),
        ("kept", pa.bool_()),
    ]
)
ROWS: list[dict[str, object]] = [
    {
        "id": number,
        "caption": f"caption {number} 漢" if number % 7 else None,
        "image": {"bytes": bytes([number % 256]) * 90, "path": f"{number}.jpg"},
        "raw": b"r" * (number % 5),
        "score": number / 2,
        "kept": number % 2 == 0,
    }
    for number in range(1000)
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four row groups with every type that is read."""
    path = tmp_path_factory.mktemp("tables") / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), path, row_group_size=300)
    return path


def test_rows_come_in_order_with_all_columns(table: Path) -> None:
    """Every row group's rows come back, nulls included."""
    assert parquet_columns(table) == tuple(SCHEMA.names)
    assert list(read_parquet(table, None)) == ROWS


def test_only_the_chosen_columns_are_read(table: Path) -> None:
    """The chosen columns, and a struct as a whole, make up each row."""
    found = list(read_parquet(table, ["image", "id"]))
    assert found == [{"image": row["image"], "id": row["id"]} for row in ROWS]


def test_rows_are_read_as_they_are_asked_for(table: Path) -> None:
    """The first row comes without the rest, and leaving early closes the file."""
    rows = read_parquet(table, ["id"])
    assert next(rows) == {"id": 0}
    rows.close()  # type: ignore[attr-defined]


def test_a_missing_column_is_named(table: Path) -> None:
    """The error tells which column is missing and which there are."""
    with pytest.raises(NotRecognised, match="0 columns named 'text' among: id, caption"):
        list(read_parquet(table, ["id", "text"]))


def extension() -> pa.DataType:
    class Pickled(pa.ExtensionType):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pa.binary(), "test.pickled")

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Any:
            raise AssertionError("the file's own type was made")

    return Pickled()


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.map_(pa.string(), pa.string()),
        pa.struct([("bytes", pa.list_(pa.int8()))]),
        pa.struct([("code", pa.binary())]),
    ],
    ids=str,
)
def test_other_types_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    """A column of a nested type is refused by name, while the others can be read."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1], "odd": pa.array([None], kind)}), path)
    with pytest.raises(NotRecognised, match="column 'odd' has the type"):
        list(read_parquet(path, None))
    assert list(read_parquet(path, ["id"])) == [{"id": 1}]


def test_extension_types_are_never_made(tmp_path: Path) -> None:
    """A column of an unknown extension type is read as the plain bytes it is stored as."""
    path = tmp_path / "a.parquet"
    kind = extension()
    column = pa.ExtensionArray.from_storage(kind, pa.array([b"cos\nsystem"]))
    pq.write_table(pa.table({"odd": column}), path)
    assert list(read_parquet(path, None)) == [{"odd": b"cos\nsystem"}]


def test_a_known_extension_type_is_refused(tmp_path: Path) -> None:
    """A column whose extension type some package has registered is refused."""
    path = tmp_path / "a.parquet"
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"]))
    pq.write_table(pa.table({"odd": column}), path)
    with pytest.raises(NotRecognised, match="column 'odd' has the type extension"):
        list(read_parquet(path, None))


def test_cuts_and_flips_are_errors_of_the_tree(table: Path, tmp_path: Path) -> None:
    """A damaged file gives an error of the tree, or rows, and never a foreign exception."""
    whole = table.read_bytes()
    chosen = random.Random(9)
    path = tmp_path / "a.parquet"
    for place in chosen.sample(range(len(whole)), 100):
        path.write_bytes(whole[:place])
        with pytest.raises(BadArchive, match="not a sound Parquet file"):
            list(read_parquet(path, None))
    for bit in chosen.sample(range(len(whole) * 8), 200):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with suppress(G3MError):
            list(read_parquet(path, None))


@given(st.binary(max_size=200))
def test_other_files_are_bad(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """What is no Parquet file is a BadArchive."""
    path = tmp_path_factory.getbasetemp() / "other.parquet"
    path.write_bytes(content)
    with pytest.raises(BadArchive):
        parquet_columns(path)


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    """What the system refuses to open is named with the system's words."""
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        parquet_columns(tmp_path / "none")


@pytest.mark.parametrize("call", [parquet_columns, lambda path: next(read_parquet(path, None))])
def test_without_pyarrow_the_hint_says_what_to_install(
    table: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Path], object]
) -> None:
    """What to install is said in both languages."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        call(table)
    assert all("pip install pyarrow" in words for words in caught.value.hint)


def test_importing_the_module_does_not_import_pyarrow() -> None:
    """pyarrow comes with the first file."""
    code = "import sys, g3m.adapters.tables; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def rows_in_groups(path: Path, rows: int, group: int) -> None:
    table = pa.table(
        {"n": range(rows), "text": [f"t{number}" for number in range(rows)], "other": ["o"] * rows}
    )
    pq.write_table(table, path, row_group_size=group, compression="none", use_dictionary=False)


@given(rows=st.integers(0, 40), group=st.integers(1, 12), data=st.data())
def test_a_span_has_its_rows_wherever_groups_end(
    rows: int, group: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neighbouring rows are found by their numbers, in one row group or over several."""
    path = tmp_path_factory.mktemp("span") / "a.parquet"
    rows_in_groups(path, rows, group)
    start = data.draw(st.integers(0, rows))
    end = data.draw(st.integers(start, rows))
    assert count_rows(path) == rows
    assert [row["n"] for row in read_rows(path, ["n"], start, end)] == list(range(start, end))


def test_a_span_over_many_batches(tmp_path: Path) -> None:
    """A span longer than what is read at once has its rows all the same."""
    rows_in_groups(tmp_path / "a.parquet", 5000, 3000)
    found = list(read_rows(tmp_path / "a.parquet", ["n", "text"], 1, 4999))
    assert [row["n"] for row in found] == list(range(1, 4999))
    assert found[-1] == {"n": 4998, "text": "t4998"}


def test_a_span_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    """Damage in other row groups, and in columns that nobody wants, is not even seen."""
    path = tmp_path / "a.parquet"
    rows_in_groups(path, 40, 10)
    metadata = pq.read_metadata(path)
    data = bytearray(path.read_bytes())
    for group, column in ((0, 0), (0, 1), (1, 2), (2, 0), (3, 1)):
        chunk = metadata.row_group(group).column(column)
        end = chunk.data_page_offset + chunk.total_compressed_size
        data[chunk.data_page_offset : end] = b"\xff" * (end - chunk.data_page_offset)
    path.write_bytes(data)
    assert [row["n"] for row in read_rows(path, ["n", "text"], 10, 20)] == list(range(10, 20))
    for start, end in ((9, 20), (10, 21), (30, 31)):
        with pytest.raises(BadArchive, match="not a sound Parquet file"):
            list(read_rows(path, ["n", "text"], start, end))
    with pytest.raises(BadArchive, match="has 40 rows, and not 41"):
        list(read_rows(path, ["n"], 0, 41))
