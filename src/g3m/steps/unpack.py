"""unpack: a list that cannot be read in its middle is written once as a plain one, for steps/layout.py.

gzip is undone; of a tar or a zip the one list in it is taken out; arrays side by side and two texts side by
side become JSON lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from g3m.adapters import fsio
from g3m.adapters.disk import make_folder, remove, rename
from g3m.adapters.inflate import Inflation
from g3m.adapters.lists import array_columns, array_rows, is_arrays
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.adapters.zip import list_zip
from g3m.core.errors import BadArchive, Bilingual, NotRecognised, storage_error
from g3m.core.lists import PACKED, form_of, is_list
from g3m.core.members import Member, Refusal, basename
from g3m.core.rows import ROW_LIMIT_BYTES
from g3m.core.samples import REASONS, readable

_LIMIT_BYTES = 2**42
_COPY_BYTES = 2**20
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".zip")

_MEMBERS_HINT: Bilingual = (
    "unpack it, and name the list, or the folder of lists, that is meant",
    "请先解压，然后指定其中的列表文件或列表目录",
)


def spool_folder(dataset: str, session: Session) -> Path:
    """Where plain lists are written."""
    return session.store.plan(f"{dataset}.lists")


def spool_of(dataset: str, number: int, session: Session) -> Path | None:
    """What was written for a list, if it had to be."""
    return next(iter(spool_folder(dataset, session).glob(f"{number:05d}.*")), None)


def must_unpack(path: Path, name: str) -> bool:
    """Whether rows of a list cannot be read where they lie."""
    if name.lower().endswith(PACKED):
        return True
    return form_of(name) == "array" and is_arrays(path)


def unpack(path: Path, name: str, dataset: str, number: int, session: Session) -> Path:
    """Write a plain list; its name ends in its form. Errors as for reading archives and writing files."""
    folder = spool_folder(dataset, session)
    make_folder(folder)
    unpacker = _Unpacker(folder, number, session)
    try:
        made = unpacker.plain(path, name.lower())
        final = folder / f"{number:05d}{made.name.removesuffix('.tmp')[made.name.rindex('~') + 1 :]}"
        rename(made, final)
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        for left in folder.glob(f".{number:05d}.*.tmp"):
            remove(left)
    return final


class _Unpacker:
    def __init__(self, folder: Path, number: int, session: Session) -> None:
        self._folder, self._number, self._session = folder, number, session
        self._made = 0

    def plain(self, path: Path, name: str) -> Path:
        """The plain list in a file of that name, as a file of ours."""
        if name.endswith(_ARCHIVES):
            path = self._inflated(path, ".tar") if name.endswith(("gz",)) else path
            return self._from_archive(path, name)
        if name.endswith(".gz"):
            inner = name.removesuffix(".gz")
            path = self._inflated(path, _ending(inner))
            name = inner
        return self._lines_of_arrays(path) if form_of(name) == "array" and is_arrays(path) else path

    def _from_archive(self, path: Path, name: str) -> Path:
        listed = list_zip(path) if name.endswith(".zip") else list_tar(path)
        found = [item for item in listed if is_list(basename(item.name))]
        members = [item for item in found if isinstance(item, Member)]
        for item in found:
            if isinstance(item, Refusal):
                raise NotRecognised(f"{path}: {item.name}: {REASONS[item.reason]}", hint=_MEMBERS_HINT)
        with MemberReader(path) as reader:
            if len(members) == 2 and all(m.name.endswith(".txt") for m in members):
                return self._write(".jsonl", _side_by_side(reader, members))
            if len(members) != 1:
                names = ", ".join(member.name for member in members[:5]) or "none"
                words = f"{path}: {len(members)} lists in one archive: {names}"
                raise NotRecognised(words, hint=_MEMBERS_HINT)
            with reader.open(members[0]) as file:
                inner = basename(members[0].name).lower()
                copy = self._write(_ending(inner), iter(lambda: file.read(_COPY_BYTES), b""))
        return self.plain(copy, inner)

    def _lines_of_arrays(self, path: Path) -> Path:
        places, _ = array_columns(path)
        return self._write(".jsonl", array_rows(path, places))

    def _inflated(self, path: Path, ending: str) -> Path:
        target = self._new(ending)
        with Inflation(path, target, limit_bytes=_LIMIT_BYTES, progress=self._tick) as inflation:
            inflation.finish()
        return target

    def _tick(self, _: int) -> None:
        self._session.check_stop()

    def _write(self, ending: str, pieces: Iterable[bytes]) -> Path:
        target = self._new(ending)
        with fsio.writing(target) as file:
            for piece in pieces:
                self._session.check_stop()
                file.write(piece)
        return target

    def _new(self, ending: str) -> Path:
        self._made += 1
        target = self._folder / f".{self._number:05d}.{os.getpid()}-{self._made}~{ending}.tmp"
        remove(target)
        return target


def _ending(name: str) -> str:
    return name[name.rindex(".") :] if "." in name else ".txt"


def _side_by_side(reader: MemberReader, members: list[Member]) -> Iterator[bytes]:
    """Lines of two texts as JSON lines; the columns are the last words of the files' names."""
    keys = [basename(m.name).removesuffix(".txt").rpartition("_")[2] for m in members]
    with ExitStack() as stack:
        first, second = (stack.enter_context(reader.open(member)) for member in members)
        for lines in zip_longest(_lines(first), _lines(second)):
            if None in lines:
                raise BadArchive(f"{members[0].name}, {members[1].name}: different numbers of lines")
            words = [readable(line.decode("utf-8", "surrogateescape")).strip() for line in lines]
            yield (json.dumps(dict(zip(keys, words, strict=True))) + "\n").encode()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(ROW_LIMIT_BYTES):
        if not line.endswith(b"\n") and len(line) == ROW_LIMIT_BYTES:
            raise BadArchive(f"a line has more than {ROW_LIMIT_BYTES} bytes")
        yield line
