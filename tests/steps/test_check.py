"""steps/check.py: whatever differs from the manifest is found, and nothing else is."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from zlib import crc32

import pytest
from PIL import Image
from tests.steps.offline import Made, make, tar_bytes, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.adapters.members import MemberReader
from g3m.core.digest import Hasher
from g3m.core.errors import Interrupted, UnknownDataset
from g3m.core.events import Event, Progressed
from g3m.core.members import Member
from g3m.runners.run import make_session
from g3m.steps.check import broken, check, forget, manifests
from g3m.steps.examine import Depth, judging
from g3m.steps.ledger import FILE, Finding, Ledger
from g3m.steps.publish import counted


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Five samples in three shards."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    files: dict[str, bytes] = {}
    for number in range(5):
        files |= {f"k{number}.jpg": tiny_jpeg(number), f"k{number}.txt": b"words"}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


DEPTHS: tuple[Depth, ...] = ("digests", "structure", "deep")


def checked(made: Made, depth: Depth = "digests", jobs: int = 2) -> tuple[Ledger, list[Event]]:
    """The closed ledger of one check, and its events."""
    ledger = Ledger(made.session.store.work)
    with judging(depth, jobs) as judge:
        chosen = None if depth == "digests" else judge
        events = list(check(made.folder, made.manifest, made.session, judge=chosen, ledger=ledger))
    ledger.close(whole=True)
    return ledger, events


def written(ledger: Ledger) -> list[dict[str, str]]:
    """What stands in the ledger's file."""
    return [json.loads(line) for line in ledger.path.read_text().splitlines()] if ledger.path else []


def found(made: Made, depth: Depth = "digests") -> list[tuple[str, str]]:
    """Shard and problem of every difference."""
    ledger, _ = checked(made, depth)
    assert all(finding.dataset == "heap" for finding in ledger.differences)
    assert len(written(ledger)) == sum(sum(counts.values()) for counts in ledger.counts.values())
    return [(finding.shard, finding.problem) for finding in ledger.differences]


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_good_dataset_has_no_findings(made: Made, depth: Depth) -> None:
    """As packed: nothing is found, every byte is gone through, and no file says otherwise."""
    ledger, events = checked(made, depth)
    assert (ledger.differences, ledger.counts, ledger.path) == ([], {}, None)
    assert ledger.looked == ledger.decoded == ({} if depth == "digests" else {"heap": 5})
    ticks = [event for event in events if isinstance(event, Progressed) and event.task == "verify/heap"]
    assert ticks[-1].done_bytes == ticks[-1].total_bytes == made.manifest.size_bytes
    assert [tick.done_bytes for tick in ticks] == sorted(tick.done_bytes for tick in ticks)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("at", [0, 520, 1500, -1])
def test_one_wrong_bit_anywhere(made: Made, at: int, depth: Depth) -> None:
    """In a header, in a picture, in the zeros at the end: the digest tells, at every depth, and tells it first."""
    path = made.folder / "00001.tar"
    size = path.stat().st_size
    rewrite(path, flip(at % size))
    differences = found(made, depth)
    assert differences[0] == ("00001.tar", "digest")
    assert {shard for shard, _ in differences} == {"00001.tar"}
    assert depth != "digests" or len(differences) == 1


@pytest.mark.parametrize("change", [lambda data: data[:-512], lambda data: data + b"\0", lambda _: b""])
def test_another_size(made: Made, change: Callable[[bytes], bytes]) -> None:
    """Cut, longer or empty: the size tells, without reading."""
    rewrite(made.folder / "00001.tar", change)
    assert found(made) == [("00001.tar", "size")]


def test_missing_and_extra(made: Made) -> None:
    """A shard that is gone, one too many, and one in a folder below are all named."""
    (made.folder / "00002.tar").unlink()
    (made.folder / "copy.tar").write_bytes(b"x")
    (made.folder / "old").mkdir()
    (made.folder / "old" / "00000.tar").write_bytes(b"x")
    assert found(made) == [("00002.tar", "missing"), ("copy.tar", "extra"), ("old/00000.tar", "extra")]


def test_a_folder_in_the_place_of_a_shard(made: Made) -> None:
    """What cannot be read is a finding, not a crash."""
    path = made.folder / "00002.tar"
    size = path.stat().st_size
    path.unlink()
    path.mkdir()
    shards = {shard for shard, _ in found(made, "deep")}
    assert shards == {"00002.tar"}
    assert size


