"""load/exclusion.py: lists of samples that are left out, and numbers that skip them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.load.folders import folder_of, numbered

from g3m.core.errors import SettingsError
from g3m.load.dataset import Dataset, dataset
from g3m.load.exclusion import Exclusion, Kept

COUNT = 12


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0))))))
def test_numbers_skip_what_is_left_out(drawn: tuple[int, set[int]]) -> None:
    """The numbers are those of the kept samples in their order, whichever are left out: compared with a list."""
    length, excluded = drawn[0], sorted(number for number in drawn[1] if number < drawn[0])
    kept = Kept(length, excluded)
    plain = [number for number in range(length) if number not in excluded]
    assert len(kept) == len(plain)
    assert [kept[place] for place in range(len(kept))] == plain


def test_memory_is_for_what_is_left_out() -> None:
    """3.65 million samples without a list take no memory, and a hundred thousand left out take 16 bytes each."""
    assert [len(Kept(3_650_000)._before), len(Kept(3_650_000))] == [0, 3_650_000]
    kept = Kept(3_650_000, range(0, 3_650_000, 36))
    assert len(kept._before) * kept._before.itemsize * 2 < 1_700_000
    assert kept[0] == 1
    assert kept[len(kept) - 1] == 3_649_999


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two folders of twelve samples each, whose keys are the same."""
    names = ("cats", "dogs")
    return [folder_of(tmp_path / name, {"0.tar": numbered(name, COUNT)}) for name in names]


@pytest.fixture
def opened() -> Iterator[list[Dataset]]:
    """What is opened in a test and closed behind it."""
    made: list[Dataset] = []
    yield made
    for one in made:
        one.close()


def texts(data: Dataset) -> list[str]:
    return [sample.text for sample in data]


def left_out(data: Dataset) -> set[str]:
    everything = {f"{name} {number}" for name in ("cats", "dogs") for number in range(COUNT)}
    return everything - set(texts(data))


def test_keys(two: list[Path], opened: list[Dataset]) -> None:
    """A key is left out of every dataset that has it; with a dataset's name before it, of that one only."""
    opened.append(data := dataset(two, exclude=["k3", "dogs/k5", "cats/k99", "birds/k1"]))
    assert left_out(data) == {"cats 3", "dogs 3", "dogs 5"}
    assert data.lengths == (11, 10)
    assert len(data) == 21
    assert data.exclusion == Exclusion(4, 3, 2, ("birds/k1", "cats/k99"))
    assert data[-1].text == "dogs 11"
    assert [data.key(10), data.key(11), data.key(14)] == ["cats/k11", "dogs/k0", "dogs/k4"]
    assert repr(data) == "<g3m dataset cats, dogs: 21 samples in 2 shards, 3 left out>"


def test_lists_of_all_forms(two: list[Path], tmp_path: Path, opened: list[Dataset]) -> None:
    """Lines of keys, of DATASET/KEY and of JSON stand in one list; order, blanks and repetition do not matter."""
    path = tmp_path / "leaked.txt"
    path.write_bytes(
        b'\xef\xbb\xbfk1\r\n\n  dogs/k2  \nk1\n{"key": "k4", "dataset": "cats"}\n{"key": "k7", "class": "exif"}'
    )
    opened.append(data := dataset(two, exclude=path))
    assert left_out(data) == {"cats 1", "dogs 1", "dogs 2", "cats 4", "cats 7", "dogs 7"}
    assert data.exclusion == Exclusion(4, 6, 0)
    for form in (str(path), [path], [str(path)], (one for one in [path])):
        opened.append(again := dataset(two, exclude=form))
        assert left_out(again) == left_out(data)


def test_keys_and_lists_together(two: list[Path], tmp_path: Path, opened: list[Dataset]) -> None:
    """Among several texts one that has a dot and is a file is a list; keys have no dots."""
    (tmp_path / "a.txt").write_text("k1\n", encoding="utf-8")
    opened.append(data := dataset(two[:1], exclude=["k0", str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]))
    assert texts(data)[0] == "cats 2"
    assert data.exclusion == Exclusion(3, 2, 1, (str(tmp_path / "b.txt"),))


