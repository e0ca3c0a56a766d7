"""Datasets made by hand from a folder of files, packed without any network, and what came of them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from g3m.adapters.session import Session
from g3m.core.events import Event
from g3m.core.receipt import Manifest
from g3m.runners.run import get_in, make_session

Files = Iterable[tuple[str, bytes]] | Mapping[str, bytes]


def pairs_of(files: Files) -> list[tuple[str, bytes]]:
    return list(files.items()) if isinstance(files, Mapping) else list(files)


def zip_of(path: Path, files: Files, *, method: int = zipfile.ZIP_STORED) -> Path:
    """A zip of members in this order; names may be repeated and hostile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in pairs_of(files):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            if name in archive.namelist():  # writestr would warn
                archive.NameToInfo.pop(name)
            archive.writestr(entry, content)
    return path


def tar_bytes(files: Files, *, folders: Iterable[str] = ()) -> bytes:
    """A USTAR of members in this order, folders first."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, content in pairs_of(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@dataclass
class Made:
    """A dataset as it stands on the disk."""

    root: Path
    manifest: Manifest
    session: Session
    events: list[Event] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / self.manifest.folder

    @cached_property
    def samples(self) -> dict[str, dict[str, bytes]]:
        """Key, then extension: the bytes of every member of every shard."""
        found: dict[str, dict[str, bytes]] = {}
        for shard in self.manifest.shards:
            with tarfile.open(self.folder / shard.name, "r:") as archive:
                for member in archive:
                    key, _, extension = member.name.partition(".")
                    content = archive.extractfile(member)
                    assert content is not None
                    found.setdefault(key, {})[extension] = content.read()
        return found

    @property
    def texts(self) -> dict[str, str]:
        return {key: files["txt"].decode() for key, files in self.samples.items()}

    @property
    def metas(self) -> dict[str, dict[str, object]]:
        return {key: json.loads(files["json"]) for key, files in self.samples.items() if "json" in files}

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """Key and reason of every line of rejected.jsonl."""
        text = (self.folder / "rejected.jsonl").read_text(encoding="utf-8")
        return [(row["key"], row["reason"]) for row in map(json.loads, text.splitlines())]

    @property
    def findings(self) -> list[tuple[str, str, str]]:
        """Key, class and action of every line of findings.jsonl."""
        text = (self.folder / "findings.jsonl").read_text(encoding="utf-8")
        return [(row["key"], row["class"], row["action"]) for row in map(json.loads, text.splitlines())]


def make(recipe: Path, source: Path, *, root: Path | None = None, **options: object) -> Made:
    """Pack a recipe file from what lies at a path; every loss is allowed unless said otherwise."""
    root = root or recipe.parent / "data"
    given = {"root": str(root), "source": [str(source)], "offline": True, "max_rejected": 1, **options}
    session = make_session(given, {})
    events: list[Event] = []
    made = get_in([str(recipe)], session, [events.append]).manifests[recipe.stem]
    return Made(root, made, session, events)