def test_all_at_once(made: Made) -> None:
    """One finding does not hide another."""
    rewrite(made.folder / "00000.tar", flip(700))
    rewrite(made.folder / "00001.tar", lambda data: data[:-1])
    (made.folder / "00002.tar").unlink()
    (made.folder / "x.tar").write_bytes(b"")
    assert found(made) == [
        ("00000.tar", "digest"),
        ("00001.tar", "size"),
        ("00002.tar", "missing"),
        ("x.tar", "extra"),
    ]


def with_manifest_of(made: Made, shard: str, content: bytes) -> Made:
    """The dataset with another content of a shard, whose manifest agrees with it."""
    import hashlib
    from dataclasses import replace

    (made.folder / shard).write_bytes(content)
    shards = tuple(
        replace(one, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        if one.name == shard
        else one
        for one in made.manifest.shards
    )
    changed = replace(made.manifest, shards=shards)
    for name, text in counted(changed).items():
        (made.folder / name).write_text(text)
    return Made(made.root, changed, made.session)


GOOD = {
    "k1.jpg": tiny_jpeg(1),
    "k1.json": b"{}",
    "k1.txt": b"words",
    "k2.jpg": tiny_jpeg(2),
    "k2.txt": b"words",
}


HALF = tiny_jpeg(2)[:-200]


@pytest.mark.parametrize(
    ("content", "structure", "deep"),
    [
        (tar_bytes(GOOD)[:3000], ["structure"], ["structure"]),
        (b"x" * 10240, ["structure"], ["structure"]),
        (tar_bytes({**GOOD, "k3.jpg": tiny_jpeg(3), "k3.txt": b"x"}), ["structure"], ["structure"]),
        (tar_bytes({"k1.jpg": tiny_jpeg(1), "k1.txt": b"x"}), ["structure"], ["structure"]),
        (
            tar_bytes({**GOOD, "k2.jpg": b"<html>"}),
            ["structure", "not_an_image"],
            ["structure", "not_an_image"],
        ),
        (tar_bytes({**GOOD, "k2.jpg": HALF}), ["structure", "broken"], ["structure", "truncated"]),
        (tar_bytes({**GOOD, "../x.txt": b"x"}), ["structure"], ["structure"]),
    ],
    ids=["cut", "no tar", "one too many", "one too few", "a page", "half a picture", "outside"],
)
def test_depths_look_inside(made: Made, content: bytes, structure: list[str], deep: list[str]) -> None:
    """Where the digest agrees, there is more that can be wrong: structure, counts, the index, pictures."""
    changed = with_manifest_of(made, "00001.tar", content)
    assert found(changed) == []
    assert [problem for _, problem in found(changed, "structure")] == structure
    assert [problem for _, problem in found(changed, "deep")] == deep


def pictures(tmp_path: Path, files: dict[str, bytes]) -> Made:
    """A dataset of such pictures and captions, packed as they are."""
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


def drawn(mode: str = "RGB", **options: object) -> bytes:
    noise = Random(7).randbytes(3 * 40 * 30)  # the same always: of one in thirty, the last block needs no end
    image, picture = Image.frombytes("RGB", (40, 30), noise).convert(mode), io.BytesIO()
    image.save(picture, "JPEG", **options)
    return picture.getvalue()


def of_all_classes() -> dict[str, bytes]:
    """One picture of most classes, by key, each with a caption."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = drawn()
    png = io.BytesIO()
    Image.new("RGB", (9, 9)).save(png, "PNG")
    found = {
        "a_good": whole,
        "b_gray": drawn("L"),
        "c_print": drawn("CMYK"),
        "d_turned": drawn(exif=exif),
        "e_half": whole[: len(whole) // 2],
        "f_open": whole[:-2],
        "g_tail": whole + b"tail",
        "h_warned": whole[:-2] + b"\x11\x22" * 30 + whole[-2:],
        "i_png": png.getvalue(),
        "j_frameless": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
        "k_twin": whole,
        "l_twin": whole,
    }
    return {f"{key}.jpg": data for key, data in found.items()} | {f"{key}.txt": b"words" for key in found}


LOOKED = {
    ("b_gray", "grayscale"),
    ("c_print", "cmyk"),
    ("d_turned", "orientation"),
    ("e_half", "no_end"),
    ("f_open", "no_end"),
    ("g_tail", "trailing"),
    ("i_png", "not_jpeg"),
    ("j_frameless", "broken"),
    ("k_twin", "duplicate_image"),
    ("l_twin", "duplicate_image"),
}
DECODED = LOOKED | {("e_half", "truncated"), ("f_open", "truncated"), ("h_warned", "warning")}


@pytest.mark.parametrize(("depth", "expected"), [("structure", LOOKED), ("deep", DECODED)])
def test_every_class_is_found_where_it_is(
    tmp_path: Path, depth: Depth, expected: set[tuple[str, str]]
) -> None:
    """Each with its key and, where a decoder said something, its words; the file has all, the counts agree."""
    made = pictures(tmp_path, of_all_classes())
    ledger, _ = checked(made, depth)
    lines = written(ledger)
    assert {(line["key"], line["problem"]) for line in lines} == expected
    assert len(lines) == len(expected)
    assert ledger.path == made.root / ".g3m" / FILE
    details = {line["key"]: line["detail"] for line in lines}
    assert details["k_twin"] == details["l_twin"] == "the same as a_good in 00000.tar"
    if depth == "deep":
        assert "extraneous" in details["h_warned"]
        assert ledger.decoded["heap"] == 9
    assert ledger.looked["heap"] == 12
    counts = ledger.counts["heap"]
    assert counts["duplicate_image"] == 2
    assert sum(counts.values()) == len(expected)


def test_what_decodes_or_was_known_is_no_difference(tmp_path: Path) -> None:
    """Grey, turned or equal pictures are facts; unusable ones count unless packing has listed them as kept."""
    made = pictures(tmp_path, of_all_classes())
    listed = set((made.manifest.findings or {}).keys())
    assert "broken" in listed  # a header that cannot be read is seen while packing
    ledger, _ = checked(made, "deep")
    assert [(finding.key, finding.problem) for finding in ledger.differences] == [
        ("e_half", "truncated"),
        ("f_open", "truncated"),
    ]
    (made.folder / "findings.jsonl").write_text("no json\n[]\n")
    ledger, _ = checked(made, "deep")
    assert ("j_frameless", "broken") in [(finding.key, finding.problem) for finding in ledger.differences]


def test_the_report_is_the_same_for_any_number_of_jobs(tmp_path: Path) -> None:
    """Findings come in the order of the samples, also where the end of a shard is missing."""
    made = pictures(tmp_path, of_all_classes())
    cut = with_manifest_of(made, "00000.tar", (made.folder / "00000.tar").read_bytes()[:-10240])
    for each in (made, cut):
        reports = []
        for jobs in (1, 3, 8):
            ledger, _ = checked(each, "deep", jobs)
            assert ledger.path is not None
            reports.append((ledger.path.read_bytes(), ledger.counts, ledger.looked, ledger.decoded))
        assert reports[0] == reports[1] == reports[2]


@pytest.mark.parametrize(
    ("caption", "problems"),
    [
        (b"words", []),
        (b" \n", ["no_caption"]),
        (b"x" * 65537, ["caption_too_long"]),
        (b"caf\xe9", ["caption_not_utf8"]),
        (None, ["no_caption"]),
    ],
    ids=["good", "empty", "long", "latin", "absent"],
)
@pytest.mark.parametrize("depth", ["structure", "deep"])
def test_captions_are_looked_at(made: Made, depth: Depth, caption: bytes | None, problems: list[str]) -> None:
    """Whatever stands in a shard that somebody else packed."""
    files = {**GOOD, "k2.jpg": tiny_jpeg(3)}
    if caption is None:
        del files["k2.txt"]
    else:
        files["k2.txt"] = caption
    changed = with_manifest_of(made, "00001.tar", tar_bytes(files))
    ledger, _ = checked(changed, depth)
    lines = [(line["key"], line["problem"]) for line in written(ledger) if line["shard"] == "00001.tar"]
    assert [line for line in lines if line[1] != "duplicate_image"] == [("k2", name) for name in problems]


def test_an_index_that_points_elsewhere_is_found(made: Made) -> None:
    """A whole index of another dataset's places: the digests agree, and a loader would read nonsense."""
    data = bytearray((made.folder / "index.bin").read_bytes())
    start = 8 + 4 + struct.unpack_from("<I", data, 8)[0]
    data[start + 8] ^= 1  # the offset of the first picture
    (made.folder / "index.bin").write_bytes(data)
    ledger, _ = checked(made, DEPTHS[0])
    assert {f.detail for f in ledger.differences} == {"is not as it was written"}
    struct.pack_into("<I", data, len(data) - 4, crc32(data[:-4]))
    (made.folder / "index.bin").write_bytes(data)
    for depth in DEPTHS:
        ledger, _ = checked(made, depth)
        assert {(f.shard, f.problem) for f in ledger.differences} == {("index.bin", "structure")}
        words = {f.detail for f in ledger.differences}
        assert "no file can lie where it has those of sample k0" in words
        assert depth == "digests" or "does not agree with 00000.tar from sample k0 on" in words


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_index_is_not_blamed_for_another_shard(made: Made, depth: Depth) -> None:
    """A sound tar with its files in another order is no shard of ours, and nothing else is wrong."""
    size = (made.folder / "00001.tar").stat().st_size
    files = {"k1.txt": b"words", "k1.jpg": tiny_jpeg(1), "k2.txt": b"words", "k2.jpg": tiny_jpeg(2)}
    other = tar_bytes(files)
    (made.folder / "00001.tar").write_bytes(other + bytes(size - len(other)))
    assert found(made, depth) == [("00001.tar", "digest")]


def test_each_byte_is_read_from_the_disk_in_order(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is read after the shard was hashed that far, so that the disk gives it once."""
    hashed: list[int] = []
    real = Hasher.update

    def update(self: Hasher, data: bytes) -> None:
        real(self, data)
        hashed.append(self.size_bytes)

    reads: list[tuple[int, int]] = []
    read = MemberReader.read

    def reading(self: MemberReader, member: Member) -> bytes:
        reads.append((hashed[-1], member.offset + member.size_bytes))
        return read(self, member)

    monkeypatch.setattr("g3m.steps.check._READ_BYTES", 512)
    monkeypatch.setattr(Hasher, "update", update)
    monkeypatch.setattr(MemberReader, "read", reading)
    assert found(made, "structure") == []
    assert len(reads) == 10
    assert all(end <= far < end + 4096 for far, end in reads)


def test_a_ledger_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Verifying somebody else's data counts all the same, and names no file."""
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger(tmp_path / "file" / ".g3m")
    ledger.add([Finding("d", "0.tar", "grayscale", key=str(number)) for number in range(3)])
    ledger.close(whole=True)
    assert ledger.counts == {"d": {"grayscale": 3}}
    assert ledger.path is None


def test_an_old_list_does_not_outlive_its_findings(tmp_path: Path) -> None:
    """The file is that of the last verification that came to its end."""
    for number in (1, 0):
        ledger = Ledger(tmp_path)
        ledger.add([Finding("d", "0.tar", "cmyk")] * number)
        ledger.close(whole=True)
        assert (tmp_path / FILE).exists() == bool(number)
    ledger = Ledger(tmp_path)
    ledger.add([Finding("d", "0.tar", "cmyk")])
    ledger.close(whole=False)
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_never_decoded_are_not_made_again(made: Made) -> None:
    """A picture broken at its source is told, but its shard is as packed: repairing would change nothing."""
    findings = [
        Finding("d", "0.tar", "broken"),
        Finding("d", "1.tar", "extra"),
        Finding("d", "2.tar", "missing"),
        Finding("d", "3.tar", "size"),
        Finding("d", "4.tar", "digest"),
        Finding("e", "5.tar", "structure"),
    ]
    assert broken(findings) == {("d", "2.tar"), ("d", "3.tar"), ("d", "4.tar"), ("e", "5.tar")}


def test_forgetting_drops_receipts_and_no_files(made: Made) -> None:
    """The shard stays until it is made again; only its receipt goes; forgetting twice is fine."""
    receipt = made.session.store.receipt("heap", "00001.tar")
    other = made.session.store.receipt("heap", "00000.tar")
    forget({("heap", "00001.tar"), ("heap", "never.tar")}, made.session)
    forget({("heap", "00001.tar")}, made.session)
    assert not receipt.exists()
    assert other.exists()
    assert (made.folder / "00001.tar").exists()


def test_manifests_are_found_by_name(made: Made) -> None:
    """All below the root, or those named; a name that is not there is said, with what would make it."""
    assert manifests(made.session, ()) == {made.folder: made.manifest}
    assert manifests(made.session, ("heap",)) == {made.folder: made.manifest}
    with pytest.raises(UnknownDataset, match="'nothing' is not under") as caught:
        manifests(made.session, ("heap", "nothing"))
    assert "g3m get nothing" in caught.value.hint[0]


def test_a_companion_that_is_gone_is_found(made: Made) -> None:
    """A loader needs the index: verify says when it is not there."""
    (made.folder / "index.bin").unlink()
    assert ("index.bin", "missing") in found(made)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-4], lambda data: data[:40] + b"\xff" * 40 + data[80:]]
)
def test_a_companion_that_is_damaged_is_found(made: Made, change: Callable[[bytes], bytes]) -> None:
    """A damaged index gives wrong samples to whoever reads through it: --deep at least must tell."""
    rewrite(made.folder / "index.bin", change)
    assert "index.bin" in {name for name, _ in found(made, "deep")}


