"""record: the record of dropped samples is changed, and the catalogs forget what it names.

How it is read is in steps/dropped.py, which samples are put into it is decided in steps/drop.py.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from g3m.adapters import fsio
from g3m.adapters.disk import Lease, Store, clear_left, remove, rename
from g3m.adapters.session import Session
from g3m.core.dropped import DROPPED, Drop, Record
from g3m.core.errors import Locked, UnknownCatalog, storage_error
from g3m.steps.dropped import read_record, record_stamp

PATIENCE_S = 10.0
"""How long one who drops waits for another who writes the same record."""

_POLL_S = 0.05
_SETTLED_S = 0.02
_DEPTH = 2
"""A catalog lies so many folders above a dataset, at most."""


def record_drops(folder: Path, drops: Sequence[Drop], session: Session) -> None:
    """Add samples to the record of a folder; of two who do so at one moment neither is lost."""
    change_record(folder, lambda record: record.added(drops) if drops else record, session)


def change_record(folder: Path, change: Callable[[Record], Record], session: Session) -> None:
    """Put a record in place of the one that is there; `change` makes it, and gives its own again as it is.

    The lease may be lost, so nobody writes over what he has not read, and all look whether theirs stayed.
    """
    path = folder / DROPPED
    made = folder / f".{DROPPED}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    with changing(folder, session):
        clear_left(folder.glob(f".{DROPPED}.*.tmp"))
        while True:
            stamp, record = record_stamp(folder), read_record(folder)
            changed = change(record)
            if changed == record:
                return
            try:
                with fsio.writing(made) as file:
                    file.write(changed.encode().encode())
                if record_stamp(folder) == stamp:
                    rename(made, path)
            except OSError as error:
                raise storage_error(error, path) from error
            finally:
                remove(made)
            session.wait(_SETTLED_S)


@contextmanager
def changing(folder: Path, session: Session) -> Iterator[None]:
    """Hold the record of a folder, which is read and written anew inside; Locked if another holds it long."""
    lease, end_s = Lease(folder / f".{DROPPED}.lock", "drop"), session.monotonic() + PATIENCE_S
    while True:
        try:
            lease.take()
            break
        except Locked:
            if session.monotonic() >= end_s:
                raise
            session.wait(_POLL_S)
    try:
        yield
    finally:
        lease.release()


def forget_in_catalogs(folder: Path, session: Session) -> None:
    """Take what was dropped of a folder out of the catalogs that may know it, whatever it is called there."""
    from g3m.adapters.catalog import FILE, open_catalog  # only here: who packs needs no database

    keys = read_record(folder).drops.keys()
    here = folder.absolute()
    for root in dict.fromkeys((session.store.root.absolute(), here, *here.parents[:_DEPTH])):
        path = Store(root).work / FILE
        if not keys or not path.is_file():
            continue
        # An index only: one that cannot be read is made again, and then without these.
        with suppress(UnknownCatalog), closing(open_catalog(path, writing=True)) as catalog:
            for row in catalog.datasets():
                if is_same(root / row.folder, here):
                    catalog.drop(row.name, keys)


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder."""
    try:
        return one.samefile(other)
    except OSError:
        return False
