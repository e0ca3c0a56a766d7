"""`g3m index`: tars of anybody become readable by number, and what cannot be described is said."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.steps.offline import tar_bytes
from tests.steps.test_publish import heap
from tests.whole.disk import tree
from webdataset.tariterators import group_by_keys, tar_file_iterator

from g3m.core.errors import (
    BadArchive,
    G3MError,
    Interrupted,
    NotRecognised,
    NotVerified,
    NotWritable,
    SettingsError,
    StorageError,
    UnknownDataset,
)
from g3m.core.events import Event, RunFinished, RunStarted, TaskFinished
from g3m.core.index import Index
from g3m.core.indexing import IndexedShard, encode
from g3m.core.shard import Entry, Field
from g3m.runners.index import index, index_in
from g3m.runners.pack import pack
from g3m.runners.run import make_session
from g3m.steps import index as step
from g3m.steps import scan as scan_step
from g3m.steps.index import Difference, Indexed, differences, find_folder

JPEG = b"\xff\xd8\xff\xe0 a picture"
Files = list[tuple[str, bytes]]


def sample(key: str, *extensions: str) -> Files:
    """The files of one sample; no two of any samples are equal."""
    return [(f"{key}.{extension}", f"{extension} of {key}".encode()) for extension in extensions]


def folder_of(path: Path, **tars: Files) -> Path:
    """A folder of tars; `__` in a name is a folder."""
    for name, files in tars.items():
        place = path / f"{name.replace('__', '/')}.tar"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(tar_bytes(files))
    return path


def read(folder: Path, path: Path | None = None) -> list[tuple[str, dict[str, bytes]]]:
    """Every sample through the index: its key, and the bytes of each of its members."""
    found = Index((path or folder / "index.bin").read_bytes())
    samples = []
    for number in range(len(found)):
        shard, entry = found[number]
        data = (folder / shard).read_bytes()
        parts = {f.extension: data[f.offset : f.offset + f.size_bytes] for f in entry.fields}
        samples.append((entry.key, parts))
    return samples


def expected(*files: Files) -> list[tuple[str, dict[str, bytes]]]:
    """The samples of some files by the rule in the words of the guide."""
    samples: dict[str, dict[str, bytes]] = {}
    for name, data in (one for group in files for one in group):
        place, slash, last = name.rpartition("/")
        key, _, extension = last.partition(".")
        samples.setdefault(place + slash + key, {})[extension.lower()] = data
    return list(samples.items())


def test_a_folder_of_anybodys_tars_is_indexed(tmp_path: Path) -> None:
    """Folders of tars, folders in tars, capitals, dots and other members: each byte is found by number."""
    one = [*sample("000", "JPG", "txt"), *sample("b.d/000", "jpeg", "cls", "seg.png")]
    two = [*sample("ä ö", "png", "TXT", "json"), *sample("c", "webp")]
    folder = folder_of(tmp_path / "wds", b=two, a__00000=one)
    made = index(folder)
    assert read(folder) == expected(one, two)
    assert [key for key, _ in read(folder)] == ["000", "b.d/000", "ä ö", "c"]
    counts = {"jpg": 1, "jpeg": 1, "png": 1, "webp": 1, "cls": 1, "json": 1, "seg.png": 1, "txt": 2}
    assert (made.fields, list(made.fields)) == (counts, list(counts))
    assert (made.path, made.shards, made.is_new, made.left_out) == (folder / "index.bin", 2, True, {})
    found = Index(made.path.read_bytes())
    assert found.shards == ("a/00000.tar", "b.tar")
    assert found.sizes == tuple((folder / name).stat().st_size for name in found.shards)
    assert made.size_bytes == sum(found.sizes)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b.tar", "index.bin"]


KINDS = ["jpg", "JPG", "png", "txt", "cls"]
drawn_samples = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "x/a", "./y", "c.d", "e.f/a"]),
        st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique_by=str.lower),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one[0],
)


@given(drawn_samples)
def test_samples_are_those_that_webdataset_finds(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, list[str]]]
) -> None:
    """WebDataset's own grouping of the same tar gives the same keys, members and bytes; `./` in front is dropped."""
    folder = tmp_path_factory.mktemp("wds")
    folder_of(folder, a=[file for key, extensions in drawn for file in sample(key, *extensions)])
    theirs = []
    with open(folder / "a.tar", "rb") as file:
        files = ({**one, "__url__": "a.tar"} for one in tar_file_iterator(file))
        for found in group_by_keys(files):
            parts = {name: data for name, data in found.items() if not name.startswith("__")}
            if any(name.rpartition(".")[2] in ("jpg", "png") for name in parts):
                theirs.append((found["__key__"].removeprefix("./"), parts))
    if not theirs:
        with pytest.raises(NotRecognised):
            index(folder)
        return
    index(folder)
    assert read(folder) == theirs