def test_a_stop_while_checking(made: Made) -> None:
    """The flag is looked at between reads, deep or not."""
    made.session.stop.set()
    with pytest.raises(Interrupted):
        found(made)


def test_findings_as_documents() -> None:
    """The JSON of a finding has its five words."""
    assert Finding("d", "0.tar", "size", "x").to_dict() == {
        "dataset": "d",
        "shard": "0.tar",
        "problem": "size",
        "detail": "x",
        "key": "",
    }


def test_pictures_of_two_eyes_are_no_difference(tmp_path: Path) -> None:
    """A packed sample whose picture is `left.jpg` is a sample; what has a mask alone is none."""
    source = tmp_path / "source"
    source.mkdir()
    files = {f"k{n}.{name}": tiny_jpeg((n, name)) for n in range(3) for name in ("left.jpg", "right.jpg")}
    (source / "a.tar").write_bytes(tar_bytes(files))
    summary = g3m.pack(source, tmp_path / "out")
    body = next(iter(summary.manifests.values()))
    packed = Made(tmp_path / "out", body, make_session({"root": str(tmp_path / "out")}))
    for depth in DEPTHS:
        ledger, _ = checked(packed, depth)
        assert (ledger.differences, ledger.looked) == ([], {} if depth == "digests" else {"out": 3})


