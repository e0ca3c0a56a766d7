"""runners/run.py: plan, get and verify as functions, for programs and for the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.steps.offline import make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.adapters.guard import Guard
from g3m.core.errors import Interrupted, NotVerified, SettingsError, UnknownDataset
from g3m.core.events import Event, Noted, RunFinished, RunStarted, TaskFinished, TaskStarted
from g3m.core.receipt import Manifest
from g3m.core.structure import Verdict
from g3m.lab.world import World
from g3m.runners.run import Report, get_in, make_session, verify_in


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=6) as world:
        yield world


@pytest.fixture
def options(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keyword options that lead to the world, in a process with its variables."""
    world.origin.be_honest()
    world.origin.forget_requests()
    for name, value in world.variables.items():
        monkeypatch.setenv(name, value)
    return {**world.options, "root": str(tmp_path / "data")}


def test_the_way_of_the_readme(world: World, options: dict[str, Any]) -> None:
    """plan, get, verify and dataset as the package's docstring shows them; events come on this thread."""
    plan = g3m.plan(["coco_valid"], **options)
    assert [dataset.name for dataset in plan.datasets] == ["coco_valid"]
    assert plan.to_dict()["datasets"][0]["download_bytes"]
    assert not Path(options["root"]).exists()
    assert world.origin.requests == []
    events: list[Event] = []
    threads: set[int] = set()

    def listen(event: Event) -> None:
        events.append(event)
        threads.add(threading.get_ident())

    summary = g3m.get(["coco_valid"], on_event=listen, **options)
    assert summary.manifests["coco_valid"].samples == 6
    assert summary.failed == {}
    assert threads == {threading.get_ident()}
    assert isinstance(events[0], RunStarted)
    report = g3m.verify(["coco_valid"], deep=True, root=options["root"])
    assert report.ok
    data = g3m.dataset("coco_valid", root=options["root"])
    assert len(data) == 6
    assert data[0].text
    data.close()


def test_variables_are_a_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arguments win over variables; a session made with given variables does not look at the process's."""
    monkeypatch.setenv("G3M_ROOT", str(tmp_path / "variable"))
    monkeypatch.setenv("G3M_JOBS", "3")
    assert make_session({}).store.root == tmp_path / "variable"
    session = make_session({"root": str(tmp_path / "argument")})
    assert (session.store.root, session.settings.jobs) == (tmp_path / "argument", 3)
    assert make_session({}, {}).store.root == Path("g3m-data")
    assert make_session({}, {"G3M_JOBS": "2"}).settings.jobs == 2


@pytest.mark.parametrize(
    "wrong", [{"rot": "x"}, {"jobs": -1}, {"parity": "most"}, {"mirrors": [{"prefix": "x"}]}]
)
def test_wrong_options_are_said(wrong: dict[str, Any]) -> None:
    """An option that does not exist, or cannot be, is a SettingsError that names it."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        g3m.plan(["coco"], **wrong)


@pytest.mark.parametrize("call", [g3m.plan, g3m.get, g3m.verify])
def test_unknown_datasets_are_said(call: Callable[..., Any], tmp_path: Path) -> None:
    """A name that nobody knows is UnknownDataset, and no folder of data is made for it."""
    with pytest.raises(UnknownDataset, match="nonsense"):
        call(["nonsense"], root=str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def tampered(path: Path) -> bytes:
    """Change one byte in the middle of a file; what it was before."""
    before = path.read_bytes()
    data = bytearray(before)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return before


def test_verify_tells_what_it_does(options: dict[str, Any]) -> None:
    """Events: which datasets, each one's start and end, every finding as a note."""
    session = make_session(options)
    get_in(["coco_valid", "cc3m_valid"], session, [])
    tampered(session.store.root / "coco" / "coco_valid" / "00000.tar")
    events: list[Event] = []
    report = verify_in([], session, [events.append], deep=False, repair=False)
    assert set(report.manifests) == {"coco_valid", "cc3m_valid"}
    assert [(f.dataset, f.shard, f.problem) for f in report.findings] == [
        ("coco_valid", "00000.tar", "digest")
    ]
    assert not report.ok
    assert set(events[0].datasets) == {"coco_valid", "cc3m_valid"}  # type: ignore[attr-defined]
    assert sum(isinstance(event, TaskStarted) for event in events) == 2
    assert sum(isinstance(event, TaskFinished) for event in events) == 2
    (note,) = [event for event in events if isinstance(event, Noted)]
    assert note.text.startswith("00000.tar: digest sha256 ")
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert (end.finished, end.failed, end.samples) == (
        2,
        0,
        sum(b.samples for b in report.manifests.values()),
    )
    assert end.task.startswith("verify/")  # so that nobody takes it for the end of a run beside it
    assert Path(report.path).read_text(encoding="utf-8").count("\n") == 1
    assert report.counts == {"coco_valid": {"digest": 1}}


def test_the_depths_of_verify(options: dict[str, Any]) -> None:
    """Each says what it looked at; `deep` is more than `structure`; the API knows all three."""
    get_in(["coco_valid"], make_session(options), [])
    root = options["root"]
    digests = g3m.verify(root=root)
    assert (digests.looked, digests.decoded, digests.path) == ({}, {}, "")
    structure = g3m.verify(root=root, structure=True)
    assert (structure.looked, structure.decoded) == ({"coco_valid": 6}, {})
    for both in (False, True):
        deep = g3m.verify(root=root, structure=both, deep=True, jobs=2)
        assert (deep.looked, deep.decoded) == ({"coco_valid": 6}, {"coco_valid": 6})
        assert deep.ok


