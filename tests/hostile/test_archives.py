"""Archives that lie: each by its reader, and each through everything that a user may do with it.

By default some of the cases go the whole way through the commands; with G3M_SEARCH=all every one does.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hostile.archives import (
    CASES,
    TAR_CASES,
    Case,
    entry,
    packed,
    sample,
    whole_tar,
)
from tests.hostile.commands import Commands
from tests.whole.disk import check_all_whole, read_shards, tree
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.core.digest import of_bytes
from g3m.core.errors import BadArchive, NotRecognised, UnknownDataset
from g3m.core.members import Member, Refusal
from g3m.core.plan import asset_id
from g3m.core.receipt import AssetReceipt, manifest, to_json
from g3m.core.recipe import Asset
from g3m.core.shard import ustar_header
from g3m.runners.run import make_session
from g3m.steps.publish import counted
from g3m.steps.unfold import unfold
from g3m.steps.unpack import unpack

ALL = os.environ.get("G3M_SEARCH") == "all"
pytestmark = pytest.mark.timeout(1800 if ALL else 300)
PEAK_BYTES = 150 * 10**6
"""What a command may hold at its peak, g3m itself included: some 50 MB."""

KNOWN = ("manifest.json", "rejected.jsonl", "findings.jsonl", "index.bin", "sizes.json", "_info.json", "wids-meta.json",
         "SHA256SUMS", "README.md")  # fmt: skip


def some(cases: tuple[Case, ...] | list[Case], count: int) -> list[Case]:
    """All cases, or a sample of each kind that is the same in every run."""
    if ALL:
        return list(cases)
    kinds = {case.kind: [one for one in cases if one.kind == case.kind] for case in cases}
    drawn = random.Random(3)
    return [one for group in kinds.values() for one in drawn.sample(group, min(count, len(group)))]


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """g3m as it is installed, loaded once."""
    with Commands() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in which a case has its source, its root, and neighbours that nobody may touch."""
    for name in ("source", "empty", "beside"):
        (tmp_path / name).mkdir()
    (tmp_path / "beside" / "evil.jpg").write_bytes(b"of somebody else")
    (tmp_path / "evil").write_bytes(b"of somebody else, too")
    return tmp_path


def outside(place: Path) -> dict[str, str]:
    """Every file that no command is to change."""
    return {name: digest for name, digest in tree(place).items() if name.split("/")[0] not in ("root", "out")}


def check_inside(root: Path) -> None:
    """Below a root there are files and folders of known names, and nothing else."""
    for path in root.rglob("*"):
        state = path.lstat()
        assert stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode), path
        assert not state.st_mode & 0o7000, path
        assert "evil" not in path.name, path
    for path in root.glob("mine/mine/*"):
        assert path.name in KNOWN or path.suffix == ".tar", path
    check_all_whole(root)


# --- by their readers -----------------------------------------------------------------------------------------------


def held(path: Path, root: Path) -> tuple[list[Member | Refusal], dict[str, bytes | None]]:
    """What the steps see of an archive: its listing, and what can be read of it."""
    session: Session = make_session({"root": str(root)})
    session.store.prepare()
    content = path.read_bytes()
    asset = Asset(name=path.name, size_bytes=len(content), places=("https://nowhere.invalid/x",))
    receipt = AssetReceipt(
        id=asset_id(asset),
        name=asset.name,
        size_bytes=len(content),
        digests=(of_bytes(content),),
        proof="recipe",
        path=str(path),
    )
    items: list[Member | Refusal] = []
    read: dict[str, bytes | None] = {}
    for holding in unfold(asset, receipt, session):
        mine = list(holding.members)
        with MemberReader(holding.path) as reader:
            for item in mine:
                if isinstance(item, Member):
                    try:
                        read[item.name] = reader.read(item)
                    except BadArchive:
                        read[item.name] = None
        items += mine
    return items, read


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_is_listed_as_it_is_or_refused(case: Case, place: Path) -> None:
    """An error that says why, or the members that can be trusted and a reason for each of the others."""
    path = place / "source" / case.file_name
    path.write_bytes(case.content)
    before = outside(place)
    if case.words and not case.content.startswith((b"<html>", b"#")) and case.content:
        with pytest.raises(BadArchive, match=case.words):
            held(path, place / "root")
    elif not case.words:
        items, read = held(path, place / "root")
        assert [(item.name, item.reason) for item in items if isinstance(item, Refusal)] == list(case.refused)
        sound = [name for key in case.keys for name in (f"{key}.jpg", f"{key}.txt")]
        assert {name for name, content in read.items() if content is None} == set(case.unreadable)
        assert set(sound) <= {name for name, content in read.items() if content is not None}
        for number in (1, 2):
            name, content = sample(number)[0]
            assert read[name] == content
    assert outside(place) == before
    check_inside(place / "root") if (place / "root").exists() else None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_a_list_to_gather(case: Case, place: Path) -> None:
    """An archive in the place of a list gives its one list, or is refused; nothing else is written or left."""
    path = place / "source" / case.file_name
    path.write_bytes(case.content)
    session = make_session({"root": str(place / "root")})
    session.store.prepare()
    before = outside(place)
    written = []
    try:
        written.append(unpack(path, path.name, "mine", 0, session))
        assert not case.words
    except (BadArchive, NotRecognised):
        # The name of a list says what it is; two lists of text side by side are one, more are none.
        is_one = not case.refused and case.keys == ("k1", "k2") and "called" not in case.name
        assert case.words or case.unreadable or not is_one
    assert outside(place) == before
    assert [left for left in (place / "root").rglob("*") if left.is_file()] == written


# --- through the commands -------------------------------------------------------------------------------------------