@pytest.mark.parametrize("field", range(1, 7))
def test_every_place_of_the_index_is_compared(made: Made, field: int) -> None:
    """Of the picture, the json and the caption, the offset and the size."""
    data = bytearray((made.folder / "index.bin").read_bytes())
    start = 8 + 4 + struct.unpack_from("<I", data, 8)[0]
    number = 8 + 12 * ((field - 1) // 2) + 8 * ((field - 1) % 2)
    data[start + number] ^= 2
    (made.folder / "index.bin").write_bytes(data)
    assert set(found(made, "structure")) == {("index.bin", "structure")}


def test_another_key_in_the_index_is_found(made: Made) -> None:
    """A loader would name a sample by it, and `g3m drop` would drop another one."""
    data = bytearray((made.folder / "index.bin").read_bytes())
    data[-1] ^= 1
    (made.folder / "index.bin").write_bytes(data)
    assert found(made, "structure") == [("index.bin", "structure")]


def test_a_sample_in_two_places_is_found(made: Made) -> None:
    """A reader that goes through the shard would make two samples of it."""
    torn = [*list(GOOD.items())[:2], ("k2.jpg", GOOD["k2.jpg"]), ("k1.txt", b"words")]
    changed = with_manifest_of(made, "00001.tar", tar_bytes(torn))
    ledger, _ = checked(changed, "structure")
    words = [finding.detail for finding in ledger.differences if finding.shard == "00001.tar"]
    assert words == ["members of sample k1 stand in two places"]


@pytest.mark.parametrize("name", ["SHA256SUMS", "sizes.json", "_info.json", "wids-meta.json"])
def test_a_small_file_that_says_something_else(made: Made, name: str) -> None:
    """What other programs read in place of the manifest must say the same."""
    rewrite(made.folder / name, lambda data: data.replace(b"00001", b"00009"))
    assert found(made) == [(name, "structure")]


@pytest.mark.parametrize("name", ["txt", "jpg", "json"])
def test_an_index_of_other_files_is_found(made: Made, name: str) -> None:
    """Where its head calls a kind of file something else, a loader would give samples without it."""
    other = name.replace("t", "u").replace("j", "k")
    rewrite(made.folder / "index.bin", lambda data: data.replace(f'"{name}"'.encode(), f'"{other}"'.encode()))
    assert found(made) == [("index.bin", "structure")]