def test_repair_decodes_once(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is broken is found without decoding, and each picture is decoded when all is whole again."""
    session = make_session(options)
    get_in(["coco_valid"], session, [])
    tampered(session.store.root / "coco" / "coco_valid" / "00000.tar")
    judged: list[bytes] = []
    monkeypatch.setattr(Guard, "judge", lambda _, data: judged.append(data) or Verdict(()))
    report = verify_in([], session, [], deep=True, repair=True)
    assert report.ok
    assert report.repaired
    assert report.decoded == {"coco_valid": 6}
    assert len(judged) == len(set(judged)) == 6


def test_a_stop_while_decoding_ends_the_workers(options: dict[str, Any]) -> None:
    """Interrupted in the middle: no process, no thread and no half written list is left."""
    session = make_session(options)
    get_in(["coco_valid"], session, [])
    before = {thread.name for thread in threading.enumerate()}

    def stop(event: Event) -> None:
        if isinstance(event, TaskStarted):
            session.stop.set()

    with pytest.raises(Interrupted):
        verify_in([], session, [stop], deep=True, repair=False)
    assert {thread.name for thread in threading.enumerate()} == before
    assert not list(session.store.work.glob("*verified*"))


def test_repair_makes_only_what_is_broken(world: World, options: dict[str, Any]) -> None:
    """The broken shard is made again as it was, its archives fetched; the other dataset is neither read nor asked for."""
    session = make_session(options)
    get_in(["coco_valid", "cc3m_valid"], session, [])
    shard = session.store.root / "coco" / "coco_valid" / "00000.tar"
    good = tampered(shard)
    world.origin.forget_requests()
    report = verify_in([], make_session(options), [], deep=True, repair=True)
    assert report.ok
    assert [(f.shard, f.problem) for f in report.repaired if f.problem == "digest"] == [
        ("00000.tar", "digest")
    ]
    assert shard.read_bytes() == good
    asked = {request.path.rpartition("/")[2] for request in world.origin.requests}
    assert asked == {"val2017.zip", "annotations_trainval2017.zip"}


def test_repair_of_a_whole_dataset_asks_for_nothing(world: World, options: dict[str, Any]) -> None:
    """--repair where nothing is broken is a verify."""
    session = make_session(options)
    get_in(["coco_valid"], session, [])
    world.origin.forget_requests()
    report = verify_in([], session, [], deep=False, repair=True)
    assert (report.ok, report.repaired, world.origin.requests) == (True, [], [])


def test_an_extra_shard_is_found_and_never_deleted(options: dict[str, Any]) -> None:
    """A tar that the manifest does not name is told, with --repair too: it may be the user's."""
    session = make_session(options)
    get_in(["coco_valid"], session, [])
    extra = session.store.root / "coco" / "coco_valid" / "mine.tar"
    extra.write_bytes(b"mine")
    report = verify_in([], session, [], deep=False, repair=True)
    assert [(f.shard, f.problem) for f in report.findings] == [("mine.tar", "extra")]
    assert extra.read_bytes() == b"mine"


def test_repair_without_the_recipe_says_so(tmp_path: Path) -> None:
    """A dataset of a recipe file cannot be repaired by its name: the error says with what it can."""
    files = {"1.jpg": tiny_jpeg(1), "1.txt": b"one"}
    archive = zip_of(tmp_path / "source" / "mine.zip", files)
    recipe = my_recipe(tmp_path / "mine.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(recipe, archive)
    good = tampered(made.folder / "00000.tar")
    with pytest.raises(NotVerified, match="its recipe is not among the known ones") as caught:
        verify_in([], made.session, [], deep=False, repair=True)
    assert "recipe" in caught.value.hint[0]
    # What the hint promises is true: the same recipe file makes the shard again.
    assert make(recipe, archive).manifest == made.manifest
    assert (made.folder / "00000.tar").read_bytes() == good


def test_a_stop_during_verify(options: dict[str, Any]) -> None:
    """The flag is looked at while shards are hashed."""
    session = make_session(options)
    get_in(["coco_valid"], session, [])
    session.stop.set()
    with pytest.raises(Interrupted):
        verify_in([], session, [], deep=False, repair=False)


def test_an_empty_root_is_fine(tmp_path: Path) -> None:
    """Nothing there: nothing found, and all is well."""
    report = g3m.verify(root=str(tmp_path / "absent"))
    assert report == Report()
    assert report.ok
    assert not (tmp_path / "absent").exists()


def test_manifests_say_where_everything_is_from(options: dict[str, Any]) -> None:
    """The summary's manifest is the one on the disk, with the proof of each asset."""
    session = make_session(options)
    manifests = get_in(["all"], session, []).manifests
    proofs = {name: {asset.proof for asset in body.assets} for name, body in manifests.items()}
    assert proofs == {
        "cc3m": {"mirror"},
        "cc3m_valid": {"mirror"},
        "coco": {"recipe"},
        "coco_valid": {"recipe"},
        "openimages_v7_valid": {"recipe"},
        "sbu": {"server"},
    }
    for body in manifests.values():
        assert isinstance(body, Manifest)
        assert not any(asset.path for asset in body.assets)
