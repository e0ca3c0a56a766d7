"""drop_objects: samples are dropped from a dataset in a bucket: the record is there, small files come here.

The record is put by one PUT, on the condition that nobody has put another one since it was read. Shards are
neither fetched nor written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from g3m.adapters.disk import read_document, remove, write_document
from g3m.adapters.objects import Objects, open_objects
from g3m.adapters.ports import Shelf
from g3m.adapters.session import Session
from g3m.core.buckets import is_bucket
from g3m.core.dropped import DROPPED, Drop
from g3m.core.errors import Bilingual, Missing, Replaced, SettingsError, SourceError, UnknownDataset
from g3m.core.receipt import Manifest, manifest
from g3m.steps.dropped import read_record
from g3m.steps.publish import INDEX, MANIFEST
from g3m.steps.shelf import shelved, stubborn

_ROUNDS = 10
_ADDRESS_HINT: Bilingual = (
    "write s3://BUCKET/PATH; elsewhere run `g3m drop` where the shards lie: the record stands beside them",
    "桶请写成 s3://桶/路径；其他地址请在分片所在的机器上运行 `g3m drop`：记录保存在分片旁边",
)
_MISSING_HINT: Bilingual = (
    "give the address of a dataset's folder, with manifest.json and index.bin; `g3m gather` makes one",
    "请给出含有 manifest.json 和 index.bin 的数据集地址；`g3m gather` 可生成",
)


def bring(address: str, session: Session) -> tuple[Shelf, Path, Manifest]:
    """The dataset at s3://BUCKET/PATH: its shelf, the folder here with index and record, and its manifest.

    SettingsError for an address of another kind, UnknownDataset if there is no dataset.
    """
    if not is_bucket(address):
        raise SettingsError("drop: only folders and buckets can be written", hint=_ADDRESS_HINT)
    own = shelved(address, session)
    shelf, folder = own.shelf, own.store.root
    assert shelf is not None  # noqa: S101  # that is what `shelved` is for
    try:
        for name in (MANIFEST, INDEX):
            shelf.fetch(name)
    except Missing as error:
        raise UnknownDataset(error.message, hint=_MISSING_HINT) from None
    body = manifest(read_document(folder / MANIFEST) or "")
    if body is None:
        raise UnknownDataset(f"{shelf.address}: its {MANIFEST} cannot be read", hint=_MISSING_HINT)
    _pull_record(shelf, folder)
    return shelf, folder, body


def _pull_record(shelf: Shelf, folder: Path) -> None:
    try:
        shelf.fetch(DROPPED)
    except Missing:
        remove(folder / DROPPED)


def record_objects(shelf: Shelf, folder: Path, drops: Sequence[Drop], session: Session) -> None:
    """Add samples to the record in a bucket; of two who do so at one moment neither is lost."""
    objects = open_objects(shelf.address, session.variables)
    for _ in range(_ROUNDS):
        there = stubborn(lambda: objects.look(DROPPED), session)
        if there is None:
            remove(folder / DROPPED)
        else:
            write_document(folder / DROPPED, stubborn(lambda: objects.get_bytes(DROPPED), session))
        made = read_record(folder).added(drops).encode().encode()
        over = there.tag if there is not None else ""
        try:
            _put(objects, made, over, session)
        except Replaced:
            continue
        write_document(folder / DROPPED, made)
        return
    raise Replaced(f"{shelf.address}/{DROPPED}: other machines write it again and again")


def _put(objects: Objects, text: bytes, over: str, session: Session) -> None:
    """Put the record if the one that was read is still there, where the store can be asked so."""
    try:
        stubborn(lambda: objects.put_bytes(DROPPED, text, over=over), session)
    except SourceError as error:
        if type(error) is not SourceError:
            raise
        stubborn(lambda: objects.put_bytes(DROPPED, text), session)
