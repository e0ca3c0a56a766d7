"""steps/unfold.py: whatever an asset is packed in, its files are found, and read where they lie."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.steps.offline import tar_bytes, zip_of

from g3m.adapters.disk import Free, Store
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive, Interrupted, NoSpace
from g3m.core.members import Member, Refusal
from g3m.core.plan import asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.runners.run import make_session
from g3m.steps import unfold as steps
from g3m.steps.unfold import Holding, path_of, unfold

FILES = {"a.jpg": b"first image", "a.txt": b"first text", "deep/er/b.jpg": b"second", "b.json": b"{}"}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = make_session({"root": str(tmp_path / "data")}, {})
    made.store.prepare()
    return made


def receipt_of(asset: Asset, path: Path) -> AssetReceipt:
    proof = "folder" if path.is_dir() else "first use"
    size = 0 if path.is_dir() else path.stat().st_size
    return AssetReceipt(
        id=asset_id(asset), name=asset.name, size_bytes=size, digests=(), proof=proof, path=str(path)
    )


def contents(path: Path, session: Session, *, nested: bool = True) -> dict[str, bytes]:
    """Every file of an asset by `source/name`, read by way of what an arrangement would record."""
    asset = Asset(name=path.name, places=("https://nowhere.invalid/x",))
    receipt = receipt_of(asset, path)
    found = {}
    holdings: list[Holding] = []
    for holding in unfold(asset, receipt, session, nested=nested):
        holdings.append(holding)
        members = list(holding.members)
        where = path_of(holding.where, {asset_id(asset): (asset, receipt)}, session)
        assert where == holding.path
        with MemberReader(where) as reader:
            for member in members:
                assert isinstance(member, Member), member
                found[f"{holding.source}/{member.name}"] = reader.read(member)
    assert len({holding.source for holding in holdings}) == len(holdings)
    return found


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_gz(files: dict[str, bytes]) -> bytes:
    return gzip.compress(tar_bytes(files))


FORMS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "stored.zip": zipped,
    "deflated.zip": lambda files: zipped(files, zipfile.ZIP_DEFLATED),
    "plain.tar": tar_bytes,
    "packed.tar.gz": tar_gz,
    "packed.tgz": tar_gz,
    "named-wrongly.bin": tar_gz,
    "wrong-name.zip": tar_bytes,
}


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_known_by_its_content(tmp_path: Path, session: Session, form: str) -> None:
    """Zip, tar and tar.gz, whatever they are called, give the same files with the same bytes."""
    path = tmp_path / form
    path.write_bytes(FORMS[form](FILES))
    assert contents(path, session) == {f"{form}/{name}": content for name, content in FILES.items()}


def test_a_folder(tmp_path: Path, session: Session) -> None:
    """An unpacked folder gives the same files, read where they lie; nothing is spooled."""
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    assert contents(tmp_path / "folder", session) == {
        f"folder/{name}": content for name, content in FILES.items()
    }
    assert list(session.store.part("").iterdir()) == []


def test_a_plain_file_is_a_member_of_its_own(tmp_path: Path, session: Session) -> None:
    """What is no archive is one file with its name; an empty one, too."""
    (tmp_path / "lines.jsonl").write_bytes(b"{}\n{}\n")
    assert contents(tmp_path / "lines.jsonl", session) == {"lines.jsonl/lines.jsonl": b"{}\n{}\n"}
    (tmp_path / "empty.txt").write_bytes(b"")
    assert contents(tmp_path / "empty.txt", session) == {"empty.txt/empty.txt": b""}


def test_a_compressed_plain_file(tmp_path: Path, session: Session) -> None:
    """`captions.json.gz` is `captions.json`."""
    (tmp_path / "captions.json.gz").write_bytes(gzip.compress(b"[]"))
    assert contents(tmp_path / "captions.json.gz", session) == {"captions.json.gz/captions.json": b"[]"}


INNER = {
    "inner.tar": tar_bytes,
    "inner.tar.gz": tar_gz,
    "inner.tgz": tar_gz,
    "inner.zip": zipped,
    "UPPER.TAR": tar_bytes,
}


@pytest.mark.parametrize("outer", ["stored", "deflated", "tar", "tar.gz", "folder"])
@pytest.mark.parametrize("inner", INNER)
def test_archives_in_archives(tmp_path: Path, session: Session, outer: str, inner: str) -> None:
    """A tar, tar.gz or zip inside a zip, a tar, a tar.gz or a folder: its files are found beside the outer ones."""
    files = {"note.txt": b"outside", f"sub/{inner}": INNER[inner](FILES)}
    path = tmp_path / "outer"
    if outer == "folder":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    else:
        forms = {
            "stored": "stored.zip",
            "deflated": "deflated.zip",
            "tar": "plain.tar",
            "tar.gz": "packed.tar.gz",
        }
        path.write_bytes(FORMS[forms[outer]](files))
    expected = {f"outer!sub/{inner}/{name}": content for name, content in FILES.items()}
    assert contents(path, session) == {"outer/note.txt": b"outside", **expected}


def test_a_tar_that_lies_stored_is_read_in_place(tmp_path: Path, session: Session) -> None:
    """Nothing is spooled for a tar in a stored zip, in a tar or in a folder; what is deflated is inflated once."""
    tar = tar_bytes(FILES)
    for number, (path, spools) in enumerate(
        [
            (zip_of(tmp_path / "s.zip", {"i.tar": tar}), 0),
            (zip_of(tmp_path / "d.zip", {"i.tar": tar}, method=zipfile.ZIP_DEFLATED), 1),
            (tmp_path / "t.tar", 0),
            (tmp_path / "g.tar.gz", 1),
        ]
    ):
        if not path.exists():
            outer = tar_bytes({"i.tar": tar})
            path.write_bytes(gzip.compress(outer) if path.suffix == ".gz" else outer)
        own = make_session({"root": str(tmp_path / f"data-{number}")}, {})
        own.store.prepare()
        assert len(contents(path, own)) == len(FILES)
        assert len(list(own.store.part("").iterdir())) == spools, path.name
        assert not list(own.store.part("").glob("*.tar"))


def test_without_nesting_an_inner_archive_is_a_file(tmp_path: Path, session: Session) -> None:
    """Readers that know their form do not look into archives inside."""
    tar = tar_bytes(FILES)
    path = zip_of(tmp_path / "z.zip", {"i.tar": tar})
    assert contents(path, session, nested=False) == {"z.zip/i.tar": tar}


def test_several_inner_archives_have_spools_of_their_own(tmp_path: Path, session: Session) -> None:
    """Two deflated tars of the same name in two folders are not mixed up."""
    files = {"a/i.tar": tar_bytes({"x": b"1"}), "b/i.tar": tar_bytes({"x": b"2"})}
    path = zip_of(tmp_path / "z.zip", files, method=zipfile.ZIP_DEFLATED)
    assert contents(path, session) == {"z.zip!a/i.tar/x": b"1", "z.zip!b/i.tar/x": b"2"}


def test_a_spool_is_made_anew(tmp_path: Path, session: Session) -> None:
    """What a killed run left under the spool's name is replaced and not appended to."""
    path = tmp_path / "p.tar.gz"
    path.write_bytes(tar_gz(FILES))
    first = contents(path, session)
    (spool,) = session.store.part("").iterdir()
    spool.write_bytes(b"x" * 10**6)
    assert contents(path, session) == first


