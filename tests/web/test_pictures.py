"""Pictures for a browser: drawn anew, kept within bounds, and a drawing where there is none."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from tests.web.drawn_collection import DrawnCollection, shown

from g3m.adapters.guard import Guard, GuardFailure
from g3m.core.errors import NotVerified
from g3m.lab.drawings import draw
from g3m.ui.web import pictures as module
from g3m.ui.web.app import make_app
from g3m.ui.web.facts import Gone
from g3m.ui.web.pictures import Pictures, placeholder

BAD = {
    1: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    2: b"<html><script>alert(1)</script></html>",
    3: b"\xff\xd8\xff\xe0 cut",
    4: b"",
    5: b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
}


class Pictured(DrawnCollection):
    """A collection with pictures, bad ones among them."""

    def __init__(self) -> None:
        super().__init__(rows=[shown(number, key=f'k"{number}\r\n') for number in range(6)])
        self.data = {0: draw(1, 1, width=640, height=480).jpeg, **BAD}
        self.reads, self.gone = 0, ""
        self.stamp = "v1"

    def version(self, dataset: str) -> str:
        return self.stamp

    def image_bytes(self, dataset: str, number: int) -> int:
        if dataset == self.gone:
            raise Gone("asked")
        return len(self.data[number])

    def image(self, dataset: str, number: int, most_bytes: int) -> bytes:
        self.reads += 1
        return self.data[number][:most_bytes]

    def image_pieces(self, dataset: str, number: int) -> Iterator[bytes]:
        data = self.data[number]
        for start in range(0, len(data), 1000):
            self.reads += 1
            yield data[start : start + 1000]


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """Two guarded processes."""
    with Guard(2) as found:
        yield found


def _client(collection: Pictured, guard: Guard) -> TestClient:
    pictures: Any = Pictures(collection, guard)  # type: ignore[arg-type]
    app = make_app(collection, pictures=pictures)  # type: ignore[arg-type]
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_a_picture_is_drawn_small_and_anew(guard: Guard) -> None:
    """A JPEG of the wanted size, without the bytes of the original."""
    answer = _client(Pictured(), guard).get("/picture/coco/0?side=256")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (256, 192) and not image.info.get("exif")


@pytest.mark.parametrize("number", sorted(BAD))
def test_what_is_no_picture_becomes_a_drawing_that_says_so(guard: Guard, number: int) -> None:
    """Not a byte of it reaches the browser, and the page is not broken."""
    answer = _client(Pictured(), guard).get(f"/picture/coco/{number}?side=256")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml"
    assert b"script" not in answer.content
    texts = [one.text for one in ElementTree.fromstring(answer.content) if one.tag.endswith("text")]
    assert len(texts) == 2 and all(texts)


def test_a_drawing_says_its_class_to_programs_and_is_asked_for_again(guard: Guard) -> None:
    """In a header; it is no version of the picture, so that no browser keeps it for good."""
    answer = _client(Pictured(), guard).get("/picture/coco/1?side=256&v=v1")
    assert answer.headers["x-g3m-finding"] == "not_an_image"
    assert answer.headers["cache-control"] == "private, no-cache" and "etag" not in answer.headers
    assert "x-g3m-finding" not in _client(Pictured(), guard).get("/picture/coco/0?side=256").headers


def test_what_ran_out_of_time_is_tried_again() -> None:
    """A busy machine makes no picture broken for the rest of the day."""

    class Busy:
        calls = 0

        def call(self, *_: object) -> Any:
            self.calls += 1
            raise GuardFailure("time", "it takes too long")

    busy: Any = Busy()
    pictures: Any = Pictures(Pictured(), busy)  # type: ignore[arg-type]
    assert pictures.draw("coco", 0, 256).finding == pictures.draw("coco", 0, 256).finding == "broken"
    assert busy.calls == 2


def test_too_many_waiting_are_sent_away(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the word to come back, and not with a place in a queue without end."""
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    answer = _client(Pictured(), guard).get("/picture/coco/0?side=256")
    assert answer.status_code == 503 and answer.headers["retry-after"]


def _asked(pictures: Any, *, is_gone: bool = False) -> Any:
    """What comes of a request for a picture, from a browser that may have scrolled on."""

    async def receive() -> dict[str, str]:
        if not is_gone:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "query_string": b"side=256", "headers": []}
    return pictures.picture(Request(scope, receive))


