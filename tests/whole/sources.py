"""Sources made by hand for whole-way tests: tiny real JPEGs, archives, and a user's own recipe file."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from g3m.lab.drawings import draw
from g3m.lab.world import to_toml

REPOSITORY = Path(__file__).parents[2]
"""Real images and captions that lie beside the repository on some machines; never committed."""

NOWHERE = "https://nowhere.invalid"
"""The host of recipes whose files are given with --from."""


@cache
def _smallest_jpeg() -> bytes:
    return draw(0, 0, width=8, height=8).jpeg


def tiny_jpeg(mark: object) -> bytes:
    """A JPEG of 8 by 8 pixels that decodes, and differs for each mark by a comment inside."""
    note = f"drawn for {mark}".encode()
    segment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
    whole = _smallest_jpeg()
    return whole[:2] + segment + whole[2:]


def zip_folder(archive: Path, files: Mapping[str, Path | bytes]) -> Path:
    """A stored zip of files by their names, as COCO's are."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, content in files.items():
            target.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return archive


def tar_gz(archive: Path, files: Mapping[str, bytes]) -> Path:
    """A compressed tar of files by their names, as Open Images' is."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as target:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return archive


def unpack_zip(archive: Path, folder: Path) -> None:
    """What a lab has that unpacked the archive itself."""
    with zipfile.ZipFile(archive) as source:
        source.extractall(folder)


def unpack_tar(archive: Path, folder: Path) -> None:
    """The same for a tar."""
    with tarfile.open(archive) as source:
        for member in source:
            content = source.extractfile(member)
            if content is not None:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())


def coco_document(captions: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """A COCO captions file for images by number; neither list is sorted."""
    images = [
        {"license": 1, "file_name": f"{number:012d}.jpg", "flickr_url": f"http://f/{number}", "id": number}
        for number in sorted(captions, key=lambda number: number * 7919 % 100_003)
    ]
    pairs = [(number, caption) for number, own in captions.items() for caption in own]
    annotations = [
        {"image_id": number, "id": place, "caption": caption} for place, (number, caption) in enumerate(pairs)
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def write_coco(folder: Path, split: str, captions: Mapping[int, Sequence[str]]) -> Path:
    """An unpacked COCO of tiny images: `SPLIT/` and `annotations/captions_SPLIT.json`."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir()
    document = json.dumps(coco_document(captions))
    (folder / "annotations" / f"captions_{split}.json").write_text(document, encoding="utf-8")
    for number in captions:
        (folder / split / f"{number:012d}.jpg").write_bytes(tiny_jpeg(number))
    return folder


def coco_zips(folder: Path, split: str, target: Path) -> tuple[Path, Path]:
    """The archives of an unpacked COCO: images and annotations."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted((folder / split).iterdir(), key=lambda path: path.name[::-1])
    images = zip_folder(target / f"{split}.zip", {f"{split}/{path.name}": path for path in names})
    document = folder / "annotations" / f"captions_{split}.json"
    annotations = zip_folder(target / "annotations.zip", {f"annotations/{document.name}": document})
    return images, annotations


def narrative(image_id: str, caption: str, annotator: int = 0) -> str:
    """One line of a Localized Narratives file."""
    record = {
        "dataset_id": "open_images_validation",
        "image_id": image_id,
        "annotator_id": annotator,
        "caption": caption,
        "timed_caption": [{"utterance": "naïve", "start_time": 0.1, "end_time": 1e-07}],
        "traces": [[{"x": -0.01, "y": 1.0, "t": 0}]],
    }
    return json.dumps(record, ensure_ascii=annotator % 2 == 0)


def my_recipe(file: Path, assets: Iterable[tuple[Path, Sequence[str]]], samples: Mapping[str, str]) -> Path:
    """A user's recipe file for archives on this disk (with the paths each holds), pinned by sha256."""
    document = {
        "format": 1,
        "name": file.stem,
        "title": "a dataset of my own",
        "folder": f"mine/{file.stem}",
        "licence": "mine",
        "assets": [
            {
                "name": path.name,
                "size_bytes": path.stat().st_size,
                "digests": [f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"],
                "places": [f"{NOWHERE}/{path.name}"],
                **({"holds": list(holds)} if holds else {}),
            }
            for path, holds in assets
        ],
        "samples": dict(samples),
    }
    file.write_text(to_toml(document), encoding="utf-8")
    return file


def coco_recipe(file: Path, split: str, images: Path, annotations: Path) -> Path:
    """A recipe for the archives of `coco_zips`."""
    document = f"annotations/captions_{split}.json"
    rule = {
        "reader": "coco_captions",
        "images": f"{images.name}/{split}",
        "captions": f"{annotations.name}/{document}",
        "split": split,
    }
    return my_recipe(file, [(images, [split]), (annotations, [document])], rule)


def narratives_recipe(file: Path, images: Path, lines: Path) -> Path:
    """A recipe for a tar.gz of images in `validation/` and a jsonl beside it."""
    rule = {
        "reader": "localized_narratives",
        "images": f"{images.name}/validation",
        "captions": lines.name,
    }
    return my_recipe(file, [(images, ["validation"]), (lines, [lines.name])], rule)
