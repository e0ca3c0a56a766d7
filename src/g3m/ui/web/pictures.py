"""Pictures for the pages: drawn anew by the guard; as they came they are only given as a file to be saved."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from html import escape
from itertools import chain
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from g3m.adapters.guard import Guard, GuardFailure
from g3m.core.errors import G3MError
from g3m.core.sniff import image_kind
from g3m.ui.figures import size_text
from g3m.ui.web.collection import Collection
from g3m.ui.web.facts import NotHere
from g3m.ui.web.samples import MOST_BYTES
from g3m.ui.web.words import spell

SIDES = (256, 2048)
QUALITY = 82
KEPT_BYTES = 64_000_000
PLACES = 5
"""So many are drawn at a time; other pages have threads of their own and never wait for pictures."""

MOST_WAITING = 1000
HEAD_BYTES = 32
ORIGINAL = "application/octet-stream"
_KEEP = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture for a browser: its media type, its bytes, and (`finding`) why it is not the picture."""

    kind: str
    data: bytes
    finding: str = ""


class Pictures:
    """Draws and keeps the pictures last asked for. Any number of threads may ask."""

    def __init__(self, collection: Collection, guard: Guard) -> None:
        self._collection = collection
        self._guard = guard
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, int, int, str], Drawn] = OrderedDict()
        self._kept_bytes = 0
        self._places = asyncio.Semaphore(PLACES)
        self._waiting = 0

    def close(self) -> None:
        """End whoever draws; who waits for a picture gets a placeholder."""
        self._guard.close()

    def routes(self) -> list[Route]:
        """`/picture/...` and `/original/...`."""
        return [
            Route("/picture/{dataset:path}/{number:int}", self.picture, methods=["GET"]),
            Route("/original/{dataset:path}/{number:int}", self.original, methods=["GET"]),
        ]

    def draw(self, dataset: str, number: int, side: int) -> Drawn:
        """A picture of at most `side` pixels, or a drawing that says why there is none."""
        name = (dataset, number, side, self._collection.version(dataset))
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        drawn, is_sure = self._drawn(dataset, number, side)
        with self._lock:
            if is_sure and name not in self._kept:
                self._kept[name] = drawn
                self._kept_bytes += len(drawn.data)
            while self._kept_bytes > KEPT_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest.data)
        return drawn

    def _drawn(self, dataset: str, number: int, side: int) -> tuple[Drawn, bool]:
        """A picture, and whether another try would give the same: not where time or memory ran out."""
        try:
            size_bytes = self._collection.image_bytes(dataset, number)
            data = self._collection.image(
                dataset, number, HEAD_BYTES if size_bytes > MOST_BYTES else MOST_BYTES
            )
        except G3MError:  # the pages say which; a picture among others says only that it is so
            return placeholder("damaged_shard", side), False
        if size_bytes > MOST_BYTES:
            what = image_kind(data) or spell("not_an_image", "en")
            return placeholder("too_many_bytes", side, f"{what}, {size_text(size_bytes)}"), True
        if not data:
            return placeholder("missing_image", side), True
        try:
            answer = self._guard.call("thumbnail", data, {"side": side, "square": False, "quality": QUALITY})
        except GuardFailure as failure:
            return placeholder(failure.finding, side), failure.cause == "error"
        return Drawn("image/jpeg", answer.data), True

    async def picture(self, request: Request) -> Response:
        """A picture, to be kept for good if its address names the version that is here."""
        if request.query_params.get("side", "") not in map(str, SIDES):
            raise NotHere(f"side={request.query_params.get('side', '')}")
        if self._waiting >= MOST_WAITING:
            return Response(status_code=503, headers={"Retry-After": "2", "Cache-Control": "no-store"})
        self._waiting += 1
        try:
            async with self._places:
                # Who has scrolled on does not wait for it any more.
                if await request.is_disconnected():
                    return Response(status_code=503, headers={"Cache-Control": "no-store"})
                return await asyncio.to_thread(self._answer, request)
        finally:
            self._waiting -= 1

    def _answer(self, request: Request) -> Response:
        dataset, number = request.path_params["dataset"], request.path_params["number"]
        side = int(request.query_params["side"])
        version = self._collection.version(dataset)
        tag = f'"{version}-{side}"'
        is_same = request.query_params.get("v") == version
        headers = {"ETag": tag, "Cache-Control": _KEEP if is_same else "private, no-cache"}
        self._collection.image_bytes(dataset, number)  # also what is kept is not shown once it was dropped
        if version and request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        drawn = self.draw(dataset, number, side)
        if drawn.finding:
            headers = {"X-G3M-Finding": drawn.finding, "Cache-Control": "private, no-cache"}
        return Response(drawn.data, media_type=drawn.kind, headers=headers)

    def original(self, request: Request) -> Response:
        """The bytes as they are, for the disk and not for the browser."""
        dataset, number = request.path_params["dataset"], request.path_params["number"]
        size_bytes = self._collection.image_bytes(dataset, number)
        detail = self._collection.sample(dataset, number)
        name = "".join(
            letter if letter.isascii() and letter.isalnum() else "_" for letter in detail.shown.key
        )[:80]
        ending = detail.shown.format if detail.shown.format.isalnum() else "bin"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}.{ending or "bin"}"',
            "Cache-Control": "private, no-store",
            "Content-Length": str(size_bytes),
        }
        if request.method == "HEAD":
            return Response(media_type=ORIGINAL, headers=headers)
        pieces = self._collection.image_pieces(dataset, number)
        first = next(pieces, b"")  # what is wrong with it is said before the answer begins
        return StreamingResponse(chain((first,), pieces), media_type=ORIGINAL, headers=headers)


def placeholder(finding: str, side: int, more: str = "") -> Drawn:
    """A drawing that says what a picture is that cannot be shown, in both languages, and `more` about it."""
    width, height = side, side * 3 // 4
    size = max(9, side // 16)
    lines = "".join(
        f'<text x="50%" y="{50 + 12 * place}%" text-anchor="middle" fill="#8a4b08">{escape(text)}</text>'
        for place, text in enumerate(filter(None, (spell(finding, "en"), spell(finding, "zh"), more)))
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="{size}"'
        f' font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#f3ece0"/>{lines}</svg>'
    )
    plain = "".join(letter for letter in finding if letter.isascii() and (letter.isalnum() or letter == "_"))
    return Drawn("image/svg+xml", svg.encode(), plain or "unreadable")