def test_a_key_that_is_also_a_file(
    two: list[Path], tmp_path: Path, opened: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among several texts a key is a key, even if a file is called so."""
    monkeypatch.chdir(tmp_path)
    Path("k0").write_text("k1\n", encoding="utf-8")
    opened.append(data := dataset(two[:1], exclude=["k0"]))
    assert texts(data)[0] == "cats 1"


def test_the_lists_of_a_dataset_are_its_own(two: list[Path], opened: list[Dataset]) -> None:
    """findings.jsonl and rejected.jsonl in a dataset's folder say nothing about the other datasets' samples."""
    rows = [{"shard": "0.tar", "key": f"k{n}", "class": "grayscale", "action": "kept"} for n in (2, 3, 2)]
    path = two[1] / "findings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    opened.append(data := dataset(two, exclude=path))
    assert left_out(data) == {"dogs 2", "dogs 3"}
    assert data.exclusion == Exclusion(2, 2, 0)


def test_keys_that_are_there_several_times(tmp_path: Path, opened: list[Dataset]) -> None:
    """All samples of a key are left out, in whichever shard."""
    shards = {"0.tar": numbered("cats", 3), "1.tar": numbered("cats", 3), "2.tar": numbered("dogs", 1)}
    opened.append(data := dataset(folder_of(tmp_path / "twice", shards), exclude=["k0"]))
    assert texts(data) == ["cats 1", "cats 2", "cats 1", "cats 2"]
    assert data.exclusion == Exclusion(1, 3, 0)


def test_keys_with_folders(tmp_path: Path, opened: list[Dataset]) -> None:
    """A key may hold slashes, and begin with the name of its own dataset."""
    folder = folder_of(tmp_path / "train", {"0.tar": numbered("x", 4, key="train/n01/k{}")})
    opened.append(data := dataset(folder, exclude=["train/n01/k1", "train/train/n01/k3"]))
    assert texts(data) == ["x 0", "x 2"]
    assert data.exclusion == Exclusion(2, 2, 0)


def test_datasets_by_both_of_their_names(tmp_path: Path, opened: list[Dataset]) -> None:
    """Where two datasets of one name are told apart by their paths, the plain name in a list means both."""
    paths = [folder_of(tmp_path / where / "train", {"0.tar": numbered(where, 3)}) for where in "ab"]
    rows = [{"dataset": "train", "key": "k0"}, {"dataset": "b/train", "key": "k1"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    opened.append(data := dataset(paths, exclude=[tmp_path / "list.jsonl", "a/train/k2"]))
    assert [data.key(number) for number in range(len(data))] == ["a/train/k1", "b/train/k2"]
    assert data.exclusion == Exclusion(3, 4, 0)


def test_nothing_is_left(two: list[Path], opened: list[Dataset]) -> None:
    """A list that names all samples leaves an empty dataset; an empty list leaves out none, and says so."""
    opened.append(data := dataset(two, exclude=[f"k{number}" for number in range(COUNT)]))
    assert (len(data), data.lengths, list(data)) == (0, (0, 0), [])
    with pytest.raises(IndexError):
        data[0]
    opened.append(whole := dataset(two, exclude=[]))
    assert (len(whole), whole.exclusion) == (24, Exclusion(0, 0, 0))
    opened.append(plain := dataset(two))
    assert plain.exclusion is None


def test_few_examples_of_many(two: list[Path], opened: list[Dataset]) -> None:
    """Of many entries that match nothing all are counted and ten are shown."""
    opened.append(data := dataset(two, exclude=[f"x{number:03}" for number in range(500)]))
    assert data.exclusion is not None
    assert data.exclusion.unmatched == 500
    assert data.exclusion.examples == tuple(f"x{number:03}" for number in range(10))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is no JSON"),
        ('{"id": 3}', 'has no "key"'),
        ('{"key": 3}', 'has no "key"'),
        ("{" * 9999, "is no JSON"),
    ],
)
def test_a_line_that_is_no_entry(two: list[Path], tmp_path: Path, line: str, said: str) -> None:
    """A damaged line of JSON is an error with the file, the line and what a list may hold."""
    (tmp_path / "list.jsonl").write_text(f"k1\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"list\.jsonl, line 2: {said}") as caught:
        dataset(two, exclude=tmp_path / "list.jsonl")
    assert "DATASET/KEY" in caught.value.hint[0]


def test_what_is_no_list(two: list[Path], tmp_path: Path) -> None:
    """A path without a file, a folder, and what is neither key nor path are errors, not empty lists."""
    for wrong in ("missing.txt", tmp_path / "missing.txt", tmp_path, [tmp_path]):
        with pytest.raises(SettingsError, match="cannot be read"):
            dataset(two, exclude=wrong)
    with pytest.raises(SettingsError, match="3 is neither a key nor a path"):
        dataset(two, exclude=[3])  # type: ignore[list-item]


def test_bytes_that_are_no_text(two: list[Path], tmp_path: Path, opened: list[Dataset]) -> None:
    """A list with bytes that are no UTF-8 still leaves out what it names."""
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\nk1\n")
    opened.append(data := dataset(two[:1], exclude=tmp_path / "list.txt"))
    assert data.exclusion == Exclusion(2, 1, 1, ("\ufffd\ufffd",))