def test_what_is_no_sample_is_counted_with_an_example(tmp_path: Path) -> None:
    """Members without a picture, links and empty pictures are left out by reason; stray files are ignored."""
    folder = folder_of(
        tmp_path / "wds",
        a=[
            ("._a.jpg", b"junk"),
            *sample("a", "jpg", "txt"),
            ("README", b"words"),
            *sample("b", "txt", "cls"),
            ("c.jpg", b""),
            ("d.jpg", b"1"),
            ("d.JPG", b"2"),
            ("../e.jpg", b"3"),
            *sample("f", "png"),
            *sample("g.1", "jpg", "txt"),
        ],
    )
    with tarfile.open(folder / "b.tar", "w") as archive:
        entry = tarfile.TarInfo("g.jpg")
        entry.type, entry.linkname = tarfile.SYMTYPE, "f.png"
        archive.addfile(entry)
    made = index(folder)
    assert [key for key, _ in read(folder)] == ["a", "f", "g"]
    assert read(folder)[2][1] == {"1.jpg": b"jpg of g.1", "1.txt": b"txt of g.1"}
    reasons = {"missing_image": 1, "empty_image": 1, "duplicate": 1, "unsafe_name": 1, "not_a_file": 1}
    assert made.left_out == reasons
    assert made.first["missing_image"] == "a.tar: b.txt"
    assert made.first.keys() == reasons.keys()
    assert made.ignored == 2


def test_keys_that_come_again_are_counted(tmp_path: Path) -> None:
    """In another tar they are another sample, and said; in the same tar the later one is left out."""
    folder = folder_of(
        tmp_path / "wds",
        a=[*sample("x", "jpg"), *sample("y", "jpg"), *sample("x", "jpg")],
        b=[*sample("y", "jpg"), *sample("z", "jpg")],
    )
    made = index(folder)
    assert [key for key, _ in read(folder)] == ["x", "y", "y", "z"]
    assert (made.repeated, made.repeated_key) == (1, "y")
    assert made.left_out == {"duplicate_key": 1}


def failed(folder: Path, kind: type[G3MError], **options: Any) -> G3MError:
    """The error of indexing a folder, which leaves no index."""
    with pytest.raises(kind) as caught:
        index(folder, **options)
    assert not (folder / "index.bin").exists()
    return caught.value


def test_members_that_do_not_stand_side_by_side_are_an_error(tmp_path: Path) -> None:
    """A reader in one pass would see two halves of a sample: the tar and the member are named."""
    folder = folder_of(
        tmp_path / "wds", a=[("1.jpg", b"p"), ("2.jpg", b"p"), ("1.txt", b"t"), ("2.txt", b"t")]
    )
    error = failed(folder, BadArchive)
    assert "a.tar: 1.txt: other members of this sample stand elsewhere" in error.message
    assert "--sort=name" in error.hint[0]


def test_more_kinds_of_members_than_fit_are_an_error(tmp_path: Path) -> None:
    """In one tar or over several, the member that is one too many is named with its tar."""
    dotted = [(f"img.{number:03d}.jpg", b"p") for number in range(17)]
    error = failed(folder_of(tmp_path / "one", a=[("img.jpg", b"p"), *dotted]), BadArchive)
    assert "a.tar: img: '016.jpg' is more than the 16 fields" in error.message or "'015.jpg'" in error.message
    tars = {f"t{number:02d}": sample(f"k{number}", "jpg", f"x{number:02d}") for number in range(16)}
    error = failed(folder_of(tmp_path / "many", **tars), BadArchive)
    assert "t15.tar: k15.x15 is of one kind more than the 16" in error.message
    assert "first dot" not in error.hint[0]
    shutil.move(tmp_path / "many" / "t15.tar", tmp_path / "away.tar")
    assert len(index(tmp_path / "many").fields) == 16


