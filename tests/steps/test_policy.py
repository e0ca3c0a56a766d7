"""The policy on the whole way: recipe and options, packing, the report, repair; real odd pictures among the drawn."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from tests.realdata import REAL
from tests.steps.offline import Made, make, zip_of
from tests.steps.test_treat import CASES, drawn
from tests.whole.sources import (
    coco_recipe,
    coco_zips,
    my_recipe,
    narrative,
    narratives_recipe,
    tar_gz,
    tiny_jpeg,
    write_coco,
)

from g3m.core.errors import OtherOptions, RecipeError, SettingsError
from g3m.core.samples import CAPTION_LIMIT_BYTES
from g3m.core.structure import look
from g3m.core.treatment import CAPTION_BOUND_BYTES, DECODED, FIXES
from g3m.lab.world import to_toml
from g3m.runners.run import get_in, make_session, verify_in

ODD = {
    f"{number:04d}": path.read_bytes()
    for number, path in enumerate(sorted(REAL.glob("malformed/**/*.jp*g")))
    if path.stat().st_size
}
PICTURES = {f"drawn{number}": image for number, (image, _) in enumerate(CASES.values()) if image} | ODD
STRICT = [
    *(f"{name}=reject" for name in DECODED),
    *(f"{name}=fix" for name in FIXES if name != "caption_not_utf8"),
]


def recipe_of(folder: Path, images: Mapping[str, bytes], table: Mapping[str, str] | None = None) -> Path:
    """A recipe for a heap of pictures with a text each, in a zip beside it."""
    files = {
        k: v for key, data in images.items() for k, v in ((f"{key}.jpg", data), (f"{key}.txt", b"words"))
    }
    archive = zip_of(folder / "source" / "heap.zip", files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    if table:
        with open(recipe, "a", encoding="utf-8") as file:
            file.write("\n" + to_toml({"policy": dict(table)}))
    return recipe


def packed(
    folder: Path, images: Mapping[str, bytes], table: Mapping[str, str] | None = None, **options: object
) -> Made:
    return make(recipe_of(folder, images, table), folder / "source", **options)


def digests(made: Made) -> dict[str, str]:
    """What the folder holds, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(made.folder.iterdir())
    }


def check_sums(made: Made, count: int) -> None:
    """Everything that was seen is packed or listed, and the three reports agree."""
    assert made.manifest.seen == count == made.manifest.samples + len(made.rejected)
    assert dict(Counter(reason for _, reason in made.rejected)) == dict(made.manifest.rejected)
    assert made.manifest.findings is not None
    assert {
        (name, done): number
        for name, counts in made.manifest.findings.items()
        for done, number in counts.items()
    } == Counter((name, done) for _, name, done in made.findings)
    assert {key for key, _, _ in made.findings} <= set(made.samples)
    assert set(made.samples).isdisjoint(key for key, _ in made.rejected)


def test_the_default_changes_no_byte(tmp_path: Path) -> None:
    """Whatever the pictures are: those that are one are packed as they are, and every class is listed."""
    made = packed(tmp_path, PICTURES)
    good = {key: data for key, data in PICTURES.items() if look(data).kind is not None}
    assert {key: files["jpg"] for key, files in made.samples.items()} == good
    assert {reason for _, reason in made.rejected} <= {"not_an_image"}
    assert set(made.findings) == {
        (key, name, "kept") for key, data in good.items() for name in look(data).classes
    }
    check_sums(made, len(PICTURES))


