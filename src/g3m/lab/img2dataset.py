"""What img2dataset writes: jpg, json and txt, in webdataset tars or in folders."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

FIRST_MTIME_S = 1_702_480_000.25  # a time with a fraction, as time.time() gave it to webdataset's TarWriter
TAR_WRITER_OWNER = "bigdata"
TAR_WRITER_MODE = 0o444


@dataclass(frozen=True, slots=True)
class Download:
    """One sample that img2dataset got: the image as it was saved, with its size in pixels."""

    key: str
    url: str
    caption: str
    image: bytes
    width: int
    height: int

    def members(self, *, with_json: bool = True) -> dict[str, bytes]:
        """File names and contents in the writer's order: jpg, (json,) txt."""
        record = {
            "key": self.key,
            "url": self.url,
            "caption": self.caption,
            "status": "success",
            "error_message": None,
            "width": self.width,
            "height": self.height,
            "original_width": self.width * 2,
            "original_height": self.height * 2,
            "exif": "{}",
        }
        contents = {f"{self.key}.jpg": self.image}
        if with_json:
            contents[f"{self.key}.json"] = json.dumps(record, indent=4).encode()
        contents[f"{self.key}.txt"] = self.caption.encode()
        return contents


def write_tar(file: BinaryIO, downloads: Iterable[Download], *, with_json: bool = True) -> None:
    """Write one shard as webdataset's TarWriter does; the fractional mtime makes a pax header."""
    with tarfile.open(fileobj=file, mode="w") as archive:
        for download in downloads:
            for place, (name, content) in enumerate(download.members(with_json=with_json).items()):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(content), FIRST_MTIME_S + place
                member.mode = TAR_WRITER_MODE
                member.uname = member.gname = TAR_WRITER_OWNER
                archive.addfile(member, io.BytesIO(content))
