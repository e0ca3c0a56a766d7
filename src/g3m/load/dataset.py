"""A published dataset as a sequence of samples with a true length, read through its index."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g3m.core.errors import NotVerified, UnknownDataset
from g3m.core.index import Index
from g3m.core.receipt import Manifest, manifest


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its text: `image` are the file's bytes, `meta` its json (empty if it has none)."""

    key: str
    image: bytes
    text: str
    meta: dict[str, Any]


class Dataset:
    """Samples by number. Reads by position, so threads and forked processes may share it."""

    def __init__(self, folder: Path, body: Manifest) -> None:
        self.folder = folder
        self.manifest = body
        try:
            with open(folder / "index.bin", "rb") as file:
                self._index = Index(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        except (OSError, ValueError) as error:
            raise NotVerified(f"{folder / 'index.bin'}: cannot be used: {error}") from None
        if len(self._index) != body.samples:
            raise NotVerified(
                f"{folder}: the index has {len(self._index)} samples, the manifest {body.samples}"
            )
        self._files: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Sample:
        shard, entry = self._index[number if number >= 0 else number + len(self)]
        parts = {}
        for field in entry.fields:
            data = os.pread(self._open(shard), field.size_bytes, field.offset)
            if len(data) != field.size_bytes:
                raise NotVerified(f"{self.folder / shard}: sample {entry.key} is cut")
            parts[field.extension] = data
        meta = json.loads(parts["json"]) if "json" in parts else {}
        text = parts.get("txt", b"").decode("utf-8", "replace")
        return Sample(entry.key, parts.get("jpg", b""), text, meta)

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        shards = len(self.manifest.shards)
        return f"<g3m dataset {self.manifest.dataset}: {len(self)} samples in {shards} shards>"

    def _open(self, shard: str) -> int:
        if shard not in self._files:
            self._files[shard] = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[shard]

    def close(self) -> None:
        """Close the shards."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


def dataset(name: str, root: str | os.PathLike[str] = "g3m-data") -> Dataset:
    """Open a dataset below a root by its name; UnknownDataset if it is not there or not finished."""
    base = Path(root)
    for path in (*base.glob("*/*/manifest.json"), *base.glob("*/manifest.json"), *base.glob("manifest.json")):
        body = manifest(path.read_text(encoding="utf-8"))
        if body is not None and body.dataset == name:
            return Dataset(path.parent, body)
    raise UnknownDataset(
        f"{name!r} is not under {base}", hint=(f"make it with `g3m get {name}`", f"请先运行 `g3m get {name}`")
    )
