"""Dropped samples in datasets of every kind: seen by nobody, gone after a rewriting, and never back by a repair."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.whole.conftest import Opener
from tests.whole.disk import check_all_whole, flip, tree

import g3m
from g3m.adapters.session import Session
from g3m.core.errors import NotVerified, SettingsError, UsageError
from g3m.core.receipt import manifest
from g3m.runners.drop import DropReport, Wish, drop_in
from g3m.runners.index import index
from g3m.runners.run import get_in, verify_in
from g3m.steps.dropped import read_record
from g3m.steps.export import FORMATS
from g3m.steps.offer import known_datasets, offer, refuse_dropped

SETS = ("coco_valid", "cc3m_valid", "sbu", "openimages_v7_valid")
"""A zip and captions, adopted shards, a tar.gz, and a zip of narratives."""


@pytest.fixture
def session(open_session: Opener, small_shards: int, tmp_path: Path) -> Session:
    """All four datasets as they were published, with seven samples in a shard."""
    assert small_shards
    session = open_session(tmp_path / "data")
    get_in(list(SETS), session, [])
    return session


def keys_of(session: Session, name: str) -> list[str]:
    with g3m.dataset(name, root=session.store.root) as data:
        return [data.key(number).partition("/")[2] for number in range(len(data))]


def drop(session: Session, keys: list[str], **wish: object) -> DropReport:
    """Drop `DATASET/KEY`s."""
    path = session.store.root.parent / "keys.txt"
    path.write_text("\n".join(keys) + "\n")
    return drop_in((), Wish(keys=(path,), **wish), session, [])  # type: ignore[arg-type]


def chosen(session: Session) -> list[str]:
    """Of each dataset its first sample, one in the middle, and its last."""
    found = []
    for name in SETS:
        keys = keys_of(session, name)
        found += [f"{name}/{keys[place]}" for place in (0, len(keys) // 2, -1)]
    return found


def folder_of(session: Session, name: str) -> Path:
    (path,) = (
        path.parent
        for path in session.store.root.rglob("manifest.json")
        if json.loads(path.read_text())["dataset"] == name
    )
    return path


def texts_of(folder: Path, keys: set[str]) -> list[bytes]:
    """Pictures and captions of some keys, out of the tars."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.partition(".")[0] in keys and not member.name.endswith("json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    found.append(file.read())
    return [data for data in found if len(data) > 12]


def assert_sound(session: Session, *, deep: bool = True) -> None:
    for name in SETS:
        report = verify_in([name], session, [], deep=deep, repair=False, structure=True)
        assert report.ok, report.findings
        folder = folder_of(session, name)
        before = (folder / "index.bin").read_bytes()
        assert index(folder, force=True, root=str(session.store.root)).samples == len(keys_of(session, name))
        assert (folder / "index.bin").read_bytes() == before
        body = manifest((folder / "manifest.json").read_text())
        assert body is not None
        assert json.loads((folder / "sizes.json").read_text()) == {s.name: s.samples for s in body.shards}
        assert (folder / "SHA256SUMS").read_text().split()[::2] == [s.sha256 for s in body.shards]
        assert f"{body.samples} samples in" in (folder / "README.md").read_text()