@pytest.mark.parametrize(
    "options",
    [
        {"policy": STRICT},
        {"policy": ["orientation=fix", "grayscale=reject"], "quality": 80},
        {"image_size": 32, "resize": "center_crop", "policy": ["truncated=reject"]},
        {"policy": ["trailing=fix", "no_end=fix", "duplicate_image=reject"]},
    ],
    ids=["strict", "some", "resized", "lossless"],
)
def test_any_policy_adds_up_and_depends_on_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    """One job or four, into another root: the same shards, lists and pages; nothing rejected is packed."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 60)
    one, four = (packed(tmp_path / str(jobs), PICTURES, jobs=jobs, **options) for jobs in (1, 4))
    assert digests(one) == digests(four)
    assert len(one.manifest.shards) > 1 or not ODD
    check_sums(one, len(PICTURES))
    treatment = one.manifest.treatment
    assert not [name for _, name, _ in one.findings if treatment.action(name) == "reject"]
    if treatment.resize is not None:
        sizes = {Image.open(io.BytesIO(files["jpg"])).size for files in one.samples.values()}
        assert sizes == {(32, 32)}
    for key, files in one.samples.items():
        if (
            not [row for row in one.findings if row[0] == key and row[2] == "fixed"]
            and treatment.resize is None
        ):
            assert files["jpg"] == PICTURES[key]


def test_the_recipe_says_and_the_command_overrules(tmp_path: Path) -> None:
    """Class by class; the manifest records what was in force."""
    images = {"gray": drawn(mode="L"), "tail": tiny_jpeg(1) + b"tail", "plain": tiny_jpeg(2)}
    policy = {"grayscale": "reject", "trailing": "fix"}
    made = packed(tmp_path / "a", images, policy)
    assert (set(made.samples), made.samples["tail"]["jpg"]) == ({"tail", "plain"}, tiny_jpeg(1))
    assert made.manifest.treatment.to_dict() == {"policy": {"trailing": "fix", "grayscale": "reject"}}
    made = packed(tmp_path / "b", images, policy, policy=["grayscale=keep", "trailing=reject"])
    assert set(made.samples) == {"gray", "plain"}
    assert made.rejected == [("tail", "trailing")]
    assert made.findings == [("gray", "grayscale", "kept")]


@pytest.mark.parametrize(
    "text", [b"caf\xe9", b"a" * (CAPTION_LIMIT_BYTES + 1), b"a" * (CAPTION_BOUND_BYTES + 1), b""]
)
def test_captions_obey_the_policy(tmp_path: Path, text: bytes) -> None:
    """A caption that is no UTF-8 or too long is fixed, kept or left out as told; an empty or endless one always goes."""
    name = {0: "no_caption", 4: "caption_not_utf8"}.get(len(text), "caption_too_long")
    for action in ("fix", "keep", "reject"):
        if (name, action) in (("caption_not_utf8", "keep"), ("caption_too_long", "fix")) or (
            not text and action != "reject"
        ):
            continue
        files = {"a.jpg": tiny_jpeg(1), "a.txt": text, "b.jpg": tiny_jpeg(2), "b.txt": b"words"}
        archive = zip_of(tmp_path / action / "source" / "heap.zip", files)
        rule = {"reader": "pairs", "images": archive.name}
        recipe = my_recipe(tmp_path / action / "heap.toml", [(archive, [])], rule)
        made = make(recipe, archive, policy=[f"{name}={action}"])
        if action == "reject" or len(text) > CAPTION_BOUND_BYTES:
            assert (made.rejected, made.findings) == ([("a", name)], [])
        else:
            done = {"fix": "fixed", "keep": "kept"}[action]
            assert made.findings == [("a", name, done)]
            assert made.samples["a"]["txt"] == text.decode("utf-8", "replace").encode()


def test_captions_in_lines_and_records(tmp_path: Path) -> None:
    """Also where all captions stand in one file, what is no UTF-8 in them is found; the json stays readable."""
    url = "http://h/{}.jpg\n"
    files = {f"p/{key}.jpg": tiny_jpeg(key) for key in "ab"}
    files |= {
        "x_urls.txt": (url.format("a") + url.format("b")).encode(),
        "x_captions.txt": b"caf\xe9\nwords\n",
    }
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    rule = {"reader": "pairs", "images": archive.name}
    made = make(my_recipe(tmp_path / "heap.toml", [(archive, [])], rule), archive)
    assert made.findings == [("a", "caption_not_utf8", "fixed")]
    assert (made.texts["a"], made.metas["a"]["cap"]) == ("caf\ufffd", "caf\ufffd")
    records = [{"image": "a.jpg", "caption": "half \ud800"}, {"image": "b.jpg", "caption": "words"}]
    files = {**{f"{key}.jpg": tiny_jpeg(key) for key in "ab"}, "c.json": json.dumps(records).encode()}
    archive = zip_of(tmp_path / "two" / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "two" / "heap.toml", [(archive, [])], rule)
    made = make(recipe, archive, policy=["caption_not_utf8=reject"])
    assert made.rejected == [("a", "caption_not_utf8")]


def test_a_wrong_policy_is_told_before_anything_begins(tmp_path: Path) -> None:
    """On the command line, in a config file or in a recipe: no folder is made."""
    recipe = recipe_of(tmp_path, {"a": tiny_jpeg(1)})
    with pytest.raises(SettingsError, match="policy cmyk=burn"):
        make_session({"root": str(tmp_path / "data"), "policy": ["cmyk=burn"]}, {})
    with open(recipe, "a", encoding="utf-8") as file:
        file.write('\n[policy]\ncmyk = "burn"\n')
    with pytest.raises(RecipeError, match=r"policy\.cmyk: 'burn' is none of"):
        get_in([str(recipe)], make_session({"root": str(tmp_path / "data")}, {}), [])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("option", [{"policy": ["cmyk=reject"]}, {"image_size": 64}])
def test_ready_shards_cannot_be_treated(tmp_path: Path, option: dict[str, object]) -> None:
    """They are adopted byte for byte: the error names every such dataset and the way out, in both languages."""
    session = make_session({"root": str(tmp_path / "data"), "offline": True, **option}, {})
    with pytest.raises(SettingsError) as caught:
        get_in(["coco_valid", "cc3m", "cc3m_valid"], session, [])
    assert caught.value.message.startswith("cc3m, cc3m_valid: ready shards are adopted byte for byte")
    assert all("g3m pack" in hint and "--policy" in hint for hint in caught.value.hint)
    assert not (tmp_path / "data").exists()


def test_other_options_say_what_differs(tmp_path: Path) -> None:
    """What is published is not made anew for another policy: the message has both."""
    images = {"a": tiny_jpeg(1)}
    made = packed(tmp_path, images, policy=["cmyk=fix"], quality=80)
    with pytest.raises(OtherOptions) as caught:
        make(tmp_path / "heap.toml", tmp_path / "source", image_size=64)
    message = caught.value.message
    assert "made with parity 'none' and cmyk=fix, quality 80" in message
    assert "asked for is parity 'none' and 64 pixels (keep_ratio), quality 95" in message
    assert get_in([str(tmp_path / "heap.toml")], made.session, []).finished == 0


def test_repair_makes_shards_again_as_they_were(tmp_path: Path) -> None:
    """With the treatment of the manifest, whatever options the repair is given and whatever the recipe says by now."""
    images = {
        "gray": drawn(mode="L", size=(90, 60)),
        "tail": tiny_jpeg(1) + b"tail",
        "turned": CASES["turned"][0],
    }
    policy = ["grayscale=reject", "orientation=fix", "trailing=keep"]
    options = {"policy": policy, "image_size": 30, "resize": "border", "quality": 70, "keep_assets": True}
    made = packed(tmp_path / "recipes", images, {"trailing": "fix"}, **options)
    before = digests(made)
    shard = made.folder / "00000.tar"
    shard.write_bytes(b"x")
    recipe = tmp_path / "recipes" / "heap.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace('"fix"', '"reject"'), encoding="utf-8")
    given = {"root": str(made.root), "offline": True, "source": [str(tmp_path / "recipes" / "source")]}
    session = make_session({**given, "recipes": [str(recipe.parent)], "max_rejected": 1.0}, {})
    report = verify_in(["heap"], session, [], deep=False, repair=True)
    assert report.ok
    assert digests(made) == before


def test_files_of_no_sample_are_told_apart(tmp_path: Path) -> None:
    """A name that leads out of the archive is listed, and is no sample that was seen: with captions of its own or without."""
    files = {
        "a.jpg": tiny_jpeg(1),
        "a.txt": b"words",
        "../b.jpg": tiny_jpeg(2),
        "c.jpg": b"<html>",
        "c.txt": b"words",
    }
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    rule = {"reader": "pairs", "images": archive.name}
    made = make(my_recipe(tmp_path / "heap.toml", [(archive, [])], rule), archive)
    assert made.manifest.notes == {"stray_files": 1}
    assert (made.manifest.samples, made.manifest.left_out, made.manifest.seen) == (1, 1, 2)
    folder = write_coco(tmp_path / "coco", "val2017", {3: ["b"], 5: ["c"]})
    images, annotations = coco_zips(folder, "val2017", tmp_path / "two")
    with zipfile.ZipFile(images, "a") as archive_of_images:
        archive_of_images.writestr("../x.jpg", b"x")
    made = make(coco_recipe(tmp_path / "mine.toml", "val2017", images, annotations), tmp_path / "two")
    assert made.manifest.notes == {"stray_files": 1}
    assert (made.manifest.samples, made.manifest.left_out, made.manifest.seen) == (2, 0, 2)


def test_what_the_old_script_overwrites_is_counted(tmp_path: Path) -> None:
    """Under parity the last narrative of an image in a shard stays; the others were seen all the same."""
    source = tmp_path / "source"
    source.mkdir()
    archive = tar_gz(source / "v.tar.gz", {f"validation/{name}.jpg": tiny_jpeg(name) for name in "ab"})
    told = source / "told.jsonl"
    told.write_text(
        "".join(narrative(name, f"{n}") + "\n" for n, name in enumerate("abaab")), encoding="utf-8"
    )
    made = make(narratives_recipe(tmp_path / "mine.toml", archive, told), source, parity="nxtp")
    assert made.manifest.notes == {"overwritten": 3}
    assert (made.manifest.samples, made.manifest.seen) == (2, 5)
    assert "- overwritten: 3 (" in (made.folder / "README.md").read_text(encoding="utf-8")
