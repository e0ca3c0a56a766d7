"""`g3m view --export`: the pages as files that open by double click, without a server.

Here: asking the server's own app for one page after the other, and the folder. Which pages there are and what
they are called is decided in copy_links.py.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from g3m.adapters import fsio
from g3m.core.errors import Locked, UsageError, storage_error
from g3m.ui.web.app import make_app
from g3m.ui.web.collection import Collection
from g3m.ui.web.copy_links import START, CopyLinks, Page, Picture
from g3m.ui.web.links import STATIC, ServerLinks
from g3m.ui.web.pages import COOKIE
from g3m.ui.web.pictures import Pictures, placeholder

MARKER = "g3m-view.json"
"""Stands in every copy, so that the next one knows what it may replace."""

FORMAT = 1
OWN = frozenset({START, MARKER, "pages", "pictures", "static"})
_FOLDERS = ("pages", "pictures", "static")
_DRAWERS = 4
_BUSY_HINT = ("wait until it has ended, or name another folder", "请等待其结束，或指定其他目录")
_OTHER_HINT = (
    "name a folder that is empty or not there yet; an earlier copy is replaced",
    "请指定空目录或尚不存在的目录；先前导出的副本会被替换",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written; `samples` says of each dataset how many have a page, and how many there are."""

    folder: Path
    pages: int
    pictures: int
    size_bytes: int
    samples: Mapping[str, tuple[int, int]]


