"""steps/resolve.py: names become a plan; a listing is asked for once and kept for its commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.session import Session
from g3m.core.errors import (
    Changed,
    Missing,
    Refused,
    SettingsError,
    SourceError,
    Throttled,
    UnknownDataset,
    Unreachable,
)
from g3m.core.gathering import Columns, Filters, GatherPlan
from g3m.core.plan import asset_id
from g3m.lab.mischief import Page, Status
from g3m.lab.world import CC3M_COMMIT, CC3M_REPOSITORY, World
from g3m.runners.run import make_session
from g3m.steps.resolve import resolve, unprotected

TREE = "/api/datasets/*"
LISTING = "cc3m_valid.listing.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=4) as world:
        yield world


@pytest.fixture
def session(world: World, tmp_path: Path) -> Session:
    world.origin.be_honest()
    world.origin.forget_requests()
    return _session(world, tmp_path)


def _session(world: World, root: Path, **options: Any) -> Session:
    session = make_session({"root": str(root / "data"), **world.options, **options}, world.variables)
    session.store.prepare()
    return session


def test_a_recipe_with_assets_needs_no_network(world: World, session: Session) -> None:
    """What is pinned in the recipe is the plan."""
    plan = resolve(["coco_valid"], session)
    (dataset,) = plan.datasets
    assert [asset.name for asset in dataset.assets] == ["val2017.zip", "annotations_trainval2017.zip"]
    assert not dataset.estimated
    assert world.origin.requests == []


def test_a_listing_gives_sizes_and_digests(world: World, session: Session) -> None:
    """Every listed shard is pinned by the hub's sha256 before a byte of it moves."""
    (dataset,) = resolve(["cc3m"], session).datasets
    files = sorted(world.sources.cc3m.folder.glob("cc3m-train-*.tar"))
    assert [asset.name for asset in dataset.assets] == [path.name for path in files]
    assert [asset.size_bytes for asset in dataset.assets] == [path.stat().st_size for path in files]
    assert {digest.algorithm for asset in dataset.assets for digest in asset.digests} == {"sha256"}
    assert dataset.assets[0].places == (f"hub://{CC3M_REPOSITORY}@{CC3M_COMMIT}/{files[0].name}",)


def test_a_listing_is_asked_for_once(world: World, session: Session, tmp_path: Path) -> None:
    """The second plan, in another session, makes no request and is the same."""
    first = resolve(["cc3m_valid"], session)
    asked = len(world.origin.requests)
    assert asked > 0
    second = resolve(["cc3m_valid"], _session(world, tmp_path))
    assert len(world.origin.requests) == asked
    assert second == first
    assert resolve(["cc3m_valid"], _session(world, tmp_path, offline=True)) == first


@pytest.mark.parametrize("key", ["format", "repository", "revision", "include"])
def test_a_listing_of_something_else_is_ignored(world: World, session: Session, key: str) -> None:
    """Another commit, repository or pattern, or a newer format: the kept listing does not count."""
    plan = resolve(["cc3m_valid"], session)
    kept = session.store.plan(LISTING)
    body = json.loads(kept.read_text())
    body[key] = 99 if key == "format" else "0" * 40
    body["files"] = [["other.tar", 1, "sha256:" + "0" * 64]]
    kept.write_text(json.dumps(body))
    world.origin.forget_requests()
    assert resolve(["cc3m_valid"], session) == plan
    assert len(world.origin.requests) == 1
    assert json.loads(kept.read_text())[key] != body[key]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', "\0", "7"],
)
def test_a_broken_kept_listing_is_ignored(world: World, session: Session, text: str) -> None:
    """A document that cannot be read is asked for again."""
    plan = resolve(["cc3m_valid"], session)
    session.store.plan(LISTING).write_text(text)
    assert resolve(["cc3m_valid"], session) == plan


_SHA = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "row",
    [
        ["a.tar", 1],
        ["a.tar", 1, "sha256:zz"],
        ["a.tar", 1, 7],
        5,
        ["../a.tar", 1, _SHA],
        ["a.tar", -1, _SHA],
        ["a.tar", "1", _SHA],
    ],
)
def test_a_kept_listing_with_a_broken_row_is_ignored(world: World, session: Session, row: Any) -> None:
    """One unreadable line is enough to ask again."""
    plan = resolve(["cc3m_valid"], session)
    kept = session.store.plan(LISTING)
    body = json.loads(kept.read_text())
    body["files"].append(row)
    kept.write_text(json.dumps(body))
    assert resolve(["cc3m_valid"], session) == plan


