"""steps/publish.py: the manifest and the files beside it agree with the shards and with one another."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.adapters.session import Session
from g3m.core.errors import ContentError, TooManyRejected
from g3m.core.events import Noted
from g3m.core.index import Index
from g3m.core.receipt import Manifest, manifest
from g3m.core.samples import REASONS
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session
from g3m.steps.publish import MANIFEST, publish, published, read_manifest, shard_names
from g3m.steps.resolve import resolve


def heap(folder: Path, samples: int = 7, **options: object) -> Made:
    """Pairs, of which the last image is missing and one is a page."""
    files: dict[str, bytes] = {}
    for number in range(samples):
        files |= {f"k{number}.jpg": tiny_jpeg(number), f"k{number}.txt": f"caption {number} déjà".encode()}
    files |= {"page.jpg": b"<html>", "page.txt": b"words", "alone.txt": "allein – ü".encode()}
    archive = zip_of(folder / "source" / "heap.zip", files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive, **options)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Seven samples in three shards, two losses."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    return heap(tmp_path)


def test_all_companions_tell_the_same(made: Made) -> None:
    """Counts, names, sizes and digests of all files are those of the shards on the disk."""
    folder = made.folder
    names = sorted(path.name for path in folder.glob("*.tar"))
    assert len(names) == 3
    body = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert [shard["name"] for shard in body["shards"]] == names
    counts = {shard["name"]: shard["samples"] for shard in body["shards"]}
    assert sum(counts.values()) == body["samples"] == len(made.samples) == 7
    assert body["size_bytes"] == sum((folder / name).stat().st_size for name in names)
    assert json.loads((folder / "sizes.json").read_text(encoding="utf-8")) == counts
    split = json.loads((folder / "_info.json").read_text(encoding="utf-8"))["splits"]["heap"]
    assert (split["filenames"], split["shard_lengths"], split["num_samples"]) == (
        names,
        list(counts.values()),
        7,
    )
    wids = json.loads((folder / "wids-meta.json").read_text(encoding="utf-8"))
    assert wids == {"wids_version": 1, "shardlist": [{"url": n, "nsamples": c} for n, c in counts.items()]}
    sums = dict(
        line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    assert sums == {shard["name"]: shard["sha256"] for shard in body["shards"]}
    index = Index((folder / "index.bin").read_bytes())
    assert (len(index), list(index.shards)) == (7, names)
    rows = [json.loads(line) for line in (folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["reason"] for row in rows} == set(body["rejected"]) == {"missing_image", "not_an_image"}
    assert len(rows) == sum(body["rejected"].values()) == 2
    assert {row["key"] for row in rows} == {"page", "alone"}


def test_sha256sum_agrees(made: Made) -> None:
    """`sha256sum -c SHA256SUMS` in the folder finds every shard good."""
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=made.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(": OK") == 3


def test_the_index_reads_every_sample(made: Made) -> None:
    """Through the dataset's index every member of every sample is found, across shards."""
    index = Index((made.folder / "index.bin").read_bytes())
    keys = []
    for number in range(len(index)):
        shard, entry = index[number]
        data = (made.folder / shard).read_bytes()
        keys.append(entry.key)
        assert [field.extension for field in entry.fields] == ["jpg", "json", "txt"]
        for field in entry.fields:
            assert (
                data[field.offset : field.offset + field.size_bytes]
                == made.samples[entry.key][field.extension]
            )
    assert keys == list(made.samples)


def test_the_card_says_what_a_person_should_know(made: Made) -> None:
    """Counts, licence, what was left out with its meaning; no empty block to cite."""
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    for words in (
        "# a dataset of my own",
        "7 samples in 3 shards",
        "Licence: mine",
        "## Left out",
    ):
        assert words in card
    assert "## Cite" not in card, "the recipe has nothing to cite"
    for reason in ("missing_image", "not_an_image"):
        assert f"- {reason}: 1 ({REASONS[reason]})" in card
    assert "Nothing was left out" not in card


def test_manifests_do_not_tell_of_this_machine(made: Made) -> None:
    """No path of the user's, no host, no time: the same input gives the same documents elsewhere."""
    for name in (MANIFEST, "sizes.json", "_info.json", "wids-meta.json", "SHA256SUMS", "README.md"):
        text = (made.folder / name).read_text(encoding="utf-8")
        assert str(made.root.parent) not in text, name
    other = heap(made.root.parent / "elsewhere", root=made.root.parent / "other")
    ours = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    theirs = {path.name: path.read_bytes() for path in other.folder.iterdir()}
    assert ours == theirs


