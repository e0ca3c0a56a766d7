"""load/dataset.py: samples by number, with a true length, from any thread and after a fork."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.load.folders import folder_of, numbered
from tests.steps.offline import Made, make, tar_bytes, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.core.errors import ContentError, NotVerified, SettingsError, UnknownDataset
from g3m.load.captions import chosen
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
    return Sample(f"k{number}", "heap", tiny_jpeg(number), f"caption {number} é", b'{"n": %d}' % number)


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
    assert list(opened) == [Sample("a", "mine", tiny_jpeg(1), "caf\ufffd")]
    opened.close()


def test_many_threads(data: Dataset) -> None:
    """Reads by position: threads that jump about in one dataset all get what they asked for."""
    wrong: list[int] = []
    gate = threading.Barrier(8)

    def read(start: int) -> None:
        gate.wait(timeout=30)
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
    root = Path(data.folders[0].place).parent.parent
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
    with pytest.raises(NotVerified, match=r"00001\.tar: .* it has 900 bytes, not 20480 \(sample k2\)"):
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
    with pytest.raises(NotVerified, match="it has 7 samples in 3 shards, the manifest has 8 in 3"):
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


def test_members_and_bytes(data: Dataset) -> None:
    """The bytes of image and text, any member and the key come without a sample."""
    assert data.raw(2) == (tiny_jpeg(2), "caption 2 é".encode())
    assert [data.member(2, "json"), data.member(2, "cls"), data.key(2)] == [b'{"n": 2}', b"", "heap/k2"]
    for read in (data.raw, data.key, data.load, data.caption):
        for number in (-1, SAMPLES):
            with pytest.raises(IndexError):
                read(number)


def test_numbers_of_other_libraries(data: Dataset) -> None:
    """Whatever counts as a whole number is one; what does not is a TypeError."""

    class Whole:
        def __index__(self) -> int:
            return -2

    assert data[Whole()] == expected(SAMPLES - 2)  # type: ignore[index]
    for wrong in (1.0, "1", slice(0, 2), None):
        with pytest.raises(TypeError):
            data[wrong]  # type: ignore[index]


def test_pictures_are_opened_lazily(data: Dataset) -> None:
    """A sample gives its picture by Pillow; the bytes are looked at only then."""
    with data[3].open() as image:
        assert image.format == "JPEG"
        assert len(image.convert("RGB").tobytes()) == 3 * image.width * image.height
    for image in (b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"):
        with pytest.raises(OSError, match="cannot identify"):
            Sample("k", "heap", image, "").open()


def test_json_is_read_lazily(data: Dataset) -> None:
    """`meta` is the json as a dict, empty without one; damaged json is an error that names the sample."""
    assert (data[3].meta, Sample("k", "heap", b"", "").meta) == ({"n": 3}, {})
    for wrong in (b"{", b"[1]", b"null", b"\xff", b"[" * 100_000):
        sample = Sample("k", "heap", b"", "the text", wrong)
        with pytest.raises(ContentError, match="heap/k: its json is no JSON object"):
            _ = sample.meta
        assert sample.captions == ("the text",)


def test_samples_travel_between_processes(data: Dataset) -> None:
    """A sample can be pickled, as loaders do with it."""
    assert pickle.loads(pickle.dumps(data[2])) == expected(2)


# --- several as one -------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Dataset]:
    """Three folders: four samples in two shards, none, and three."""
    shards = {"0.tar": numbered("a", 3), "1.tar": numbered("b", 1)}
    paths = [
        folder_of(tmp_path / "first", shards),
        folder_of(tmp_path / "none", {"0.tar": []}),
        folder_of(tmp_path / "last", {"0.tar": numbered("c", 3)}),
    ]
    with dataset(paths) as opened:
        yield opened


def test_several_are_one(three: Dataset) -> None:
    """One folder behind the other, with the names and lengths of each; a sample knows where it is from."""
    assert (len(three), three.names, three.lengths) == (7, ("first", "none", "last"), (4, 0, 3))
    assert [sample.text for sample in three] == ["a 0", "a 1", "a 2", "b 0", "c 0", "c 1", "c 2"]
    assert [sample.dataset for sample in three] == ["first"] * 4 + ["last"] * 3
    assert [three.key(number) for number in (3, 4)] == ["first/k0", "last/k0"]
    assert (three[-7].text, three[-4].text, three[-1].text) == ("a 0", "b 0", "c 2")
    assert repr(three) == "<g3m dataset first, none, last: 7 samples in 4 shards>"
    assert three.weights is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4), st.data())
def test_any_folders_in_any_order(tmp_path: Path, layout: list[list[int]], data: st.DataObject) -> None:
    """Whatever lies in how many shards of how many folders, and whatever is left out: the numbers fit a list."""
    base = Path(tempfile.mkdtemp(dir=tmp_path))
    plain = []
    paths = []
    for folder, counts in enumerate(layout):
        shards = {f"{n}.tar": numbered(f"{folder}-{n}", c, key=f"{n}k{{}}") for n, c in enumerate(counts)}
        paths.append(folder_of(base / f"f{folder}", shards))
        plain += [(f"f{folder}/{n}k{s}", f"{folder}-{n} {s}") for n, c in enumerate(counts) for s in range(c)]
    excluded = data.draw(st.lists(st.sampled_from(plain or [("x", "")]), max_size=6))
    with dataset(paths, exclude=[key for key, _ in excluded]) as opened:
        left = [pair for pair in plain if pair not in excluded]
        assert [(opened.key(n), opened.load(n).text) for n in range(len(opened))] == left
        assert sum(opened.lengths) == len(opened) == len(left)


def test_weights(three: Dataset, tmp_path: Path) -> None:
    """Weights become shares in the order of the datasets, given in it or by name."""
    paths = [tmp_path / name for name in three.names]
    for weights in ([1, 0, 3], (0.5, 0.0, 1.5), {"last": 3, "first": 1, "none": 0}):
        with dataset(paths, weights=weights) as opened:
            assert opened.weights == (0.25, 0.0, 0.75)
    for wrong, said in (
        ([1, 2], "2 for 3 datasets: first, none, last"),
        ({"first": 1}, "must be given for first, none, last, not for first"),
        ([0, 0, 0], "one of them above it"),
        ([1, -1, 1], "numbers from 0 on"),
        ([1, 0, float("nan")], "numbers from 0 on"),
        ([1, 0, float("inf")], "numbers from 0 on"),
        ([1, 1, 1], "none has no samples"),
    ):
        with pytest.raises(SettingsError, match=said):
            dataset(paths, weights=wrong)


def test_fingerprints(three: Dataset, tmp_path: Path) -> None:
    """The same samples by the same numbers have one fingerprint; another order, set or list another one."""
    paths = [tmp_path / name for name in three.names]
    variants = [
        {"names": paths},
        {"names": paths[::-1]},
        {"names": paths[::2]},
        {"names": paths, "exclude": ["k1"]},
        {"names": paths, "exclude": ["k2"]},
    ]
    found = []
    for variant in variants:
        with dataset(**variant) as opened:  # type: ignore[arg-type]
            found.append(opened.fingerprint)
    assert len(set(found)) == 5
    with dataset(paths, weights=[1, 0, 1], captions="all", exclude=["nothing"]) as opened:
        assert opened.fingerprint == found[0] == three.fingerprint
    folder_of(tmp_path / "last", {"0.tar": numbered("c", 3, size_bytes=5000)})
    with dataset(paths) as opened:
        assert opened.lengths == three.lengths
        assert opened.fingerprint != three.fingerprint


def test_a_folder_named_twice(three: Dataset, tmp_path: Path) -> None:
    """One folder by two ways is a mistake: its samples would have the same keys."""
    with pytest.raises(SettingsError, match="a folder is named twice"):
        dataset([tmp_path / "first", tmp_path / "first/index.bin"])


def test_opening_walks_nothing(three: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without lists no key is read and no shard opened until a sample is asked for."""

    def walk(self: object) -> Iterator[str]:
        raise AssertionError("the keys were walked")

    monkeypatch.setattr("g3m.core.index.Index.keys", walk)
    monkeypatch.setattr("g3m.core.index.Index.key", walk)
    (tmp_path / "last/0.tar").unlink()
    with dataset([tmp_path / "first", tmp_path / "last"]) as opened:
        assert (len(opened), len(opened.fingerprint)) == (7, 64)


