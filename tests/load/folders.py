"""Folders of tars with an index, as `g3m index` leaves them, drawn by hand: any members, any order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from g3m.core.index import FIELDS, Head, Index
from g3m.core.indexing import Rows, joined, ordered
from g3m.core.receipt import Manifest, to_json
from g3m.core.shard import Field, ShardSummary, end_of_archive, padding, ustar_header

Members = Mapping[str, bytes]
"""The files of one sample by extension, in the order in which they shall lie."""

Samples = Sequence[tuple[str, Members]]


def tar_of(path: Path, samples: Samples) -> Rows:
    """A tar of samples, and where their files lie in it."""
    rows = Rows()
    with open(path, "wb") as file:
        for key, members in samples:
            places = []
            for extension, content in members.items():
                file.write(ustar_header(f"{key}.{extension}", len(content)))
                places.append(Field(extension, file.tell(), len(content)))
                file.write(content + padding(len(content)))
            rows.add(key, places)
        file.write(end_of_archive(file.tell()))
    return rows


def folder_of(
    path: Path, shards: Mapping[str, Samples], *, index: Path | None = None, leads_to: str = ""
) -> Path:
    """A folder of tars and its index, which may stand elsewhere; gives the folder."""
    path.mkdir(parents=True, exist_ok=True)
    made = []
    for name, samples in shards.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        rows = tar_of(path / name, samples)
        made.append(Index(rows.encode(name, (path / name).stat().st_size)))
    head = Head(
        shards=tuple(shards),
        samples=sum(map(len, made)),
        fields=ordered({name for one in made for name in one.fields}) or FIELDS,
        sizes=tuple(one.sizes[0] for one in made),
        folder=leads_to,
    )
    (index or path / "index.bin").write_bytes(b"".join(joined(head, made.__getitem__)))
    return path


def numbered(name: str, count: int, *, key: str = "k{}", size_bytes: int = 40) -> Samples:
    """Samples with an image that is no picture, but names itself, and a caption."""
    return [
        (
            key.format(number),
            {"jpg": f"{name}/{number}".encode().ljust(size_bytes, b"."), "txt": f"{name} {number}".encode()},
        )
        for number in range(count)
    ]


def published(
    root: Path, folder: str, name: str, samples: int | Samples = 3, *, said: str | None = None
) -> Path:
    """A dataset of g3m's with a manifest, in a folder below a root; `said` is what the manifest calls that folder."""
    drawn = numbered(name, samples) if isinstance(samples, int) else samples
    path = folder_of(root / folder, {"00000.tar": drawn})
    shard = path / "00000.tar"
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    body = Manifest(
        dataset=name,
        title=name,
        folder=folder if said is None else said,
        identity="0" * 64,
        parity="none",
        licence="",
        homepage="",
        assets=(),
        shards=(ShardSummary(shard.name, len(drawn), shard.stat().st_size, digest),),
        rejected={},
        notes={},
    )
    (path / "manifest.json").write_text(to_json(body), encoding="utf-8")
    return path
