"""Pictures for a browser: drawn anew, kept within bounds, and a drawing where there is none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.web.drawn_library import DrawnLibrary, shown

from g3m.adapters.guard import Guard, GuardFailure
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


class Pictured(DrawnLibrary):
    """A library with pictures, bad ones among them."""

    def __init__(self) -> None:
        super().__init__(rows=[shown(number, key=f'k"{number}\r\n') for number in range(6)])
        self.data = {0: draw(1, 1, width=640, height=480).jpeg, **BAD}
        self.reads, self.gone = 0, ""
        self.stamp = "v1"

    def version(self, dataset: str) -> str:
        return self.stamp

    def image(self, dataset: str, number: int) -> tuple[bytes, str]:
        if dataset == self.gone:
            raise Gone("asked")
        self.reads += 1
        return self.data[number], self.stamp


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """Two guarded processes."""
    with Guard(2) as found:
        yield found


def _client(library: Pictured, guard: Guard) -> TestClient:
    pictures: Any = Pictures(library, guard)  # type: ignore[arg-type]
    app = make_app(library, pictures=pictures)  # type: ignore[arg-type]
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
    library = Pictured()
    pictures: Any = Pictures(library, guard)  # type: ignore[arg-type]
    first = pictures.draw("coco", 0, 256)
    assert pictures.draw("coco", 0, 256) is first and library.reads == 1
    library.stamp = "v2"
    assert pictures.draw("coco", 0, 256) is not first and library.reads == 2
    monkeypatch.setattr(module, "KEPT_BYTES", len(first.data) + 10)
    pictures.draw("coco", 0, 2048)
    assert sum(len(one.data) for one in pictures._kept.values()) == pictures._kept_bytes <= module.KEPT_BYTES


def test_what_was_dropped_is_not_handed_out_though_it_is_kept(guard: Guard) -> None:
    """Neither drawn nor as a file."""
    library = Pictured()
    client = _client(library, guard)
    assert client.get("/picture/coco/0?side=256").status_code == 200
    library.gone = "coco"
    assert client.get("/picture/coco/0?side=256").status_code == 410
    assert client.get("/original/coco/0").status_code == 410


def test_the_original_is_a_file_and_never_a_page(guard: Guard) -> None:
    """Its very bytes, to be saved, under a name that writes no header."""
    for number in (0, 1, 2):
        library = Pictured()
        answer = _client(library, guard).get(f"/original/coco/{number}")
        assert answer.content == library.data[number]
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="k_{number}__.jpeg"'


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