def test_dropped_samples_are_seen_by_nobody_and_the_shards_stay(session: Session) -> None:
    """The loader has fewer samples and another fingerprint; export and share refuse; the shards stay."""
    wanted, before = chosen(session), tree(session.store.root)
    prints = {name: g3m.dataset(name, root=session.store.root).fingerprint for name in SETS}
    report = drop(session, [*wanted, "nobody"], reason="asked by mail")
    assert (report.dropped.entries, report.dropped.unmatched, report.dropped.examples) == (13, 1, ("nobody",))
    assert [len(one.new) for one in report.dropped.found] == [3, 3, 3, 3]
    for name in SETS:
        keys = keys_of(session, name)
        assert not {f"{name}/{key}" for key in keys} & set(wanted)
        data = g3m.dataset(name, root=session.store.root)
        assert (data.dropped, data.fingerprint != prints[name]) == (3, True)
        assert sorted(sample.key for sample in data) == sorted(keys)
        with pytest.raises(NotVerified, match="3 samples"):
            g3m.export("nxtp", [name], root=session.store.root)
        assert (
            read_record(folder_of(session, name)).drops[wanted[3 * SETS.index(name)].partition("/")[2]].reason
        )
    after = tree(session.store.root)
    assert {name for name in after if after[name] != before.get(name)} == {
        f"{folder_of(session, name).relative_to(session.store.root)}/dropped.jsonl" for name in SETS
    }
    assert offer(known_datasets(session), session)[0].datasets == ()
    with pytest.raises(NotVerified, match="dropped"):
        refuse_dropped(known_datasets(session), session)
    again = drop(session, wanted, reason="another")
    assert [(len(one.new), one.before) for one in again.dropped.found] == [(0, 3)] * 4
    assert tree(session.store.root) == after
    assert_sound_before_rewriting(session)


def assert_sound_before_rewriting(session: Session) -> None:
    report = verify_in([], session, [], deep=False, repair=False, structure=True)
    assert report.ok, report.findings


def test_a_rewriting_leaves_nothing_of_them_on_the_disk(session: Session, open_session: Opener) -> None:
    """Shards, index, lists and counts agree, `g3m get` has nothing to do, and nothing of a sample is left."""
    wanted = chosen(session)
    gone, kept = [], set()
    for name in SETS:
        own = {one.partition("/")[2] for one in wanted if one.startswith(f"{name}/")}
        gone += texts_of(folder_of(session, name), own)
        kept |= set(texts_of(folder_of(session, name), set(keys_of(session, name)) - own))
    gone = [data for data in gone if data not in kept]  # narratives share pictures
    assert len(gone) > 12
    before_all = {name: g3m.dataset(name, root=session.store.root).folders[0].manifest for name in SETS}
    report = drop(session, wanted, rewrite=True)
    assert {name: one.samples for name, one in report.rewritten.items()} == dict.fromkeys(SETS, 3)
    assert_sound(session)
    everything = b"\n".join(path.read_bytes() for path in session.store.root.rglob("*") if path.is_file())
    assert [data for data in gone if data in everything] == []
    for name in SETS:
        body, before = g3m.dataset(name, root=session.store.root).folders[0].manifest, before_all[name]
        assert body is not None
        assert before is not None
        assert (body.identity, body.seen, body.samples) == (before.identity, before.seen, before.samples - 3)
        assert body.rejected["dropped"] == 3
        g3m.export("nxtp", [name], root=session.store.root)
    refuse_dropped(known_datasets(session), session)
    listed = offer(known_datasets(session), session)[0]
    assert {one.name for one in listed.datasets} == set(SETS) - {"cc3m_valid"}
    after = tree(session.store.root)
    summary = get_in(list(SETS), open_session(session.store.root), [])
    assert summary.finished == 0
    again = drop(session, wanted, rewrite=True)
    assert all(one.shards == 0 for one in again.rewritten.values())
    assert [(len(one.new), one.before) for one in again.dropped.found] == [(0, 3)] * 4
    assert tree(session.store.root) == after


