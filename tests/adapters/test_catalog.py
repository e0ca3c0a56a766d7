"""adapters/catalog.py: every view, page by page, is what going through all rows gives; writing keeps it so."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bench.catalog_data import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g3m.adapters import catalog_file, catalog_walk
from g3m.adapters.catalog import Catalog, ShardFacts, open_catalog
from g3m.adapters.catalog_file import translated
from g3m.core.browse import Span, View, parse_view
from g3m.core.catalog import Entry, Shown, aspect, mask
from g3m.core.charts import BLOCK, bin_of, tally
from g3m.core.errors import (
    G3MError,
    Locked,
    NoFullText,
    NoSpace,
    NotWritable,
    StorageError,
    UnknownCatalog,
    UsageError,
)
from g3m.core.query import BadQuery

WORDS = ("red", "bus", "dog", "猫", "sky", "Café")
HOSTS = ("", "a.example", "b.example")


def entries(count: int, seed: int) -> list[Entry]:
    """Rows in which every kind of filter finds something, some of it rarely."""
    drawn = random.Random(seed)
    made = []
    for place in range(count):
        words = drawn.choices(WORDS, k=drawn.randrange(5))
        made.append(
            Entry(
                key=f"{seed}-{place}",
                caption=" ".join(words),
                width=drawn.choice((0, 64, 640, 641, 333)),
                height=drawn.choice((0, 48, 480)),
                size_bytes=drawn.randrange(1, 5000),
                words=len(words),
                host=drawn.choice(HOSTS),
                format=drawn.choice(("jpeg", "jpeg", "png")),
                flags=mask(["bomb"]) if drawn.random() < 0.01 else mask(["cmyk"]) * (drawn.random() < 0.2),
            )
        )
    return made


def facts(dataset: str, number: int, *, first: int = 0, stamp: str = "1") -> ShardFacts:
    return ShardFacts(
        dataset=dataset, folder=dataset, name=f"{number}.tar", number=number, first=first, stamp=stamp
    )


def fill(catalog: Catalog, shards: Sequence[tuple[str, int, int]]) -> None:
    """Shards of (dataset, number, samples)."""
    firsts: Counter[str] = Counter()
    for at, (dataset, number, samples) in enumerate(shards):
        catalog.put(facts(dataset, number, first=firsts[dataset]), entries(samples, at))
        firsts[dataset] += samples


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "g3m.sqlite", writing=True) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    path = tmp_path_factory.mktemp("catalog") / "g3m.sqlite"
    with open_catalog(path, writing=True) as catalog:
        # Ids of the datasets do not stand side by side.
        fill(catalog, [("one", 0, 500), ("two", 0, 70), ("one", 1, 130), ("two", 1, 1), ("one", 2, 64)])
    with open_catalog(path) as catalog:
        yield catalog


def fits(row: Shown, view: View) -> bool:
    """What a view says, row by row."""
    numbers = {
        "words": row.words,
        "letters": len(row.caption),
        "width": row.width,
        "height": row.height,
        "aspect": aspect(row.width, row.height) / 100,
        "bytes": row.size_bytes,
    }
    for name, span in view.spans().items():
        if (span.low is not None and numbers[name] < span.low) or (
            span.high is not None and numbers[name] > span.high
        ):
            return False
    names = {"dataset": row.dataset, "shard": row.shard, "format": row.format, "host": row.host}
    if any(getattr(view, name) not in ("", value) for name, value in names.items()):
        return False
    wanted = view.query.lower().split()
    return (not view.flag or view.flag in row.flags) and all(
        word in row.caption.lower().split() for word in wanted
    )


def everything(catalog: Catalog) -> list[Shown]:
    return list(catalog.browse(View(), 10**6).rows)


def pages(catalog: Catalog, view: View, limit: int) -> tuple[list[int], list[int]]:
    """The ids of all pages forwards, and those of the same pages from the last one back."""
    forward: list[int] = []
    page = catalog.browse(view, limit)
    assert not page.has_before
    while True:
        forward += [row.id for row in page.rows]
        assert len(page.rows) <= limit
        if not page.has_after:
            break
        page = catalog.browse(replace(view, after=page.last), limit)
    back = [row.id for row in page.rows]
    while page.rows and page.has_before:
        page = catalog.browse(replace(view, before=page.first), limit)
        back = [row.id for row in page.rows] + back
    return forward, back


some_spans = st.sampled_from([None, None, "333", "600-", "-64", "1-3", "0.5-1.5", "1.33-1.49", "640-767"])
some_views = st.builds(
    lambda spans, **names: View(**{k: Span.parse(v) for k, v in spans.items() if v}, **names),
    st.fixed_dictionaries(dict.fromkeys(("words", "width", "aspect", "bytes", "letters"), some_spans)),
    dataset=st.sampled_from(["", "", "one", "two", "none"]),
    shard=st.sampled_from(["", "", "0.tar"]),
    query=st.sampled_from(["", "", "red", "dog red", "猫", "nothing"]),
    format=st.sampled_from(["", "", "png"]),
    host=st.sampled_from(["", "", "a.example", "nowhere"]),
    flag=st.sampled_from(["", "", "bomb", "cmyk"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(view=some_views, limit=st.sampled_from([1, 7, 60, 1000]))
def test_any_view_is_what_all_rows_say(filled: Catalog, view: View, limit: int) -> None:
    """Forwards, backwards, counted and as keys: the same samples, in the order of ids, each once."""
    rows = everything(filled)
    assert len(rows) == 765
    expected = [row.id for row in rows if fits(row, view)]
    assert pages(filled, view, limit) == (expected, expected)
    total = filled.count(view)
    assert (total.samples, total.is_bound) == (len(expected), False)
    assert [key for _, key in filled.keys(view)] == [row.key for row in rows if fits(row, view)]


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("query", ["red", "bus OR 猫 -dog", "do*", '"red bus"', "café sky"])
def test_both_ways_of_joining_words_and_filters_give_the_same(
    filled: Catalog, monkeypatch: pytest.MonkeyPatch, few: int, query: str
) -> None:
    """Whether hits are compared with the filters, or captions with the words: by pages, and counted."""
    for name, value in (("flag", "cmyk"), ("width", "333"), ("host", "a.example"), ("format", "png")):
        for dataset in ("", "one"):
            view = parse_view({"q": query, name: value, "dataset": dataset})
            expected = [row.id for row in filled.browse(view, 10**6).rows]
            with monkeypatch.context() as patch:
                patch.setattr(catalog_walk, "_PROBE", 1)
                patch.setattr(catalog_walk, "_FEW", few)
                assert pages(filled, view, 7) == (expected, expected)
                assert filled.count(view).samples == len(expected)
            assert expected


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(view=some_views, limit=st.sampled_from([7, 60]), seed=st.integers(0, 5))
def test_a_shuffled_view_has_the_same_samples(filled: Catalog, view: View, limit: int, seed: int) -> None:
    """Each once, in an order that the seed says, forwards and backwards."""
    expected = [row.id for row in everything(filled) if fits(row, view)]
    forward, back = pages(filled, replace(view, seed=seed), limit)
    assert sorted(forward) == expected
    assert back == forward
    assert pages(filled, replace(view, seed=seed), limit)[0] == forward
    if len(expected) > 20:
        assert forward != expected
        assert pages(filled, replace(view, seed=seed + 100), limit)[0] != forward


def sparse(place: int) -> Entry:
    """A row of a long shard in which little is of a kind, far apart."""
    rare = place % 1500 == 7
    return Entry(
        key=f"k{place}",
        caption="always here" if place % 3 else "always there now",
        words=2 if place % 3 else 3,
        width=9000 if rare else 640,
        height=333 if place % 900 == 5 else 480,
        size_bytes=1,
        format="jpeg",
        flags=mask(["bomb"]) if rare else 0,
    )


@pytest.mark.parametrize("seed", [None, 3])
def test_rare_samples_in_long_shards(empty: Catalog, seed: int | None) -> None:
    """Leaping over blocks, and over hits of a query, passes none by and gives none twice."""
    for number in range(2):
        empty.put(facts("long", number, first=6000 * number), [sparse(place) for place in range(6000)])
    rows = everything(empty)
    for text in (
        "flag=bomb",
        "width=9000-",
        "height=333",
        "flag=bomb&q=always",
        "height=333&q=always",
        "height=333&q=alw*",
        "height=333&words=3&q=there",
        "height=480&q=always",
        "flag=bomb&height=333",
    ):
        view = parse_view(dict(part.split("=") for part in text.split("&")))
        word = replace(view, query="always" if view.query == "alw*" else view.query)
        expected = [row.id for row in rows if fits(row, word)]
        for limit in (700, 20_000) if seed is not None else (3, 700, 20_000):
            forward, back = pages(empty, replace(view, seed=seed), limit)
            assert back == forward
            if seed is None:
                assert forward == expected
            else:
                assert sorted(forward) == expected or (len(forward) >= 3000 and set(forward) < set(expected))
                assert len(set(forward)) == len(forward)
        total = empty.count(view)
        assert total.samples == len(expected) or (total.is_bound and 0 < total.samples <= len(expected))


def test_queries_mean_what_they_say(filled: Catalog) -> None:
    """Phrases, prefixes, OR and without; accents and case do not count; nonsense has a reason."""
    rows = everything(filled)

    def hits(query: str) -> list[str]:
        return [row.caption for row in filled.browse(View(query=query), 10**6).rows]

    assert hits('"red bus"') == [row.caption for row in rows if "red bus" in row.caption]
    assert hits("cafe") == [row.caption for row in rows if "Café" in row.caption]
    assert hits("sk*") == [row.caption for row in rows if "sky" in row.caption]
    assert hits("dog -red") == [
        row.caption for row in rows if "dog" in row.caption and "red" not in row.caption
    ]
    assert hits("red OR bus") == [row.caption for row in rows if {"red", "bus"} & set(row.caption.split())]
    with pytest.raises(BadQuery):
        filled.browse(View(query="***"))


def test_counting_stops_where_it_was_told(filled: Catalog) -> None:
    """A count that is not needed exactly is not made."""
    assert filled.count(View(query="red"), most=5) == filled.count(View(query="red"), most=5)
    assert filled.count(View(query="red"), most=5).is_bound
    total = filled.count(View(width=Span(641, None), height=Span(480, None)), most=3)
    assert (total.samples, total.is_bound) == (3, True)


def test_a_sample_by_number_and_by_key(filled: Catalog) -> None:
    """Numbers are those of the dataset, across its shards."""
    found = filled.row("one", 501)
    assert found is not None
    assert (found.shard, found.key, found.number) == ("1.tar", "2-1", 501)
    assert filled.row("one", 694) is None
    assert filled.row("none", 0) is None
    assert filled.locate("", "2-1") == filled.locate("one", "2-1") == (found,)
    assert filled.locate("two", "2-1") == ()
    assert filled.rows([found.id, 5, found.id]) == (found, found)


def right(catalog: Catalog) -> None:
    """Tallies, words and zones say what the rows say, whatever was done before."""
    rows = everything(catalog)
    for dataset in {row.dataset for row in rows} | {"", "none"}:
        own = [row for row in rows if dataset in ("", row.dataset)]
        expected: Counter[tuple[str, str]] = Counter()
        for shard in {(row.dataset, row.shard) for row in own}:
            here = [row for row in own if (row.dataset, row.shard) == shard]
            expected += tally(
                Entry(
                    key=row.key,
                    caption=row.caption,
                    width=row.width,
                    height=row.height,
                    size_bytes=row.size_bytes,
                    words=row.words,
                    host=row.host,
                    format=row.format,
                    flags=mask(row.flags),
                )
                for row in here
            )
        found = {
            (chart, name): samples
            for chart, bins in catalog.tallies(dataset).items()
            for name, samples in bins
        }
        assert found == dict(expected)
    for view in (View(query="dog"), View(flag="cmyk"), View(width=Span(333, 333)), View(host="a.example")):
        assert [row.id for row in catalog.browse(view, 10**6).rows] == [
            row.id for row in rows if fits(row, view)
        ]
        assert catalog.count(view).samples == sum(fits(row, view) for row in rows)
    assert sum(row.samples for row in catalog.datasets()) == len(rows)


def test_a_shard_that_changed_replaces_what_was_known(empty: Catalog) -> None:
    """Its rows, words and counts go, those of the others stay, and its id does."""
    fill(empty, [("one", 0, 100), ("one", 1, 80)])
    before = [row for row in everything(empty) if row.shard == "1.tar"]
    one = empty.shards("one")[0].id
    assert empty.put(facts("one", 0, stamp="2"), entries(30, 9)) == one
    right(empty)
    assert [row for row in everything(empty) if row.shard == "1.tar"] == before
    assert [row.key for row in everything(empty)][:30] == [f"9-{place}" for place in range(30)]
    assert [(row.stamp, row.samples) for row in empty.shards("one")] == [("2", 30), ("1", 80)]


def test_forgetting_leaves_nothing(empty: Catalog) -> None:
    """A shard, then the dataset; what is asked for afterwards is not there."""
    fill(empty, [("one", 0, 100), ("one", 1, 80), ("two", 0, 40)])
    assert empty.forget("one", "0.tar") == 1
    right(empty)
    assert empty.forget("one") == 1
    assert empty.forget("one") == 0
    right(empty)
    assert [row.name for row in empty.datasets()] == ["two"]
    assert empty.tallies("one") == {}


@pytest.mark.parametrize("seed", range(3))
def test_search_finds_no_ghosts_and_misses_nothing(empty: Catalog, seed: int) -> None:
    """Whatever was replaced, forgotten and dropped, in any order: every word finds just the rows that have it."""
    dice = random.Random(seed)
    for turn in range(30):
        name, number = dice.choice(("one", "two")), dice.randrange(4)
        known = [row.key for row in everything(empty) if row.dataset == name]
        kind = dice.choice(("put", "put", "put", "forget", "drop"))
        if kind == "put":
            rows = entries(dice.randrange(1, 60), 100 * seed + turn)
            rows[0] = replace(rows[0], caption=f"Café 猫 of turn{turn}")
            empty.put(facts(name, number, first=1000 * number, stamp=str(turn)), rows)
        elif kind == "forget":
            empty.forget(name, dice.choice((f"{number}.tar", f"{number}.tar", "")))
        elif known:
            empty.drop(name, dice.sample(known, min(5, len(known))))
        there = {row.id: row.caption.lower().replace("é", "e").split() for row in everything(empty)}
        for word in ("dog", "cafe", "猫", f"turn{turn}", f"turn{dice.randrange(30)}"):
            found = [row.id for row in empty.browse(View(query=word), 10**6).rows]
            assert found == [one for one, words in there.items() if word in words], (turn, kind, word)
        found = [row.id for row in empty.browse(View(query="turn*"), 10**6).rows]
        assert found == [one for one, words in there.items() if any(w.startswith("turn") for w in words)]
    db = sqlite3.connect(empty.path)
    db.execute("INSERT INTO found(found) VALUES('integrity-check')")
    db.close()


def test_left_out_samples_keep_their_numbers(empty: Catalog) -> None:
    """Where a sample was dropped, the others stay at their places."""
    rows: list[Entry | None] = list(entries(10, 0))
    rows[3] = None
    empty.put(facts("one", 0), rows)
    assert [row.number for row in everything(empty)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert empty.row("one", 3) is None
    assert (empty.shards()[0].places, empty.shards()[0].samples) == (10, 9)
    right(empty)


def test_dropping_leaves_no_trace_in_the_file(empty: Catalog) -> None:
    """Neither the caption nor its rare word can be found in the bytes of the file."""
    rows = entries(200, 0)
    rows[7] = replace(rows[7], key="gone", caption="a sesquipedalian secret", words=3)
    empty.put(facts("one", 0), rows)
    empty.put(facts("two", 0), entries(50, 1))
    (shard, _) = empty.shards()
    empty.looked(
        shard.id,
        shard.stamp,
        [replace(row, digest=bytes([place]) * 32, rows=1) for place, row in enumerate(rows)],
    )
    empty.put_alike([(empty.locate("one", "gone")[0].id, empty.row("two", 1).id, 3)], 1)  # type: ignore[union-attr]
    assert b"sesquipedalian" in empty.path.read_bytes()
    assert empty.drop("one", {"gone", "nothing"}) == 1
    assert empty.drop("one", {"gone"}) == 0
    assert empty.drop("none", {"gone"}) == 0
    right(empty)
    assert empty.browse(View(query="sesquipedalian")).rows == ()
    assert empty.pairs() == []
    assert len(list(empty.looks())) == 199
    for word in (b"quipedalian", bytes([7]) * 32):
        assert word not in empty.path.read_bytes()


def test_what_decoding_found_comes_later(empty: Catalog) -> None:
    """Digests, hashes and flags join the rows; counts follow the flags."""
    fill(empty, [("one", 0, 100)])
    (shard,) = empty.shards()
    assert not shard.looked
    assert list(empty.looks()) == []
    new: list[Entry | None] = [
        replace(
            row,
            flags=mask(["broken", "unreadable"]),
            width=5,
            digest=bytes([place]) * 32,
            rows=-1,
            columns=2**63 - 1,
        )
        for place, row in enumerate(entries(100, 0))
    ]
    new[50] = None
    assert empty.looked(shard.id, shard.stamp, new)
    assert empty.shards()[0].looked
    right(empty)
    found = list(empty.looks("one"))
    assert len(found) == 99
    assert found[1][1:] == (bytes([1]) * 32, -1, 2**63 - 1)
    assert dict(empty.tallies("one")["flag"])["broken"] == 99
    assert empty.sql("SELECT count(sha256), min(sha256) FROM samples").rows == ((99, "00" * 32),)
    empty.put(facts("one", 0, stamp="2"), entries(100, 0))
    assert not empty.shards()[0].looked
    assert list(empty.looks()) == []


def test_pairs_and_look_alikes(empty: Catalog) -> None:
    """Both ways, the nearest first, page by page, by dataset; pairs of what is gone are not shown."""
    fill(empty, [("one", 0, 10), ("two", 0, 10), ("three", 0, 3)])
    one, two = ([row.id for row in everything(empty) if row.dataset == name] for name in ("one", "two"))
    empty.put_alike([(one[0], two[0], 4), (one[0], one[1], 0), (one[2], one[3], 2)], 0)
    assert [(row.id, distance) for row, distance in empty.alike_of(one[0])] == [(one[1], 0), (two[0], 4)]
    assert [(row.id, distance) for row, distance in empty.alike_of(two[0])] == [(one[0], 4)]
    found = empty.pairs(limit=2)
    assert [(left.id, other.id) for _, left, other, _ in found] == [(one[0], one[1]), (one[0], two[0])]
    assert [other.id for _, _, other, _ in empty.pairs(after=found[-1][0])] == [one[3]]
    assert len(empty.pairs("two")) == 1
    assert empty.pairs("three") == []
    empty.forget("two")
    assert len(empty.pairs()) == 2
    assert empty.sql("SELECT count(*) FROM alike").rows == ((2,),)


def test_pairs_are_of_today_until_what_they_are_made_from_changes(empty: Catalog) -> None:
    """Decoding, and the loss of a picture that others are tied to, make them old; other losses do not."""
    fill(empty, [("one", 0, 10), ("two", 0, 10)])
    assert empty.is_alike_current()
    shard = empty.shards("one")[0]
    empty.looked(shard.id, "1", [replace(row, digest=b"d" * 32) for row in entries(10, 0)])
    assert not empty.is_alike_current()
    one, two = ([row for row in everything(empty) if row.dataset == name] for name in ("one", "two"))
    before, _ = empty.generations()
    empty.looked(empty.shards("two")[0].id, "1", [replace(row, digest=b"d" * 32) for row in entries(10, 0)])
    empty.put_alike([(one[0].id, two[1].id, 1)], before)
    assert not empty.is_alike_current(), "what was decoded meanwhile is not among the pairs"
    empty.put_alike([(one[0].id, two[1].id, 1), (one[0].id, two[2].id, 1)], empty.generations()[0])
    assert empty.is_alike_current()
    empty.drop("two", [two[1].key, two[5].key])
    assert empty.is_alike_current()
    empty.drop("one", [one[0].key])
    assert not empty.is_alike_current()
    assert empty.pairs() == []


def test_what_was_decoded_of_other_bytes_is_not_taken(empty: Catalog) -> None:
    """Where a shard was replaced or forgotten while it was decoded, nothing is written, to no shard."""
    fill(empty, [("one", 0, 5)])
    (old,) = empty.shards()
    found = [replace(row, digest=b"d" * 32, rows=1) for row in entries(5, 0)]
    empty.put(facts("one", 0, stamp="2"), entries(3, 1))
    assert not empty.looked(old.id, old.stamp, found)
    empty.forget("one")
    fill(empty, [("two", 0, 5)])
    assert not empty.looked(old.id, old.stamp, found), "the number of a shard is never given again"
    assert list(empty.looks()) == []
    assert not any(shard.looked for shard in empty.shards())
    assert empty.is_alike_current()


def test_all_that_is_written_may_be_deleted_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection that writes overwrites what it moves, also where SQLite was not built to do so."""
    asked: list[str] = []
    connected = catalog_file._open

    def listened(path: Path, mode: str) -> sqlite3.Connection:
        connection = connected(path, mode)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(catalog_file, "_open", listened)
    with open_catalog(tmp_path / "g3m.sqlite", writing=True) as catalog:
        fill(catalog, [("one", 0, 5)])
    wanted, first = asked.index("PRAGMA secure_delete = ON"), asked.index("BEGIN IMMEDIATE")
    assert wanted < first


