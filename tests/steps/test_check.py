"""steps/check.py: whatever differs from the manifest is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, tar_bytes, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.core.errors import Interrupted, UnknownDataset
from g3m.core.events import Progressed
from g3m.steps.check import Finding, broken, check, forget, manifests


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


def found(made: Made, *, deep: bool = False) -> list[tuple[str, str]]:
    """Shard and problem of every finding."""
    findings: list[Finding] = []
    list(check(made.folder, made.manifest, made.session, deep=deep, findings=findings))
    assert all(finding.dataset == "heap" for finding in findings)
    return [(finding.shard, finding.problem) for finding in findings]


@pytest.mark.parametrize("deep", [False, True])
def test_a_good_dataset_has_no_findings(made: Made, deep: bool) -> None:
    """As packed: nothing is found, and every byte is gone through."""
    findings: list[Finding] = []
    events = list(check(made.folder, made.manifest, made.session, deep=deep, findings=findings))
    assert findings == []
    ticks = [event for event in events if isinstance(event, Progressed) and event.task == "verify/heap"]
    assert ticks[-1].done_bytes == ticks[-1].total_bytes == made.manifest.size_bytes
    assert [tick.done_bytes for tick in ticks] == sorted(tick.done_bytes for tick in ticks)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("at", [0, 520, 1500, -1])
def test_one_wrong_bit_anywhere(made: Made, at: int) -> None:
    """In a header, in a picture, in the zeros at the end: the digest tells."""
    path = made.folder / "00001.tar"
    size = path.stat().st_size
    rewrite(path, flip(at % size))
    assert found(made) == [("00001.tar", "digest")]


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
    shards = {shard for shard, _ in found(made, deep=True)}
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
    return Made(made.root, replace(made.manifest, shards=shards), made.session)


GOOD = {
    "k1.jpg": tiny_jpeg(1),
    "k1.json": b"{}",
    "k1.txt": b"words",
    "k2.jpg": tiny_jpeg(2),
    "k2.txt": b"words",
}


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (tar_bytes(GOOD), []),
        (tar_bytes(GOOD)[:3000], ["structure"]),
        (b"x" * 10240, ["structure"]),
        (tar_bytes({**GOOD, "k3.jpg": tiny_jpeg(3), "k3.txt": b"x"}), ["structure"]),
        (tar_bytes({"k1.jpg": tiny_jpeg(1), "k1.txt": b"x"}), ["structure"]),
        (tar_bytes({**GOOD, "k2.jpg": b"<html>"}), ["image"]),
        (tar_bytes({**GOOD, "k2.jpg": tiny_jpeg(2)[:-200]}), ["image"]),
        (tar_bytes({**GOOD, "../x.txt": b"x"}), ["structure"]),
    ],
    ids=["good", "cut", "no tar", "one too many", "one too few", "a page", "half a picture", "outside"],
)
def test_deep_looks_inside(made: Made, content: bytes, problems: list[str]) -> None:
    """Where the digest agrees, --deep still finds what cannot be: structure, counts, pictures that do not decode."""
    changed = with_manifest_of(made, "00001.tar", content)
    assert found(changed) == []
    assert [problem for _, problem in found(changed, deep=True)] == problems


def test_pictures_that_never_decoded_are_not_made_again(made: Made) -> None:
    """A picture broken at its source is told, but its shard is as packed: repairing would change nothing."""
    findings = [
        Finding("d", "0.tar", "image"),
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
    assert "index.bin" in {name for name, _ in found(made, deep=True)}


def test_a_stop_while_checking(made: Made) -> None:
    """The flag is looked at between reads, deep or not."""
    made.session.stop.set()
    with pytest.raises(Interrupted):
        found(made)


def test_findings_as_documents() -> None:
    """The JSON of a finding has its four words."""
    assert Finding("d", "0.tar", "size", "x").to_dict() == {
        "dataset": "d",
        "shard": "0.tar",
        "problem": "size",
        "detail": "x",
    }
