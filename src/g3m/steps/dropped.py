"""dropped: the record of dropped samples beside the shards of a dataset, as every step reads it.

Whoever makes shards leaves out what it names, and whoever hands shards out refuses while they still hold it.
What writes it is steps/drop.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from g3m.adapters.disk import read_document
from g3m.adapters.session import Session
from g3m.core.dropped import DROPPED, BadRecord, Record, parse
from g3m.core.errors import Bilingual, NotVerified
from g3m.core.index import Index
from g3m.core.plan import DatasetPlan

RECORD_HINT: Bilingual = (
    f"put back a copy of {DROPPED}: without it nobody knows which samples were dropped",
    f"请恢复 {DROPPED} 的备份：没有它就无法得知哪些样本已被移除",
)
REWRITE_HINT: Bilingual = (
    "`g3m drop --rewrite` writes these shards anew without them",
    "`g3m drop --rewrite` 会重写这些分片，去除已移除的样本",
)


def parsed_record(folder: Path) -> Record:
    """The record of a folder, empty if there is none; BadRecord if it cannot be read."""
    path = folder / DROPPED
    text = read_document(path)
    try:
        # A file that is there and is no text is damage, not the absence of a record.
        return parse("" if text is None and path.exists() else text)
    except BadRecord as error:
        raise BadRecord(f"{path}: {error}") from None


def read_record(folder: Path) -> Record:
    """`parsed_record`, but NotVerified if it cannot be read."""
    try:
        return parsed_record(folder)
    except BadRecord as error:
        raise NotVerified(str(error), hint=RECORD_HINT) from None


def record_stamp(folder: Path) -> tuple[int, ...]:
    """Changes with the record of a folder; empty if there is none."""
    try:
        state = (folder / DROPPED).stat()
    except OSError:
        return ()
    return (state.st_ino, state.st_mtime_ns, state.st_size)


def record_of(dataset: DatasetPlan, session: Session) -> Record:
    """The record of a dataset that is being made."""
    return read_record(session.store.root / dataset.recipe.folder)


def still_held(folder: Path, index: Index) -> Sequence[int]:
    """The numbers of samples that the shards of a folder hold although they were dropped."""
    record = read_record(folder)
    return record.numbers(index.keys()) if record else ()


def refuse_held(folder: Path, index: Index) -> None:
    """NotVerified if the shards of a folder must not be handed to anybody as they are."""
    if read_record(folder).rewriting:
        raise NotVerified(f"{folder}: its shards are being written anew", hint=REWRITE_HINT)
    held = len(still_held(folder, index))
    if held:
        raise NotVerified(
            f"{folder}: its shards still hold {held} samples that were dropped", hint=REWRITE_HINT
        )
