"""Lists of URLs and the pictures behind them, drawn: BLIP's and SBU's, for a host on this machine.

A list has rows as the web has them: good ones, one whose picture is gone, and one that leads where no program
may go.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from g3m.lab.drawings import WEB_FIRST, draw

PICTURES = 12
GONE = "gone.jpg"
HOSTILE = "file:///etc/hostname"
"""What an address of the web must never be."""

LAION = "laion_synthetic_filtered_large.json"
SBU = "SBUCaptionedPhotoDataset.tar.gz"


def draw_pictures(folder: Path, count: int = PICTURES, seed: int = 0) -> Path:
    """Write `count` pictures as `folder/N.jpg` and their captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = []
    for number in range(count):
        drawing = draw(seed, WEB_FIRST + number)
        (folder / f"{number}.jpg").write_bytes(drawing.jpeg)
        captions.append(drawing.captions[0].strip())
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder


def rows_of(folder: Path, url: str) -> list[tuple[str, str]]:
    """URL and caption of each row, for pictures that are served below `url`."""
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    rows = [(f"{url}/{number}.jpg", caption) for number, caption in enumerate(captions)]
    rows.insert(len(rows) // 2, (f"{url}/{GONE}", "a picture that is not there any more"))
    return [*rows, (HOSTILE, "no picture at all")]


def write_laion(path: Path, rows: list[tuple[str, str]]) -> Path:
    """One JSON array of objects, as BLIP's lists are."""
    path.write_text(json.dumps([{"url": url, "caption": text} for url, text in rows]), encoding="utf-8")
    return path


def write_sbu(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Two text files in a .tar.gz: line N of one belongs to line N of the other."""
    with tarfile.open(path, "w:gz") as archive:
        for kind, column in (("urls", 0), ("captions", 1)):
            data = "".join(f"{row[column]}\n" for row in rows).encode()
            member = tarfile.TarInfo(f"dataset/SBU_captioned_photo_dataset_{kind}.txt")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path
