"""A root with two sets of drawn pictures, some of which are in both, and the catalog of it, written directly."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image
from tests.adapters.test_redraw import file_of, scene

import g3m
from g3m.adapters.catalog import FILE, ShardFacts, open_catalog
from g3m.adapters.glimpse import glimpse
from g3m.core.catalog import Entry, mask


def picture(number: int) -> Image.Image:
    """One that is like no other: blocks of a colour of their own on a scene."""
    image = scene(160, 120, number)
    for place in range(12):
        mixed = hashlib.sha256(f"{number} {place}".encode()).digest()
        left, top = mixed[0] % 130, mixed[1] % 95
        image.paste(tuple(mixed[2:5]), (left, top, left + 20 + mixed[5] % 40, top + 15 + mixed[6] % 30))
    return image


EVALUATION = {f"e{number}": file_of(picture(number), quality=92) for number in range(12)}
OWN = {f"t{number}": file_of(picture(100 + number), quality=92) for number in range(20)}
COPIES = {
    "bytes": EVALUATION["e3"],
    "bytes-again": EVALUATION["e3"],
    "encoded": file_of(picture(4), quality=60),
    "scaled": file_of(picture(5).resize((100, 75)), quality=85),
    "white": file_of(Image.new("RGB", (50, 50), (255, 255, 255))),
}
"""What the training set has of the evaluation set, and one flat picture."""

LEAKED = {"bytes": "e3", "bytes-again": "e3", "encoded": "e4", "scaled": "e5"}


def shards(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """A folder of one tar with these pictures and captions, and its index."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, data in pictures.items():
            for name, content in ((f"{key}.jpg", data), (f"{key}.txt", f"a caption of {key}".encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    g3m.index(folder)


def entry_of(key: str, data: bytes, *, looked: bool = True) -> Entry:
    found = glimpse(data)
    seen = (
        {"digest": hashlib.sha256(data).digest(), "rows": found.rows, "columns": found.columns}
        if looked
        else {}
    )
    return Entry(
        key=key,
        caption=f"a caption of {key}",
        width=found.width,
        height=found.height,
        size_bytes=len(data),
        words=4,
        format="jpeg",
        flags=mask(found.classes),
        **seen,
    )


def catalogue(
    root: Path, sets: Mapping[str, Mapping[str, bytes]], *, looked: Iterable[str] | None = None
) -> Path:
    """The catalog of these sets; `looked`: of which of them the pictures were decoded, all by default."""
    path = root / ".g3m" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_catalog(path, writing=True) as catalog:
        for name, pictures in sets.items():
            is_looked = looked is None or name in looked
            facts = ShardFacts(
                dataset=name, folder=str(root / name), name="00000.tar", number=0, first=0, stamp="drawn"
            )
            entries = [entry_of(key, data, looked=is_looked) for key, data in pictures.items()]
            catalog.put(facts, entries, looked=is_looked)
    return path


def write_root(root: Path, *, looked: Iterable[str] | None = None) -> Path:
    """The whole root; gives it back."""
    sets = {"valid": EVALUATION, "train": {**OWN, **COPIES}}
    for name, pictures in sets.items():
        shards(root / name, pictures)
    catalogue(root, sets, looked=looked)
    return root
