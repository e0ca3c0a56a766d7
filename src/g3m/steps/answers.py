"""What becomes of an answer: accepted or refused by its head, written where it is new, checked at its end.

The rules for a head stand in core/resume.py. Here they meet what the download knows: where its redirects
lead, the validator of a file without a digest, and who wrote which bytes first. What is not right is
raised as a SourceError; steps/fetch.py decides what becomes of the route.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from g3m.adapters.http import Headed
from g3m.core.errors import Changed, Replaced
from g3m.core.events import Event, RouteChosen
from g3m.core.resume import Answer, Go, Wanted, check_end, decide, is_page
from g3m.core.schedule import UNKNOWN_BYTES, Transfer

if TYPE_CHECKING:
    from g3m.steps.fetch import Download


def take_head(download: Download, transfer: Transfer, item: Headed) -> Iterator[Event]:
    """An answer began: may its bytes be used, and what does it say of the file?"""
    source, now_s = transfer.source, download.session.monotonic()
    transfer.redirected = item.url != source.route.url
    wanted = Wanted(
        label=source.route.place,
        offset_bytes=transfer.start,
        size_bytes=download.asset.size_bytes,  # what was announced binds no other version
        etag=download.etag,
    )
    if is_page(item.answer) and item.answer.status == 200:
        # A login or block page is the network's doing and may go: the route rests, and is not dropped.
        source.spent = True
    go = decide(wanted, item.answer, now=download.session.now())
    if transfer.redirected:
        download.addresses[source.rank] = item.url
        download.inside[source.rank] = item.inside
    if item.answer.status == 200 and (transfer.start or transfer.end < download.schedule.size_bytes):
        _take_whole(download, transfer, item.answer)
    if not download.pinned:
        _learn(download, transfer, item, go)
    download.schedule.headed(transfer, now_s)
    if source.rank not in download.told:
        download.told.add(source.rank)
        yield RouteChosen(
            task=download.task.id,
            place=source.route.place,
            way=source.route.way,
            offset_bytes=transfer.start,
        )


def _take_whole(download: Download, transfer: Transfer, answer: Answer) -> None:
    """The server ignored the range and sends everything from the first byte."""
    if not download.pinned and not (download.etag and answer.etag == download.etag):
        raise Replaced(f"{transfer.source.route.place}: the file on the server has changed")
    transfer.source.whole_only = True
    if transfer.start:
        raise Changed(f"{transfer.source.route.place}: sends the whole file where a range was asked for")
    transfer.skip, transfer.end = True, download.schedule.size_bytes
    download.asked[transfer.key] = transfer.end


def _learn(download: Download, transfer: Transfer, item: Headed, go: Go) -> None:
    """Take size, validator and digests of an unpinned file from its first answer."""
    answer, schedule = item.answer, download.schedule
    size = go.size_bytes if download.asset.size_bytes is None else download.asset.size_bytes
    if schedule.size_bytes != UNKNOWN_BYTES and go.size_bytes not in (None, schedule.size_bytes):
        raise Replaced(f"{transfer.source.route.place}: the file on the server has another size now")
    if size is not None and schedule.size_bytes == UNKNOWN_BYTES:
        schedule.size_bytes = size
        for other in schedule.transfers.values():
            other.end = min(other.end, size)
        download.asked[transfer.key] = size
    download.etag = answer.etag or (download.etag if answer.status == 206 else "")
    if not download.asset.digests and answer.digests:
        download.expected, download.served = answer.digests, True
    ranges = answer.status == 206 or answer.headers.get("accept-ranges", "").lower() == "bytes"
    schedule.solo = not (download.etag and size is not None and ranges)
    served = download.expected if download.served else ()
    download.part.begin(transfer.source.route.name, download.etag, size, served)


def take_bytes(download: Download, transfer: Transfer, pieces: list[bytes]) -> None:
    """Bytes came: write those that nobody brought before."""
    begin, asked = transfer.position, download.asked[transfer.key]
    size, name = sum(map(len, pieces)), download.names[transfer.source.rank]
    fresh = download.schedule.received(transfer, size, download.session.monotonic())
    if fresh == [(begin, begin + size)]:
        download.part.write(transfer.key, begin, pieces, name)
    elif fresh:
        data = b"".join(pieces)
        for start, end in fresh:
            download.part.write(transfer.key, start, [data[start - begin : end - begin]], name)
    download.session.pace.take(size)
    if transfer.position > asked:
        raise Changed(f"{transfer.source.route.place}: sends more than the {asked} bytes that were announced")
    # At the end of the range that it asked for the connection stays, for the next request.
    if transfer.position < asked and download.schedule.over(transfer, fresh):
        download.end(transfer)


def take_end(download: Download, transfer: Transfer) -> None:
    """The body is over: is the file, or the range?"""
    if transfer.end == UNKNOWN_BYTES:
        # A body without a length: its end is all there is to know, and its digest becomes the record.
        download.schedule.size_bytes = transfer.position
        return
    wanted = Wanted(label=transfer.source.route.place)
    check_end(wanted, min(transfer.position, transfer.end), transfer.end)