def test_everything_is_listed_once_and_nothing_else(made: Made) -> None:
    """The folder of a dataset holds its shards, the files that the docs name, and nothing in the making."""
    names = {path.name for path in made.folder.iterdir() if path.suffix != ".tar"}
    assert names == {
        MANIFEST,
        "rejected.jsonl",
        "findings.jsonl",
        "index.bin",
        "sizes.json",
        "_info.json",
        "wids-meta.json",
        "SHA256SUMS",
        "README.md",
    }


def parts_of(made: Made) -> tuple[object, object, Session]:
    plan = resolve([str(made.root.parent / "heap.toml")], made.session)
    return plan, plan.datasets[0], made.session


def test_the_manifest_is_written_last(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before any of the companions: no manifest stands there, and the next run completes it."""
    companions = [path.name for path in made.folder.iterdir() if path.suffix != ".tar"]
    for name in companions:
        for other in companions:
            (made.folder / other).unlink(missing_ok=True)

        def failing(path: Path, content: object, name: str = name) -> None:
            if path.name == name:
                raise KeyboardInterrupt
            path.write_bytes(content if isinstance(content, bytes) else str(content).encode())

        plan, dataset, session = parts_of(made)
        with monkeypatch.context() as patched:
            patched.setattr("g3m.steps.publish.write_document", failing)
            with pytest.raises(KeyboardInterrupt):
                list(publish(dataset.publish_task(()), plan, session))  # type: ignore[attr-defined,arg-type]
        assert not (made.folder / MANIFEST).exists(), name
        assert published(dataset, session) is None  # type: ignore[arg-type]
    assert get_in([str(made.root.parent / "heap.toml")], made.session, []).manifests["heap"] == made.manifest


def test_published_means_whole(made: Made) -> None:
    """A shard cut or gone, a receipt gone, a manifest of other options or torn: not published."""
    _, dataset, session = parts_of(made)
    assert published(dataset, session) == made.manifest  # type: ignore[arg-type]
    shard = made.folder / "00001.tar"
    receipt = session.store.receipt("heap", "00001.tar")
    document = made.folder / MANIFEST
    for path, spoiled in (
        (shard, shard.read_bytes()[:-1]),
        (shard, None),
        (receipt, None),
        (document, b"{"),
        (document, document.read_bytes().replace(b'"identity": "', b'"identity": "0')),
        (document, document.read_bytes().replace(b'"format": 1', b'"format": 2')),
        (document, None),
    ):
        good = path.read_bytes()
        path.unlink()
        if spoiled is not None:
            path.write_bytes(spoiled)
        assert published(dataset, session) is None, (path, spoiled)  # type: ignore[arg-type]
        path.write_bytes(good)
    assert published(dataset, session) == made.manifest  # type: ignore[arg-type]
    assert read_manifest(dataset, session) == manifest(document.read_text(encoding="utf-8"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["index.bin", "sizes.json", "SHA256SUMS", "rejected.jsonl", "findings.jsonl"]
)
def test_a_companion_that_is_gone_is_made_again(made: Made, name: str) -> None:
    """Losing an index loses nothing: the same command makes it again, and no shard is packed for it."""
    good = (made.folder / name).read_bytes()
    before = {path.name: path.stat().st_mtime_ns for path in made.folder.glob("*.tar")}
    (made.folder / name).unlink()
    get_in([str(made.root.parent / "heap.toml")], made.session, [])
    assert (made.folder / name).read_bytes() == good
    assert {path.name: path.stat().st_mtime_ns for path in made.folder.glob("*.tar")} == before


def test_the_index_of_a_shard_that_is_gone(made: Made) -> None:
    """Its receipt goes with it, so that the next run makes the shard again; the error says to run again."""
    plan, dataset, session = parts_of(made)
    session.store.receipt("heap", "00001.tar").with_suffix(".index").unlink()
    with pytest.raises(ContentError, match=r"the index of 00001\.tar is missing; run again"):
        list(publish(dataset.publish_task(()), plan, session))  # type: ignore[attr-defined,arg-type]
    assert get_in([str(made.root.parent / "heap.toml")], session, []).manifests["heap"] == made.manifest


def test_a_receipt_that_is_gone(made: Made) -> None:
    """Publishing without a shard's receipt is an error that names it."""
    plan, dataset, session = parts_of(made)
    session.store.receipt("heap", "00002.tar").unlink()
    with pytest.raises(ContentError, match=r"the receipt of 00002\.tar is missing"):
        list(publish(dataset.publish_task(()), plan, session))  # type: ignore[attr-defined,arg-type]


def test_losses_found_while_packing_count_for_the_budget(tmp_path: Path) -> None:
    """Pages are seen only while packing: too many of them stop the dataset before it is published."""
    with pytest.raises(
        TooManyRejected, match=r"2 of 5 samples are unusable \(1 missing_image, 1 not_an_image\)"
    ):
        heap(tmp_path, samples=3, max_rejected=0.3)
    assert not (tmp_path / "data" / "mine" / "heap" / MANIFEST).exists()
    assert heap(tmp_path, samples=3, max_rejected=0.4).manifest.samples == 3


def test_a_count_that_the_source_does_not_keep_is_told(tmp_path: Path) -> None:
    """Fewer samples than the source states is no error; it is said in an event, the manifest and the card."""
    files = {"a.jpg": tiny_jpeg(1), "a.txt": b"words"}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    with open(recipe, "a", encoding="utf-8") as file:
        file.write('\n[expect]\nsamples = 3\nsource = "their page"\n')
    made = make(recipe, archive)
    texts = [event.text for event in made.events if isinstance(event, Noted)]
    assert any("1 samples packed, 3 expected (their page)" in text for text in texts)
    assert (made.manifest.expected_samples, made.manifest.expected_source) == (3, "their page")
    assert "The source states 3: their page." in (made.folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=6) as world:
        yield world


def test_an_asset_that_another_dataset_waits_for_is_kept(world: World, tmp_path: Path) -> None:
    """coco and coco_valid share the annotations: fetched once, deleted when the second of them is published."""
    world.origin.forget_requests()
    options = {**world.options, "root": str(tmp_path)}
    get_in(["coco", "coco_valid"], make_session({**options, "keep_assets": True}, world.variables), [])
    asked = [request.path for request in world.origin.requests if "annotations" in request.path]
    assert len(asked) == 1
    session = make_session(options, world.variables)
    plan = resolve(["coco", "coco_valid"], session)
    for dataset in plan.datasets:
        (tmp_path / dataset.recipe.folder / MANIFEST).unlink()

    def left() -> set[str]:
        return {path.name.partition("-")[2] for path in session.store.part("").iterdir()}

    archives = {"train2017.zip.whole", "val2017.zip.whole", "annotations_trainval2017.zip.whole"}
    assert left() == archives
    first, second = plan.datasets
    list(publish(first.publish_task(()), plan, session))
    assert left() == archives - {"train2017.zip.whole"}
    list(publish(second.publish_task(()), plan, session))
    assert left() == set()


def test_shard_names_follow_the_reader(world: World, tmp_path: Path) -> None:
    """Ready shards keep their names; packed ones are numbered, once it is known how many."""
    session = make_session({**world.options, "root": str(tmp_path)}, world.variables)
    ready, coco = resolve(["cc3m", "coco_valid"], session).datasets
    assert shard_names(ready, session) == ("cc3m-train-0000.tar", "cc3m-train-0001.tar")
    assert shard_names(coco, session) == ()
    made: Manifest = get_in(["coco_valid"], session, []).manifests["coco_valid"]
    assert shard_names(coco, session) == ("00000.tar",) == tuple(shard.name for shard in made.shards)


def test_a_dataset_made_before_findings_were_listed(made: Made) -> None:
    """Without the list, and with a manifest that counts no findings, it is as whole as it was; nothing is made anew."""
    _, dataset, session = parts_of(made)
    document = made.folder / MANIFEST
    body = json.loads(document.read_text(encoding="utf-8"))
    (made.folder / "findings.jsonl").unlink()
    assert published(dataset, session) is None  # type: ignore[arg-type]
    for name in ("findings", "treatment", "seen"):
        del body[name]
    document.write_text(json.dumps(body), encoding="utf-8")
    before = {path.name: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    found = published(dataset, session)  # type: ignore[arg-type]
    assert found is not None
    assert found.findings is None
    assert get_in([str(made.root.parent / "heap.toml")], session, []).finished == 0
    assert {path.name: path.stat().st_mtime_ns for path in made.folder.iterdir()} == before


def test_every_finding_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line names shard, key, class and action; the manifest counts the same, and the card explains it."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    files: dict[str, bytes] = {}
    for number in range(5):
        tail = b"tail" if number % 2 else b""
        files |= {
            f"k{number}.jpg": tiny_jpeg(number) + tail,
            f"k{number}.txt": b"caf\xe9" if number == 3 else b"words",
        }
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(recipe, archive)
    rows = [
        json.loads(line) for line in (made.folder / "findings.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [tuple(row.values()) for row in rows] == [
        ("00001.tar", "k1", "trailing", "kept"),
        ("00002.tar", "k3", "trailing", "kept"),
        ("00002.tar", "k3", "caption_not_utf8", "fixed"),
    ]
    assert list(rows[0]) == ["shard", "key", "class", "action"]
    assert made.manifest.findings == {"trailing": {"kept": 2}, "caption_not_utf8": {"fixed": 1}}
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "- trailing: 2 kept (bytes stand behind the end of the picture)" in card
    assert "- together, what was seen in the source: 5" in card
