"""bring: files that were fetched by hand are taken in, recognised by size and digest, whatever their name.

A file of the user's is hard linked, or copied where that cannot be; it is never moved or changed. What
is hashed is our own name for it, or our copy while it is written, so what is taken in is what was proved.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from g3m.adapters import fsio
from g3m.adapters.disk import clear_left, in_the_making, make_folder, publish, remove
from g3m.adapters.session import Session
from g3m.core.digest import Hasher, disagreement
from g3m.core.errors import DigestMismatch, storage_error
from g3m.core.events import Event, Progressed, RunStarted, TaskFailed, TaskFinished, TaskStarted
from g3m.core.plan import DatasetPlan, asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.steps.find import part_path, present, proof, whole_path, write_receipt
from g3m.steps.publish import published

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Passed:
    """What was not taken in and why: `published` (a dataset), `unpinned` (an asset), or a file that is
    `unreadable`, `unfinished`, or has another `size` or `digest` than the asset that it looks like."""

    path: str
    why: str
    values: dict[str, str | int] = field(default_factory=dict)


@dataclass(slots=True)
class Brought:
    """What came of an import."""

    taken: list[tuple[Asset, Path]] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    here: dict[str, Asset] = field(default_factory=dict)
    missing: list[Asset] = field(default_factory=list)
    others: int = 0
    """Files that are nothing to these datasets."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An asset that is not here yet, and the dataset that needs it."""

    asset: Asset
    dataset: str


def bring(
    folder: Path, datasets: Sequence[DatasetPlan], session: Session, result: Brought
) -> Iterator[Event]:
    """Take in what these datasets need of the files below a folder; fills `result`. Holds the lease."""
    with session.store.lease() as lease:
        clear_left(session.store.half_made())
        wanted = _wanted(datasets, session, result)
        names = tuple(dict.fromkeys(one.dataset for one in wanted.values()))
        yield RunStarted(datasets=names, tasks=len(wanted), total_bytes=0)
        for path, size_bytes in _files(folder, result):
            session.check_stop()
            lease.beat()
            fitting = [one for one in wanted.values() if _may_be(path, size_bytes, one.asset)]
            if not fitting:
                _pass_over(path, size_bytes, wanted, result)
                continue
            before = len(result.taken)
            for event in _take(path, fitting, session, result):
                lease.beat()
                yield event
            for asset, _ in result.taken[before:]:
                del wanted[asset_id(asset)]
    result.missing = [one.asset for one in wanted.values()]


def _wanted(datasets: Sequence[DatasetPlan], session: Session, result: Brought) -> dict[str, _Wanted]:
    """What is to be looked for, by id; what is here or cannot be recognised goes into the result at once."""
    wanted: dict[str, _Wanted] = {}
    for dataset in datasets:
        if published(dataset, session) is not None:
            result.passed.append(Passed(dataset.name, "published"))
            continue
        for asset in dataset.assets:
            if not asset.digests:
                result.passed.append(Passed(asset.name, "unpinned", {"dataset": dataset.name}))
            elif present(session, asset) is not None:
                result.here[asset_id(asset)] = asset
            else:
                wanted.setdefault(asset_id(asset), _Wanted(asset, dataset.name))
    return wanted


def _files(folder: Path, result: Brought) -> Iterator[tuple[Path, int]]:
    """Regular files at a path and below it, in order; a link to a file stands for the file."""
    for path in [folder] if folder.is_file() else _walk(folder):
        try:
            state = path.stat()
        except OSError as error:
            result.passed.append(Passed(str(path), "unreadable", {"reason": error.strerror or ""}))
            continue
        if not stat.S_ISREG(state.st_mode):
            result.others += 1
        elif path.with_name(f"{path.name}.aria2").exists():
            result.passed.append(Passed(str(path), "unfinished"))
        else:
            yield path, state.st_size


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise storage_error(error, error.filename) from error

    for place, folders, files in os.walk(folder, onerror=fail):
        # A root of ours inside the folder: what is below it is taken in already, or being made.
        folders[:] = sorted(name for name in folders if name != ".g3m")
        yield from (Path(place, name) for name in sorted(files))


def _may_be(path: Path, size_bytes: int, asset: Asset) -> bool:
    return size_bytes == asset.size_bytes or (asset.size_bytes is None and path.name == asset.name)


