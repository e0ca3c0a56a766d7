"""Which lists the user means: files, folders of them, and addresses, as sources and assets of a plan.

Local lists get a stamp here, so that a changed one makes another dataset; no rows are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from g3m.adapters.lists import stamp_of
from g3m.adapters.session import Session
from g3m.core.buckets import is_bucket
from g3m.core.errors import Bilingual, NotRecognised, StorageError, UsageError
from g3m.core.gathering import ListSource
from g3m.core.lists import PACKED, form_of, is_list
from g3m.core.members import basename
from g3m.core.plan import asset_id
from g3m.core.recipe import SCHEMES, Asset
from g3m.core.secrets import mask
from g3m.steps.shelf import fetch_lists

_FOLDER_HINT: Bilingual = (
    "name the files that are meant, or put them into a folder of their own",
    "请直接指定所需文件，或把它们放到单独的目录中",
)

_SIGNED = re.compile(
    r"(?:^|[&_-])(?:sig|signature|token|credential|accesskeyid|key|secret|password|auth)=", re.IGNORECASE
)
_SIGNED_HINT: Bilingual = (
    "fetch the list to this machine first, and name the file",
    "请先把列表下载到本机，再指定该文件",
)


def find_lists(texts: Sequence[str], session: Session) -> tuple[tuple[ListSource, ...], tuple[Asset, ...]]:
    """The lists that paths and addresses name, in this order, those of a folder by name; and what to fetch.

    Raises UsageError for a folder without lists or with several kinds of them, NotRecognised for a file that
    is no list, StorageError for one that cannot be read, and what asking a bucket raises.
    """
    sources: list[ListSource] = []
    assets: list[Asset] = []
    for text in texts:
        if is_bucket(text):
            paths = fetch_lists(text, session)
            folder = Path(os.path.commonpath([path.parent for path in paths]))
            sources += (_local(path, path.relative_to(folder).as_posix()) for path in paths)
        elif text.startswith(SCHEMES):
            asset = list_asset(text)
            assets += () if asset in assets else (asset,)
            sources.append(ListSource(name=asset.name, asset=asset_id(asset)))
        else:
            sources += _found(Path(text).expanduser())
    return tuple(sources), tuple(assets)


def list_asset(address: str) -> Asset:
    """A list behind an https:// or hub:// address, as something to fetch; NotRecognised if it is no list."""
    parts = urlsplit(address)
    if "@" in parts.netloc or _SIGNED.search(parts.query):
        raise UsageError(
            f"{mask(address)}: the address holds a secret, and a plan is kept", hint=_SIGNED_HINT
        )
    name = basename(address.partition("?")[0].rstrip("/"))
    _check_form(name)
    return Asset(name=name, places=(address,))


def _found(path: Path) -> Iterator[ListSource]:
    if not path.is_dir():
        _check_form(path.name)
        yield _local(path, path.name)
        return
    files = sorted(_files(path))
    kinds = {name.lower().removesuffix(".gz").rpartition(".")[2] for name in files}
    if len(kinds) > 1:  # texts beside tables are about them, as a licence is
        kinds.discard("txt")
    if len(kinds) != 1:
        what = f"lists of several kinds ({', '.join(sorted(kinds))})" if kinds else "no list"
        raise UsageError(f"{path}: the folder holds {what}", hint=_FOLDER_HINT)
    for name in files:
        if name.lower().removesuffix(".gz").endswith(f".{min(kinds)}"):
            yield _local(path / name, name)


def _files(folder: Path) -> Iterator[str]:
    """The names of the lists in a folder and those below it, hidden ones left out."""
    for where, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        yield from (Path(where, name).relative_to(folder).as_posix() for name in names if is_list(name))


def _raise(error: OSError) -> None:
    raise StorageError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _check_form(name: str) -> None:
    if not name.lower().endswith(PACKED):
        form_of(name)
    elif name.lower().endswith(".parquet.gz"):
        raise NotRecognised(f"{name}: Parquet is compressed inside; gunzip it")


def _local(path: Path, name: str) -> ListSource:
    size_bytes, stamp = stamp_of(path)
    return ListSource(name=name, path=str(path.absolute()), size_bytes=size_bytes, stamp=stamp)
