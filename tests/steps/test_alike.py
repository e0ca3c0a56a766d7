"""steps/alike.py, leaks.py and second.py: what is in both sets is found, told apart, and confirmed by the pictures themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.alike_root import COPIES, EVALUATION, LEAKED, OWN, catalogue, shards, write_root

from g3m.adapters.catalog import FILE, Catalog, open_catalog
from g3m.adapters.guard import Guard
from g3m.adapters.session import Session
from g3m.core.alike import BOTH_LIMIT, CORRELATION, Leaks, hamming
from g3m.core.errors import Interrupted, UnknownCatalog, UnknownDataset
from g3m.core.events import Event, Progressed, TaskFinished, TaskStarted
from g3m.runners.run import make_session
from g3m.steps import leaks as leaks_step
from g3m.steps import second as second_step
from g3m.steps.alike import Alike, find_alike
from g3m.steps.leaks import leaks


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(2) as made:
        yield made


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("alike"))


@pytest.fixture
def session(drawn: Path, guard: Guard) -> Session:
    return replace(make_session({"root": str(drawn)}), guard=guard)


@pytest.fixture
def catalog(drawn: Path) -> Iterator[Catalog]:
    with open_catalog(drawn / ".g3m" / FILE, writing=True) as made:
        yield made


def ran(steps: Generator[Event, None, Any], events: list[Event] | None = None) -> Any:
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            return stop.value
        if events is not None:
            events.append(event)


def pairs_of(found: Leaks) -> dict[str, str]:
    return {leak.key: leak.like_key for leak in found.pairs}


def kept(catalog: Catalog) -> set[tuple[str, str, int]]:
    return {(one.key, other.key, distance) for _, one, other, distance in catalog.pairs(limit=1000)}


# --- within the catalog ---------------------------------------------------------------------------------------------


def test_what_is_alike_is_noted_in_the_catalog(catalog: Catalog, session: Session) -> None:
    """Equal bytes have the distance 0, copies a small one, across datasets; flat and different pictures none."""
    events: list[Event] = []
    made = ran(find_alike(catalog, session), events)
    noted = kept(catalog)
    exact = {frozenset(pair[:2]) for pair in noted if pair[2] == 0}
    assert len(exact) == 2
    assert set().union(*exact) == {"e3", "bytes", "bytes-again"}
    near = {frozenset(pair[:2]): pair[2] for pair in noted if pair[2]}
    assert set(near) == {frozenset(pair) for pair in (("e4", "encoded"), ("e5", "scaled"))}
    assert all(1 <= distance <= BOTH_LIMIT + 1 for distance in near.values())
    assert made == Alike(len(EVALUATION) + len(OWN) + len(COPIES), 2, 2)
    assert isinstance(events[0], TaskStarted)
    assert isinstance(events[-1], TaskFinished)
    assert all(isinstance(event, Progressed) for event in events[1:-1])


def test_what_was_noted_before_is_replaced(catalog: Catalog, session: Session) -> None:
    """A second time gives the same pairs, and pairs that are none any more are gone."""
    ids = [one for one, *_ in catalog.looks()]
    catalog.put_alike([(ids[0], ids[1], 5)], 0)
    assert len(kept(catalog)) == 1
    ran(find_alike(catalog, session))
    first = kept(catalog)
    ran(find_alike(catalog, session))
    assert kept(catalog) == first
    assert len(first) == 4


def test_the_smaller_id_stands_first(catalog: Catalog, session: Session) -> None:
    """The catalog asks for pairs in one order only."""
    ran(find_alike(catalog, session))
    rows = catalog.sql("SELECT one, other FROM alike").rows
    assert rows
    assert all(one < other for one, other in rows)


def test_a_stop_leaves_what_was_noted(catalog: Catalog, session: Session) -> None:
    """Who stops the search keeps the pairs of the last one."""
    ran(find_alike(catalog, session))
    before = kept(catalog)
    session.stop.set()
    try:
        with pytest.raises(Interrupted):
            ran(find_alike(catalog, session))
        with pytest.raises(Interrupted):
            ran(leaks(catalog, "valid", session))
    finally:
        session.stop.clear()
    assert kept(catalog) == before


# --- leaks ----------------------------------------------------------------------------------------------------------


def test_leaks_are_found_and_told_apart(catalog: Catalog, session: Session) -> None:
    """Every copy in the training set is named with the picture that it is, exact or near, and nothing else is."""
    found = ran(leaks(catalog, "valid", session))
    assert pairs_of(found) == LEAKED
    why = {leak.key: leak.why for leak in found.pairs}
    assert why == {"bytes": "exact", "bytes-again": "exact", "encoded": "near", "scaled": "near"}
    (searched,) = found.datasets
    assert (searched.exact, searched.near, searched.unsure) == (2, 2, 0)
    assert (searched.samples, searched.looked) == (25, 25)
    assert (found.samples, found.looked, found.hit) == (12, 12, 3)
    assert found.is_complete
    assert not found.is_cut


def test_near_leaks_say_how_near(catalog: Catalog, session: Session) -> None:
    """Bits and correlation of a near leak are within the limits, and the bits are those of the hashes."""
    found = ran(leaks(catalog, "valid", session))
    hashes = {catalog.rows([one])[0].key: (rows, columns) for one, _, rows, columns in catalog.looks()}
    for leak in found.pairs:
        if leak.why == "exact":
            assert (leak.bits, leak.correlation) == (0, None)
            continue
        assert leak.correlation is not None
        assert leak.correlation >= CORRELATION
        both = zip(hashes[leak.key], hashes[leak.like_key], strict=True)
        assert leak.bits == sum(hamming(one, other) for one, other in both) <= BOTH_LIMIT


def test_leaks_name_the_numbers_of_samples(catalog: Catalog, session: Session) -> None:
    """A page finds both pictures by number."""
    for leak in ran(leaks(catalog, "valid", session)).pairs:
        assert catalog.row("train", leak.number).key == leak.key  # type: ignore[union-attr]
        assert catalog.row("valid", leak.like_number).key == leak.like_key  # type: ignore[union-attr]


def test_the_question_can_be_asked_the_other_way_round(catalog: Catalog, session: Session) -> None:
    """Which of the validation set are in the training set: of two equal pictures there, both are hit."""
    found = ran(leaks(catalog, "train", session))
    assert {leak.key for leak in found.pairs} == {"e3", "e4", "e5"}
    assert found.hit == 4


def test_only_the_named_datasets_are_searched(catalog: Catalog, session: Session) -> None:
    """Names narrow the search; the evaluation set itself is never searched."""
    assert [one.dataset for one in ran(leaks(catalog, "valid", session, ["train", "train"])).datasets] == [
        "train"
    ]
    assert ran(leaks(catalog, "valid", session, ["valid"])).datasets == ()


@pytest.mark.parametrize("names", [("nope",), ("valid", "nope")])
def test_an_unknown_name_is_an_error(catalog: Catalog, session: Session, names: tuple[str, ...]) -> None:
    """The message has the name and those that there are."""
    with pytest.raises(UnknownDataset, match=r"nope.*train, valid"):
        ran(leaks(catalog, names[0], session, names[1:]))


def test_an_evaluation_set_that_was_not_looked_at_is_an_error(tmp_path: Path, guard: Guard) -> None:
    """No answer is better than an answer from nothing; the hint has the command."""
    write_root(tmp_path, looked=["train"])
    with open_catalog(tmp_path / ".g3m" / FILE) as catalog:
        session = replace(make_session({"root": str(tmp_path)}), guard=guard)
        with pytest.raises(UnknownCatalog, match="valid") as caught:
            ran(leaks(catalog, "valid", session))
    assert all("g3m index valid --pictures" in text for text in caught.value.hint)


def test_what_was_not_looked_at_is_told(tmp_path: Path, guard: Guard) -> None:
    """A training set whose pictures were not decoded is searched for nothing, and the answer says so."""
    write_root(tmp_path, looked=["valid"])
    with open_catalog(tmp_path / ".g3m" / FILE) as catalog:
        found = ran(leaks(catalog, "valid", replace(make_session({"root": str(tmp_path)}), guard=guard)))
    assert [(one.samples, one.looked) for one in found.datasets] == [(25, 0)]
    assert not found.is_complete


# --- the second comparison ------------------------------------------------------------------------------------------


def test_what_only_the_hash_says_is_refuted(tmp_path: Path, guard: Guard) -> None:
    """A picture whose hash is that of another, as a collision would have it, is no leak once the pictures are compared."""
    lie = {"lie": OWN["t1"]}
    shards(tmp_path / "valid", EVALUATION)
    shards(tmp_path / "train", lie)
    catalogue(tmp_path, {"valid": EVALUATION, "train": lie})
    with open_catalog(tmp_path / ".g3m" / FILE, writing=True) as catalog:
        _lie(catalog, "lie", "e7")
        session = make_session({"root": str(tmp_path)})
        found = ran(leaks(catalog, "valid", replace(session, guard=guard)))
        assert (found.pairs, found.refuted, found.hit) == ((), 1, 0)
        unsure = ran(leaks(catalog, "valid", session))
    assert [(leak.key, leak.why, leak.correlation) for leak in unsure.pairs] == [("lie", "unsure", None)]
    assert unsure.datasets[0].unsure == 1


def _lie(catalog: Catalog, key: str, like: str) -> None:
    """Give a sample the hash of another, and a digest of its own."""
    from g3m.core.catalog import Entry

    looks = {
        catalog.rows([one])[0].key: (digest, rows, columns) for one, digest, rows, columns in catalog.looks()
    }
    _, rows, columns = looks[like]
    (shard,) = catalog.shards("train")
    catalog.looked(shard.id, shard.stamp, [Entry(key=key, digest=b"\1" * 32, rows=rows, columns=columns)])


def _spoil_shard(root: Path) -> None:
    path = root / "train" / "00000.tar"
    path.write_bytes(b"\0" * path.stat().st_size)


def _cut_shard(root: Path) -> None:
    with open(root / "train" / "00000.tar", "r+b") as file:
        file.truncate(1024)


def _remove_shard(root: Path) -> None:
    (root / "train" / "00000.tar").unlink()


def _remove_folder(root: Path) -> None:
    for path in (root / "train").iterdir():
        path.unlink()
    (root / "train").rmdir()


def _other_samples(root: Path) -> None:
    shards(root / "train", dict(reversed({**OWN, **COPIES}.items())))


def _spoil_index(root: Path) -> None:
    (root / "train" / "index.bin").write_bytes(b"no index")


@pytest.mark.parametrize(
    "spoil", [_spoil_shard, _cut_shard, _remove_shard, _remove_folder, _other_samples, _spoil_index]
)
def test_what_cannot_be_compared_again_is_unsure(
    spoil: Callable[[Path], None], tmp_path: Path, guard: Guard
) -> None:
    """Where the pictures cannot be read, or are others by now, near becomes unsure; exact stays, and nothing fails."""
    write_root(tmp_path)
    spoil(tmp_path)
    with open_catalog(tmp_path / ".g3m" / FILE) as catalog:
        found = ran(leaks(catalog, "valid", replace(make_session({"root": str(tmp_path)}), guard=guard)))
    assert pairs_of(found) == LEAKED
    assert {leak.why for leak in found.pairs} == {"exact", "unsure"}
    assert all(leak.correlation is None for leak in found.pairs)


def test_a_root_may_move(tmp_path: Path, guard: Guard) -> None:
    """The originals are found below the root of today, wherever it was when the catalog was made."""
    write_root(tmp_path / "old").rename(tmp_path / "new")
    with open_catalog(tmp_path / "new" / ".g3m" / FILE) as catalog:
        found = ran(
            leaks(catalog, "valid", replace(make_session({"root": str(tmp_path / "new")}), guard=guard))
        )
    assert sorted(leak.why for leak in found.pairs) == ["exact", "exact", "near", "near"]


def test_no_more_is_compared_again_than_the_limit(
    catalog: Catalog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the limit candidates are unsure, not silently confirmed and not lost."""
    monkeypatch.setattr(second_step, "COMPARED_LIMIT", 1)
    found = ran(leaks(catalog, "valid", session))
    assert pairs_of(found) == LEAKED
    assert sorted(leak.why for leak in found.pairs) == ["exact", "exact", "near", "unsure"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_long_list_is_cut_and_counted(
    catalog: Catalog, session: Session, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The list has a limit, the counts have none, and the answer says that the list is cut."""
    monkeypatch.setattr(leaks_step, "LEAKS_LIMIT", limit)
    found = ran(leaks(catalog, "valid", session))
    assert len(found.pairs) == limit
    assert found.is_cut
    assert (found.datasets[0].exact, found.datasets[0].near) == (2, 2)


def test_small_batches_give_the_same(
    catalog: Catalog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing depends on how many are looked up at a time."""
    whole = ran(leaks(catalog, "valid", session))
    monkeypatch.setattr(leaks_step, "_AT_ONCE", 1)
    assert ran(leaks(catalog, "valid", session)) == whole


def test_a_dropped_sample_is_no_leak(tmp_path: Path, guard: Guard) -> None:
    """What was dropped from the training set is not there any more."""
    write_root(tmp_path)
    with open_catalog(tmp_path / ".g3m" / FILE, writing=True) as catalog:
        catalog.drop("train", ["bytes", "scaled"])
        found = ran(leaks(catalog, "valid", replace(make_session({"root": str(tmp_path)}), guard=guard)))
    assert set(pairs_of(found)) == {"bytes-again", "encoded"}
