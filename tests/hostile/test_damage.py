"""Every file that g3m reads, cut and with flipped bits: an error, absence, a finding, or exactly the same content.

Each format is cut at some places, and has one bit flipped at some others: at 300 of each with G3M_SEARCH=all,
and wherever that is quick. Which flips a format cannot show by itself stands in the test of that format.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.test_catalog_damage import ask_all
from tests.adapters.test_catalog_damage import make as make_catalog
from tests.adapters.test_parts import BLOB, CLAIMED, _go_on, _leave
from tests.hostile.archives import SOUND_GZ, entry, packed, places, sample, tar_of, whole_tar, zip_bytes
from tests.hostile.test_archives import held
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.adapters.lists import cut as spans_of
from g3m.adapters.lists import look, read_span
from g3m.adapters.tables import read_parquet
from g3m.adapters.tar import list_tar
from g3m.core.dropped import BadRecord, Drop, Record, parse
from g3m.core.errors import BadArchive, G3MError, NotRecognised, NotVerified
from g3m.core.gathering import Columns
from g3m.core.members import Member, Refusal
from g3m.core.receipt import arrangement, asset_receipt, manifest, shard_receipt
from g3m.steps.check import check, manifests, unreadable
from g3m.steps.examine import judging
from g3m.steps.ledger import Finding, Ledger

ALL = os.environ.get("G3M_SEARCH") == "all"
QUICK = 300
SLOW = 300 if ALL else 24
"""How many of each kind of damage are tried where one takes milliseconds."""

pytestmark = pytest.mark.timeout(3600 if ALL else 300)


def cuts(data: bytes, count: int, seed: int = 1) -> Iterator[tuple[int, bytes]]:
    """The data without its end, cut at some places."""
    for place in places(len(data), count, seed):
        yield place, data[:place]


def flips(data: bytes, count: int, seed: int = 2) -> Iterator[tuple[int, bytes]]:
    """The data with one bit wrong, and the place of its byte."""
    for bit in places(8 * len(data), count, seed):
        made = bytearray(data)
        made[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(made)


def both(data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """So many of each."""
    yield from cuts(data, count)
    yield from flips(data, count)


# --- archives -------------------------------------------------------------------------------------------------------

NUMBERS = tuple(range(20))
FILES = [file for number in NUMBERS for file in sample(number)]
LONG = [("folder/" * 20 + name, data) for name, data in FILES]
ZIP = zip_bytes(*FILES)
DEFLATED = zip_bytes(*FILES, method=8)
TARS = {
    "ustar": tar_of(FILES),
    "gnu": tar_of(LONG, tarfile.GNU_FORMAT),
    "pax": tar_of(LONG, tarfile.PAX_FORMAT),
}


@pytest.mark.parametrize("whole", [ZIP, DEFLATED], ids=["stored", "deflated"])
def test_zip(whole: bytes, tmp_path: Path) -> None:
    """A cut is an error. A flip is an error, or costs the member it is in, or changes nothing."""
    path = tmp_path / "a.zip"
    count = QUICK if ALL else 60
    for _, content in cuts(whole, count):
        path.write_bytes(content)
        with pytest.raises(BadArchive) if content[:4] == b"PK\3\4" else suppress(G3MError):
            held(path, tmp_path / "root")
    sound = dict(FILES)
    lost = same = 0
    for _, content in flips(whole, count):
        path.write_bytes(content)
        try:
            items, read = held(path, tmp_path / "root")
        except BadArchive:
            continue
        if path.name in read:  # the first bytes are not those of a zip: the file is one member, itself
            continue
        assert len(items) == len(sound)
        wrong = [name for name, data in read.items() if data is not None and sound.get(name) != data]
        assert wrong == []
        lost += any(data is None for data in read.values()) or any(isinstance(one, Refusal) for one in items)
        same += all(read.get(name) == data for name, data in sound.items())
    print(f"of {count} flips {lost} cost one member, {same} changed nothing, the others are errors")


def listed(path: Path) -> list[Member]:
    found = list(list_tar(path))
    assert all(isinstance(one, Member) for one in found)
    return [one for one in found if isinstance(one, Member)]


@pytest.mark.parametrize("form", TARS)
def test_tar(form: str, tmp_path: Path) -> None:
    """A cut is an error. So is a flip in a header, between members and at the end; within data nothing can tell.

    The content of the extension headers of long names is such data, too: in it a name can change.
    """
    path, whole = tmp_path / "a.tar", TARS[form]
    path.write_bytes(whole)
    sound = listed(path)
    needed = sound[-1].offset + sound[-1].size_bytes
    needed += -needed % 512 + 1024
    for place, content in cuts(whole, QUICK):
        path.write_bytes(content)
        if place < needed:
            with pytest.raises(BadArchive, match=r"offset \d+"):
                listed(path)
        else:
            assert listed(path) == sound
    path.write_bytes(whole)
    headers = _headers(whole, sound)
    renamed = 0
    for place, content in flips(whole, QUICK):
        path.write_bytes(content)
        try:
            found = list(list_tar(path))
        except BadArchive:
            continue
        if place in headers:  # a zero in front of a checksum may become a blank: the number is the same
            assert 148 <= place % 512 < 156
        assert len(found) == len(sound)
        if found != sound:
            assert form != "ustar"
            assert [one.offset for one in found if isinstance(one, Member)] == [
                one.offset for one, other in zip(sound, found, strict=True) if isinstance(other, Member)
            ]
            renamed += 1
    print(f"{form}: {renamed} of {QUICK} flips changed a name")


def _headers(whole: bytes, sound: Sequence[Member]) -> set[int]:
    """Places of headers and of the end: all that is neither a member's data nor that of an extension."""
    data: set[int] = set()
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        for member in archive:
            data.update(range(member.offset + 512, member.offset_data - 512))
            data.update(range(member.offset_data, member.offset_data + member.size + -member.size % 512))
    assert sound
    return set(range(len(whole))) - data


