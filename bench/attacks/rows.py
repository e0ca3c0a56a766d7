"""The rows of a list, and what became of them: samples in the shards, words in the tables."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from bench.attacks.goods import picture

PUBLIC = "1.2.3.4"
"""The address of the good host; nobody else answers there, because nothing leads out."""

BASE = f"http://{PUBLIC}"
TIFF_MARK = b"II*\0"
MISNAMED = b"a picture under the wrong extension"


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and the picture that is right for it; None where none may be taken."""

    url: str
    right: bytes | None
    sha256: str = ""


def good(count: int) -> list[Row]:
    """Rows with which nothing is wrong."""
    return [Row(f"{BASE}/{n}.jpg", picture(n), hashlib.sha256(picture(n)).hexdigest()) for n in range(count)]


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The members of a tar that has an end; an OSError or tarfile.TarError otherwise."""
    data = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            yield member.name, content.read() if content else b""
    if not data.endswith(bytes(1024)):
        raise tarfile.ReadError("no end")


def stored(out: Path) -> dict[str, list[bytes]]:
    """Every picture in the shards by the URL of its row."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(out.rglob("*.tar")):
        parts: dict[str, dict[str, bytes]] = {}
        try:
            for name, data in members(path):
                key, _, extension = name.partition(".")
                parts.setdefault(key, {})[extension] = data
        except (tarfile.TarError, OSError):
            pass  # what could be read counts, as it does for whoever trains with it
        for sample in parts.values():
            if "json" in sample:
                images = [
                    MISNAMED if name == "jpg" and data.startswith(TIFF_MARK) else data
                    for name, data in sample.items()
                    if name not in ("json", "txt")
                ]
                found.setdefault(json.loads(sample["json"])["url"], []).extend(images)
    return found


def broken(out: Path) -> bool:
    """Whether a shard under its final name is not whole."""
    for path in out.rglob("*.tar"):
        try:
            if not list(members(path)):
                return True
        except (tarfile.TarError, OSError):
            return True
    return False


def status(out: Path, url: str) -> str:
    """What the tables say of a row that did not become a sample."""
    for path in sorted(out.rglob("*.parquet")):
        if path.stat().st_size:
            for row in pq.read_table(path, columns=["url", "error_message"]).to_pylist():
                if row["url"] == url:
                    return str(row["error_message"] or "")
    return ""
