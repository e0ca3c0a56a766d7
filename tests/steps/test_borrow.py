"""steps/borrow.py: packed shards of a peer are taken whole or not at all, and never claimed to be more."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.beneath import open_beneath
from g3m.adapters.session import Session
from g3m.adapters.share import ShareOptions, ShareServer
from g3m.core.digest import of_bytes
from g3m.core.errors import G3MError
from g3m.core.events import Event, Noted
from g3m.core.receipt import manifest, to_json
from g3m.core.secrets import Secret
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session, verify_in
from g3m.steps.offer import known_datasets, offer

TOKEN = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
NAMES = ["coco_valid", "openimages_v7_valid", "sbu"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A world, and a root where three datasets are packed; only to be copied."""
    folder = tmp_path_factory.mktemp("borrow")
    with World(folder / "world", samples=8) as world:
        get_in(NAMES, session_at(folder / "box", world), [])
        yield world, folder / "box"


def session_at(root: Path, world: World, **options: Any) -> Session:
    return make_session({"root": str(root), **world.options, **options}, dict(world.variables))


@contextmanager
def shared(box: Path, world: World) -> Iterator[str]:
    session = session_at(box, world)
    server = ShareServer(
        lambda parts: open_beneath(box.resolve(), parts),
        Secret(TOKEN),
        lambda: offer(known_datasets(session), session)[1],
        ShareOptions(port=0),
    )
    with server:
        yield server.url