def recipe_of(case: Case, place: Path) -> list[str]:
    """The command that makes a dataset of the user's own archive."""
    path = place / "source" / case.file_name
    path.write_bytes(case.content)
    recipe = my_recipe(place / "mine.toml", [(path, [])], {"reader": "pairs", "images": path.name})
    return [
        *("get", str(recipe), "--from", str(path), "--root", str(place / "root")),
        *("--offline", "--max-rejected", "1"),
    ]


@pytest.mark.parametrize("case", some(CASES, 12), ids=str)
def test_as_an_archive_of_the_users_own(case: Case, place: Path, commands: Commands) -> None:
    """`g3m get --from`: a dataset of what is sound with a list of the rest, or an error and no shard."""
    command = recipe_of(case, place)
    before = outside(place)
    done = commands.run(
        command, ["verify", "--structure", "--root", str(place / "root")], cwd=place / "empty"
    )
    told, _ = done.texts
    assert "Traceback" not in told
    assert done.peak_bytes < PEAK_BYTES
    assert outside(place) == before
    check_inside(place / "root")
    folder = place / "root" / "mine" / "mine"
    if case.words:
        assert done.codes[0] in (3, 7), told
        assert "error G3M-E7" in told or "error G3M-E3" in told
        assert not list(place.rglob("root/**/*.tar"))
        return
    assert done.codes == [0, 0], done.texts
    found = {key: parts for shard in read_shards(folder).values() for key, parts in shard.items()}
    assert tuple(sorted(found)) == case.keys
    assert found["k2"]["jpg"] == tiny_jpeg(2)
    rows = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    reasons = [row["reason"] for row in rows]
    for _, reason in case.refused:
        assert reasons.count(reason) >= [own for _, own in case.refused].count(reason)
    assert reasons.count("damaged") == len(case.unreadable)


@pytest.mark.parametrize("case", some(TAR_CASES, 20), ids=str)
def test_as_a_shard_of_somebody_else(case: Case, place: Path, commands: Commands) -> None:
    """`g3m index` and `g3m pack`: every sample that is sound, and a count of the others; or an error, no index."""
    source = place / "source" / "a.tar"
    source.write_bytes(case.content)
    before = outside(place)
    done = commands.run(
        ["index", str(source.parent), "--root", str(place / "root")],
        ["pack", str(source.parent), "--to", str(place / "out"), "--max-rejected", "1"],
        cwd=place / "empty",
    )
    assert "Traceback" not in "".join(done.texts)
    assert done.peak_bytes < PEAK_BYTES
    after = outside(place)
    index = after.pop("source/index.bin", None)
    after.pop("source/.index.bin.scans", None)
    assert after == before
    check_inside(place / "out")
    if case.words:
        assert done.codes == [7, 7], done.texts
        assert index is None
        assert not list(place.glob("out/*.tar"))
        with pytest.raises(UnknownDataset):
            g3m.dataset(str(source.parent))
        return
    assert done.codes == [0, 0], done.texts
    expected = case.foreign_keys or case.keys
    with g3m.dataset(str(source.parent)) as data, g3m.dataset(str(place / "out")) as again:
        for found in (data, again):
            assert tuple(sorted(one.key for one in found)) == expected
            assert {one.key: one.image for one in found}["k2"] == tiny_jpeg(2)
    for name, reason in case.refused:
        assert reason in done.texts[1]
        # A file without an extension is no member of a sample, for an index as for every reader.
        assert (reason if name.rpartition("/")[2].find(".") > 0 else "no extension") in done.texts[0]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Path:
    """The root of a dataset of two samples, to be copied."""
    place = tmp_path_factory.mktemp("published")
    (place / "source").mkdir()
    done = commands.run(recipe_of(TAR_CASES[0], place), cwd=place)
    assert done.codes == [0], done.texts
    return place / "root"


@pytest.mark.parametrize(
    "case", some([case for case in TAR_CASES if case.words or case.refused], 20), ids=str
)
def test_as_a_shard_in_a_dataset(case: Case, place: Path, published: Path, commands: Commands) -> None:
    """`g3m verify --structure` names it, although size and digest are those of the manifest."""
    shutil.copytree(published, place / "root")
    folder = place / "root" / "mine" / "mine"
    (folder / "00000.tar").write_bytes(case.content)
    body = manifest((folder / "manifest.json").read_text())
    assert body is not None
    shard = replace(body.shards[0], size_bytes=len(case.content), sha256=of_bytes(case.content).hex)
    body = replace(body, shards=(shard,))
    for name, text in {**counted(body), "manifest.json": to_json(body)}.items():
        (folder / name).write_text(text)
    before = outside(place)
    root = ["--root", str(place / "root")]
    done = commands.run(["verify", *root], ["verify", "--structure", *root], cwd=place / "empty")
    assert done.codes == [0, 7], done.texts
    assert "00000.tar: structure" in done.texts[1]
    assert "Traceback" not in "".join(done.texts)
    assert done.peak_bytes < PEAK_BYTES
    assert outside(place) == before


def test_many_members_take_little_memory(place: Path, commands: Commands) -> None:
    """A tar.gz of empty members, two million of them if all is asked for, is read in bounded memory."""
    count = 2_000_000 if ALL else 100_000
    pieces = (ustar_header(f"{number}.jpg", 0) for number in range(count))
    content = packed(whole_tar(*pieces, *(entry(name.encode(), data) for name, data in sample(1))), 1)
    case = Case("many", "gz", lambda: content)
    done = commands.run(recipe_of(case, place), cwd=place / "empty")
    assert done.codes == [0], done.texts
    assert f"{count} empty_image" in done.texts[0] or f"{count} " in done.texts[0]
    print(f"{count} members: {done.peak_bytes / 1e6:.0f} MB at the peak")
    assert done.peak_bytes < PEAK_BYTES + 900 * count