@pytest.mark.parametrize("rewritten", [True, False])
def test_a_repair_gives_the_shards_without_them(session: Session, *, rewritten: bool) -> None:
    """A shard that is made again has the bytes of a rewritten one, and the same manifest follows."""
    wanted = chosen(session)
    drop(session, wanted, rewrite=True)
    expected = tree(session.store.root)
    if not rewritten:
        for name in SETS:
            folder = folder_of(session, name)
            (folder / "dropped.jsonl").unlink()
            for path in folder.glob("*.tar"):
                path.unlink()
        verify_in(list(SETS), session, [], deep=False, repair=True)
        drop(session, wanted)
    for name in SETS:
        flip(min(folder_of(session, name).glob("*.tar")), 700)
        flip(max(folder_of(session, name).glob("*.tar")), 700)
    report = verify_in(list(SETS), session, [], deep=False, repair=True)
    assert report.ok, report.findings
    if not rewritten:
        drop(session, wanted, rewrite=True)
    found = tree(session.store.root)
    records = {name for name in found if name.endswith(("dropped.jsonl", "rejected.jsonl"))}
    assert {name for name in found if found[name] != expected.get(name)} <= records
    for name in SETS:
        keys = {
            row["key"]
            for row in rows_of(folder_of(session, name) / "rejected.jsonl")
            if row["reason"] == "dropped"
        }
        assert {f"{name}/{key}" for key in keys} == {one for one in wanted if one.startswith(f"{name}/")}
    assert_sound(session, deep=False)


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_shard_of_which_all_is_dropped_stays_as_an_empty_tar(session: Session) -> None:
    """Its name keeps its place; the index and every count say that nothing is in it."""
    keys = keys_of(session, "coco_valid")
    first = json.loads((folder_of(session, "coco_valid") / "sizes.json").read_text())["00000.tar"]
    drop(session, [f"coco_valid/{key}" for key in keys[:first]], rewrite=True)
    path = folder_of(session, "coco_valid") / "00000.tar"
    assert path.read_bytes() == bytes(10_240)
    assert keys_of(session, "coco_valid") == keys[first:]
    assert_sound(session)
    flip(path, 3)
    assert verify_in(["coco_valid"], session, [], deep=False, repair=True).ok
    assert path.read_bytes() == bytes(10_240)


def test_of_a_dataset_not_all_can_be_rewritten_away(session: Session) -> None:
    """It is recorded and seen by nobody, the message says what to delete, and the others are written anew."""
    gone = [f"sbu/{key}" for key in keys_of(session, "sbu")]
    report = drop(session, [*gone, chosen(session)[0], chosen(session)[3]], rewrite=True)
    assert {name: error.message for name, error in report.failed.items()} == {
        "sbu": "sbu: all of its samples were dropped"
    }
    assert {name: done.samples for name, done in report.rewritten.items()} == {
        "coco_valid": 1,
        "cc3m_valid": 1,
    }
    with pytest.raises(SettingsError, match="all of its samples"):
        g3m.drop(rewrite=True, root=session.store.root)
    assert len(g3m.dataset("sbu", root=session.store.root)) == 0
    assert check_all_whole(session.store.root) > 8


