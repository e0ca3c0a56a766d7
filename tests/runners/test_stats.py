"""runners/stats.py: figures and leaks as functions, and the exclusion list that a loader reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.alike_root import COPIES, EVALUATION, LEAKED, OWN, write_root

import g3m
from g3m.adapters import catalog_sql
from g3m.adapters.catalog import FILE, Catalog, open_catalog
from g3m.adapters.guard import Guard
from g3m.core.catalog import CHARTS
from g3m.core.errors import UnknownCatalog, UnknownDataset
from g3m.core.events import Event, RunFinished, RunStarted
from g3m.runners.run import make_session
from g3m.runners.stats import leaks_in, stats_in
from g3m.steps.alike import find_alike

TRAINING = len(OWN) + len(COPIES)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_root(tmp_path_factory.mktemp("stats"))
    with open_catalog(root / ".g3m" / FILE, writing=True) as catalog:
        for _ in find_alike(catalog, make_session({"root": str(root)})):
            pass
    return root


@pytest.fixture
def catalog(drawn: Path) -> Iterator[Catalog]:
    with open_catalog(drawn / ".g3m" / FILE) as made:
        yield made


def test_stats_of_all_datasets_are_their_sums(drawn: Path) -> None:
    """Without a name all of the catalog counts: samples, duplicates by kind, and every chart."""
    made = g3m.stats(root=drawn)
    assert [row.name for row in made.datasets] == ["train", "valid"]
    assert made.samples == made.looked == TRAINING + len(EVALUATION)
    assert made.same == 2
    assert made.near == 2
    charts = dict(made.charts)
    assert list(charts) == [chart for chart in CHARTS if chart in charts]
    assert dict(charts["format"]) == {"jpeg": made.samples}
    assert sum(count for _, count in charts["width"]) == made.samples


def test_stats_of_one_dataset_are_its_own(drawn: Path) -> None:
    """With names only those count; a copy counts where the later sample stands."""
    one, other = g3m.stats("valid", root=drawn), g3m.stats("train", root=drawn)
    both = g3m.stats("valid", "train", "valid", root=drawn)
    assert (one.samples, other.samples) == (len(EVALUATION), TRAINING)
    assert (one.same + other.same, one.near + other.near) == (both.same, both.near) == (2, 2)
    assert dict(one.charts["word"])["caption"] == len(EVALUATION)
    assert dict(both.charts["word"])["caption"] == both.samples


def test_bins_are_in_the_order_in_which_they_are_shown(catalog: Catalog) -> None:
    """Ranges rise, names fall by count, also where several datasets are joined."""
    charts = stats_in(catalog).charts
    lows = [int(name.partition("-")[0]) for name, _ in charts["bytes"]]
    assert lows == sorted(lows)
    counts = [count for _, count in charts["word"]]
    assert counts == sorted(counts, reverse=True)


def test_what_was_not_looked_at_has_no_duplicates(tmp_path: Path) -> None:
    """Before the pictures were decoded nothing is said of copies, and `looked` says that."""
    made = g3m.stats(root=write_root(tmp_path, looked=[]))
    assert (made.looked, made.same, made.near) == (0, 0, 0)
    assert made.samples == TRAINING + len(EVALUATION)


def test_the_question_does_not_grow_with_the_shards(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is none of a user's: what is allowed there, in length and time, does not count."""
    monkeypatch.setattr(catalog_sql, "_SQL_LIMIT", 10)
    assert stats_in(catalog).same == 2


def test_without_a_catalog_there_are_no_figures(tmp_path: Path) -> None:
    """The error says which command makes it; nothing is written."""
    for ask in (lambda: g3m.stats(root=tmp_path), lambda: g3m.leaks("valid", root=tmp_path)):
        with pytest.raises(UnknownCatalog) as caught:
            ask()
        assert "g3m index" in caught.value.hint[0]
    assert not list(tmp_path.iterdir())


def test_an_unknown_dataset_is_named(drawn: Path) -> None:
    """The message has the name that was given and those that there are."""
    for ask in (lambda: g3m.stats("nope", root=drawn), lambda: g3m.leaks("nope", root=drawn)):
        with pytest.raises(UnknownDataset, match="nope") as caught:
            ask()
        assert "train, valid" in caught.value.message


def test_leaks_are_a_call(drawn: Path) -> None:
    """One call starts its own processes, tells its events in order, and gives the pairs."""
    events: list[Event] = []
    found = g3m.leaks("valid", root=drawn, on_event=events.append)
    assert {leak.key: leak.like_key for leak in found.pairs} == LEAKED
    assert sorted(leak.why for leak in found.pairs) == ["exact", "exact", "near", "near"]
    assert isinstance(events[0], RunStarted)
    assert events[0].tasks == 1
    assert isinstance(events[-1], RunFinished)
    assert events[-1].finished == 1


def test_a_guard_that_is_open_is_used_and_stays_open(drawn: Path, catalog: Catalog) -> None:
    """Who has a guard, as a page has, keeps it."""
    with Guard(1) as guard:
        session = replace(make_session({"root": str(drawn)}), guard=guard)
        first = leaks_in(catalog, "valid", session)
        assert leaks_in(catalog, "valid", session, ["train"]) == first
        assert guard.call("grey", EVALUATION["e1"], {"side": 8}).data


def test_a_loader_honours_the_exclusion_list(drawn: Path, tmp_path: Path) -> None:
    """The lines of a list leave exactly the copies out of the training set, and nothing of another."""
    path = tmp_path / "leaks.jsonl"
    path.write_text("".join(g3m.leaks("valid", root=drawn).exclusion()), encoding="utf-8")
    data = g3m.dataset("train", root=drawn, exclude=path)
    assert {sample.key for sample in data} == {*OWN, *COPIES} - LEAKED.keys()
    assert data.exclusion is not None
    assert data.exclusion.unmatched == 0
    assert len(g3m.dataset("valid", root=drawn, exclude=path)) == len(EVALUATION)