def shards(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.tar")}


def files_of(world: World) -> list[str]:
    """The files that were asked of the sources."""
    return [request.path for request in world.origin.requests]


def test_a_packed_dataset_is_taken_over(made: tuple[World, Path], tmp_path: Path) -> None:
    """Same bytes, same index, same list of what was left out, without one request to a source; everything says whose word it is."""
    world, box = made
    world.origin.forget_requests()
    events: list[Event] = []
    with shared(box, world) as url:
        session = session_at(tmp_path / "data", world, trust_peers=True, peer=[url])
        summary = get_in(NAMES, session, [events.append])
    assert files_of(world) == []
    assert shards(tmp_path / "data") == shards(box)
    for name, body in summary.manifests.items():
        theirs = manifest((box / body.folder / "manifest.json").read_text(encoding="utf-8"))
        assert theirs is not None
        assert (body.shards, body.samples, body.identity, body.rejected) == (
            theirs.shards,
            theirs.samples,
            theirs.identity,
            theirs.rejected,
        )
        assert body.findings == theirs.findings
        assert body.notes["from_peer"] == len(body.shards)
        assert {asset.proof for asset in body.assets} == {"peer"}
        for small in ("rejected.jsonl", "index.bin", "SHA256SUMS", "sizes.json"):
            ours = (tmp_path / "data" / body.folder / small).read_bytes()
            assert ours == (box / body.folder / small).read_bytes(), (name, small)
        card = (tmp_path / "data" / body.folder / "README.md").read_text(encoding="utf-8")
        assert "taken on its word" in card
        assert "taken on its word" not in (box / body.folder / "README.md").read_text(encoding="utf-8")
    assert any(body.findings for body in summary.manifests.values())
    told = [event.text for event in events if isinstance(event, Noted) and "only proof" in event.text]
    assert len(told) == 3
    assert TOKEN not in repr(events)
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert TOKEN.encode() not in written
    report = verify_in((), session_at(tmp_path / "data", world), [], deep=True, repair=False)
    assert report.ok
    again = get_in(NAMES, session_at(tmp_path / "data", world, offline=True), [])
    assert again.finished == 0


@pytest.mark.parametrize("change", [{"parity": "nxtp"}])
def test_another_identity_is_not_taken(
    made: tuple[World, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    """Other options make other shards: the sources are asked, and no shard is anybody's word."""
    world, box = made
    world.origin.forget_requests()
    with shared(box, world) as url:
        summary = get_in(
            ["coco_valid"], session_at(tmp_path / "data", world, trust_peers=True, peer=[url], **change), []
        )
    assert any("val2017.zip" in path for path in files_of(world))
    assert "from_peer" not in summary.manifests["coco_valid"].notes


def test_what_is_here_needs_nobodys_word(made: tuple[World, Path], tmp_path: Path) -> None:
    """With all archives present the dataset is packed here."""
    world, box = made
    data = tmp_path / "data"
    get_in(["coco_valid"], session_at(data, world, keep_assets=True), [])
    shutil.rmtree(data / "coco" / "coco_valid")
    shutil.rmtree(data / ".g3m" / "receipts" / "coco_valid")
    with shared(box, world) as url:
        summary = get_in(["coco_valid"], session_at(data, world, trust_peers=True, peer=[url]), [])
    assert "from_peer" not in summary.manifests["coco_valid"].notes


def forged(box: Path, folder: Path, content: bytes) -> None:
    """A peer that has put another file in place of a shard and made its manifest agree."""
    path = box / folder / "00000.tar"
    path.write_bytes(content)
    text = (box / folder / "manifest.json").read_text(encoding="utf-8")
    body = manifest(text)
    assert body is not None
    shard = replace(body.shards[0], size_bytes=len(content), sha256=of_bytes(content).hex)
    (box / folder / "manifest.json").write_text(
        to_json(replace(body, shards=(shard, *body.shards[1:]))), encoding="utf-8"
    )


def test_a_shard_that_is_none_is_refused(made: tuple[World, Path], tmp_path: Path) -> None:
    """A file whose digest is as the peer says, but which no g3m packed: nothing of it is published."""
    world, box = made
    copy = tmp_path / "box"
    shutil.copytree(box, copy)
    with tarfile.open(tmp_path / "evil.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("../../evil.jpg", "a.jpg", "a.txt"):
            archive.addfile(tarfile.TarInfo(name))
    for content in (b"no tar at all" * 1000, (tmp_path / "evil.tar").read_bytes()):
        forged(copy, Path("coco/coco_valid"), content)
        data = tmp_path / f"data-{len(content)}"
        with shared(copy, world) as url, pytest.raises(G3MError):
            get_in(["coco_valid"], session_at(data, world, trust_peers=True, peer=[url]), [])
        assert not list(data.rglob("*.tar"))
        # Without the peer it goes on from the sources, and nothing is left of its word.
        summary = get_in(["coco_valid"], session_at(data, world), [])
        assert "from_peer" not in summary.manifests["coco_valid"].notes
        assert shards(data) == {"coco/coco_valid/00000.tar": (box / "coco/coco_valid/00000.tar").read_bytes()}


def test_a_broken_borrowed_shard_is_made_from_the_sources(made: tuple[World, Path], tmp_path: Path) -> None:
    """Repair without the peer packs that shard here, and the claim that it is the peer's goes."""
    world, box = made
    data = tmp_path / "data"
    with shared(box, world) as url:
        get_in(["coco_valid"], session_at(data, world, trust_peers=True, peer=[url]), [])
    shard = data / "coco" / "coco_valid" / "00000.tar"
    shard.write_bytes(b"x")
    report = verify_in(("coco_valid",), session_at(data, world), [], deep=False, repair=True)
    assert report.ok
    assert shard.read_bytes() == (box / "coco/coco_valid/00000.tar").read_bytes()
    assert "from_peer" not in report.manifests["coco_valid"].notes


def test_a_peer_that_does_not_say_what_it_left_out(made: tuple[World, Path], tmp_path: Path) -> None:
    """Its list of rejected samples cannot be read: its shards are not taken, and a note says why."""
    world, box = made
    copy = tmp_path / "box"
    shutil.copytree(box, copy)
    (copy / "coco" / "coco_valid" / "rejected.jsonl").write_text(
        json.dumps({"key": 1}) + "\n", encoding="utf-8"
    )
    events: list[Event] = []
    with shared(copy, world) as url:
        summary = get_in(
            ["coco_valid"],
            session_at(tmp_path / "data", world, trust_peers=True, peer=[url]),
            [events.append],
        )
    assert "from_peer" not in summary.manifests["coco_valid"].notes
    assert any("packed here instead" in event.text for event in events if isinstance(event, Noted))


def test_a_peer_whose_findings_cannot_be_read(made: tuple[World, Path], tmp_path: Path) -> None:
    """As with what it left out: its shards are not taken."""
    world, box = made
    copy = tmp_path / "box"
    shutil.copytree(box, copy)
    (copy / "coco" / "coco_valid" / "findings.jsonl").write_text('{"key": 1}\n', encoding="utf-8")
    with shared(copy, world) as url:
        session = session_at(tmp_path / "data", world, trust_peers=True, peer=[url])
        summary = get_in(["coco_valid"], session, [])
    assert "from_peer" not in summary.manifests["coco_valid"].notes


def test_a_peer_from_before_findings_were_listed(made: tuple[World, Path], tmp_path: Path) -> None:
    """Its dataset is offered and taken without the list; nothing is claimed to have been found."""
    world, box = made
    copy = tmp_path / "box"
    shutil.copytree(box, copy)
    folder = copy / "coco" / "coco_valid"
    (folder / "findings.jsonl").unlink()
    body = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name in ("findings", "treatment", "seen"):
        del body[name]
    (folder / "manifest.json").write_text(json.dumps(body), encoding="utf-8")
    with shared(copy, world) as url:
        session = session_at(tmp_path / "data", world, trust_peers=True, peer=[url])
        summary = get_in(["coco_valid"], session, [])
    taken = summary.manifests["coco_valid"]
    assert taken.notes["from_peer"] == len(taken.shards)
    assert (tmp_path / "data" / "coco/coco_valid/findings.jsonl").read_bytes() == b""