def test_refusals_are_handed_on(tmp_path: Path, session: Session) -> None:
    """Members with hostile names come as refusals, not as files, nested or not."""
    hostile = {"../up.jpg": b"x", "/abs.jpg": b"x", "ok.jpg": b"y", "C:\\x.tar": b"z"}
    path = zip_of(tmp_path / "z.zip", hostile)
    asset = Asset(name="z.zip", places=("https://nowhere.invalid/x",))
    for nested in (False, True):
        items = [i for h in unfold(asset, receipt_of(asset, path), session, nested=nested) for i in h.members]
        assert {item.name: item.reason for item in items if isinstance(item, Refusal)} == {
            "../up.jpg": "unsafe_name",
            "/abs.jpg": "unsafe_name",
            "C:\\x.tar": "unsafe_name",
        }
        assert [item.name for item in items if isinstance(item, Member)] == ["ok.jpg"]


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("form", ["stored.zip", "plain.tar", "packed.tar.gz"])
def test_a_cut_archive_is_an_error(tmp_path: Path, session: Session, form: str, cut: float) -> None:
    """Half an archive is BadArchive that names the file, never half of the files."""
    whole = FORMS[form](FILES)
    if form == "plain.tar":
        whole = whole.rstrip(b"\0")  # of the zeros at its end two blocks would do
    path = tmp_path / form
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(BadArchive, match=form):
        contents(path, session)


def test_an_inner_archive_that_is_none(tmp_path: Path, session: Session) -> None:
    """A `.tar` inside that is a page: an error of ours that names it, or a plain file; never a crash."""
    page = b"<html>" + b" " * 600
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zip_of(tmp_path / f"{method}.zip", {"i.tar": page}, method=method)
        if method == zipfile.ZIP_DEFLATED:
            assert contents(path, session) == {f"{path.name}!i.tar/i.tar": page}
        else:
            with pytest.raises(BadArchive, match=path.name):
                contents(path, session)


def items_of(path: Path, session: Session, *, nested: bool = False) -> list[Member | Refusal]:
    asset = Asset(name=path.name, places=("https://nowhere.invalid/x",))
    found = unfold(asset, receipt_of(asset, path), session, nested=nested)
    return [item for holding in found for item in holding.members]


def test_the_better_explanation_is_given(tmp_path: Path, session: Session) -> None:
    """Where the gzip is damaged, that is said, and not that the tar in it is odd; a sound gzip is not blamed."""
    broken = tar_bytes({"a": b"a"})[:1024] + b"junk" * 10**6
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(broken))
    with pytest.raises(BadArchive, match="not a sound tar"):
        items_of(path, session)
    path.write_bytes(gzip.compress(broken)[:-8] + bytes(8))
    with pytest.raises(BadArchive, match=r"a\.tar\.gz: gzip damaged"):
        items_of(path, session)
    assert list(session.store.part("").iterdir()) == []