def test_each_damaged_tar_is_named_and_none_of_the_work_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error tells of all of them; when they are mended only they are scanned."""
    folder = folder_of(tmp_path / "wds", **{name: sample(name, "jpg", "txt") for name in "abcd"})
    whole = (folder / "c.tar").read_bytes()
    (folder / "b.tar").write_bytes(gzip.compress(whole))
    (folder / "c.tar").write_bytes(whole[:700])
    error = failed(folder, BadArchive)
    assert "b.tar: not a tar: it is a gzip file" in error.message
    assert "c.tar: not a sound tar" in error.message
    assert "gunzip" in error.hint[0]
    for name in "bc":
        (folder / f"{name}.tar").write_bytes(tar_bytes(sample(name, "jpg", "txt")))
    scanned = counted(monkeypatch)
    index(folder)
    assert sorted(scanned) == ["b.tar", "c.tar"]
    assert [key for key, _ in read(folder)] == list("abcd")
    assert sorted(path.name for path in folder.iterdir()) == ["a.tar", "b.tar", "c.tar", "d.tar", "index.bin"]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tars that are scanned from now on."""
    scanned: list[str] = []

    def noting(source: Any, **options: Any) -> Any:
        scanned.append(source.name)
        return scan_step.scan(source, **options)

    monkeypatch.setattr(step, "scan", noting)
    return scanned


def test_an_index_that_is_up_to_date_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read and no run is told of, unless it is forced; then it is the same, byte for byte."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"), b=sample("b", "png"))
    first = index(folder)
    before, scanned = tree(folder), counted(monkeypatch)
    events: list[Event] = []
    again = index(folder, on_event=events.append)
    assert (scanned, events, tree(folder)) == ([], [], before)
    assert (again.is_new, again.samples, again.fields) == (False, first.samples, first.fields)
    forced = index(folder, force=True, on_event=events.append)
    assert (forced.is_new, forced.is_same, sorted(scanned)) == (True, True, ["a.tar", "b.tar"])
    assert isinstance(events[0], RunStarted)
    assert events[0].tasks == 2
    assert sum(isinstance(event, TaskFinished) for event in events) == 2
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.finished, last.samples) == (2, 2)


def changed(folder: Path, problem: str) -> str:
    """Change a folder in one way; which shard differs then."""
    if problem == "missing":
        (folder / "a.tar").unlink()
    elif problem == "size":
        (folder / "a.tar").write_bytes(tar_bytes(sample("a", "jpg", "txt") * 9))
    elif problem == "newer":
        state = (folder / "a.tar").stat()
        os.utime(folder / "a.tar", ns=(state.st_atime_ns, state.st_mtime_ns + 10**10))
    else:
        folder_of(folder, n=sample("n", "jpg"))
        return "n.tar"
    return "a.tar"


@pytest.mark.parametrize("problem", ["missing", "size", "newer", "extra"])
def test_a_shard_that_changed_is_noticed(tmp_path: Path, problem: str) -> None:
    """By its name, size or time, without reading it; indexing again makes it right."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"), b=sample("b", "jpg"))
    index(folder)
    session = make_session({})
    assert differences(find_folder(str(folder), "", session)) == []
    name = changed(folder, problem)
    found = differences(find_folder(str(folder), "", session))
    assert [(one.shard, one.problem) for one in found] == [(name, problem)]
    if problem == "newer":  # the clock of the file system goes on meanwhile
        os.utime(folder / "a.tar")
    if problem == "size":
        (folder / "a.tar").write_bytes(tar_bytes(sample("a", "jpg", "txt")))
    index(folder)
    assert differences(find_folder(str(folder), "", session)) == []
    assert len(read(folder)) == {"missing": 1, "extra": 3}.get(problem, 2)


def test_an_index_that_is_gone_damaged_or_of_another_place_is_noticed(tmp_path: Path) -> None:
    """`--check` says so about the index itself."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"))
    found = find_folder(str(folder), "", make_session({}))
    assert differences(found) == [Difference("index.bin", "missing")]
    index(folder, to=tmp_path / "away.bin")
    shutil.copy(tmp_path / "away.bin", folder / "index.bin")
    assert "speaks of shards in" in differences(found)[0].detail
    (folder / "index.bin").write_bytes((folder / "index.bin").read_bytes()[:-1])
    assert [one.problem for one in differences(found)] == ["structure"]
    (folder / "index.bin").write_bytes(b"")
    assert [one.problem for one in differences(found)] == ["structure"]
    assert index(folder).samples == 1
    assert differences(found) == []


