"""`verify` names what is broken, and `--repair` makes that again and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.whole.conftest import Opener
from tests.whole.disk import check_all_whole, flip, litter, tree
from tests.whole.sources import coco_recipe, tiny_jpeg, write_coco, zip_folder

from g3m.lab.world import World
from g3m.runners.run import get_in, make_session, verify_in

pytestmark = pytest.mark.usefixtures("small_shards")

PACKED = Path("coco/coco_valid/00001.tar")
READY = Path("cc3m/cc3m/cc3m-train-0001.tar")


def cut(path: Path) -> None:
    """Lose the last third, as a full disk does."""
    os.truncate(path, path.stat().st_size * 2 // 3)


@dataclass(frozen=True)
class Damage:
    """A way to break a shard, and the problem that verify should name."""

    name: str
    do: Callable[[Path], None]
    problem: str


DAMAGES = [
    Damage("flipped", lambda path: flip(path, path.stat().st_size // 2), "digest"),
    Damage("flipped header", lambda path: flip(path, 100), "digest"),
    Damage("flipped end", lambda path: flip(path, path.stat().st_size - 1), "digest"),
    Damage("cut", cut, "size"),
    Damage("deleted", Path.unlink, "missing"),
    Damage("emptied", lambda path: os.truncate(path, 0), "size"),
]


@pytest.fixture
def root(tmp_path: Path, open_session: Opener) -> Path:
    """All six datasets, whole."""
    get_in(["all"], open_session(tmp_path / "data"), [])
    return tmp_path / "data"


def look(root: Path, open_session: Opener, *, deep: bool = False) -> list[tuple[str, str, str]]:
    """Dataset, shard and problem of each finding."""
    report = verify_in([], open_session(root), [], deep=deep, repair=False)
    assert report.ok == (not report.findings)
    return [(finding.dataset, finding.shard, finding.problem) for finding in report.findings]


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_tree_has_no_findings(deep: bool, root: Path, open_session: Opener) -> None:
    """What `get` made verifies, also when every picture is decoded, and verifying changes nothing."""
    before = tree(root)
    assert look(root, open_session, deep=deep) == []
    assert tree(root) == before


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_named(damage: Damage, deep: bool, root: Path, open_session: Opener) -> None:
    """A broken shard of either kind is found with its name and problem, and no other shard is accused."""
    damage.do(root / PACKED)
    damage.do(root / READY)
    found = look(root, open_session, deep=deep)
    first = {(dataset, shard): problem for dataset, shard, problem in reversed(found)}
    assert first == {
        ("cc3m", READY.name): damage.problem,
        ("coco_valid", PACKED.name): damage.problem,
    }


def test_a_stray_tar_is_named(root: Path, open_session: Opener) -> None:
    """A tar that the manifest does not know is found wherever it lies below the folder, and never deleted."""
    (root / "coco/coco_valid/deep").mkdir()
    strays = [root / "coco/coco_valid" / name for name in ("00099.tar", "deep/stray.tar")]
    for stray in strays:
        stray.write_bytes((root / PACKED).read_bytes())
    expected = [("coco_valid", name, "extra") for name in ("00099.tar", "deep/stray.tar")]
    assert look(root, open_session) == expected
    report = verify_in([], open_session(root), [], deep=False, repair=True)
    assert [(f.dataset, f.shard, f.problem) for f in report.findings] == expected
    assert all(stray.is_file() for stray in strays)


def test_a_picture_that_does_not_decode_is_named_by_deep_alone(tmp_path: Path) -> None:
    """A cut JPEG is packed as it came; only `deep` says that it does not decode, and repair leaves it.

    One whose header cannot be read was known, and listed, when it was packed.
    """
    folder = write_coco(tmp_path / "coco", "val2017", {number: ["a thing"] for number in (5, 6, 7)})
    names = {f"val2017/{number:012d}.jpg": tiny_jpeg(number) for number in (5, 6, 7)}
    names["val2017/000000000006.jpg"] = tiny_jpeg(6)[:-9]
    names["val2017/000000000007.jpg"] = b"\xff\xd8\xff\xe0 no picture \xff\xd9"
    archives = tmp_path / "archives"
    archives.mkdir()
    document = "annotations/captions_val2017.json"
    images = zip_folder(archives / "val2017.zip", names)
    annotations = zip_folder(archives / "annotations.zip", {document: folder / document})
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    coco_recipe(recipes / "mine.toml", "val2017", images, annotations)
    options = {
        "root": str(tmp_path / "data"),
        "source": [str(archives)],
        "recipes": [str(recipes)],
        "offline": True,
    }
    get_in(["mine"], make_session(dict(options), {}), [])
    before = tree(tmp_path / "data")
    for structure in (False, True):
        session = make_session(dict(options), {})
        assert verify_in([], session, [], structure=structure, deep=False, repair=False).ok
    report = verify_in([], make_session(dict(options), {}), [], deep=True, repair=True)
    assert [(finding.shard, finding.key, finding.problem) for finding in report.findings] == [
        ("00000.tar", "000000000006", "truncated")
    ]
    assert report.counts == {"mine": {"truncated": 1, "no_end": 1, "broken": 1}}
    assert (report.looked, report.decoded) == ({"mine": 3}, {"mine": 1})
    assert tree(tmp_path / "data") == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_repair_makes_only_the_broken_shards(
    damage: Damage, root: Path, world: World, open_session: Opener
) -> None:
    """The bytes are as before, other shards keep inode and time, and only assets that are needed are fetched."""
    before = tree(root)
    others = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*.tar")
        if path not in (root / PACKED, root / READY)
    }
    damage.do(root / PACKED)
    damage.do(root / READY)
    world.origin.forget_requests()
    report = verify_in([], open_session(root), [], deep=True, repair=True)
    assert report.ok, report.findings
    assert {(f.dataset, f.shard) for f in report.repaired} == {
        ("cc3m", READY.name),
        ("coco_valid", PACKED.name),
    }
    assert tree(root) == before
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in others} == others
    asked = {Path(request.path).name for request in world.origin.requests}
    assert asked == {READY.name, "val2017.zip", "annotations_trainval2017.zip"}
    assert litter(root) == []


@pytest.mark.parametrize("name", ["sbu/sbu/00002.tar", "openimages_v7/openimages_v7_valid/00003.tar"])
def test_repair_inflates_again_what_was_compressed(
    name: str, root: Path, world: World, open_session: Opener
) -> None:
    """A shard whose source went through a spool is made again, although the spool is long gone."""
    before = tree(root)
    (root / name).unlink()
    assert verify_in([], open_session(root), [], deep=True, repair=True).ok
    assert tree(root) == before
    assert litter(root) == []


def test_get_makes_a_lost_shard_again(root: Path, world: World, open_session: Opener) -> None:
    """A shard that somebody deleted or cut is noticed by a plain `get` too, and made again."""
    before = tree(root)
    (root / READY).unlink()
    cut(root / PACKED)
    get_in(["all"], open_session(root), [])
    assert tree(root) == before


SMALL_FILES = [
    "index.bin",
    "rejected.jsonl",
    "sizes.json",
    "_info.json",
    "wids-meta.json",
    "SHA256SUMS",
    "README.md",
    "manifest.json",
]


@pytest.mark.parametrize(
    ("name", "do"),
    [*((name, Path.unlink) for name in SMALL_FILES), ("index.bin", lambda path: flip(path, 40))],
    ids=[*(f"{name} deleted" for name in SMALL_FILES), "index.bin flipped"],
)
def test_a_broken_small_file_is_named_and_written_again(
    name: str, do: Callable[[Path], None], root: Path, world: World, open_session: Opener
) -> None:
    """What readers of the shards rely on is verified too, and mended from receipts without any download."""
    before = tree(root)
    do(root / "coco/coco_valid" / name)
    assert [(dataset, shard) for dataset, shard, _ in look(root, open_session)] == [("coco_valid", name)]
    world.origin.forget_requests()
    assert verify_in([], open_session(root), [], deep=False, repair=True).ok
    assert tree(root) == before
    assert not [request.path for request in world.origin.requests if request.path.endswith((".zip", ".tar"))]


@pytest.mark.parametrize("named_again", [False, True])
def test_repair_of_a_shard_that_is_a_link_to_the_users_own(
    named_again: bool, tmp_path: Path, world: World, open_session: Opener
) -> None:
    """A ready shard linked from --from is fetched when both names hold broken bytes; the user's is left alone."""
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in world.sources.cc3m.folder.glob("cc3m-validation-*.tar"):
        (mine / path.name).write_bytes(path.read_bytes())
    source = {"source": [str(mine)]}
    get_in(["cc3m_valid"], open_session(tmp_path / "data", **source), [])
    before = tree(tmp_path / "data")
    flip(tmp_path / "data/cc3m/cc3m_valid/cc3m-validation-0000.tar", 5000)
    own = tree(mine)
    session = open_session(tmp_path / "data", **(source if named_again else {}))
    report = verify_in([], session, [], deep=False, repair=True)
    assert report.ok, report.findings
    assert tree(tmp_path / "data") == before
    assert tree(mine) == own
    assert litter(tmp_path / "data") == []