def test_a_copy_packed_anew_leaves_them_out(session: Session, tmp_path: Path) -> None:
    """`g3m pack` reads the record of its source, and of its own folder when it makes a shard again."""
    keys = keys_of(session, "coco_valid")
    drop(session, [f"coco_valid/{keys[1]}"])
    g3m.pack("coco_valid", to=tmp_path / "small", root=session.store.root)
    assert [sample.key for sample in g3m.dataset(str(tmp_path / "small"))] == [keys[0], *keys[2:]]
    small = tmp_path / "own.txt"
    small.write_text(f"{keys[3]}\n")
    g3m.drop(keys=small, root=tmp_path / "small", rewrite=True)
    left = [keys[0], keys[2], *keys[4:]]
    assert [sample.key for sample in g3m.dataset(str(tmp_path / "small"))] == left
    expected = tree(tmp_path / "small")
    flip(tmp_path / "small" / "00000.tar", 700)
    with pytest.raises(NotVerified, match="g3m pack"):
        g3m.verify(root=tmp_path / "small", repair=True)
    g3m.pack("coco_valid", to=tmp_path / "small", root=session.store.root)
    found = tree(tmp_path / "small")
    assert {name for name in found if found[name] != expected[name]} <= {"rejected.jsonl"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_refuses_shards_that_hold_them(session: Session, form: str) -> None:
    """Programs that read the tars themselves do not know the record; after a rewriting they may read again."""
    options = {"root": session.store.root, "to": session.store.root.parent / "to"}
    drop(session, [chosen(session)[0]])
    with pytest.raises(NotVerified, match="1 samples that were dropped"):
        g3m.export(form, ["coco_valid"], **options)
    assert not options["to"].exists()
    drop(session, [], rewrite=True)
    g3m.export(form, ["coco_valid"], **options)


def test_a_dataset_that_is_made_anew_with_other_options_leaves_them_out(
    session: Session, open_session: Opener
) -> None:
    """Its shards, receipts and manifest are deleted, and all is fetched and drawn anew: the record stays."""
    gone = [one for one in chosen(session) if one.startswith("coco_valid/")]
    drop(session, gone)
    folder = folder_of(session, "coco_valid")
    for path in folder.iterdir():
        if path.name != "dropped.jsonl":
            path.unlink()
    shutil.rmtree(session.store.work / "receipts")
    get_in(["coco_valid"], open_session(session.store.root, image_size=16), [])
    index(folder, force=True, root=str(session.store.root))
    assert not {f"coco_valid/{key}" for key in keys_of(session, "coco_valid")} & set(gone)
    with g3m.dataset(folder) as data:
        assert (len(data), data.dropped) == (24 - len(gone), 0)
    body = manifest((folder / "manifest.json").read_text())
    assert body is not None
    assert body.rejected["dropped"] == len(gone)


def test_addresses_find_samples_by_their_json(session: Session) -> None:
    """Any address in a sample's json counts, however the list spells it."""
    data = g3m.dataset("sbu", root=session.store.root)
    url = next(value for value in data[2].meta.values() if str(value).startswith("http"))
    path = session.store.root.parent / "urls.txt"
    path.write_text(f"{url.replace('http', 'HTTP', 1)}#top\nhttps://nobody.example/\n")
    report = drop_in(["sbu"], Wish(urls=(path,)), session, [])
    assert [[one.key for one in found.new] for found in report.dropped.found] == [[data[2].key]]
    assert report.dropped.examples == ("https://nobody.example/",)


def test_a_state_of_before_is_refused(session: Session) -> None:
    """A loader does not go on in an epoch whose numbers mean other samples now."""

    def loader() -> object:
        return g3m.loader(g3m.dataset("sbu", root=session.store.root), batch_size=2, image_size=32)

    state = loader().state_dict()  # type: ignore[attr-defined]
    drop(session, [f"sbu/{keys_of(session, 'sbu')[0]}"])
    with pytest.raises(UsageError, match="another dataset"):
        loader().load_state_dict(state)  # type: ignore[attr-defined]


def test_a_dry_run_writes_nothing(session: Session) -> None:
    """It says what would be dropped."""
    before = tree(session.store.root)
    report = drop(session, chosen(session), dry_run=True, rewrite=True)
    assert sum(len(one.new) for one in report.dropped.found) == 12
    assert tree(session.store.root) == before


@pytest.mark.parametrize("work", ["get", "repair", "drop"])
def test_whoever_comes_next_finishes_an_exchange(
    session: Session, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the loader and `verify` say what is the matter; nothing is fetched to finish it."""
    wanted = [one for one in chosen(session) if one.startswith("coco_valid/")]

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("g3m.steps.rewrite.remake", fail)
        with pytest.raises(KeyboardInterrupt):
            drop(session, wanted, rewrite=True)
    with pytest.raises(NotVerified, match="written anew"):
        g3m.dataset("coco_valid", root=session.store.root)
    with pytest.raises(NotVerified, match="written anew"):
        g3m.export("nxtp", ["coco_valid"], root=session.store.root)
    report = verify_in(["coco_valid"], session, [], deep=False, repair=False)
    assert "dropped.jsonl" in {finding.shard for finding in report.findings}
    if work == "get":
        assert get_in(["coco_valid"], session, []).finished == 0
    elif work == "repair":
        assert verify_in(["coco_valid"], session, [], deep=False, repair=True).repaired == []
    else:
        drop(session, [], rewrite=True)
    assert not {f"coco_valid/{key}" for key in keys_of(session, "coco_valid")} & set(wanted)
    assert_sound(session)