def test_so_many_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, and other pages have their threads meanwhile."""
    monkeypatch.setattr(module, "PLACES", 1)
    pictures: Any = Pictures(Pictured(), None)  # type: ignore[arg-type]
    working, most = [], []

    def answer(_: Request) -> Response:
        working.append(1)
        most.append(len(working))
        time.sleep(0.01)
        working.pop()
        return Response()

    pictures._answer = answer

    async def all_of_it() -> list[Response]:
        return await asyncio.gather(*[_asked(pictures) for _ in range(6)])

    assert [one.status_code for one in asyncio.run(all_of_it())] == [200] * 6
    assert max(most) == 1 and pictures._waiting == 0


def test_nothing_is_drawn_for_who_is_gone() -> None:
    """Whoever scrolls through a large grid leaves many behind."""
    pictures: Any = Pictures(Pictured(), None)  # type: ignore[arg-type]
    assert asyncio.run(_asked(pictures, is_gone=True)).status_code == 503
    assert pictures._waiting == 0


def test_every_class_can_be_drawn() -> None:
    """Also one that nobody has heard of, or that is hostile."""
    for finding in ("bomb", "new_class", "<script>"):
        assert ElementTree.fromstring(placeholder(finding, 256).data).attrib["width"] == "256"


@pytest.mark.parametrize("query", ["", "?side=", "?side=9999", "?side=-1", "?side=256.0", "?side=0256"])
def test_only_two_sizes_are_drawn(guard: Guard, query: str) -> None:
    """Nobody fills the memory with sizes."""
    assert _client(Pictured(), guard).get(f"/picture/coco/0{query}").status_code == 404


def test_a_browser_keeps_what_names_its_version(guard: Guard) -> None:
    """With the version in the address for good, without it after asking."""
    client = _client(Pictured(), guard)
    kept = client.get("/picture/coco/0?side=256&v=v1")
    assert "immutable" in kept.headers["cache-control"]
    asked = client.get("/picture/coco/0?side=256&v=old")
    assert "no-cache" in asked.headers["cache-control"]
    again = client.get("/picture/coco/0?side=256", headers={"if-none-match": asked.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_a_picture_is_drawn_once_and_again_when_the_dataset_changed(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept belongs to a version, and is bounded."""
    collection = Pictured()
    pictures: Any = Pictures(collection, guard)  # type: ignore[arg-type]
    first = pictures.draw("coco", 0, 256)
    assert pictures.draw("coco", 0, 256) is first and collection.reads == 1
    collection.stamp = "v2"
    assert pictures.draw("coco", 0, 256) is not first and collection.reads == 2
    monkeypatch.setattr(module, "KEPT_BYTES", len(first.data) + 10)
    pictures.draw("coco", 0, 2048)
    assert sum(len(one.data) for one in pictures._kept.values()) == pictures._kept_bytes <= module.KEPT_BYTES


def test_what_was_dropped_is_not_handed_out_though_it_is_kept(guard: Guard) -> None:
    """Neither drawn nor as a file."""
    collection = Pictured()
    client = _client(collection, guard)
    assert client.get("/picture/coco/0?side=256").status_code == 200
    collection.gone = "coco"
    assert client.get("/picture/coco/0?side=256").status_code == 410
    assert client.get("/original/coco/0").status_code == 410


def test_what_cannot_be_read_is_one_drawing_less(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut shard breaks no page of pictures, and another try is made when it was repaired."""
    collection = Pictured()

    def cut(*_: object) -> bytes:
        raise NotVerified("cut")

    client = _client(collection, guard)
    with monkeypatch.context() as patch:
        patch.setattr(collection, "image", cut)
        answer = client.get("/picture/coco/0?side=256")
        assert answer.status_code == 200 and answer.headers["x-g3m-finding"] == "damaged_shard"
    assert "x-g3m-finding" not in client.get("/picture/coco/0?side=256").headers


def test_no_shared_cache_keeps_a_picture(guard: Guard) -> None:
    """Neither those drawn anew nor the file."""
    client = _client(Pictured(), guard)
    for address in ("/picture/coco/0?side=256&v=v1", "/picture/coco/0?side=256", "/original/coco/0"):
        assert client.get(address).headers["cache-control"].startswith("private")
    assert "no-store" in client.get("/original/coco/0").headers["cache-control"]


def test_the_original_is_a_file_and_never_a_page(guard: Guard) -> None:
    """Its very bytes, to be saved, under a name that writes no header."""
    for number in (0, 1, 2):
        collection = Pictured()
        answer = _client(collection, guard).get(f"/original/coco/{number}")
        assert answer.content == collection.data[number]
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="k_{number}__.jpeg"'


def test_what_is_too_large_is_not_read(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its first bytes: a drawing says what it is and how large, and the file can be saved all the same."""
    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    collection = Pictured()
    collection.data[0] = draw(1, 1).jpeg[:20] + bytes(2_000_000)
    taken: list[int] = []
    image = collection.image
    monkeypatch.setattr(
        collection, "image", lambda name, number, most: taken.append(most) or image(name, number, most)
    )
    answer = _client(collection, guard).get("/picture/coco/0?side=256")
    assert answer.headers["x-g3m-finding"] == "too_many_bytes" and taken == [module.HEAD_BYTES]
    texts = [one.text for one in ElementTree.fromstring(answer.content) if one.tag.endswith("text")]
    assert len(texts) == 3 and texts[2] == "jpeg, 2.0 MB"
    assert _client(collection, guard).get("/original/coco/0").content == collection.data[0]


def test_a_picture_that_the_browser_has_is_not_read(guard: Guard) -> None:
    """Its version is enough to say that it is the same."""
    collection = Pictured()
    client = _client(collection, guard)
    tag = client.get("/picture/coco/0?side=256").headers["etag"]
    collection.reads = 0
    assert client.get("/picture/coco/0?side=256", headers={"if-none-match": tag}).status_code == 304
    assert collection.reads == 0


def test_an_original_is_handed_on_piece_by_piece(guard: Guard) -> None:
    """With its length said before; who asks for the head alone makes nothing be read."""
    collection = Pictured()
    client = _client(collection, guard)
    length = str(len(collection.data[0]))
    with client.stream("GET", "/original/coco/0") as answer:
        assert answer.headers["content-length"] == length
        answer.read()
    assert collection.reads == -(-int(length) // 1000)
    collection.reads = 0
    head = client.head("/original/coco/0")
    assert head.headers["content-length"] == length and head.content == b"" and collection.reads == 0


def test_files_of_the_page_are_kept_for_good_by_their_digest(guard: Guard) -> None:
    """Each with its type; anything else is not there."""
    client = _client(Pictured(), guard)
    page = client.get("/").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = client.get(address)
    assert (
        answer.headers["content-type"].startswith("text/css")
        and "immutable" in answer.headers["cache-control"]
    )
    assert client.get("/static/page.js").headers["cache-control"] == "no-cache"
    for name in ("nothing.css", "..%2fpages.py", "%2e%2e/pages.py"):
        assert client.get(f"/static/{name}").status_code == 404