def test_an_index_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It then names the folder of the shards; one that lies beside them under another name does not."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"))
    monkeypatch.chdir(tmp_path)
    before = tree(folder)
    made = index("wds", to="own/cc3m.bin")
    assert (made.path, tree(folder)) == (Path("own/cc3m.bin"), before)
    found = Index(made.path.read_bytes())
    assert (found.folder, found.sizes) == (str(folder), (before_size(folder),))
    assert [key for key, _ in read(folder, made.path)] == ["a"]
    assert not index("wds", to="own/cc3m.bin").is_new
    index("wds", to="wds/other.bin")
    assert Index((folder / "other.bin").read_bytes()).folder == ""


def before_size(folder: Path) -> int:
    return (folder / "a.tar").stat().st_size


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the folder and the way out."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"))
    scanned, opened = counted(monkeypatch), os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).parent == folder and arguments[0] & os.O_CREAT:
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    error = failed(folder, NotWritable)
    assert (error.message, scanned) == (f"{folder}: Read-only file system", [])
    assert all("--to FILE" in words for words in error.hint)
    assert index(folder, to=tmp_path / "x.bin").samples == 1


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was scanned is kept; half a record at the end of what is kept does no harm."""
    folder = folder_of(tmp_path / "wds", **{f"t{number}": sample(f"k{number}", "jpg") for number in range(6)})
    session = make_session({"jobs": 1})
    found = find_folder(str(folder), "", session)

    def stop(event: Event) -> None:
        if isinstance(event, TaskFinished) and event.output == "t2.tar":
            session.stop.set()

    with pytest.raises(Interrupted):
        index_in(found, session, [stop])
    assert not (folder / "index.bin").exists()
    with open(found.kept, "ab") as file:
        file.write(found.kept.read_bytes()[:50])
    scanned = counted(monkeypatch)
    made = index(folder, jobs=1)
    assert scanned == ["t3.tar", "t4.tar", "t5.tar"]
    assert (made.samples, [key for key, _ in read(folder)]) == (6, [f"k{number}" for number in range(6)])
    assert not found.kept.exists()


def test_what_was_kept_of_a_tar_that_changed_is_not_used(tmp_path: Path) -> None:
    """A tar that was written anew between two runs is scanned anew."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"), b=sample("b", "jpg"))
    whole = (folder / "b.tar").read_bytes()
    (folder / "b.tar").write_bytes(whole[:600])
    failed(folder, BadArchive)
    (folder / "a.tar").write_bytes(tar_bytes(sample("z", "jpg")))
    (folder / "b.tar").write_bytes(whole)
    index(folder)
    assert [key for key, _ in read(folder)] == ["z", "b"]