def test_offline_without_a_kept_listing(world: World, session: Session, tmp_path: Path) -> None:
    """--offline says that the listing is not here, and asks nobody."""
    offline = _session(world, tmp_path, offline=True)
    with pytest.raises(Unreachable, match="offline"):
        resolve(["cc3m_valid"], offline)
    assert world.origin.requests == []


@pytest.mark.parametrize(
    ("mischief", "kind"),
    [
        (Status(401), Refused),
        (Status(403), Refused),
        (Status(404), Missing),
        (Status(429, retry_after=3), Throttled),
        (Status(500), Unreachable),
        (Page(), Changed),
        (Status(200, body="no json"), Changed),
        (Status(200, body='{"error": "no list"}'), Changed),
    ],
)
def test_a_listing_that_cannot_be_had(
    world: World, session: Session, mischief: Any, kind: type[SourceError]
) -> None:
    """A hub that refuses or talks nonsense is a named error, and nothing is kept."""
    world.origin.mischief(TREE, mischief, times=None)
    with pytest.raises(kind):
        resolve(["cc3m_valid"], session)
    assert not session.store.plan(LISTING).exists()


def test_an_estimated_plan_where_the_hub_is_silent(world: World, session: Session) -> None:
    """`g3m plan` shows the recipe's figures, says so, and keeps nothing."""
    world.origin.mischief(TREE, Status(500), times=None)
    notes: list[str] = []
    plan = resolve(["coco_valid", "cc3m_valid"], session, estimate=True, note=notes.append)
    assert [dataset.estimated for dataset in plan.datasets] == [False, True]
    assert plan.datasets[1].assets == ()
    assert len(notes) == 1
    assert "cc3m_valid" in notes[0]
    assert not session.store.plan(LISTING).exists()
    assert plan.to_dict()["datasets"][1]["estimated"] is True


def test_an_estimate_offline(world: World, tmp_path: Path) -> None:
    """A plan is possible without any network."""
    world.origin.forget_requests()
    plan = resolve(["cc3m"], _session(world, tmp_path, offline=True), estimate=True)
    assert plan.datasets[0].estimated
    assert world.origin.requests == []


def test_nothing_is_written_without_a_root(world: World, session: Session, tmp_path: Path) -> None:
    """`g3m plan` before the first `get` leaves no folder behind."""
    rootless = make_session({"root": str(tmp_path / "none"), **world.options}, world.variables)
    assert resolve(["cc3m_valid"], rootless) == resolve(["cc3m_valid"], session)
    assert not (tmp_path / "none").exists()


def test_a_listing_that_fits_nothing(world: World, session: Session, tmp_path: Path) -> None:
    """A pattern without a file is an error that names it."""
    recipe = (world.recipes / "cc3m_valid.toml").read_text().replace("cc3m-validation-*.tar", "nothing-*.tar")
    file = tmp_path / "own.toml"
    file.write_text(recipe)
    with pytest.raises(SourceError, match="nothing-"):
        resolve([str(file)], session)


def test_an_unknown_name_is_an_error_before_any_request(world: World, session: Session) -> None:
    """Names are checked first."""
    with pytest.raises(UnknownDataset):
        resolve(["cc3m_valid", "cocoo_valid"], session)
    assert world.origin.requests == []


def test_mirrors_of_the_hub_are_asked_in_order(world: World, session: Session) -> None:
    """A rule for the hub's endpoint serves listings, too: a dead mirror is passed over."""
    places = ["http://127.0.0.1:1/", f"{world.origin.url}/"]
    rule = {"prefix": "https://hub.g3m.test/", "places": places}
    options = {
        "root": session.settings.root,
        "recipes": world.options["recipes"],
        "hub_endpoint": "https://hub.g3m.test",
        "mirrors": [rule],
    }
    asked = make_session(options, {})
    assert resolve(["cc3m_valid"], asked).datasets[0].assets
    assert {request.path for request in world.origin.requests} == {
        f"/api/datasets/{CC3M_REPOSITORY}/tree/{CC3M_COMMIT}"
    }


def test_the_plan_counts_a_shared_asset_once(session: Session) -> None:
    """COCO's annotations belong to two datasets and are one asset."""
    plan = resolve(["coco", "coco_valid"], session)
    shared = [asset for dataset in plan.datasets for asset in dataset.assets]
    assert len(shared) == 4
    assert len(plan.assets) == 3
    fetches = [task.id for dataset in plan.datasets for task in dataset.first_tasks() if task.kind == "fetch"]
    assert len(set(fetches)) == 3


