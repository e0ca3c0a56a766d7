"""load/dataset.py: samples by number, with a true length, from any thread and after a fork."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, tar_bytes, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.core.errors import NotVerified, UnknownDataset
from g3m.load.dataset import Dataset, Sample, dataset

SAMPLES = 7


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Seven samples in three shards."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    files: dict[str, bytes] = {}
    for number in range(SAMPLES):
        files |= {f"k{number}.jpg": tiny_jpeg(number), f"k{number}.txt": f"caption {number} é".encode()}
        files |= {f"k{number}.json": b'{"n": %d}' % number}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


@pytest.fixture
def data(made: Made) -> Iterator[Dataset]:
    opened = dataset("heap", made.root)
    yield opened
    opened.close()


def expected(number: int) -> Sample:
    return Sample(f"k{number}", tiny_jpeg(number), f"caption {number} é", {"n": number})


def test_samples_by_number(data: Dataset) -> None:
    """Every number gives its sample, across shards, in the order of the source; from behind, too."""
    assert len(data) == SAMPLES
    assert [data[number] for number in range(SAMPLES)] == [expected(number) for number in range(SAMPLES)]
    assert [data[-number] for number in range(1, SAMPLES + 1)] == [
        expected(SAMPLES - n) for n in range(1, SAMPLES + 1)
    ]
    assert list(data) == [expected(number) for number in range(SAMPLES)]


@pytest.mark.parametrize("number", [SAMPLES, 10**9, -SAMPLES - 1, -(10**9)])
def test_numbers_beyond(data: Dataset, number: int) -> None:
    """Beyond either end is an IndexError, so that `for` and samplers end."""
    with pytest.raises(IndexError):
        data[number]


def test_it_says_what_it_is(data: Dataset) -> None:
    """Name, length and shards stand in its representation."""
    assert repr(data) == "<g3m dataset heap: 7 samples in 3 shards>"


def test_samples_without_json(tmp_path: Path) -> None:
    """A shard without json gives an empty dict; text that is no UTF-8 is replaced."""
    content = tar_bytes({"a.jpg": tiny_jpeg(1), "a.txt": b"caf\xe9"})
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "s-0.tar").write_bytes(content)
    recipe = my_recipe(tmp_path / "mine.toml", [(tmp_path / "source" / "s-0.tar", [])], {"reader": "shards"})
    made = make(recipe, tmp_path / "source")
    opened = dataset("mine", made.root)
    assert list(opened) == [Sample("a", tiny_jpeg(1), "caf\ufffd", {})]
    opened.close()


def test_many_threads(data: Dataset) -> None:
    """Reads by position: threads that jump about in one dataset all get what they asked for."""
    wrong: list[int] = []
    gate = threading.Barrier(8)

    def read(start: int) -> None:
        gate.wait(timeout=5)
        for step in range(100):
            number = (start * 31 + step * 17) % SAMPLES
            if data[number] != expected(number):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert wrong == []


def test_two_processes_share_it(data: Dataset) -> None:
    """A worker started by fork, as loaders do, reads through what was opened before, and disturbs nobody."""
    import subprocess
    import sys

    script = """
        import os, sys
        from g3m.load.dataset import dataset
        data = dataset("heap", sys.argv[1])
        first = data[0].key
        child = os.fork()
        if child == 0:
            os._exit(0 if [s.key for s in data] == [f"k{n}" for n in range(7)] else 1)
        ok = all([s.key for s in data] == [f"k{n}" for n in range(7)] for _ in range(20))
        print(ok and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
    """
    import textwrap

    root = data.folder.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == "True\n"


def test_closing_and_reading_on(data: Dataset) -> None:
    """Closing gives the descriptors back; reading again opens them again; closing twice is fine."""
    before = len(os.listdir("/proc/self/fd"))
    list(data)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    data.close()
    data.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert data[3] == expected(3)


def test_a_shard_that_was_cut_is_said(made: Made) -> None:
    """A sample beyond the end of its shard is an error that names shard and key, never half a picture."""
    path = made.folder / "00001.tar"
    path.write_bytes(path.read_bytes()[:900])
    opened = dataset("heap", made.root)
    with pytest.raises(NotVerified, match=r"00001\.tar: sample k2 is cut"):
        list(opened)
    assert opened[0] == expected(0)
    opened.close()


def test_an_index_that_does_not_fit_is_said(made: Made) -> None:
    """An index of another length than the manifest's is refused at once."""
    other = make(made.root.parent / "heap.toml", made.root.parent / "source", root=made.root.parent / "again")
    text = (made.folder / "manifest.json").read_text(encoding="utf-8")
    (other.folder / "manifest.json").write_text(
        text.replace('"samples": 2', '"samples": 3', 1), encoding="utf-8"
    )
    with pytest.raises(NotVerified, match="the index has 7 samples, the manifest 8"):
        dataset("heap", other.root)


@pytest.mark.parametrize("spoil", ["gone", "empty", "no index", "cut"])
def test_a_damaged_index_is_an_error_of_ours(made: Made, spoil: str) -> None:
    """Whoever opens a dataset with a damaged index learns what to do; it is no ValueError from inside."""
    path = made.folder / "index.bin"
    content = {"empty": b"", "no index": b"x" * 100, "cut": path.read_bytes()[:60]}.get(spoil)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((NotVerified, UnknownDataset)):
        dataset("heap", made.root)


def test_what_is_not_there_is_said(made: Made) -> None:
    """A name that is not below the root, or not finished: what would make it is in the hint."""
    with pytest.raises(UnknownDataset, match="'nothing' is not under") as caught:
        dataset("nothing", made.root)
    assert "g3m get nothing" in caught.value.hint[0]
    (made.folder / "manifest.json").unlink()
    with pytest.raises(UnknownDataset):
        dataset("heap", str(made.root))


def test_another_manifest_beside_it_does_not_disturb(made: Made) -> None:
    """A foreign or torn manifest below the same root is passed over."""
    for name, content in (("a/b", b"{"), ("z/z", b"[]"), ("y", b"\xff\xfe")):
        folder = made.root / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_bytes(content)
    opened = dataset("heap", made.root)
    assert len(opened) == SAMPLES
    opened.close()


def test_samples_travel_between_processes(data: Dataset) -> None:
    """A sample can be pickled, as loaders do with it."""
    assert pickle.loads(pickle.dumps(data[2])) == expected(2)
