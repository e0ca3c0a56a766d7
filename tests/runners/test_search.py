"""g3m.search and g3m.sql: hits that can be read, keys that leave samples out, questions that change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.steps.offline import tar_bytes

import g3m
from g3m.adapters.catalog import FILE, ShardFacts, open_catalog
from g3m.core.catalog import Entry, count_words
from g3m.core.errors import NotVerified, UnknownCatalog, UnknownDataset, UsageError
from g3m.core.listed import listed
from g3m.runners.search import asked

CAPTIONS = {
    "mine": ("A red bus", "Two double-decker buses", "红色公交车停在街道旁边", "A Café at night, red", ""),
    "other": ("a red\x00 \x1b[31m cat\nand \u202emore", "a dog"),
}


def make_root(root: Path, captions: dict[str, tuple[str, ...]] = CAPTIONS) -> Path:
    """Datasets of one tar each with an index, and the catalog of their captions."""
    (root / ".g3m").mkdir(parents=True)
    with open_catalog(root / ".g3m" / FILE, writing=True) as catalog:
        for name, texts in captions.items():
            (root / name).mkdir()
            members = []
            for place, text in enumerate(texts):
                members += [(f"{place:03d}.jpg", b"picture %d" % place), (f"{place:03d}.txt", text.encode())]
            (root / name / "00000.tar").write_bytes(tar_bytes(members))
            g3m.index(root / name)
            facts = ShardFacts(dataset=name, folder=name, name="00000.tar", number=0, first=0, stamp="1")
            rows = [
                Entry(key=f"{place:03d}", caption=text, width=640, height=480, words=count_words(text))
                for place, text in enumerate(texts)
            ]
            catalog.put(facts, rows)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that the tests only read."""
    return make_root(tmp_path_factory.mktemp("search") / "data")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("red", ["mine/000", "mine/003", "other/000"]),
        ("red bus*", ["mine/000"]),
        ('"double decker" bus*', ["mine/001"]),
        ("公交车", ["mine/002"]),
        ("cafe OR dog", ["mine/003", "other/001"]),
        ("red -night", ["mine/000", "other/000"]),
        ("car", []),
    ],
)
def test_hits_are_those_of_the_query(root: Path, text: str, keys: list[str]) -> None:
    """Words, phrases, prefixes, OR, without and Chinese, in the order of the datasets."""
    assert [f"{hit.dataset}/{hit.key}" for hit in g3m.search(text, root=root)] == keys


def test_a_hit_says_what_it_is_and_loads(root: Path) -> None:
    """A hit carries its caption as written and its place, and reads its own picture."""
    (hit,) = g3m.search("dog", root=root)
    assert (hit.dataset, hit.key, hit.caption, hit.shard, hit.number) == (
        "other",
        "001",
        "a dog",
        "00000.tar",
        1,
    )
    assert (hit.width, hit.height, hit.folder) == (640, 480, root / "other")
    sample = hit.load()
    assert (sample.key, sample.dataset, sample.image, sample.text) == ("001", "other", b"picture 1", "a dog")


def test_one_dataset_and_a_limit(root: Path) -> None:
    """A search can be kept to one dataset and to a number of hits; another name is said to be unknown."""
    assert [hit.dataset for hit in g3m.search("red", root=root, dataset="other")] == ["other"]
    assert len(g3m.search("red", root=root, limit=2)) == 2
    with pytest.raises(
        UnknownDataset, match="'othr' is not in the catalog; it has: mine, other; did you mean 'other'"
    ):
        g3m.search("red", root=root, dataset="othr")


@pytest.mark.parametrize("text", ["", "***", "-red", "x" * 2000])
def test_a_query_without_words_is_an_error_of_usage(root: Path, text: str) -> None:
    """It is explained in both languages, however long it is, and does not list everything."""
    with pytest.raises(UsageError, match="cannot be answered") as caught:
        g3m.search(text, root=root)
    assert all(caught.value.hint)
    assert len(caught.value.message) < 200