def test_gzip_with_a_tar(tmp_path: Path) -> None:
    """A cut is an error. A flip is one, too, save in those bytes of its header that say nothing of the content."""
    path = tmp_path / "a.tar.gz"
    whole = packed(TARS["ustar"])
    path.write_bytes(whole)
    sound = held(path, tmp_path / "root")[1]
    count = QUICK if ALL else 60
    for place, content in cuts(whole, count):
        path.write_bytes(content)
        with pytest.raises(G3MError) if place > 3 else suppress(G3MError):
            held(path, tmp_path / "root")
    for place, content in flips(whole, count):
        path.write_bytes(content)
        try:
            read = held(path, tmp_path / "root")[1]
        except BadArchive:
            continue
        assert read == sound or place < 3  # of a file that does not begin like a gzip nothing is said here


# --- shards of others: all samples or an error ----------------------------------------------------------------------

HUNDRED = [
    file
    for number in range(100)
    for file in ((f"s{number:03}.jpg", tiny_jpeg(number)), (f"s{number:03}.txt", b"w"))
]


SOME = 40 if ALL else 4
"""At so many members a tar is spoiled in each way."""


def spoiled(whole: bytes, sound: Sequence[Member], count: int) -> Iterator[tuple[str, bytes]]:
    """A tar of a hundred samples with one thing wrong at or behind some member."""
    for number in places(len(sound), count, 5):
        at = sound[number].offset - 512
        yield f"cut before member {number}", whole[:at]
        yield f"cut in the header of {number}", whole[: at + 100]
        yield f"cut in the data of {number}", whole[: at + 513]
        for bit in (3, 124 * 8 + 13, 150 * 8, 156 * 8 + 1, 258 * 8, 500 * 8):
            made = bytearray(whole)
            made[at + bit // 8] ^= 1 << bit % 8
            yield f"bit {bit} of header {number}", bytes(made)
        yield f"zeros at {number}", whole[:at] + bytes(512) + whole[at + 512 :]
        yield f"end at {number}", whole[:at] + bytes(1024) + whole[at:]
        # Zeros that take the last members and no more than a record are an end like any other.
        if number < len(sound) - 20:
            yield f"page of zeros at {number}", whole[:at] + bytes(4096) + whole[at + 4096 :]
            yield f"zeros from {number} on", whole[: at + 600] + bytes(len(whole) - at - 600)


def test_never_sixty_of_a_hundred(tmp_path: Path) -> None:
    """`g3m index` with the loader, `g3m pack`, and `g3m get` of ready shards: all hundred samples, or an error."""
    source, path = tmp_path / "source", tmp_path / "source" / "a.tar"
    source.mkdir()
    whole = tar_of(HUNDRED)
    path.write_bytes(whole)
    sound = listed(path)
    tried = 0
    for what, content in spoiled(whole, sound, SOME):
        path.write_bytes(content)
        for name in ("index.bin", ".index.bin.scans"):
            (source / name).unlink(missing_ok=True)
        found = []
        try:
            g3m.index(source, root=str(tmp_path / "root"))
            with g3m.dataset(str(source)) as data:
                found.append({one.key for one in data if one.text == "w"})
        except BadArchive:
            assert not (source / "index.bin").exists()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        try:
            made = g3m.pack(source, tmp_path / "out", max_rejected=1)
            found.append(next(iter(made.manifests.values())).samples)
        except G3MError:
            assert not list((tmp_path / "out").glob("*.tar"))
        shutil.rmtree(tmp_path / "adopted", ignore_errors=True)
        recipe = my_recipe(tmp_path / "mine.toml", [(path, [])], {"reader": "shards"})
        try:
            found.append(make(recipe, path, root=tmp_path / "adopted").manifest.samples)
        except G3MError:
            assert not list((tmp_path / "adopted" / "mine").rglob("*.tar"))
        # A bit in the padding of a header's field, or of the checksum's own, may mean nothing.
        for one in found:
            assert one in (100, {f"s{number:03}" for number in range(100)}), what
            assert what.startswith("bit "), what
        tried += 1
    print(f"{tried} spoiled tars of a hundred samples")


def test_a_shard_that_was_spoiled_after_its_index(tmp_path: Path) -> None:
    """The loader reads all samples as they were indexed, or says which shard is cut or another one."""
    source, path = tmp_path / "source", tmp_path / "source" / "a.tar"
    source.mkdir()
    whole = tar_of(HUNDRED)
    path.write_bytes(whole)
    sound = listed(path)
    g3m.index(source, root=str(tmp_path / "root"))
    for what, content in spoiled(whole, sound, SOME):
        path.write_bytes(content)
        with g3m.dataset(str(source)) as data:
            assert len(data) == 100
            if len(content) != len(whole):
                with pytest.raises(NotVerified):
                    list(data)
            elif not what.startswith(("page", "zeros from", "zeros at")):  # those are in the data, too
                assert {one.text for one in data} == {"w"}, what


# --- a dataset of g3m's ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset of six samples in three shards, as `g3m get` leaves it."""
    folder = tmp_path_factory.mktemp("standing")
    files: dict[str, bytes] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
        for number in range(6):
            files |= dict(sample(number))
        archive = zip_of(folder / "source" / "heap.zip", files)
        recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
        return make(recipe, archive, keep_assets=True)


@pytest.fixture
def own(standing: Made, tmp_path: Path) -> Made:
    """A copy of it."""
    root = tmp_path / "data"
    shutil.copytree(standing.root, root)
    session = replace(standing.session, store=type(standing.session.store)(root))
    return Made(root, standing.manifest, session)


def checked(own: Made, depth: str) -> list[Finding]:
    """What verification finds at this depth; a manifest that cannot be read is a finding, too."""
    findings = unreadable(own.session)
    for folder, body in manifests(own.session, ()).items():
        ledger = Ledger(own.session.store.work)
        with judging("structure", 1) as judge:
            chosen = None if depth == "digests" else judge
            for _ in check(folder, body, own.session, judge=chosen, ledger=ledger):
                pass
        ledger.close(whole=True)
        findings += ledger.differences
    return findings


def loaded(own: Made) -> list[tuple[str, bytes, str, bytes]] | None:
    """Every sample as the loader gives it, or None if it says that something is wrong."""
    try:
        with g3m.dataset(str(own.folder)) as data:
            return [(one.key, one.image, one.text, one.json) for one in data]
    except G3MError:
        return None


def damaged(own: Made, name: str, count: int) -> Iterator[tuple[int, bytes]]:
    """Damage to a file of the dataset's folder, one after the other; at the end it is as it was."""
    path = own.folder / name
    whole = path.read_bytes()
    for place, content in both(whole, count):
        path.write_bytes(content)
        yield place, content
    path.write_bytes(whole)


def test_own_shards(own: Made) -> None:
    """`g3m verify` finds every cut and every flip; the strict reader finds each that is in a header or at the end."""
    path = own.folder / "00001.tar"
    whole = path.read_bytes()
    sound = listed(path)
    headers = _headers(whole, sound)
    for place, content in damaged(own, "00001.tar", SLOW):
        problem = "digest" if len(content) == len(whole) else "size"
        assert [(one.shard, one.problem) for one in checked(own, "digests")] == [("00001.tar", problem)], (
            place
        )
        try:
            found = listed(path)
        except BadArchive:
            continue
        assert found == sound
        assert (
            place not in headers
            or 148 <= place % 512 < 156
            or len(content) >= len(whole.rstrip(b"\0")) + 1024
        )
        if len(content) != len(whole):
            assert loaded(own) is None
    assert checked(own, "structure") == []


def test_index(own: Made) -> None:
    """`g3m verify` names it, whatever was damaged; the loader says so too, or reads on."""
    sound, silent = loaded(own), 0
    assert sound is not None
    count = QUICK if ALL else 60
    for _, content in damaged(own, "index.bin", count):
        assert ("index.bin", "structure") in [(one.shard, one.problem) for one in checked(own, "digests")], (
            content
        )
        silent += loaded(own) not in (None, sound)
    print(f"of {2 * count} the loader does not notice {silent}")


DECIDING = ("dataset", "folder", "shards")
"""What is read of a manifest beside words and counts for people."""


def test_manifest(own: Made) -> None:
    """It cannot be read, or differs from the shards, or says the same of all that anything is decided by."""
    sound, words = loaded(own), 0
    for _, content in damaged(own, "manifest.json", SLOW):
        found = checked(own, "digests")
        body = manifest(content.decode("utf-8", "replace"))
        if not found:
            assert body is not None
            assert [getattr(body, name) for name in DECIDING] == [
                getattr(own.manifest, name) for name in DECIDING
            ]
            assert loaded(own) == sound
            words += body != own.manifest
    print(f"{words} flips changed words or counts for people, and nobody tells")


@pytest.mark.parametrize("name", ["SHA256SUMS", "sizes.json", "_info.json", "wids-meta.json"])
def test_what_follows_from_the_manifest(own: Made, name: str) -> None:
    """`g3m verify` names each of the small files that says something else than the manifest."""
    for _ in damaged(own, name, SLOW // 3):
        assert [(one.shard, one.problem) for one in checked(own, "digests")] == [(name, "structure")]
    assert checked(own, "digests") == []


def parsed(data: bytes, read: Callable[[str], Any]) -> Any:
    """A document as it is read from the disk: what is no text is absent."""
    try:
        return read(data.decode("utf-8"))
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize("kind", ["shard", "arrange", "asset"])
def test_receipts(standing: Made, kind: str) -> None:
    """A damaged receipt counts as absent, or says the same."""
    readers = {"shard": shard_receipt, "arrange": arrangement, "asset": asset_receipt}
    folder = standing.root / ".g3m" / "receipts"
    path = {
        "shard": folder / "heap" / "00001.tar.json",
        "arrange": folder / "heap" / "arrange.json",
        "asset": next((folder / "assets").iterdir()),
    }[kind]
    whole, read = path.read_bytes(), readers[kind]
    sound = parsed(whole, read)
    assert sound is not None
    for place, content in both(whole, QUICK):
        assert parsed(content, read) in (None, sound), content[max(place - 20, 0) : place + 20]


def test_dropped() -> None:
    """A damaged record is an error, or drops the same samples for the same reasons."""
    record = Record({f"k{number}": Drop(f"k{number}", "asked", "list.txt") for number in range(9)})
    whole = record.encode().encode()
    for place, content in both(whole, QUICK):
        try:
            found = parse(content.decode("utf-8"))
        except (BadRecord, UnicodeDecodeError):
            continue
        assert found == record, (place, content)


def test_sample_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged list makes no shard: the next run makes the list anew, and the shards that it would have made."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    archive = zip_of(
        tmp_path / "heap.zip", {name: data for number in range(5) for name, data in sample(number)}
    )
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(recipe, archive, keep_assets=True)
    sound = {path.name: path.read_bytes() for path in made.folder.glob("*.tar")}
    path = made.root / ".g3m" / "plan" / "heap.samples"
    whole = path.read_bytes()
    for place, content in both(whole, SLOW // 3):
        path.write_bytes(content)
        # As if a run had been killed when one of its shards was packed.
        (made.folder / "manifest.json").unlink(missing_ok=True)
        for name in list(sound)[1:]:
            (made.folder / name).unlink(missing_ok=True)
        try:
            make(recipe, archive, keep_assets=True)
        except G3MError:
            make(recipe, archive, keep_assets=True)
        assert {path.name: path.read_bytes() for path in made.folder.glob("*.tar")} == sound, place


def test_journal_of_a_part(tmp_path: Path) -> None:
    """What a damaged journal claims is true, and the download ends whole."""
    _leave(tmp_path)
    part, journal = (tmp_path / "a.part").read_bytes(), (tmp_path / "a.journal").read_bytes()
    for _, content in both(journal, SLOW):
        assert tuple(_go_on(part, content)) in CLAIMED.values()
    for place, content in flips(part[:3300], SLOW):
        kept = _go_on(content, journal)
        assert all(not start <= place < end for start, end in kept)
    assert len(part) <= len(BLOB)


def test_catalog(tmp_path: Path) -> None:
    """An answer, or an error of ours that says what to do; nothing else is raised, and nothing hangs."""
    whole = make_catalog(tmp_path / "whole.sqlite", 2).read_bytes()
    path = tmp_path / "a.sqlite"
    for _, content in both(whole, SLOW // 3 if not ALL else 300):
        path.write_bytes(content)
        for _ in ask_all(path):
            pass
        for left in tmp_path.glob("a.sqlite*"):
            left.unlink()


# --- lists of others ------------------------------------------------------------------------------------------------

ROWS = [{"url": f"http://h.example/{number}.jpg", "caption": f'a, "b" {number}\n'} for number in range(60)]
LISTS = {
    "a.txt": "".join(f"{row['url']}\n" for row in ROWS),
    "a.csv": "url,caption\n" + "".join(f'{row["url"]},"a, ""b"" {n}\n"\n' for n, row in enumerate(ROWS)),
    "a.tsv": "url\tcaption\n" + "".join(f"{row['url']}\ta b {n}\n" for n, row in enumerate(ROWS)),
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "a.json": json.dumps(ROWS),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name: str, tmp_path: Path) -> None:
    """A list that is damaged after its rows were planned is an error; before, it is an error or rows."""
    path, columns = tmp_path / name, Columns()
    whole = LISTS[name].encode()
    path.write_bytes(whole)
    layout = look(path, name, columns)
    spans = list(spans_of(path, layout, 0, 20, 20))
    sound = [row for span in spans for row in read_span(path, layout, columns, span, 0)]
    assert len(sound) == 60
    for place, content in both(whole, QUICK):
        path.write_bytes(content)
        if place >= layout.start and spans[0].start <= place < spans[-1].end:
            with pytest.raises(BadArchive):
                for span in spans:
                    list(read_span(path, layout, columns, span, 0))
        with suppress(BadArchive, NotRecognised):
            again = look(path, name, columns)
            for span in spans_of(path, again, 0, 20, 20):
                assert len(list(read_span(path, again, columns, span, 0))) == span.rows


def test_parquet(tmp_path: Path) -> None:
    """A cut is an error; a flip is an error of ours or gives rows, never another exception."""
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    whole = path.read_bytes()
    count = QUICK if ALL else 60
    for _, content in cuts(whole, count):
        path.write_bytes(content)
        with pytest.raises(BadArchive, match="not a sound Parquet file"):
            list(read_parquet(path, None))
    for _, content in flips(whole, count):
        path.write_bytes(content)
        with suppress(G3MError):
            list(read_parquet(path, None))


def test_the_damage_is_damage() -> None:
    """The generators give what they say: prefixes, and copies with one bit of difference."""
    assert all(
        SOUND_GZ.startswith(content) and len(content) == place for place, content in cuts(SOUND_GZ, 50)
    )
    for place, content in flips(SOUND_GZ, 50):
        assert len(content) == len(SOUND_GZ)
        assert [at for at, pair in enumerate(zip(content, SOUND_GZ, strict=True)) if pair[0] != pair[1]] == [
            place
        ]
    assert whole_tar(entry(b"x", b"a")).endswith(bytes(1024))