def test_what_somebody_else_changed_meanwhile_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs over one folder may spoil one another's notes, and never an index."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"))
    write = scan_step.Kept.write

    def spoiled(kept: scan_step.Kept, *arguments: Any, **options: Any) -> None:
        write(kept, *arguments, **options)
        kept.path.write_bytes(kept.path.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(scan_step.Kept, "write", spoiled)
    error = failed(folder, StorageError)
    assert "changed by somebody else" in error.message
    assert "again" in error.hint[0]
    monkeypatch.undo()
    assert index(folder).samples == 1


def test_the_same_index_however_many_at_a_time(tmp_path: Path) -> None:
    """The order of the tars decides, not who is done first."""
    tars = {f"t{number}": sample(f"k{number}", *(("jpg", "png")[number % 2 :]), "txt") for number in range(9)}
    folder = folder_of(tmp_path / "wds", **tars)
    before = set(threading.enumerate())
    made = [index(folder, to=tmp_path / f"{jobs}.bin", jobs=jobs).path.read_bytes() for jobs in (1, 3, 9)]
    assert made[0] == made[1] == made[2]
    assert set(threading.enumerate()) <= before


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a dataset of three shards that g3m has packed."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    return heap(tmp_path).root


def test_the_index_of_a_published_dataset_comes_back_byte_for_byte(published: Path) -> None:
    """By its name and by its folder; nothing else of it changes."""
    path = next(published.rglob("index.bin"))
    before = tree(published)
    path.write_bytes(b"")
    made = index("heap", root=str(published))
    assert (made.path, made.samples, made.is_same) == (path, 7, False)
    assert tree(published) == before
    path.unlink()
    assert index(path.parent).samples == 7
    assert index(path.parent).is_same
    assert differences(find_folder("heap", "", make_session({"root": str(published)}))) == []


def test_the_index_of_a_set_packed_anew_comes_back_byte_for_byte(tmp_path: Path, published: Path) -> None:
    """There a picture may be a png or like left.jpg, and other members stand beside it."""
    folder = folder_of(
        tmp_path / "wds", a=[("a.txt", b"words"), *picture("a.png"), *picture("b.left.jpg"), ("b.cls", b"1")]
    )
    pack(folder, tmp_path / "packed")
    path = tmp_path / "packed" / "index.bin"
    before = path.read_bytes()
    assert len(Index(before)) == 2
    path.unlink()
    assert index(tmp_path / "packed").fields == {"jpg": 2, "txt": 1}
    assert path.read_bytes() == before


def picture(name: str) -> Files:
    """A picture that packing takes."""
    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "PNG" if name.endswith("png") else "JPEG")
    return [(name, written.getvalue())]


def test_a_published_dataset_that_is_not_as_its_manifest_says_is_told(published: Path) -> None:
    """Another size is seen at once, other samples after the scan; the old index stays."""
    path = next(published.rglob("index.bin"))
    shard = min(path.parent.glob("*.tar"))
    before, data = path.read_bytes(), shard.read_bytes()
    shard.write_bytes(tar_bytes(sample("only", "jpg", "json", "txt")).ljust(len(data), b"\0"))
    with pytest.raises(NotVerified, match=r"1 samples, not 2 as the manifest says") as caught:
        index("heap", root=str(published))
    assert shard.name in caught.value.message
    assert "--repair" in caught.value.hint[0]
    shard.write_bytes(data + bytes(512))
    with pytest.raises(NotVerified, match="not as the manifest says"):
        index("heap", root=str(published))
    assert path.read_bytes() == before


def test_what_cannot_have_an_index_is_said(tmp_path: Path) -> None:
    """No such folder, a file, no tars, no pictures, a name that is none."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "txt"))
    with pytest.raises(UnknownDataset):
        index(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="is a file"):
        index(folder / "a.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotRecognised, match=r"no \.tar"):
        index(tmp_path / "empty")
    assert "(a.tar: a.txt)" in failed(folder, NotRecognised).message
    for target in (tmp_path, folder / "a.tar", tmp_path / "new.tar"):
        with pytest.raises(SettingsError, match="no name for an index"):
            index(folder, to=target)
    (folder / "a.tar").rename(folder / "a\\b.tar")
    with pytest.raises(NotRecognised, match="no index can hold this name"):
        index(folder)
    (folder / "a\\b.tar").write_bytes(bytes(10_240))
    (folder / "a\\b.tar").rename(folder / "b.tar")
    assert "there are no files in the tars" in failed(folder, NotRecognised).message


def test_a_tar_that_is_being_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while it is scanned gives no index."""
    folder = folder_of(tmp_path / "wds", a=sample("a", "jpg"))
    listed = scan_step.listed

    def growing(source: Any) -> Iterator[Any]:
        yield from listed(source)
        with open(folder / "a.tar", "ab") as file:
            file.write(bytes(512))

    monkeypatch.setattr(scan_step, "listed", growing)
    assert "has changed since" in failed(folder, BadArchive).message


def test_nothing_is_scanned_by_importing() -> None:
    """The function is there for `import g3m`'s table without anything heavy."""
    words = "import sys, g3m.runners.index; print('numpy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_an_index_of_g3m_needs_no_sizes() -> None:
    """The index of today: three fields, no sizes, no folder."""
    data = encode([IndexedShard("a.tar", (Entry("a", (Field("jpg", 512, 1),)),))])
    assert (Index(data).sizes, Index(data).folder) == ((), "")
    assert isinstance(Indexed(path=Path("x"), samples=1, shards=1, size_bytes=1, fields={}).left_out, dict)