def test_opening_imports_nothing_heavy(captioned: Path) -> None:
    """Datasets are read with the standard library alone: no torch, no numpy, no Pillow, no libcurl."""
    script = f"""
        import sys, g3m
        with g3m.dataset({str(captioned)!r}, captions="random") as data:
            list(data), data.caption(0), data.fingerprint
        print(sorted({{"torch", "numpy", "PIL", "pycurl", "simplejpeg", "pyarrow"}} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == "[]\n"


# --- captions -------------------------------------------------------------------------------------------------------

FIVE = ("a dog", "two dogs", "dogs é", "a bone", "grass")


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Samples with five captions, with one, and with a text that is no UTF-8."""
    meta = json.dumps({"captions": FIVE}).encode()
    samples = [
        ("five", {"jpg": b"J", "json": meta, "txt": " ".join(FIVE).encode()}),
        ("one", {"jpg": b"J", "json": b'{"cap": "x"}', "txt": b"the text"}),
        ("odd", {"jpg": b"J", "json": b"{", "txt": b"caf\xe9"}),
        ("bare", {"jpg": b"J"}),
    ]
    return folder_of(tmp_path / "captioned", {"0.tar": samples})


def test_captions_joined_and_all(captioned: Path) -> None:
    """`joined` is the stored text, `all` the captions one by one; bytes that are no text become U+FFFD."""
    with dataset(captioned) as joined, dataset(captioned, captions="all") as every:
        assert [joined.caption(n) for n in range(4)] == [" ".join(FIVE), "the text", "caf\ufffd", ""]
        assert [every.caption(n) for n in range(4)] == [FIVE, ("the text",), ("caf\ufffd",), ("",)]
        assert (joined[0].captions, joined[2].captions) == (FIVE, ("caf\ufffd",))