def command(folder: Path, world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m g3m` in a folder whose g3m.toml leads to the world."""
    (folder / "g3m.toml").write_text(world.config(), encoding="utf-8")
    own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "G3M_LANG": "en"}
    return subprocess.run(
        [sys.executable, "-m", "g3m", *arguments],
        cwd=folder,
        env={**os.environ, **world.variables, **own},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_line_says_it_by_exit_codes(tmp_path: Path, world: World) -> None:
    """`g3m verify` exits 0 when whole, 7 when broken, 0 after --repair; the shard is named in between."""
    world.origin.be_honest()
    made = command(tmp_path, world, "get", "coco_valid", "cc3m_valid", "--yes", "--root", "data")
    assert made.returncode == 0, made.stderr
    shard = tmp_path / "data/coco/coco_valid/00000.tar"
    before = tree(tmp_path / "data")
    assert check_all_whole(tmp_path / "data") == 2
    assert command(tmp_path, world, "verify", "--root", "data").returncode == 0
    flip(shard, 4000)
    broken = command(tmp_path, world, "verify", "--root", "data")
    assert broken.returncode == 7
    assert "00000.tar" in broken.stdout + broken.stderr
    assert "Traceback" not in broken.stderr
    told = command(tmp_path, world, "verify", "--json", "--root", "data")
    assert told.returncode == 7
    assert any("00000.tar" in line and "digest" in line for line in told.stdout.splitlines())
    assert all(json.loads(line) for line in told.stdout.splitlines())
    repaired = command(tmp_path, world, "verify", "--repair", "--root", "data")
    assert repaired.returncode == 0, repaired.stderr
    assert tree(tmp_path / "data") == before
    assert command(tmp_path, world, "verify", "--deep", "--root", "data").returncode == 0
