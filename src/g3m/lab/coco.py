"""COCO 2017 as its publishers pack it, drawn."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.archives import zip_entry
from g3m.lab.drawings import COCO_TRAIN_FIRST, COCO_VALID_FIRST, Drawing, draw

COCO_SIXTH_CAPTION_EVERY = 5
COCO_LICENCES = (
    (
        "http://creativecommons.org/licenses/by-nc-sa/2.0/",
        "Attribution-NonCommercial-ShareAlike License",
    ),
    ("http://creativecommons.org/licenses/by-nc/2.0/", "Attribution-NonCommercial License"),
    (
        "http://creativecommons.org/licenses/by-nc-nd/2.0/",
        "Attribution-NonCommercial-NoDerivs License",
    ),
    ("http://creativecommons.org/licenses/by/2.0/", "Attribution License"),
    ("http://creativecommons.org/licenses/by-sa/2.0/", "Attribution-ShareAlike License"),
    ("http://creativecommons.org/licenses/by-nd/2.0/", "Attribution-NoDerivs License"),
    ("http://flickr.com/commons/usage/", "No known copyright restrictions"),
    ("http://www.usa.gov/copyright.shtml", "United States Government Work"),
)


@dataclass(frozen=True, slots=True)
class Coco:
    """The three COCO archives."""

    train: Path
    valid: Path
    annotations: Path


def coco(folder: Path, train: int, valid: int, seed: int = 0) -> Coco:
    """Write `train2017.zip`, `val2017.zip` and `annotations_trainval2017.zip`.

    Images are stored, not deflated, behind a folder entry; neither members nor JSON lists are
    sorted by id. Every fifth image has six captions, the others five. The first validation image is
    COCO's own first, 139.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(f"coco {seed}")
    numbers = generator.sample(range(1_000, 581_929), train + valid)
    archive = folder / "annotations_trainval2017.zip"
    documents = {}
    for split, ids, first in (
        ("train2017", numbers[:train], COCO_TRAIN_FIRST),
        ("val2017", [139, *numbers[train + 1 :]][:valid], COCO_VALID_FIRST),
    ):
        pictures = [(number, draw(seed, first + position)) for position, number in enumerate(ids)]
        _write_coco_images(folder / f"{split}.zip", split, pictures)
        documents[split] = _coco_captions(generator, split, pictures)
    with zipfile.ZipFile(archive, "w") as annotations:
        for task in ("instances", "captions", "person_keypoints"):
            for split, document in documents.items():
                content = document if task == "captions" else {"images": [], "annotations": []}
                entry = zip_entry(f"annotations/{task}_{split}.json")
                entry.compress_type = zipfile.ZIP_DEFLATED
                annotations.writestr(entry, json.dumps(content, separators=(",", ": ")))
    return Coco(folder / "train2017.zip", folder / "val2017.zip", archive)


def _write_coco_images(path: Path, split: str, pictures: Sequence[tuple[int, Drawing]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zip_entry(f"{split}/"), b"")
        for number, drawing in pictures:
            archive.writestr(zip_entry(f"{split}/{number:012d}.jpg"), drawing.jpeg)


def _coco_captions(
    generator: random.Random, split: str, pictures: Sequence[tuple[int, Drawing]]
) -> dict[str, object]:
    """The document `captions_<split>.json`: two lists in two orders, joined by `image_id`."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for position, (number, drawing) in enumerate(pictures):
        name = f"{number:012d}.jpg"
        images.append(
            {
                "license": 1 + position % 6,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/{split}/{name}",
                "height": drawing.height,
                "width": drawing.width,
                "date_captured": f"2013-11-{1 + position % 28:02d} 17:02:52",
                "flickr_url": f"http://farm7.staticflickr.com/6116/{number}_da26cf2c9e_z.jpg",
                "id": number,
            }
        )
        captions = list(drawing.captions)
        if position % COCO_SIXTH_CAPTION_EVERY == COCO_SIXTH_CAPTION_EVERY - 1:
            captions.append(f"{captions[0].strip()}\n")
        annotations.extend({"image_id": number, "id": 0, "caption": caption} for caption in captions)
    generator.shuffle(images)
    generator.shuffle(annotations)
    numbers = generator.sample(range(38, 900_000), len(annotations))
    for annotation, identity in zip(annotations, numbers, strict=True):
        annotation["id"] = identity
    info = {
        "description": "COCO 2017 Dataset",
        "url": "http://cocodataset.org",
        "version": "1.0",
        "year": 2017,
        "contributor": "COCO Consortium",
        "date_created": "2017/09/01",
    }
    licences = [
        {"url": url, "id": number, "name": name} for number, (url, name) in enumerate(COCO_LICENCES, start=1)
    ]
    return {"info": info, "licenses": licences, "images": images, "annotations": annotations}
