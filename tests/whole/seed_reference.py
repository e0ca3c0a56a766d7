"""What the two old scripts do to data, written anew from their behaviour, as a measure for g3m.

They leave plain folders of KEY.jpg, KEY.txt and KEY.json. `folder_size` stands for the scripts' 2999,
so that small data reaches several folders; nothing here knows anything of g3m.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER_SIZE = 2999
EXTENSIONS = ("jpg", "json", "txt")

Folders = dict[str, dict[str, dict[str, bytes]]]
"""Folder name, then key, then extension: the bytes of one file."""


class _Writer:
    """Puts samples into numbered folders; the counter is raised before the sample is placed."""

    def __init__(self, target: Path, folder_size: int) -> None:
        self._target = target
        self._folder_size = folder_size
        self._count = 1
        self._placed = 0

    def put(self, key: str, image: Path, text: str, record: Any) -> None:
        self._placed += 1
        if self._placed % self._folder_size == 0:
            self._count += 1
        folder = self._target / f"{self._count - 1:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / f"{key}.jpg")
        (folder / f"{key}.txt").write_text(text, encoding="utf-8", newline="")
        with open(folder / f"{key}.json", "w", encoding="utf-8") as file:
            json.dump(record, file)


def coco(root: Path, split: str, target: Path, folder_size: int = FOLDER_SIZE) -> Folders:
    """The COCO script: `root` holds `SPLIT/` and `annotations/captions_SPLIT.json`."""
    document = json.loads((root / "annotations" / f"captions_{split}.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in document["images"]}
    said: dict[int, list[str]] = {}
    for annotation in document["annotations"]:
        said.setdefault(annotation["image_id"], []).append(annotation["caption"])
    writer = _Writer(target, folder_size)
    for number in sorted(names):
        name = names[number]
        text = " ".join(caption.strip() for caption in said.get(number, []))
        record = {"path": name, "cap": text, "split": split}
        writer.put(name.split(".")[0], root / split / name, text, record)
    return read(target)


def open_images(images: Path, lines: Iterable[str], target: Path, folder_size: int = FOLDER_SIZE) -> Folders:
    """The Open Images script: one sample a line; a repeated image overwrites itself within its folder."""
    writer = _Writer(target, folder_size)
    for line in lines:
        record = json.loads(line)
        writer.put(record["image_id"], images / f"{record['image_id']}.jpg", record["caption"], record)
    return read(target)


def read(target: Path) -> Folders:
    """The folders as values; every sample must have its three files."""
    found: Folders = {}
    for folder in sorted(target.iterdir()):
        samples: dict[str, dict[str, bytes]] = {}
        for file in sorted(folder.iterdir()):
            samples.setdefault(file.stem, {})[file.suffix[1:]] = file.read_bytes()
        assert all(sorted(files) == sorted(EXTENSIONS) for files in samples.values())
        found[folder.name] = samples
    return found
