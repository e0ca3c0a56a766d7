"""steps/layout.py, lists.py and unpack.py: every row of every kind of list in exactly one task, in order."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.realdata import REAL

from g3m.adapters import lists
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive, G3MError, NotRecognised, StorageError, UsageError
from g3m.core.events import Noted
from g3m.core.gathering import Columns, Gathering, GatherPlan, ListSource, Row, gather_plan
from g3m.core.plan import Plan, Task, asset_id
from g3m.core.receipt import AssetReceipt, to_json
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.treatment import AS_IT_IS
from g3m.lab.sbu import GOLDEN_CAPTION, GOLDEN_URL
from g3m.runners.run import make_session
from g3m.steps import layout
from g3m.steps.arrangement import list_path, pack_tasks, read_arrangement
from g3m.steps.layout import batch_of, lay_out, read_batch, source_of
from g3m.steps.lists import find_lists, list_asset

TASK = Task(id="arrange/mine", kind="arrange", dataset="mine")
COLUMNS = Columns()
Pair = tuple[str, str]
PAIRS: list[Pair] = [(f"https://h{n % 7}.example/{n}.jpg", f'a "{n}", {{b}} é') for n in range(57)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = make_session({"root": str(tmp_path / "data")}, {})
    made.store.prepare()
    return made


def dataset(
    sources: Sequence[ListSource],
    columns: Columns = COLUMNS,
    task_rows: int = 10,
    assets: Sequence[Asset] = (),
) -> GatherPlan:
    recipe = Recipe(
        name="mine",
        title="Mine",
        folder="mine",
        homepage="",
        licence="none",
        terms="",
        citation="",
        samples=SampleRule(reader="urls"),
        expect=Expect(),
        assets=tuple(assets),
    )
    return gather_plan(recipe, sources, Gathering(columns=columns, task_rows=task_rows), AS_IT_IS)


def plan_of(*paths: Path, session: Session, columns: Columns = COLUMNS, task_rows: int = 10) -> GatherPlan:
    sources, assets = find_lists([str(path) for path in paths], session)
    return dataset(sources, columns, task_rows, assets)


def laid_out(made: GatherPlan, session: Session) -> list[Any]:
    return list(lay_out(TASK, Plan(datasets=(made,)), session))


def tasks_of(made: GatherPlan, session: Session) -> tuple[Task, ...]:
    found = read_arrangement(made, session)
    assert found is not None
    return pack_tasks(made, found)


def rows_of(made: GatherPlan, session: Session) -> Iterator[list[Row]]:
    """The rows of each task, after laying out."""
    laid_out(made, session)
    for task in tasks_of(made, session):
        batch = batch_of(task, made, session)
        assert batch.rows == task.samples
        yield list(read_batch(made, batch, session))


def pairs_of(made: GatherPlan, session: Session) -> list[Pair]:
    tasks = list(rows_of(made, session))
    rows = [row for task in tasks for row in task]
    assert [row.number for row in rows] == list(range(len(rows)))
    assert all(len(task) == made.gathering.task_rows for task in tasks[:-1])
    return [(row.url, row.caption) for row in rows]


def as_table(
    path: Path, pairs: Sequence[Pair], *, comma: str = ",", quoting: int = csv.QUOTE_MINIMAL
) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=comma, quoting=quoting)
        writer.writerow(["url", "caption"])
        writer.writerows(pairs)


def as_jsonl(path: Path, pairs: Sequence[Pair]) -> None:
    path.write_text("".join(json.dumps({"url": u, "caption": c}) + "\n" for u, c in pairs))


def as_array(path: Path, pairs: Sequence[Pair], indent: int | None = None) -> None:
    path.write_text(
        json.dumps([{"url": u, "caption": c} for u, c in pairs], indent=indent, ensure_ascii=False)
    )


def as_arrays(path: Path, pairs: Sequence[Pair]) -> None:
    path.write_text(json.dumps({"caption": [c for _, c in pairs], "url": [u for u, _ in pairs]}))


def as_parquet(path: Path, pairs: Sequence[Pair], group: int = 9) -> None:
    table = pa.table({"n": range(len(pairs)), "url": [u for u, _ in pairs], "caption": [c for _, c in pairs]})
    pq.write_table(table, path, row_group_size=group)


WRITERS: dict[str, Callable[[Path, Sequence[Pair]], None]] = {
    "a.csv": as_table,
    "quoted.csv": lambda path, pairs: as_table(path, pairs, quoting=csv.QUOTE_ALL),
    "a.tsv": lambda path, pairs: as_table(path, pairs, comma="\t"),
    "a.jsonl": as_jsonl,
    "lines.json": as_jsonl,
    "a.json": as_array,
    "pretty.json": lambda path, pairs: as_array(path, pairs, 2),
    "side_by_side.json": as_arrays,
    "a.parquet": as_parquet,
}
TEXTS = [name for name in WRITERS if not name.endswith("parquet")]


@pytest.mark.parametrize("name", WRITERS)
def test_each_form(name: str, session: Session, tmp_path: Path) -> None:
    """Each form of a list gives the same rows, and so does each way to lay them out."""
    WRITERS[name](tmp_path / name, PAIRS)
    assert pairs_of(plan_of(tmp_path / name, session=session), session) == PAIRS


@pytest.mark.parametrize("name", TEXTS)
def test_each_form_packed(name: str, session: Session, tmp_path: Path) -> None:
    """A list in gzip, in a tar.gz or in a zip gives the rows of the plain one."""
    WRITERS[name](tmp_path / name, PAIRS)
    data = (tmp_path / name).read_bytes()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"folder/{name}", data)
        archive.writestr("README.md", "about")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / name, f"./folder/{name}")
    for packed in (f"{name}.gz", "a.zip", "a.tar.gz"):
        made = plan_of(tmp_path / packed, session=session)
        assert pairs_of(made, session) == PAIRS
        assert [path.name for path in source_of(made, 0, session).parent.iterdir()] == [
            source_of(made, 0, session).name
        ]


CAPTION = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('",{}[]\\'), max_size=8)
LONG = st.lists(st.tuples(st.integers(0, 9).map(lambda n: f"http://h/{n}"), CAPTION), min_size=1, max_size=30)


@pytest.mark.parametrize("name", WRITERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    pairs=LONG,
    cuts=st.lists(st.integers(0, 30), max_size=3),
    task_rows=st.integers(1, 12),
    block=st.integers(8, 90),
)
def test_any_split(
    name: str,
    pairs: list[Pair],
    cuts: list[int],
    task_rows: int,
    block: int,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However rows are spread over lists, and read in whatever blocks, each is in one task, in order."""
    monkeypatch.setattr(lists, "BLOCK_BYTES", max(block, 64))
    places = sorted({0, *(min(cut, len(pairs)) for cut in cuts), len(pairs)})
    paths = []
    for number, (start, end) in enumerate(pairwise(places)):
        paths.append(tmp_path / f"{number}-{name}")
        WRITERS[name](paths[-1], pairs[start:end])
    made = plan_of(*paths, session=session, task_rows=task_rows)
    assert pairs_of(made, session) == pairs