@pytest.mark.parametrize("form", ["packed.tar.gz", "in a zip", "captions.json.gz"])
def test_nothing_is_handed_out_of_a_spool_that_is_not_synced(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A tar has no checksums: what a power cut tears must not be read, so the spool is on the disk first."""
    path = tmp_path / form
    if form == "in a zip":
        zip_of(path, {"i.tar": tar_bytes(FILES)}, method=zipfile.ZIP_DEFLATED)
    else:
        path.write_bytes(tar_gz(FILES) if "tar" in form else gzip.compress(b"[]"))
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def noting(file: int) -> None:
        state = os.fstat(file)
        synced.append((state.st_ino, state.st_size))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    asset = Asset(name=path.name, places=("https://nowhere.invalid/x",))
    for holding in unfold(asset, receipt_of(asset, path), session, nested=True):
        if holding.where.startswith("spool:"):
            state = holding.path.stat()
            assert synced[0] == (state.st_ino, state.st_size)
    assert synced


def test_a_damaged_inner_archive_leaves_no_spool(tmp_path: Path, session: Session) -> None:
    """A deflated tar whose checksum does not hold is an error, and what was unpacked of it is gone."""
    path = zip_of(tmp_path / "z.zip", {"i.tar": tar_bytes(FILES)}, method=zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    at = whole.index(b"PK\x01\x02") + 16
    path.write_bytes(whole[:14] + bytes(4) + whole[18:at] + bytes(4) + whole[at + 4 :])
    with pytest.raises(BadArchive, match="checksum"):
        items_of(path, session, nested=True)
    assert list(session.store.part("").iterdir()) == []


def test_a_tar_is_listed_while_it_is_inflated(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing does not wait for the end of the spool."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes({f"{n}.jpg": bytes(10**6) for n in range(40)}), 1))
    lengths: list[int] = []
    listing = steps.list_tar

    def noting(spool: Path, **options: Any) -> Iterator[Member | Refusal]:
        for item in listing(spool, **options):
            lengths.append(spool.stat().st_size)
            yield item

    monkeypatch.setattr(steps, "list_tar", noting)
    assert len(items_of(path, session)) == 40
    assert lengths[0] < 5 * 10**6 < 35 * 10**6 < lengths[-1]


def test_inflating_stops_where_the_disk_is_full(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tar.gz that would fill the disk is refused, and its spool is not left behind whole."""
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(bytes(5_000_000)))
    monkeypatch.setattr(Store, "free", lambda _: Free(100_000, None))
    with pytest.raises((NoSpace, BadArchive)):
        contents(path, session)
    assert sum(p.stat().st_size for p in session.store.part("").iterdir()) <= 5_000_000


def test_a_stop_while_unfolding(tmp_path: Path, session: Session) -> None:
    """The flag is looked at while members are listed."""
    path = zip_of(tmp_path / "z.zip", FILES)
    session.stop.set()
    with pytest.raises(Interrupted):
        contents(path, session)


def test_path_of_a_source_that_changed_its_kind(tmp_path: Path, session: Session) -> None:
    """A folder where an archive was arranged, or the other way round, is not taken for it."""
    asset = Asset(name="z.zip", places=("https://nowhere.invalid/x",))
    folder = tmp_path / "folder"
    folder.mkdir()
    file = zip_of(tmp_path / "z.zip", FILES)
    name = asset_id(asset)
    for path, good, bad in ((folder, "tree", "asset"), (file, "asset", "tree")):
        assets = {name: (asset, receipt_of(asset, path))}
        assert path_of(f"{good}:{name}", assets, session) == path
        with pytest.raises(KeyError):
            path_of(f"{bad}:{name}", assets, session)
    assert (
        path_of(f"tree:{name}/a/b.zip", {name: (asset, receipt_of(asset, folder))}, session)
        == folder / "a/b.zip"
    )
    assert path_of("spool:x.spool", {}, session) == session.store.part("x.spool")
    with pytest.raises(KeyError):
        path_of(f"asset:{name}", {}, session)


def test_a_link_in_a_folder_is_not_followed_out_of_it(tmp_path: Path, session: Session) -> None:
    """An archive that a link in the folder points to, elsewhere, is not opened."""
    (tmp_path / "secret.tar").write_bytes(tar_bytes({"x": b"secret"}))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.tar").symlink_to(tmp_path / "secret.tar")
    (folder / "ok.txt").write_bytes(b"ok")
    asset = Asset(name="folder", places=("https://nowhere.invalid/x",))
    items = [i for h in unfold(asset, receipt_of(asset, folder), session, nested=True) for i in h.members]
    assert [item.name for item in items if isinstance(item, Member)] == ["ok.txt"]
    assert [item.reason for item in items if isinstance(item, Refusal)] == ["link_outside"]


def test_tarfile_agrees(tmp_path: Path) -> None:
    """The tars made here are tars: another reader finds the same files in them."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(FILES))) as archive:
        assert archive.getnames() == list(FILES)
