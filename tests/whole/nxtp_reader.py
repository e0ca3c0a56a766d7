"""How NXTP's loader groups the members of tars, written anew from its behaviour with the stdlib alone.

Every `*.tar` below a folder in sorted order; neighbouring members whose path is equal up to the first
dot of the name are one sample; a sample needs `.jpg` and `.txt`, or the loader dies of a KeyError.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path


def samples(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    """Key (the whole path, as NXTP has it), image bytes and text of every sample below a folder."""
    for archive in sorted(folder.rglob("*.tar")):
        for key, members in groupby(_members(archive), key=lambda item: item[0]):
            fields = {extension: content for _, extension, content in members}
            yield key, fields[".jpg"], fields[".txt"].decode("utf-8")


def _members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Key, extension and content of each file of a tar."""
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if not member.isfile():
                continue
            content = archive.extractfile(member)
            assert content is not None
            folder, name = os.path.split(os.path.join(path, member.name))
            stem, dot, extension = name.partition(".")
            yield os.path.join(folder, stem), dot + extension, content.read()