def test_a_txt_has_a_url_a_line(session: Session, tmp_path: Path) -> None:
    """A line is a URL with all its commas and quotes; empty lines, a mark and CR are none of it."""
    path = tmp_path / "urls.txt"
    path.write_bytes(b'\xef\xbb\xbfhttp://h/a,b.jpg\r\n\n"http://h/c\r\nhttp://h/d e')
    found = pairs_of(plan_of(path, session=session, columns=Columns(caption="")), session)
    assert [url for url, _ in found] == ["http://h/a,b.jpg", '"http://h/c', "http://h/d e"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json"])
def test_a_mark_in_front_and_crlf(name: str, session: Session, tmp_path: Path) -> None:
    """What Windows writes, a byte order mark and CR LF, changes no row and no column."""
    WRITERS[name](tmp_path / name, PAIRS)
    data = (tmp_path / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data)
    assert pairs_of(plan_of(tmp_path / name, session=session), session) == PAIRS


def test_columns_and_what_is_kept(session: Session, tmp_path: Path) -> None:
    """Columns have any names; those that are kept come along, from text as text, else with their types."""
    columns = Columns(url="URL", caption="TEXT", sha256="SHA", keep=("similarity", "WIDTH"))
    rows = [{"URL": "http://h/1", "TEXT": "t", "SHA": "ab", "similarity": 0.5, "WIDTH": 7, "more": [1]}]
    (tmp_path / "a.jsonl").write_text(json.dumps(rows[0]))
    (tmp_path / "a.csv").write_text("TEXT,URL,SHA,similarity,WIDTH\nt,http://h/1,ab,0.5,7\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name, extra in (
        ("a.jsonl", {"similarity": 0.5, "WIDTH": 7}),
        ("a.csv", {"similarity": "0.5", "WIDTH": "7"}),
        ("a.parquet", {"similarity": 0.5, "WIDTH": 7}),
    ):
        made = plan_of(tmp_path / name, session=session, columns=columns)
        assert list(rows_of(made, session)) == [[Row(0, "http://h/1", "t", "ab", extra)]]


def test_numbers_for_a_table_without_header(session: Session, tmp_path: Path) -> None:
    """Columns that are numbers mean a table without a header, as that of Conceptual Captions."""
    (tmp_path / "a.tsv").write_text('"a dog\thttp://h/1\nb\thttp://h/2\n')
    made = plan_of(tmp_path / "a.tsv", session=session, columns=Columns(url="2", caption="1"))
    assert pairs_of(made, session) == [("http://h/1", '"a dog'), ("http://h/2", "b")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_a_missing_column_is_told_with_those_that_are_there(
    name: str, session: Session, tmp_path: Path
) -> None:
    """Who names a column that is not there is told which there are, and which was perhaps meant."""
    WRITERS[name](tmp_path / name, PAIRS)
    for columns, near in ((Columns(url="URL"), "url"), (Columns(caption="captoin"), "caption")):
        made = plan_of(tmp_path / name, session=session, columns=columns)
        with pytest.raises(NotRecognised, match=f"did you mean '{near}'.*'url', 'caption'"):
            laid_out(made, session)


BAD_LINES = [
    b"not json",
    b"[1]",
    b"{}",
    b'{"url": NaN}',
    b'{"url": null, "caption": "x"}',
    b'{"url": 12}',
    b'{"url": "\\ud800"}',
    b'{"url": "http://h/\xff"}',
    b'{"url": "http://h/1", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"url": "http://h/1"',
    b'{"url": "http://h/1"} {"url": "http://h/2"}',
]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_row_is_a_row_without_url(bad: bytes, session: Session, tmp_path: Path) -> None:
    """What is no row that can be used is counted, and stops none of those around it."""
    good = b'{"url": "http://h/a", "caption": "c"}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, bad, good]))
    found = pairs_of(plan_of(tmp_path / "a.jsonl", session=session), session)
    assert [url for url, _ in found] == ["http://h/a", "", "http://h/a"]
    if bad.count(b"{") == bad.count(b"}") == 1 or bad == b"[1]" or bad == b"not json":
        (tmp_path / "a.json").write_bytes(b"[" + b", ".join([good, bad, good]) + b"]")
        assert pairs_of(plan_of(tmp_path / "a.json", session=session), session) == found


def test_numbers_without_end(session: Session, tmp_path: Path) -> None:
    """A number of 5,000 digits spoils no row; it is kept as its digits."""
    digits = "9" * 5000
    (tmp_path / "a.jsonl").write_text(f'{{"url": "http://h/a", "caption": "c", "n": {digits}, "m": NaN}}\n')
    made = plan_of(tmp_path / "a.jsonl", session=session, columns=Columns(keep=("n", "m")))
    assert list(rows_of(made, session)) == [[Row(0, "http://h/a", "c", "", {"n": digits, "m": None})]]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.json"])
def test_a_row_of_many_megabytes(
    name: str, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row longer than the limit is counted and has no URL; one beyond all measure is no row of a list."""
    monkeypatch.setattr("g3m.core.lists.ROW_LIMIT_BYTES", 1000)
    pairs = [("http://h/1", "a"), ("http://h/2", "b" * 2000), ("http://h/3", "c")]
    if name == "a.txt":
        (tmp_path / name).write_text("".join(f"{url}#{caption}\n" for url, caption in pairs))
    else:
        WRITERS[name](tmp_path / name, pairs)
    made = plan_of(tmp_path / name, session=session)
    assert [url[:10] for url, _ in pairs_of(made, session)] == ["http://h/1", "", "http://h/3"]
    monkeypatch.setattr(lists, "MOST_BYTES", 1500)
    monkeypatch.setattr(lists, "BLOCK_BYTES", 500)
    with pytest.raises(BadArchive, match="more than 1500 bytes"):
        laid_out(replace(made, identity="another"), session)


def test_captions_that_are_no_text(session: Session, tmp_path: Path) -> None:
    """A caption that is no UTF-8 reaches its judge as it is; one that is no text is empty."""
    lines = [b'{"url": "http://h/1", "caption": "a\xff"}', b'{"url": "http://h/2", "caption": 5}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    made = plan_of(tmp_path / "a.jsonl", session=session)
    assert pairs_of(made, session) == [("http://h/1", "a\udcff"), ("http://h/2", "")]


def test_odd_values_in_parquet(session: Session, tmp_path: Path) -> None:
    """Nulls, numbers, bytes, categories and moments in Parquet are values as any other."""
    table = pa.table(
        {
            "url": pa.array(["http://h/1", None, "http://h/3"]).dictionary_encode(),
            "caption": pa.array([b"a", b"\xff", None]),
            "when": pa.array([0, 1, None], pa.timestamp("s")),
            "score": [1.5, float("nan"), None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    made = plan_of(tmp_path / "a.parquet", session=session, columns=Columns(keep=("when", "score")))
    assert list(rows_of(made, session)) == [
        [
            Row(0, "http://h/1", "a", "", {"when": "1970-01-01 00:00:00", "score": 1.5}),
            Row(1, "", "\udcff", "", {"when": "1970-01-01 00:00:01", "score": None}),
            Row(2, "http://h/3", "", "", {"when": None, "score": None}),
        ]
    ]


def test_two_texts_side_by_side(session: Session, tmp_path: Path) -> None:
    """SBU's archive of two texts is a list whose columns are named by them."""
    with tarfile.open(tmp_path / "SBUCaptionedPhotoDataset.tar.gz", "w:gz") as tar:
        for kind, lines in (("urls", [GOLDEN_URL, "http://h/2"]), ("captions", [GOLDEN_CAPTION, "é\u2028x"])):
            data = "".join(f"{line}\n" for line in lines).encode()
            item = tarfile.TarInfo(f"dataset/SBU_captioned_photo_dataset_{kind}.txt")
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    columns = Columns(url="urls", caption="captions")
    made = plan_of(tmp_path / "SBUCaptionedPhotoDataset.tar.gz", session=session, columns=columns)
    assert pairs_of(made, session) == [(GOLDEN_URL, GOLDEN_CAPTION), ("http://h/2", "é\u2028x")]


@pytest.mark.parametrize(
    "text", ['{"url": ["a", "b"], "caption": ["c"]}', '{"url": ["a", "b"], "caption": 5}']
)
def test_arrays_that_do_not_fit(text: str, session: Session, tmp_path: Path) -> None:
    """Arrays of different lengths, or something else beside them, are no list."""
    (tmp_path / "a.json").write_text(text + "\n" if "5" not in text else text.replace(", ", ",\n"))
    with pytest.raises((BadArchive, NotRecognised), match=r"different lengths|not an object of arrays"):
        laid_out(plan_of(tmp_path / "a.json", session=session), session)


def test_what_stands_is_not_read_again(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start reads no list, not even one that had to be unpacked; another identity lays out anew."""
    as_jsonl(tmp_path / "a.jsonl", PAIRS)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    made = plan_of(tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz", session=session)
    events = laid_out(made, session)
    assert [event.text for event in events if isinstance(event, Noted)] == ["114 rows in 2 lists; 12 tasks"]
    before = read_arrangement(made, session)
    with monkeypatch.context() as patch:
        patch.setattr(layout, "cut", None)
        patch.setattr(layout, "unpack", None)
        assert len(laid_out(made, session)) == 1
    assert read_arrangement(made, session) == before
    source_of(made, 1, session).unlink()
    assert sum(isinstance(event, Noted) for event in laid_out(made, session)) == 1
    as_jsonl(tmp_path / "a.jsonl", PAIRS[:3])
    other = plan_of(tmp_path / "a.jsonl", session=session)
    assert other.identity != made.identity
    assert pairs_of(other, session) == PAIRS[:3]
    assert not any(list_path(session, "mine").parent.glob("mine.lists/*"))


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.parquet"])
def test_a_list_that_changed(name: str, session: Session, tmp_path: Path) -> None:
    """Rows are never taken from a list that is not the one that was planned."""
    WRITERS[name](tmp_path / name, PAIRS)
    made = plan_of(tmp_path / name, session=session)
    laid_out(made, session)
    batch = batch_of(tasks_of(made, session)[2], made, session)
    WRITERS[name](tmp_path / name, [(url.replace("h", "H"), caption) for url, caption in PAIRS])
    with pytest.raises(BadArchive, match="changed since"):
        list(read_batch(made, batch, session))
    with pytest.raises(BadArchive, match="changed since"):
        laid_out(replace(made, identity="another"), session)


def test_lists_without_rows(session: Session, tmp_path: Path) -> None:
    """Lists without a single row are told from those that have some."""
    (tmp_path / "a.csv").write_text("url,caption\n")
    (tmp_path / "b.json").write_text("[]\n")
    as_parquet(tmp_path / "c.parquet", [])
    paths = [tmp_path / name for name in ("a.csv", "b.json", "c.parquet")]
    with pytest.raises(NotRecognised, match=r"hold no rows: a\.csv, b\.json, c\.parquet"):
        laid_out(plan_of(*paths, session=session), session)
    as_table(tmp_path / "d.csv", PAIRS[:2])
    assert pairs_of(plan_of(*paths, tmp_path / "d.csv", session=session), session) == PAIRS[:2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.doc", b"x", "not a list"),
        ("a.json", b"5", "no JSON"),
        ("a.csv", b"\xff\xfeu\0r\0l\0", "UTF-16"),
        ("a.txt", b"\0\1\2", "not text"),
        ("a.parquet", b"PAR1PAR1", "not a sound Parquet file"),
        ("a.json", b'[{"url": "http://h/1", "caption": ""}, {"url"', "cut, or damaged"),
        ("a.json", b'[{"url": "http://h/1", "caption": ""}] x', "cut, or damaged"),
        ("a.csv.gz", b"no gzip", "gzip"),
        ("a.parquet.gz", b"", "Parquet is compressed inside"),
        ("a.zip", b"", "a.zip"),
    ],
)
def test_no_list(name: str, content: bytes, words: str, session: Session, tmp_path: Path) -> None:
    """What cannot be a list is refused, by name where its name says so; the words say what it is."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(G3MError, match=words) as raised:
        laid_out(plan_of(tmp_path / name, session=session), session)
    assert name in raised.value.message


def test_folders_of_lists(session: Session, tmp_path: Path) -> None:
    """A folder gives its lists by name, with those below it, and nothing that only lies beside them."""
    folder = tmp_path / "lists"
    for number, name in enumerate(["b.parquet", "a.parquet", "year=2020/c.parquet"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        as_parquet(folder / name, PAIRS[number : number + 1])
    for name in ("_SUCCESS", ".hidden.parquet", "a.parquet.crc", "LICENSE.txt", "00000_stats.json", "a.tar"):
        (folder / name).write_bytes(b"x")
    (folder / "_temporary").mkdir()
    as_parquet(folder / "_temporary" / "d.parquet", PAIRS)
    sources, assets = find_lists([str(folder)], session)
    assert [source.name for source in sources] == ["a.parquet", "b.parquet", "year=2020/c.parquet"]
    assert assets == ()
    assert pairs_of(dataset(sources), session) == [PAIRS[1], PAIRS[0], PAIRS[2]]
    assert find_lists([str(folder / "b.parquet")], session)[0][0].stamp == sources[1].stamp


def test_folders_that_are_not_clear(session: Session, tmp_path: Path) -> None:
    """A folder without lists, or with several kinds of them, is refused; so is a file that is not there."""
    with pytest.raises(UsageError, match="no list"):
        find_lists([str(tmp_path)], session)
    as_parquet(tmp_path / "a.parquet", PAIRS)
    as_table(tmp_path / "a.csv", PAIRS)
    with pytest.raises(UsageError, match=r"several kinds \(csv, parquet\)"):
        find_lists([str(tmp_path)], session)
    with pytest.raises(StorageError, match="cannot be read"):
        find_lists([str(tmp_path / "gone.csv")], session)


def test_addresses_are_assets(session: Session, tmp_path: Path) -> None:
    """A list at an address is an asset; once it is fetched, its rows are read where it lies."""
    sources, assets = find_lists(["https://h/lists/a.csv?x=1", "https://h/lists/a.csv?x=1"], session)
    assert [source.name for source in sources] == ["a.csv", "a.csv"]
    assert assets == (list_asset("https://h/lists/a.csv?x=1"),)
    made = dataset(sources[:1], assets=assets)
    with pytest.raises(BadArchive, match="its receipt is gone"):
        laid_out(made, session)
    as_table(tmp_path / "fetched", PAIRS)
    identifier = asset_id(assets[0])
    size_bytes = (tmp_path / "fetched").stat().st_size
    receipt = AssetReceipt(
        id=identifier,
        name="a.csv",
        size_bytes=size_bytes,
        digests=(),
        proof="first use",
        path=str(tmp_path / "fetched"),
    )
    path = session.store.receipt("assets", identifier)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(receipt))
    assert pairs_of(made, session) == PAIRS
    with pytest.raises(NotRecognised, match="not a list"):
        list_asset("https://h/lists")


URL_LISTS = sorted((REAL / "url_lists" / "tests" / "test_files").glob("test_1000*"))


@pytest.mark.parametrize("path", URL_LISTS, ids=lambda path: path.name)
def test_real_lists(path: Path, session: Session) -> None:
    """The lists of img2dataset's own tests are read to the last row."""
    count = 10_000 if "10000" in path.name else 1000
    made = plan_of(path, session=session, columns=Columns(url="URL", caption="TEXT"), task_rows=300)
    found = pairs_of(made, session)
    assert len(found) == count
    assert {url for url, _ in found if not url.startswith("http")} <= {"UNLIKELY"}  # as it stands there
    assert any(caption for _, caption in found) == path.name.endswith("parquet")