def test_without_a_catalog_the_remedy_is_said(tmp_path: Path) -> None:
    """Before `g3m index` there is nothing to search, and the error says what makes it."""
    for ask in (lambda: g3m.search("red", root=tmp_path), lambda: g3m.sql("SELECT 1", root=tmp_path)):
        with pytest.raises(UnknownCatalog) as caught:
            ask()
        assert "g3m index" in caught.value.hint[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("texts", [("a", "b"), ("a",)])
def test_a_hit_of_shards_that_changed_is_refused(tmp_path: Path, texts: tuple[str, ...]) -> None:
    """Where another sample stands by now, or none, no wrong picture is given out."""
    root = make_root(tmp_path / "data", {"mine": ("a", "dog")})
    (hit,) = g3m.search("dog", root=root)
    members = [(f"new{place}.jpg", b"other") for place, _text in enumerate(texts)]
    (root / "mine" / "00000.tar").write_bytes(tar_bytes(members))
    g3m.index(root / "mine")
    with pytest.raises(NotVerified, match="'001' any more"):
        hit.load()


def test_keys_make_an_exclusion_list(root: Path, tmp_path: Path) -> None:
    """The lines of a search's keys, given to g3m.dataset, leave out exactly what was found."""
    with open_catalog(root / ".g3m" / FILE) as catalog:
        lines = [listed(*pair) for pair in catalog.keys(asked(catalog, "red"))]
    path = tmp_path / "without.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    data = g3m.dataset([root / "mine", root / "other"], exclude=path)
    assert [f"{sample.dataset}/{sample.key}" for sample in data] == [
        "mine/001",
        "mine/002",
        "mine/004",
        "other/001",
    ]
    data.close()


def test_sql_answers_a_select(root: Path) -> None:
    """Columns by name, rows in order, cut at the limit."""
    answer = g3m.sql("SELECT dataset, count(*) AS samples FROM samples GROUP BY dataset", root=root)
    assert (answer.columns, answer.rows, answer.is_cut) == (
        ("dataset", "samples"),
        (("mine", 5), ("other", 2)),
        False,
    )
    assert g3m.sql("SELECT key FROM samples", root=root, limit=2).is_cut


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT nme FROM samples", "no such column: nme"),
        ("SELEC 1", "syntax error"),
        ("DELETE FROM sample", "only reading"),
        ("DROP TABLE caption", "only reading"),
        ("PRAGMA user_version = 7", "only reading"),
        ("ATTACH 'x.sqlite' AS x", "only reading"),
        ("VACUUM INTO 'copy.sqlite'", "cannot be answered"),
        ("SELECT load_extension('x')", "only reading"),
        ("INSERT INTO found(found) VALUES('delete-all')", "cannot be answered"),
        ("SELECT 1; DELETE FROM sample", "cannot be answered"),
        ("BEGIN EXCLUSIVE", "only reading"),
        ("", "no SELECT"),
        ("SELECT '\ud800'", "cannot be answered"),
        ("SELECT 1\x00", "cannot be answered"),
    ],
)
def test_sql_changes_nothing_and_says_what_there_is(root: Path, text: str, words: str) -> None:
    """Whatever else is asked is refused with SQLite's words and the columns and tables that exist."""
    before = (root / ".g3m" / FILE).read_bytes()
    with pytest.raises(UsageError, match=words) as caught:
        g3m.sql(text, root=root)
    assert "samples(id, dataset, shard, number, key, caption, width" in caught.value.message
    assert (root / ".g3m" / FILE).read_bytes() == before
    assert [path.name for path in (root / ".g3m").iterdir()] == [FILE]


def test_sql_has_an_end(root: Path) -> None:
    """A question that never ends is given up after its time, and nothing is left at work."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(UsageError, match=r"longer than 0\.2 s"):
        g3m.sql(endless, root=root, timeout_s=0.2)
    assert len(g3m.search("red", root=root)) == 3