def _pass_over(path: Path, size_bytes: int, wanted: dict[str, _Wanted], result: Brought) -> None:
    """A file that cannot be any of them; its name may say which it was meant to be."""
    named = next((one.asset for one in wanted.values() if one.asset.name == path.name), None)
    if named is None:
        result.others += 1
        return
    sizes = {"size": size_bytes, "planned": named.size_bytes or 0}
    result.passed.append(Passed(str(path), "size", {"name": named.name, **sizes}))


def _take(path: Path, fitting: Sequence[_Wanted], session: Session, result: Brought) -> Iterator[Event]:
    """Link or copy a file beside ours, hash it there, and keep it if it is one of those that it may be."""
    first = fitting[0].asset
    task, dataset, size_bytes = f"import/{first.name}", fitting[0].dataset, first.size_bytes or 0
    yield TaskStarted(task=task, kind="import", dataset=dataset, total_bytes=size_bytes)
    staged = in_the_making(session.store.part("import"))
    try:
        hasher = yield from _stage(path, staged, fitting, task, session)
        found = [one.asset for one in fitting if not disagreement(one.asset.digests, hasher.digests())]
        if found:
            _keep(staged, found[0], hasher, session)
            result.taken.append((found[0], path))
            yield TaskFinished(
                task=task, kind="import", dataset=dataset, output=str(path), size_bytes=hasher.size_bytes
            )
            return
        pinned, actual = map(str, disagreement(first.digests, hasher.digests()) or ("", ""))
        values: dict[str, str | int] = {"name": first.name, "actual": actual, "pinned": pinned}
        passed, reason = (
            Passed(str(path), "digest", values),
            f"its digest is {actual}, pinned is {pinned}",
        )
    except _Unreadable as error:
        reason = str(error)
        passed = Passed(str(path), "unreadable", {"reason": reason})
    finally:
        remove(staged)
    result.passed.append(passed)
    code = DigestMismatch.code
    yield TaskFailed(task=task, kind="import", dataset=dataset, code=code, reason=f"{path}: {reason}")


class _Unreadable(Exception):
    """A file of the user's cannot be read; the others are looked at all the same."""


def _stage(
    path: Path, staged: Path, fitting: Sequence[_Wanted], task: str, session: Session
) -> Generator[Event, None, Hasher]:
    """A second name for the file, or a copy of it, and the digests of what is behind our name."""
    make_folder(staged.parent)
    try:
        fsio.link(os.path.realpath(path), staged)
    except OSError:
        linked = False
    else:
        linked = True
    algorithms = {digest.algorithm for one in fitting for digest in one.asset.digests}
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open(staged if linked else path, "rb"))
            hasher = Hasher(algorithms, size_bytes=os.fstat(source.fileno()).st_size)
        except OSError as error:
            raise _Unreadable(error.strerror) from error
        copy = None if linked else _writing(staged, stack)
        while data := _read(source):
            session.check_stop()
            hasher.update(data)
            if copy is not None:
                _write(copy, data, staged)
            yield Progressed(
                task=task, done_bytes=hasher.size_bytes, total_bytes=fitting[0].asset.size_bytes or 0
            )
        try:
            fsio.sync(source.fileno() if copy is None else copy)
        except OSError as error:
            raise storage_error(error, staged) from error
    return hasher


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_READ_BYTES)
    except OSError as error:
        raise _Unreadable(error.strerror) from error


def _writing(staged: Path, stack: ExitStack) -> int:
    try:
        copy = fsio.open_file(staged, fsio.NEW)
    except OSError as error:
        raise storage_error(error, staged) from error
    stack.callback(os.close, copy)
    return copy


def _write(copy: int, data: bytes, staged: Path) -> None:
    try:
        fsio.write_all(copy, data)
    except OSError as error:
        raise storage_error(error, staged) from error


def _keep(staged: Path, asset: Asset, hasher: Hasher, session: Session) -> None:
    """The receipt, then the name; what an unfinished download of it had is not needed any more."""
    write_receipt(
        session,
        AssetReceipt(
            id=asset_id(asset),
            name=asset.name,
            size_bytes=hasher.size_bytes,
            digests=hasher.digests(),
            proof=proof(asset, session),
        ),
    )
    publish(staged, whole_path(session, asset))
    part = part_path(session, asset)
    for path in (part.with_suffix(".journal"), part):
        remove(path)
