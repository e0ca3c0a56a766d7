"""stream: an archive is used up while it comes in, and never lies on the disk whole.

The download goes on as in steps/fetch.py, from its front. Behind the front, a thread of its own takes
the members out: those of a zip go to where the finished shards will have them (its directory, which
stands at its end, is fetched first), those of a tar.gz into a spool. What is used up is given back to
the disk: first the members are synced, then the journal says so with the state of the digest, then the
bytes go. An interrupted stream goes on there.

Nothing is packed before the digest of the whole archive agrees. If it does not, or the archive is not
what its directory says, everything is thrown away and the file is fetched whole, so that the culprit
can be found. Where streaming is not possible the reason is told, and the file is fetched whole, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event as Flag
from threading import Thread

from g3m.adapters import fsio
from g3m.adapters.disk import remove
from g3m.adapters.hashing import Resumable, available
from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive, DigestMismatch, G3MError, StorageError
from g3m.core.events import Event, Noted, TaskFinished
from g3m.core.plan import DatasetPlan, Plan, Task, asset_id, window_bytes
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.steps.fetch import Download, fetch
from g3m.steps.find import part_path, present, write_receipt
from g3m.steps.growing import Growing
from g3m.steps.spooling import Spooling
from g3m.steps.streamed import Streamed, forget_streamed, is_whole, spool_path, write_streamed

PIECES_IN_WINDOW = 32
LEAST_PIECE_BYTES = 2**19
WAIT_S = 0.2

Eater = Growing | Spooling
"""Who takes the members out: prepare, then `follow` on a thread of its own, then what it says it made."""


def stream(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make an archive's members present without the archive; falls back to `fetch` and says why."""
    dataset, asset = plan.dataset(task.dataset), plan.assets[task.asset]
    if is_whole(dataset, asset, session):
        _clear(asset, session)
        yield _finished(task, asset)
        return
    why = _obstacle(asset, plan, session)
    if not why:
        try:
            yield from _stream(task, dataset, asset, session)
        except (BadArchive, DigestMismatch) as error:
            why = error.message
        else:
            return
    yield Noted(task=task.id, text=f"{asset.name} cannot be streamed, it is fetched whole: {why}")
    # What has come stays: without drops it is a download like any other, and with them `fetch` begins anew.
    forget_streamed(dataset, session)
    yield from fetch(task, plan, session)


def _finished(task: Task, asset: Asset) -> TaskFinished:
    return TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        output=asset.name,
        size_bytes=asset.size_bytes or 0,
    )


def _obstacle(asset: Asset, plan: Plan, session: Session) -> str:
    """Why an archive cannot be streamed here, or an empty text."""
    if present(session, asset) is not None or session.settings.source or session.settings.offline:
        return "it is here, or looked for in --from"
    if session.settings.keep_assets:
        return "--keep-assets asks for the whole file"
    if sum(asset_id(asset) in map(asset_id, dataset.assets) for dataset in plan.datasets) > 1:
        return "two datasets need it"
    needed = {"md5" if digest.algorithm == "md5" else "sha256" for digest in asset.digests} | {"sha256"}
    if not all(map(available, needed)):
        return "this Python's libcrypto does not tell the state of a digest"
    if not fsio.can_punch(session.store.work / "parts"):
        return "this file system cannot give bytes in the middle of a file back"
    return ""


def _clear(asset: Asset, session: Session) -> None:
    """Remove what only going on with the stream needed."""
    part, points = part_path(session, asset), spool_path(asset, session).with_suffix(".points")
    for path in (part.with_suffix(".journal"), part, points):
        remove(path)


def _stream(task: Task, dataset: DatasetPlan, asset: Asset, session: Session) -> Iterator[Event]:
    window = window_bytes(asset.size_bytes or 0)
    piece = max(window // PIECES_IN_WINDOW, LEAST_PIECE_BYTES)
    limits = replace(session.limits, most_piece_bytes=piece, first_piece_bytes=min(piece, 2**20))
    part = Part(part_path(session, asset), asset.digests, asset.size_bytes, Resumable)
    eater: Eater
    if asset.name.endswith(".zip"):
        eater = Growing(dataset, asset, part, session)
    else:
        eater = Spooling(asset, part, session)
    try:
        download = Download(task, asset, replace(session, limits=limits), part, used=True)
        yield from download.prepare()
        if part.dropped and not eater.intact():
            yield Noted(task=task.id, text="what was taken out of the archive is gone; begun anew")
            part.restart()
        if not part.dropped:
            forget_streamed(dataset, session)
        begun = Streamed(dataset.identity, asset_id(asset))
        write_streamed(dataset, begun, session)
        yield from eater.prepare(download.run_ahead)
        yield Noted(task=task.id, text=f"streamed: {window} bytes of the archive lie on the disk at most")
        with _following(eater, part) as alive:
            download.attend = lambda: _attend(download, part, max(window, eater.least_window_bytes), alive)
            yield from download.run()
            _finish(eater, alive, session)
        _record(dataset, begun, eater, download.receipt(), session)
        download.remember()
    finally:
        eater.close()
        part.close()
    _clear(asset, session)
    yield _finished(task, asset)


def _record(
    dataset: DatasetPlan, begun: Streamed, eater: Eater, receipt: AssetReceipt, session: Session
) -> None:
    """The archive was right: from here on its members count."""
    write_receipt(session, receipt)
    write_streamed(dataset, replace(begun, proved=True, spool_bytes=eater.spool_bytes), session)


def _attend(download: Download, part: Part, window: int, alive: Callable[[], bool]) -> None:
    alive()
    part.tend()
    download.schedule.ceiling = part.dropped + window


def _finish(eater: Eater, alive: Callable[[], bool], session: Session) -> None:
    """Wait until everything is taken out."""
    while alive():
        session.wait(WAIT_S)
    eater.sync()


@contextmanager
def _following(eater: Eater, part: Part) -> Iterator[Callable[[], bool]]:
    """Runs the eater beside the download; gives what says whether it still works, and raises its failure."""
    stopping, failures = Flag(), list[G3MError]()

    def work() -> None:
        try:
            eater.follow(stopping.is_set, part.drop)
        except G3MError as error:
            failures.append(error)
        except Exception as error:  # noqa: BLE001  # whoever waits for this thread must hear of its end
            failures.append(StorageError(f"{part.path}: {error!r}"))

    thread = Thread(target=work, name="g3m-stream", daemon=True)

    def alive() -> bool:
        if failures:
            raise failures[0]
        return thread.is_alive()

    thread.start()
    try:
        yield alive
        if failures:
            raise failures[0]
    finally:
        stopping.set()
        thread.join()