def test_identity_follows_the_bytes(session: Session) -> None:
    """Parity changes a dataset's identity, another order of asking does not."""
    first = resolve(["coco_valid"], session).datasets[0]
    again = resolve(["coco", "coco_valid"], session).datasets[1]
    assert first.identity == again.identity
    nxtp = replace(session, settings=replace(session.settings, parity="nxtp"))
    assert resolve(["coco_valid"], nxtp).datasets[0].identity != first.identity
    assert len({asset_id(asset) for asset in first.assets}) == 2


# --- lists of URLs --------------------------------------------------------------------------------------------------


def test_a_list_of_urls_becomes_a_gathering(world: World, tmp_path: Path) -> None:
    """Its assets are its lists, in order; columns are the recipe's, filters the settings'."""
    session = _session(world, tmp_path, min_side=64, max_aspect=3.0, hash_mismatch="keep", form="urls")
    made, laion = (resolve([name], session).datasets[0] for name in ("sbu", "laion115m"))
    assert isinstance(made, GatherPlan)
    assert isinstance(laion, GatherPlan)
    assert [source.name for source in made.sources] == ["SBUCaptionedPhotoDataset.tar.gz"]
    assert [source.asset for source in laion.sources] == [asset_id(laion.assets[0])]
    assert laion.gathering.columns == Columns(url="url", caption="caption")
    assert laion.gathering.filters == Filters(least_side=64, most_aspect=3.0)
    assert laion.gathering.on_mismatch == "keep"
    assert (laion.packing, laion.shard_bytes) == ("gathered", None)
    assert [task.kind for task in laion.first_tasks()] == ["fetch", "arrange", "publish"]
    assert world.origin.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"min_side": 9},
        {"max_aspect": 2.0},
        {"hash_mismatch": "keep"},
        {"image_size": 64},
        {"policy": ["bomb=keep"]},
    ],
)
def test_what_decides_which_rows_become_samples_is_part_of_the_identity(
    world: World, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Other filters, another treatment: another dataset; how fast it is fetched does not matter."""
    plain = resolve(["laion115m"], _session(world, tmp_path)).datasets[0].identity
    assert resolve(["laion115m"], _session(world, tmp_path, **options)).datasets[0].identity != plain
    faster = _session(world, tmp_path, requests=9, per_host=2, url_timeout_s=3.0, jobs=3)
    assert resolve(["laion115m"], faster).datasets[0].identity == plain


def test_a_source_is_chosen_for_those_that_have_it(world: World, tmp_path: Path) -> None:
    """Of two datasets one has the form; the other is planned as ever."""
    sbu, coco = resolve(["sbu", "coco_valid"], _session(world, tmp_path, form="urls")).datasets
    assert sbu.recipe.samples.reader == "urls"
    assert coco.recipe.samples.reader == "coco_captions"
    assert resolve(["sbu"], _session(world, tmp_path)).datasets[0].recipe.samples.reader == "pairs"


def test_a_source_that_is_not_there_is_refused(world: World, tmp_path: Path) -> None:
    """Before anything is fetched or written, with the name that was meant."""
    with pytest.raises(SettingsError, match="did you mean 'urls'"):
        resolve(["sbu"], _session(world, tmp_path, form="url"))


LAN = "http://mirror.lan:8080"


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("cc3m_valid", {"hub_endpoint": LAN}, True),
        ("cc3m_valid", {"hub_endpoint": "http://127.0.0.1:8080"}, False),
        ("cc3m_valid", {}, False),
        ("cc3m_valid", {"mirrors": [{"prefix": "https://huggingface.co/", "places": [f"{LAN}/"]}]}, True),
        ("sbu", {"kaggle_endpoint": LAN}, True),
        ("sbu", {"mirrors": [{"prefix": "https://www.kaggle.com/", "places": [f"{LAN}/"]}]}, True),
        (
            "coco_valid",
            {"mirrors": [{"prefix": "http://images.cocodataset.org/", "places": [f"{LAN}/"]}]},
            False,
        ),
    ],
)
def test_plain_http_for_what_nothing_pins_is_told(
    tmp_path: Path, name: str, options: dict[str, Any], told: bool
) -> None:
    """A mirror or endpoint of the user's with plain http works, and is warned of where no digest protects."""
    session = make_session({"root": str(tmp_path), **options}, {})
    notes = unprotected(session.recipes.expand([name]), session.settings)
    assert bool(notes) is told
    for note in notes:
        assert all(LAN in words and name in words for words in note)
        assert note[0].isascii() and not note[1].isascii()