def test_captions_at_random(captioned: Path) -> None:
    """`random` gives one caption by seed, epoch and number alone: the same on every machine, all in turn."""
    with dataset(captioned, captions="random") as opened, dataset(captioned, captions="random") as again:
        row = [opened.caption(0, epoch, 7) for epoch in range(200)]
        assert row == [again.caption(0, epoch, 7) for epoch in range(200)]
        assert set(row) == set(FIVE)
        assert row != [opened.caption(0, epoch, 8) for epoch in range(200)]
        assert {opened.caption(1, epoch, 7) for epoch in range(20)} == {"the text"}
        assert row[3] == chosen(FIVE, 0, 3, 7)


def test_a_sample_at_hand_is_not_read_again(captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sample given, a caption costs no read, and is the same as without."""
    with dataset(captioned, captions="random") as opened:
        sample = opened.load(0)
        found = opened.caption(0, 5, 7)

        def read(*_: object) -> bytes:
            raise AssertionError("read again")

        monkeypatch.setattr("g3m.adapters.local.LocalReader.read", read)
        assert opened.caption(0, 5, 7, sample) == found


def test_a_policy_that_is_none(captioned: Path) -> None:
    """Another word than the three is refused when the dataset is opened."""
    with pytest.raises(SettingsError, match="captions: must be one of joined, random, all, not 'longest'"):
        dataset(captioned, captions="longest")  # type: ignore[arg-type]


# --- threads and processes ------------------------------------------------------------------------------------------

SPAWN = """
    import multiprocessing, os, sys
    from g3m.load.dataset import dataset

    def texts(data, results):
        results.put((data.fingerprint, data.exclusion.samples, [sample.text for sample in data]))

    if __name__ == "__main__":
        os.chdir(sys.argv[1])
        data = dataset(["./first", "./last"], exclude=["first/k1"], weights=[1, 2])
        len(list(data))
        os.chdir("/")
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            results = context.SimpleQueue()
            process = context.Process(target=texts, args=(data, results))
            process.start()
            found = results.get()
            process.join()
            print(found == (data.fingerprint, 1, ["a 0", "a 2", "b 0", "c 0", "c 1", "c 2"]))
        data.close()
"""


def test_workers_of_every_kind(three: Dataset, tmp_path: Path) -> None:
    """Forked, spawned and served processes read the same samples, though the working folder is another."""
    (tmp_path / "main.py").write_text(textwrap.dedent(SPAWN), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "main.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True\n" * 3, "")


def test_pickled_it_is_small_and_the_same(three: Dataset, tmp_path: Path) -> None:
    """What a worker gets is places and numbers, no samples; and it behaves alike."""
    with dataset([tmp_path / "first", tmp_path / "last"], exclude=["k1"], captions="all") as opened:
        packed = pickle.dumps(opened)
        with pickle.loads(packed) as again:
            assert list(again) == list(opened)
            assert (again.exclusion, again.policy) == (opened.exclusion, "all")
    assert len(packed) < 1500


def test_threads_in_several_folders(three: Dataset) -> None:
    """Eight threads that jump between folders, one of which closes now and then, all get their own samples."""
    expected = [sample.text for sample in three]
    wrong: list[int] = []
    gate = threading.Barrier(8)

    def read(start: int) -> None:
        gate.wait(timeout=30)
        for step in range(300):
            number = (start * 31 + step * 5) % len(expected)
            if start == 0 and step % 10 == 0:
                three.close()
            elif three[number].text != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert wrong == []


def test_a_sample_is_printed_in_a_line() -> None:
    """Neither the bytes of a picture nor all of a long caption fill the screen."""
    assert (
        repr(Sample("k", "coco", b"x" * 12345, "a dog"))
        == "<g3m sample coco/k: image of 12,345 bytes, 'a dog'>"
    )
    long = repr(Sample("k", "coco", b"", "\x1b[31m" + "a" * 500))
    assert len(long) < 150
    assert "\x1b" not in long