def test_sql_reads_and_does_nothing_else(filled: Catalog, tmp_path: Path) -> None:
    """One SELECT, bounded in rows and time; nothing is written, attached or loaded."""
    answer = filled.sql("SELECT dataset, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1")
    assert (answer.columns, answer.rows, answer.is_cut) == (
        ("dataset", "n"),
        (("one", 694), ("two", 71)),
        False,
    )
    assert filled.sql("SELECT 1 FROM samples", limit=3).is_cut
    with pytest.raises(UsageError, match="malformed JSON") as caught:
        filled.sql("SELECT json_extract('no json', '$.a')")
    assert type(caught.value) is UsageError, "the catalog is not to be thrown away for this"
    before = filled.path.read_bytes()
    for text in (
        "DELETE FROM sample",
        "DROP TABLE sample",
        "PRAGMA user_version = 5",
        f"ATTACH '{tmp_path / 'new'}' AS x",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "VACUUM",
        "nonsense",
        "",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    ):
        with pytest.raises(UsageError, match="cannot be answered"):
            filled.sql(text, seconds=0.2)
    assert filled.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_catalog(tmp_path: Path) -> None:
    """Reading says so; writing makes an empty one in its place."""
    path = tmp_path / "g3m.sqlite"
    with pytest.raises(UnknownCatalog):
        open_catalog(path)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t(a)")
    other.close()
    for content in (path.read_bytes(), b"text", b""):
        path.write_bytes(content)
        with pytest.raises(UnknownCatalog):
            open_catalog(path)
        with open_catalog(path, writing=True) as catalog:
            assert catalog.shards() == ()