def export(
    collection: Collection,
    pictures: Pictures,
    folder: Path,
    *,
    samples: int = 500,
    language: str = "en",
    tell: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the pages about every dataset, and about its first `samples` samples, into a folder.

    `tell` hears how many pages are written and known. An earlier copy stays until all is written.
    UsageError if the folder holds anything else; NoSpace, NotWritable or StorageError if the disk refuses;
    Locked while shards are written anew or the catalog is.
    """
    held = {card.name: card.samples for card in collection.cards() if card.samples}
    links = CopyLinks(held, samples, language)
    app = make_app(collection, pictures=pictures, links_for=lambda _: links)
    try:
        with _new_folder(folder) as new, ThreadPoolExecutor(_DRAWERS) as pool:
            writer = _Writer(new, pictures)
            for page, name in links.to_write():
                # On a thread: whoever calls may have a loop of his own, as notebooks do.
                text = pool.submit(asyncio.run, _ask(app, page, language)).result()
                for picture, wanted, own in pool.map(writer.draw, links.take_pictures()):
                    if own != wanted:
                        links.renamed(picture, own)
                        text = text.replace(wanted.encode(), own.encode())
                writer.write(name, text)
                if tell is not None:
                    tell(writer.pages, writer.pages + links.waiting)
            shown = {name: (links.samples_of(name), count) for name, count in held.items()}
            writer.finish(sorted(links.files), shown)
    except OSError as error:
        raise storage_error(error, folder) from error
    return Exported(
        folder=folder,
        pages=writer.pages,
        pictures=writer.pictures,
        size_bytes=writer.size_bytes,
        samples=shown,
    )


class _Writer:
    """The files of a copy, and what was counted of them."""

    def __init__(self, folder: Path, pictures: Pictures) -> None:
        self.pages = self.pictures = self.size_bytes = 0
        self._folder, self._pictures = folder, pictures
        self._start = b""

    def draw(self, wanted: tuple[Picture, str]) -> tuple[Picture, str, str]:
        """Write a picture; returns the name that was wanted and the one it has: not all become JPEGs."""
        picture, name = wanted
        try:
            drawn = self._pictures.draw(picture.dataset, picture.number, picture.side)
        except LookupError:  # dropped meanwhile
            drawn = placeholder("missing_image", picture.side)
        own = name if drawn.kind == "image/jpeg" else name.removesuffix(".jpg") + ".svg"
        fsio.put(self._folder / own, drawn.data, how=fsio.OVER)
        return picture, name, own

    def write(self, name: str, text: bytes) -> None:
        """Write a page; the first one at the end, because its name says that all is there."""
        if name == START:
            self._start = text
        else:
            fsio.put(self._folder / name, text, how=fsio.OVER)
        self.pages += 1

    def finish(self, files: list[str], shown: Mapping[str, tuple[int, int]]) -> None:
        """Write what is the same for all pages, and the marker; then count."""
        for name in files:
            data = (STATIC / name).read_bytes()
            fsio.put(self._folder / "static" / name, data, how=fsio.OVER)
        body = {"format": FORMAT, "samples": {name: list(counts) for name, counts in shown.items()}}
        text = json.dumps(body, indent=1, ensure_ascii=False)
        fsio.put(self._folder / START, self._start, how=fsio.OVER)
        fsio.put(self._folder / MARKER, (text + "\n").encode(), how=fsio.OVER)
        sizes = [path.stat().st_size for path in self._folder.rglob("*") if path.is_file()]
        self.pictures = sum(1 for _ in (self._folder / "pictures").iterdir())
        self.size_bytes = sum(sizes)


async def _ask(app: Any, page: Page, language: str) -> bytes:
    """The page as the app answers it: also what is not there has a page that says so. Locked for "later"."""
    address = urlsplit(ServerLinks().page(page.name, **dict(page.parameters)) or "")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(address.path),
        "raw_path": address.path.encode(),
        "root_path": "",
        "query_string": address.query.encode(),
        "headers": [(b"host", b"localhost"), (b"cookie", f"{COOKIE}={language}".encode())],
        "client": None,
        "server": None,
    }
    pieces: list[bytes] = []
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        if message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    await app(scope, receive, send)
    if status == 503:
        raise Locked(f"{address.path}: the shards or the catalog are being written; export when that is done")
    return b"".join(pieces)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the wanted one, which takes its place when the block ends well.

    What a killed export left is taken away, or put back if it was killed while it exchanged them.
    """
    folder = folder.resolve()
    if Path.cwd().is_relative_to(folder):  # a copy takes a folder's place: a shell in it would stand nowhere
        raise UsageError(f"{folder}: you are in this folder", hint=_OTHER_HINT)
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    fsio.make_folder(folder.parent)
    with _held(new, folder):
        try:
            _refuse_other(old)
            if old.exists():
                fsio.remove_tree(old) if folder.exists() else fsio.rename(old, folder)
            _refuse_other(folder)
            for name in _FOLDERS:
                fsio.make_one_folder(new / name)
            yield new
            _refuse_other(folder)
            _exchange(new, folder, old)
        finally:
            with suppress(OSError):
                fsio.remove_tree(new)


def _exchange(new: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        fsio.rename(new, folder)
        return
    fsio.rename(folder, old)
    try:
        fsio.rename(new, folder)
    except BaseException:  # also a signal: a name must not be left empty
        fsio.rename(old, folder)
        raise
    fsio.remove_tree(old)


@contextmanager
def _held(new: Path, folder: Path) -> Iterator[None]:
    """An empty folder that no other export uses; UsageError if one does, or a person."""
    with suppress(FileExistsError):
        fsio.make_one_folder(new)
    descriptor = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another export writes there", hint=_BUSY_HINT) from None
        except OSError:  # a file system without locks
            pass
        if not (new.exists() and os.path.samestat(os.fstat(descriptor), new.stat())):
            raise UsageError(f"{folder}: another export wrote there at this moment", hint=_BUSY_HINT)
        _refuse_strangers(new)
        for path in new.iterdir():
            fsio.remove_tree(path) if path.is_dir() and not path.is_symlink() else fsio.unlink(path)
        yield
    finally:
        os.close(descriptor)


def _refuse_other(folder: Path) -> None:
    """UsageError if there is anything that no export has written."""
    if folder.exists() and not (folder.is_dir() and (folder / MARKER).exists()):
        _refuse_strangers(folder, known=frozenset())
    _refuse_strangers(folder)


def _refuse_strangers(folder: Path, known: frozenset[str] = OWN) -> None:
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if names - known:
        other = sorted(names - OWN) or sorted(names)
        raise UsageError(f"{folder} holds other things: {', '.join(other[:3])}", hint=_OTHER_HINT)