def test_without_full_text_search_nothing_is_made_and_nothing_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python whose SQLite lacks FTS5 gets its own error; no file is left, and a catalog that stands stays."""
    standing, before = tmp_path / "standing.sqlite", b""
    with open_catalog(standing, writing=True) as catalog:
        fill(catalog, [("one", 0, 5)])
    before = standing.read_bytes()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no catalog")
    monkeypatch.setattr(catalog_file, "_PROBE", catalog_file._PROBE.replace("fts5", "fts_absent"))
    for path in (tmp_path / "new.sqlite", standing, damaged):
        with pytest.raises(NoFullText) as caught:
            open_catalog(path, writing=True)
        assert all("Python" in text for text in caught.value.hint)
    assert standing.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"standing.sqlite", "damaged.sqlite"}


@pytest.mark.parametrize(
    ("words", "kind", "hint"),
    [
        ("database is locked", Locked, "may be at work"),
        ("database or disk is full", NoSpace, ""),
        ("attempt to write a readonly database", NotWritable, ""),
        ("disk I/O error", StorageError, "g3m doctor"),
        ("no such module: fts5", NoFullText, "another Python"),
        ("database disk image is malformed", UnknownCatalog, "g3m index --force"),
    ],
)
def test_errors_say_what_helps(tmp_path: Path, words: str, kind: type[G3MError], hint: str) -> None:
    """Only what is damaged counts as no catalog: an index run would throw it away."""
    error = translated(sqlite3.OperationalError(words), tmp_path / "x")
    assert type(error) is kind
    assert hint in error.hint[0]


def test_readers_do_not_write(filled: Catalog) -> None:
    """A catalog that was opened for reading refuses."""
    with pytest.raises(ValueError):
        filled.forget("one")


def test_many_threads_read_while_one_writes(empty: Catalog) -> None:
    """No thread meets half a shard, and none is told that the catalog is locked."""
    fill(empty, [("one", 0, 2 * BLOCK)])
    stop, wrong = threading.Event(), []

    def read() -> None:
        with open_catalog(empty.path) as catalog:
            while not stop.is_set():
                try:
                    rows = catalog.browse(View(dataset="two"), 1000).rows
                    if len(rows) not in (0, 100, 150):
                        wrong.append(len(rows))
                except Exception as error:
                    wrong.append(error)
                    return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        empty.put(facts("two", 0, stamp=str(turn)), entries(100 + 50 * (turn % 2), turn))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    right(empty)


KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = [os.getcwd()]
from tests.adapters.test_catalog import entries, facts
from g3m.adapters import catalog_write
from g3m.adapters.catalog import open_catalog
measure = catalog_write._measure
def die(*arguments):
    measure(*arguments)
    arguments[0].execute("PRAGMA cache_spill = ON")
    os._exit(9)
with open_catalog(Path(sys.argv[1]), writing=True) as catalog:
    catalog.put(facts("one", 0), entries(300, 0))
    catalog_write._measure = die
    catalog.put(facts("one", 0, stamp="2"), entries(300, 5))
"""


def test_a_kill_leaves_whole_shards(tmp_path: Path) -> None:
    """Killed within the transaction, the shard is as before, and the next run goes on."""
    path = tmp_path / "g3m.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 9
    with open_catalog(path) as catalog:
        assert [row.stamp for row in catalog.shards()] == ["1"]
        right(catalog)
    with open_catalog(path, writing=True) as catalog:
        catalog.put(facts("one", 0, stamp="2"), entries(300, 5))
        right(catalog)


def test_a_synthetic_catalog(tmp_path: Path) -> None:
    """The one that is measured: several datasets, the same for the same seed, and its words are found."""
    made = [make(tmp_path / name, 3000, 7) for name in ("a", "b")]
    with open_catalog(made[0]) as one, open_catalog(made[1]) as other:
        assert everything(one) == everything(other)
        assert len(one.datasets()) == 5
        assert one.count(View(query="dog")).samples > 50
        assert one.browse(parse_view({"q": "猫"})).rows
        assert bin_of("width", 640) in dict(one.tallies()["width"])
        right(one)
